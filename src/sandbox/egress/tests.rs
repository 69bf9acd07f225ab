use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;

use super::*;

/// A TLS ClientHello for the host `name`.
fn client_hello(name: &str) -> Vec<u8> {
    let sixteen = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let server_name = sixteen(&[&[0], sixteen(name.as_bytes()).as_slice()].concat());
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes(), sixteen(body).as_slice()].concat();
    let mut extensions = Vec::new();
    if !name.is_empty() {
        extensions.extend(extension(0, &server_name));
    }
    extensions.extend(extension(43, &[2, 3, 4]));
    extensions.extend(extension(13, &sixteen(&[4, 3, 8, 4])));
    extensions.extend(extension(10, &sixteen(&[0, 29])));
    extensions.extend(extension(51, &sixteen(&[&[0, 29], sixteen(&[7; 32]).as_slice()].concat())));
    let hello =
        [&[3, 3][..], &[9; 32], &[0], &sixteen(&[0x13, 0x01]), &[1, 0], &sixteen(&extensions)].concat();
    let handshake = [&[1, 0][..], &sixteen(&hello)].concat();
    [&[22, 3, 1][..], &sixteen(&handshake)].concat()
}

fn egress(allowed: &str, policy: EgressPolicy) -> Egress {
    let spec =
        SandboxSpec { allowed_hosts: vec![AllowedHost::public(allowed)], ..SandboxSpec::named("test") };
    Egress::with_policy(&spec, policy).unwrap()
}

/// A policy that allows connections to a server of the test.
fn to_port(port: u16) -> EgressPolicy {
    let nowhere = |_| Ok(false);
    EgressPolicy {
        plain_port: port,
        tls_port: port,
        is_public: |_| true,
        is_local_network: nowhere,
        is_own: nowhere,
        idle_max: IDLE_MAX,
    }
}

fn connect(egress: &Egress) -> DuplexStream {
    let (client, server) = tokio::io::duplex(1 << 16);
    egress.serve(server);
    client
}

/// Sends `request`, closes, and reads the whole response.
async fn send(egress: &Egress, request: &[u8]) -> String {
    let mut client = connect(egress);
    client.write_all(request).await.unwrap();
    client.shutdown().await.unwrap();
    let mut response = Vec::new();
    client.read_to_end(&mut response).await.unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

/// A server that sends `response` on each connection after it has received `enough`, and passes on what it
/// received.
async fn server(
    response: &'static [u8],
    enough: impl Fn(&[u8]) -> bool + Send + 'static,
) -> (u16, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let Ok((mut connection, _)) = listener.accept().await else { return };
            let mut bytes = Vec::new();
            while !enough(&bytes) && connection.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
            let _ = connection.write_all(response).await;
            let _ = connection.shutdown().await;
            while connection.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
            let _ = sender.send(bytes);
        }
    });
    (port, received)
}

fn ends_head(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| window == b"\r\n\r\n")
}

#[tokio::test]
async fn request_to_another_host_or_port_is_refused() {
    let egress = egress("registry.example", WEB);
    for (request, why) in [
        ("CONNECT evil.example:443 HTTP/1.1", "'evil.example' is not among the allowed ones"),
        ("CONNECT registry.example.evil.example:443 HTTP/1.1", "not among the allowed"),
        ("CONNECT sub.registry.example:443 HTTP/1.1", "not among the allowed"),
        ("CONNECT REGISTRY.example.:22 HTTP/1.1", "port 22 is not allowed"),
        ("CONNECT registry.example:80 HTTP/1.1", "a tunnel may only lead to port 443"),
        ("GET http://registry.example:443/ HTTP/1.1", "a plain request may only go to port 80"),
        ("GET http://registry.example:8080/ HTTP/1.1", "port 8080 is not allowed"),
        ("GET http://registry.example@evil.example/ HTTP/1.1", "is not a host and a port"),
        ("GET http://evil.example\\@registry.example/ HTTP/1.1", ""),
        ("GET http://registry.example%2eevil.example/ HTTP/1.1", ""),
        ("GET https://registry.example/ HTTP/1.1", "a proxy needs"),
        ("GET ftp://registry.example/ HTTP/1.1", "a proxy needs"),
        ("GET /path HTTP/1.1\r\nHost: registry.example", "a proxy needs"),
        ("CONNECT [::1]:443 HTTP/1.1", "'::1' is not among"),
        ("CONNECT registry.example HTTP/1.1", "is not a host and a port"),
    ] {
        let response = send(&egress, format!("{request}\r\n\r\n").as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 40") && response.contains(why), "{request}: {response}");
    }
}

#[tokio::test]
async fn allowed_name_of_this_machine_is_refused_and_the_decision_is_reported() {
    let egress = egress("localhost", WEB);
    let response = send(&egress, b"CONNECT localhost:443 HTTP/1.1\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 403") && response.contains("has no public address"), "{response}");
    send(&egress, b"GET http://elsewhere.example/ HTTP/1.1\r\n\r\n").await;
    let report = egress.take_report();
    let decisions: Vec<_> = report
        .decisions
        .iter()
        .map(|decision| (decision.host.as_str(), decision.port, decision.refused.as_deref()))
        .collect();
    assert_eq!(
        decisions,
        [
            (
                "localhost",
                443,
                Some(
                    "'localhost' has no public address; an internal host is named with where it is, as \
                     localhost=RANGE"
                )
            ),
            ("elsewhere.example", 80, Some("the host 'elsewhere.example' is not among the allowed ones")),
        ]
    );
    assert!(egress.take_report().is_empty());
}

#[tokio::test]
async fn tunnel_without_a_client_hello_for_its_host_is_refused() {
    let (port, mut received) = server(b"hello from afar", |bytes| bytes.len() > 40).await;
    let egress = egress("localhost", to_port(port));
    let connect_line = format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n").into_bytes();
    let mut client = connect(&egress);
    client.write_all(&connect_line).await.unwrap();
    let mut head = Vec::new();
    while !ends_head(&head) {
        client.read_buf(&mut head).await.unwrap();
    }
    assert!(head.starts_with(b"HTTP/1.1 200"));
    // In pieces, as the network may deliver it.
    for piece in client_hello("LocalHost").chunks(7) {
        client.write_all(piece).await.unwrap();
    }
    client.shutdown().await.unwrap();
    let mut response = Vec::new();
    client.read_to_end(&mut response).await.unwrap();
    assert_eq!(response, b"hello from afar");
    assert_eq!(received.recv().await.unwrap(), client_hello("LocalHost"));
    for (first, why) in [
        (client_hello("evil.example"), "its TLS greeting is to 'evil.example'"),
        (client_hello(""), "names no host"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "does not begin with a TLS greeting"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), "does not begin with a TLS greeting"),
        (client_hello("localhost")[..20].to_vec(), "ended before its TLS greeting"),
    ] {
        egress.take_report();
        let response = send(&egress, &[connect_line.clone(), first].concat()).await;
        assert!(!response.contains("afar"), "{response}");
        assert_eq!(received.recv().await.unwrap(), b"", "nothing of it is passed on");
        let report = egress.take_report();
        let refusals: Vec<_> = report.refusals().filter_map(|decision| decision.refused.clone()).collect();
        assert!(refusals.len() == 1 && refusals[0].contains(why), "{refusals:?}");
    }
}

#[tokio::test]
async fn plain_request_is_rewritten_for_the_allowed_host() {
    let (port, mut received) =
        server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: x\r\n\r\nok", ends_head).await;
    let egress = egress("localhost", to_port(port));
    let request = format!(
        "GET http://localhost:{port}/a?b HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: secret\r\n\
         Connection: close, X-Gone\r\nX-Gone: 1\r\nX-Stays: 2\r\n\r\n"
    );
    let response = send(&egress, request.as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nok"), "{response}");
    assert!(!response.to_lowercase().contains("keep-alive: x"), "{response}");
    let sent = String::from_utf8(received.recv().await.unwrap()).unwrap();
    assert_eq!(sent, format!("GET /a?b HTTP/1.1\r\nhost: localhost:{port}\r\nx-stays: 2\r\n\r\n"));
    let report = egress.take_report();
    let decision = &report.decisions[0];
    assert_eq!((decision.connections, decision.bytes_up), (1, sent.len() as u64));
    assert!(decision.bytes_down > 30 && decision.refused.is_none());
}

#[tokio::test]
async fn each_request_of_a_connection_is_checked() {
    let (port, mut received) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ends_head).await;
    let egress = egress("localhost", to_port(port));
    let good = format!("POST http://localhost:{port}/ HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi");
    let pipelined = format!("{good}GET http://evil.example/ HTTP/1.1\r\n\r\n");
    let response = send(&egress, pipelined.as_bytes()).await;
    assert!(response.contains("ok") && response.contains("403 Forbidden"), "{response}");
    let first = String::from_utf8(received.recv().await.unwrap()).unwrap();
    assert!(first.ends_with("\r\n\r\nhi") && !first.contains("evil"), "{first}");
    // Two contradicting lengths: one side could read a second request where the other reads a body.
    let smuggled = format!(
        "POST http://localhost:{port}/ HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    );
    let response = send(&egress, smuggled.as_bytes()).await;
    assert!(!response.contains("evil.example") || response.contains("403 Forbidden"), "{response}");
    while let Ok(Some(request)) = timeout(Duration::ZERO, received.recv()).await {
        assert!(!String::from_utf8_lossy(&request).contains("evil"), "the request was smuggled");
    }
}

#[tokio::test]
async fn quota_limits_the_bytes_of_all_connections() {
    let (port, _received) = server(&[b'x'; 3000], |bytes| bytes.len() > 40).await;
    let spec = SandboxSpec {
        allowed_hosts: vec![AllowedHost::public("localhost")],
        egress_bytes_max: 5000,
        ..SandboxSpec::named("test")
    };
    let egress = Egress::with_policy(&spec, to_port(port)).unwrap();
    let request =
        [format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n").into_bytes(), client_hello("localhost")];
    let count = async || send(&egress, &request.concat()).await.matches('x').count();
    assert_eq!(count().await, 3000);
    assert!(count().await < 3000);
    let refused = send(&egress, &request.concat()).await;
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("are used up"), "{refused}");
    let report = egress.take_report();
    assert!(
        report
            .refusals()
            .any(|decision| decision.refused.as_deref().is_some_and(|why| why.contains("used up")))
    );
    let allowed = report.decisions.iter().find(|decision| decision.refused.is_none()).unwrap();
    assert_eq!(allowed.connections, 2);
    assert!(allowed.bytes_down >= 3000 && allowed.bytes_up >= 2 * client_hello("localhost").len() as u64);
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let (near, mut far) = tokio::io::duplex(64);
    let egress = egress("localhost", EgressPolicy { idle_max: Duration::from_millis(30), ..WEB });
    let mut metered = Metered::new(near, Meter::new(egress, "localhost", 443));
    far.write_all(b"x").await.unwrap();
    let mut byte = [0];
    metered.read_exact(&mut byte).await.unwrap();
    let error = metered.read_exact(&mut byte).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn closed_idle_connections_free_their_slots() {
    let (port, _received) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ends_head).await;
    let egress = egress("localhost", to_port(port));
    let mut clients: Vec<DuplexStream> = (0..CONNECTIONS_MAX + 5).map(|_| connect(&egress)).collect();
    let request = format!("GET http://localhost:{port}/ HTTP/1.1\r\n\r\n");
    for client in &mut clients {
        // Those without a slot are closed already.
        let _ = client.shutdown().await;
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the connection is still open");
    }
    assert!(send(&egress, request.as_bytes()).await.ends_with("ok"));
    let report = egress.take_report();
    assert_eq!(report.refusals().map(|decision| decision.connections).sum::<u64>(), 5);
}

#[tokio::test]
async fn spellings_of_a_host_are_one_decision() {
    let (port, _received) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ends_head).await;
    let egress = egress("localhost", to_port(port));
    for spelling in ["localhost", "LOCALHOST", "lOcalHost", "localhost."] {
        let request = format!("GET http://{spelling}:{port}/ HTTP/1.1\r\nConnection: close\r\n\r\n");
        assert!(send(&egress, request.as_bytes()).await.ends_with("ok"), "{spelling}");
    }
    let report = egress.take_report();
    let decisions: Vec<_> =
        report.decisions.iter().map(|decision| (decision.host.as_str(), decision.connections)).collect();
    assert_eq!(
        decisions,
        [("localhost", 4)],
        "otherwise a new spelling for each connection would fill the transcript"
    );
}

#[tokio::test]
async fn requests_of_one_connection_count_against_the_limit_of_connections() {
    let egress = egress("localhost", to_port(1));
    egress.0.connected.store(CONNECTIONS_TOTAL_MAX, Ordering::Relaxed);
    let response = send(&egress, b"GET http://localhost:1/ HTTP/1.1\r\n\r\n").await;
    assert!(
        response.starts_with("HTTP/1.1 403") && response.contains("over 100000 connections"),
        "{response}"
    );
}

#[test]
fn addresses_outside_of_the_configured_range_or_in_local_networks_are_refused() {
    let policy = EgressPolicy {
        is_local_network: |address| Ok(address.to_string().starts_with("203.0.114.")),
        is_own: |address| Ok(address.to_canonical().to_string() == "10.1.9.9"),
        ..WEB
    };
    let check = |allowed: AllowedHost, found: &str| {
        let spec = SandboxSpec { allowed_hosts: vec![allowed.clone()], ..SandboxSpec::named("test") };
        let found = found.split_whitespace().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443));
        let checked = Egress::with_policy(&spec, policy).unwrap().check_addresses(&allowed, found);
        checked.map(|addresses| {
            addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" ")
        })
    };
    let public = || AllowedHost::public("a.example");
    let internal = || AllowedHost::parse("a.example=10.1.0.0/16").unwrap();
    assert_eq!(check(public(), "10.1.2.3 140.82.121.4 127.0.0.1 203.0.114.5").unwrap(), "140.82.121.4");
    assert_eq!(check(internal(), "10.2.2.3 10.1.2.3 140.82.121.4 127.0.0.1").unwrap(), "10.1.2.3");
    assert_eq!(check(internal(), "::ffff:10.1.2.3 169.254.169.254").unwrap(), "::ffff:10.1.2.3");
    assert_eq!(check(internal(), "10.1.9.9 10.1.2.3").unwrap(), "10.1.2.3");
    let refused = [
        check(public(), "203.0.114.5 10.1.2.3"),
        check(public(), "10.1.2.3"),
        check(internal(), "140.82.121.4 10.2.0.1 127.0.0.1"),
        check(internal(), "10.1.9.9 ::ffff:10.1.9.9"),
        check(AllowedHost::parse("a.example=168.0.0.0/8").unwrap(), "168.63.129.16"),
    ];
    insta::assert_snapshot!(refused.map(Result::unwrap_err).join("\n"), @r"
    'a.example' leads into a network of this machine itself; an internal host is named with where it is, as a.example=203.0.114.5/32
    'a.example' has no public address; an internal host is named with where it is, as a.example=10.1.2.3/32
    'a.example' has no address in 10.1.0.0/16, where it is said to be
    'a.example' is this machine itself, which a sandbox never reaches
    'a.example' has no address in 168.0.0.0/8, where it is said to be
    ");
}

#[test]
fn sandbox_without_allowed_hosts_has_no_proxy() {
    assert!(Egress::for_sandbox(&SandboxSpec::named("test")).is_none());
}
