use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;

use super::*;

/// What a hand-made TLS greeting begins with, to the host `name`.
fn greeting(name: &str) -> Vec<u8> {
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

fn egress(allowed: &str, ways: Ways) -> Egress {
    let spec =
        SandboxSpec { allowed_hosts: vec![AllowedHost::public(allowed)], ..SandboxSpec::named("test") };
    Egress::with(&spec, ways).unwrap()
}

/// To a server of this test's own.
fn to_port(port: u16) -> Ways {
    let nowhere = |_| Ok(false);
    Ways {
        plain_port: port,
        tls_port: port,
        may_reach: |_| true,
        is_near: nowhere,
        is_own: nowhere,
        idle_max: IDLE_MAX,
    }
}

fn connect(egress: &Egress) -> DuplexStream {
    let (client, server) = tokio::io::duplex(1 << 16);
    egress.serve(server);
    client
}

/// Says `request`, closes, and hears the whole answer.
async fn ask(egress: &Egress, request: &[u8]) -> String {
    let mut client = connect(egress);
    client.write_all(request).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A server that answers each connection with `answer`, once it has heard `enough`, and hands over
/// what it heard.
async fn server(
    answer: &'static [u8],
    enough: impl Fn(&[u8]) -> bool + Send + 'static,
) -> (u16, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, hearings) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let Ok((mut connection, _)) = listener.accept().await else { return };
            let mut bytes = Vec::new();
            while !enough(&bytes) && connection.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
            let _ = connection.write_all(answer).await;
            let _ = connection.shutdown().await;
            while connection.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
            let _ = heard.send(bytes);
        }
    });
    (port, hearings)
}

fn ends_a_head(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| window == b"\r\n\r\n")
}

#[tokio::test]
async fn only_named_hosts_and_web_ports_are_reached() {
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
        let answer = ask(&egress, format!("{request}\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 40") && answer.contains(why), "{request}: {answer}");
    }
}

#[tokio::test]
async fn an_allowed_name_that_leads_home_is_refused_and_the_decision_is_told() {
    let egress = egress("localhost", WEB);
    let answer = ask(&egress, b"CONNECT localhost:443 HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("has no public address"), "{answer}");
    ask(&egress, b"GET http://elsewhere.example/ HTTP/1.1\r\n\r\n").await;
    let told = egress.take_report();
    let told: Vec<_> =
        told.decisions.iter().map(|one| (one.host.as_str(), one.port, one.refused.as_deref())).collect();
    assert_eq!(
        told,
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
async fn a_tunnel_begins_with_a_greeting_to_its_own_host() {
    let (port, mut heard) = server(b"hello from afar", |bytes| bytes.len() > 40).await;
    let egress = egress("localhost", to_port(port));
    let connect_line = format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n").into_bytes();
    let mut client = connect(&egress);
    client.write_all(&connect_line).await.unwrap();
    let mut head = Vec::new();
    while !ends_a_head(&head) {
        client.read_buf(&mut head).await.unwrap();
    }
    assert!(head.starts_with(b"HTTP/1.1 200"));
    // In pieces, as the network may bring it.
    for piece in greeting("LocalHost").chunks(7) {
        client.write_all(piece).await.unwrap();
    }
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"hello from afar");
    assert_eq!(heard.recv().await.unwrap(), greeting("LocalHost"));
    for (first, why) in [
        (greeting("evil.example"), "its TLS greeting is to 'evil.example'"),
        (greeting(""), "names no host"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "does not begin with a TLS greeting"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), "does not begin with a TLS greeting"),
        (greeting("localhost")[..20].to_vec(), "ended before its TLS greeting"),
    ] {
        egress.take_report();
        let answer = ask(&egress, &[connect_line.clone(), first].concat()).await;
        assert!(!answer.contains("afar"), "{answer}");
        assert_eq!(heard.recv().await.unwrap(), b"", "nothing of it is passed on");
        let report = egress.take_report();
        let refusals: Vec<_> = report.refusals().filter_map(|one| one.refused.clone()).collect();
        assert!(refusals.len() == 1 && refusals[0].contains(why), "{refusals:?}");
    }
}

#[tokio::test]
async fn a_plain_request_is_written_anew_for_the_host_that_was_allowed() {
    let (port, mut heard) =
        server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: x\r\n\r\nok", ends_a_head).await;
    let egress = egress("localhost", to_port(port));
    let request = format!(
        "GET http://localhost:{port}/a?b HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: secret\r\n\
         Connection: close, X-Gone\r\nX-Gone: 1\r\nX-Stays: 2\r\n\r\n"
    );
    let answer = ask(&egress, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(!answer.to_lowercase().contains("keep-alive: x"), "{answer}");
    let heard = String::from_utf8(heard.recv().await.unwrap()).unwrap();
    assert_eq!(heard, format!("GET /a?b HTTP/1.1\r\nhost: localhost:{port}\r\nx-stays: 2\r\n\r\n"));
    let report = egress.take_report();
    let bytes = &report.decisions[0];
    assert_eq!((bytes.connections, bytes.bytes_up), (1, heard.len() as u64));
    assert!(bytes.bytes_down > 30 && bytes.refused.is_none());
}

#[tokio::test]
async fn each_request_of_a_connection_is_vetted_by_itself() {
    let (port, mut heard) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ends_a_head).await;
    let egress = egress("localhost", to_port(port));
    let good = format!("POST http://localhost:{port}/ HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi");
    let pipelined = format!("{good}GET http://evil.example/ HTTP/1.1\r\n\r\n");
    let answer = ask(&egress, pipelined.as_bytes()).await;
    assert!(answer.contains("ok") && answer.contains("403 Forbidden"), "{answer}");
    let heard_first = String::from_utf8(heard.recv().await.unwrap()).unwrap();
    assert!(heard_first.ends_with("\r\n\r\nhi") && !heard_first.contains("evil"), "{heard_first}");
    // Two lengths that disagree: what one of us takes for the body is the other's next request.
    let smuggled = format!(
        "POST http://localhost:{port}/ HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    );
    let answer = ask(&egress, smuggled.as_bytes()).await;
    assert!(!answer.contains("evil.example") || answer.contains("403 Forbidden"), "{answer}");
    while let Ok(Some(heard)) = timeout(Duration::ZERO, heard.recv()).await {
        assert!(!String::from_utf8_lossy(&heard).contains("evil"), "it was smuggled through");
    }
}

#[tokio::test]
async fn bytes_are_bounded_over_all_connections() {
    let (port, _heard) = server(&[b'x'; 3000], |bytes| bytes.len() > 40).await;
    let spec = SandboxSpec {
        allowed_hosts: vec![AllowedHost::public("localhost")],
        egress_bytes_max: 5000,
        ..SandboxSpec::named("test")
    };
    let egress = Egress::with(&spec, to_port(port)).unwrap();
    let request = [format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n").into_bytes(), greeting("localhost")];
    let received = async || ask(&egress, &request.concat()).await.matches('x').count();
    assert_eq!(received().await, 3000);
    assert!(received().await < 3000);
    let refused = ask(&egress, &request.concat()).await;
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("are used up"), "{refused}");
    let report = egress.take_report();
    assert!(report.refusals().any(|one| one.refused.as_deref().is_some_and(|why| why.contains("used up"))));
    let allowed = report.decisions.iter().find(|one| one.refused.is_none()).unwrap();
    assert_eq!(allowed.connections, 2);
    assert!(allowed.bytes_down >= 3000 && allowed.bytes_up >= 2 * greeting("localhost").len() as u64);
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_closed() {
    let (near, mut far) = tokio::io::duplex(64);
    let egress = egress("localhost", Ways { idle_max: Duration::from_millis(30), ..WEB });
    let mut metered = Metered::new(near, Meter::new(egress, "localhost", 443));
    far.write_all(b"x").await.unwrap();
    let mut byte = [0];
    metered.read_exact(&mut byte).await.unwrap();
    let error = metered.read_exact(&mut byte).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_crowd_that_says_nothing_and_leaves_makes_room_at_once() {
    let (port, _heard) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ends_a_head).await;
    let egress = egress("localhost", to_port(port));
    let mut crowd: Vec<DuplexStream> = (0..CONNECTIONS_MAX + 5).map(|_| connect(&egress)).collect();
    let request = format!("GET http://localhost:{port}/ HTTP/1.1\r\n\r\n");
    for one in &mut crowd {
        // Those for whom there was no place are shut out already.
        let _ = one.shutdown().await;
        assert_eq!(one.read(&mut [0]).await.unwrap(), 0, "whoever has nothing to say is let go");
    }
    assert!(ask(&egress, request.as_bytes()).await.ends_with("ok"));
    let report = egress.take_report();
    assert_eq!(report.refusals().map(|one| one.connections).sum::<u64>(), 5);
}

#[tokio::test]
async fn a_host_is_one_however_it_is_spelt() {
    let (port, _heard) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ends_a_head).await;
    let egress = egress("localhost", to_port(port));
    for spelling in ["localhost", "LOCALHOST", "lOcalHost", "localhost."] {
        let request = format!("GET http://{spelling}:{port}/ HTTP/1.1\r\nConnection: close\r\n\r\n");
        assert!(ask(&egress, request.as_bytes()).await.ends_with("ok"), "{spelling}");
    }
    let report = egress.take_report();
    let told: Vec<_> = report.decisions.iter().map(|one| (one.host.as_str(), one.connections)).collect();
    assert_eq!(
        told,
        [("localhost", 4)],
        "a spelling of its own for each connection would fill the transcript"
    );
}

#[tokio::test]
async fn one_connection_from_inside_cannot_make_more_to_the_outside_than_there_may_be() {
    let egress = egress("localhost", to_port(1));
    egress.0.reached.store(CONNECTIONS_TOTAL_MAX, Ordering::Relaxed);
    let answer = ask(&egress, b"GET http://localhost:1/ HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("over 100000 connections"), "{answer}");
}

#[test]
fn an_internal_host_is_reached_where_it_is_said_to_be_and_a_public_one_never_next_door() {
    let near: Ways = Ways {
        is_near: |address| Ok(address.to_string().starts_with("203.0.114.")),
        is_own: |address| Ok(address.to_canonical().to_string() == "10.1.9.9"),
        ..WEB
    };
    let vet = |allowed: AllowedHost, found: &str| {
        let spec = SandboxSpec { allowed_hosts: vec![allowed.clone()], ..SandboxSpec::named("test") };
        let found = found.split_whitespace().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443));
        let vetted = Egress::with(&spec, near).unwrap().vet_addresses(&allowed, found);
        vetted.map(|vetted| vetted.iter().map(|one| one.ip().to_string()).collect::<Vec<_>>().join(" "))
    };
    let public = || AllowedHost::public("a.example");
    let internal = || AllowedHost::parse("a.example=10.1.0.0/16").unwrap();
    assert_eq!(vet(public(), "10.1.2.3 140.82.121.4 127.0.0.1 203.0.114.5").unwrap(), "140.82.121.4");
    assert_eq!(vet(internal(), "10.2.2.3 10.1.2.3 140.82.121.4 127.0.0.1").unwrap(), "10.1.2.3");
    assert_eq!(vet(internal(), "::ffff:10.1.2.3 169.254.169.254").unwrap(), "::ffff:10.1.2.3");
    assert_eq!(vet(internal(), "10.1.9.9 10.1.2.3").unwrap(), "10.1.2.3");
    let refused = [
        vet(public(), "203.0.114.5 10.1.2.3"),
        vet(public(), "10.1.2.3"),
        vet(internal(), "140.82.121.4 10.2.0.1 127.0.0.1"),
        vet(internal(), "10.1.9.9 ::ffff:10.1.9.9"),
        vet(AllowedHost::parse("a.example=168.0.0.0/8").unwrap(), "168.63.129.16"),
    ];
    insta::assert_snapshot!(refused.map(Result::unwrap_err).join("\n"), @r"
    'a.example' leads into a network of this machine itself; an internal host is named with where it is, as a.example=RANGE
    'a.example' has no public address; an internal host is named with where it is, as a.example=RANGE
    'a.example' has no address in 10.1.0.0/16, where it is said to be
    'a.example' is this machine itself, which a sandbox never reaches
    'a.example' has no address in 168.0.0.0/8, where it is said to be
    ");
}

#[test]
fn no_host_is_no_proxy() {
    assert!(Egress::of(&SandboxSpec::named("test")).is_none());
}
