//! The only way out of a sandbox: an HTTP proxy that speaks over the pipe's streams. Lets through
//! the host names it was given and nothing else, resolves them itself, and never connects to an
//! address of this machine or its networks, whatever a name resolves to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Where the toolbox lends the proxy, on the sandbox's loopback interface.
pub(super) const PROXY_PORT: u16 = 3128;
/// Connections at one time.
const CONNECTIONS_MAX: usize = 64;
/// The head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// For the head to come, and for the other side to be reached.
const SETUP_MAX: Duration = Duration::from_secs(30);
/// The longest a connection may last: a set-up phase downloads, it does not stay.
const CONNECTION_MAX: Duration = Duration::from_secs(30 * 60);
/// HTTP and HTTPS.
const PORTS: [u16; 2] = [80, 443];

/// What one sandbox may reach.
#[derive(Clone)]
pub(super) struct Egress {
    label: String,
    allowed: Arc<Vec<String>>,
    ports: Vec<u16>,
    may_reach: fn(IpAddr) -> bool,
    places: Arc<Semaphore>,
}

impl Egress {
    /// For these host names; none for none.
    pub(super) fn new(label: &str, allowed_hosts: &[String]) -> Option<Self> {
        let allowed = allowed_hosts.iter().map(|host| normal(host)).collect();
        (!allowed_hosts.is_empty()).then(|| Self {
            label: label.to_owned(),
            allowed: Arc::new(allowed),
            ports: PORTS.to_vec(),
            may_reach: is_public,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        })
    }

    /// Serves one connection, on a task of its own.
    pub(super) fn serve(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let egress = self.clone();
        tokio::spawn(async move {
            let Ok(_place) = egress.places.try_acquire() else {
                tracing::warn!(sandbox = egress.label, "egress: too many connections, one was dropped");
                return;
            };
            // Past that time both sides are closed in the middle of whatever they say.
            let _ = timeout(CONNECTION_MAX, egress.connect(stream)).await;
        });
    }

    async fn connect(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let (request, upstream) = match timeout(SETUP_MAX, self.open(&mut stream)).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(refusal)) => return refusal.send(&mut stream).await,
            Err(_) => return Refusal::new("504 Gateway Timeout", "it took too long").send(&mut stream).await,
        };
        let mut upstream = upstream;
        let greeted = if request.is_tunnel {
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await
        } else {
            Ok(())
        };
        if greeted.is_err() || upstream.write_all(&request.forward).await.is_err() {
            return;
        }
        // Either side may break it off; the other then sees its end.
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
    }

    async fn open(&self, stream: &mut (impl AsyncRead + Unpin)) -> Result<(Request, TcpStream), Refusal> {
        let head = read_head(stream).await.map_err(|e| Refusal::new("400 Bad Request", e))?;
        let request = Request::parse(&head).map_err(|e| Refusal::new("400 Bad Request", e))?;
        let (host, port) = (request.host.as_str(), request.port);
        let outcome = self.reach(host, port).await;
        match &outcome {
            Ok(_) => tracing::info!(sandbox = self.label, host, port, "egress: allowed"),
            Err(refusal) => {
                tracing::warn!(sandbox = self.label, host, port, why = refusal.why, "egress: refused");
            }
        }
        Ok((request, outcome?))
    }

    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, Refusal> {
        let forbidden = |why: String| Refusal::new("403 Forbidden", why);
        if !self.allowed.contains(&normal(host)) {
            return Err(forbidden(format!("the host '{host}' is not among the allowed ones")));
        }
        if !self.ports.contains(&port) {
            return Err(forbidden(format!("port {port} is not allowed, only 80 and 443")));
        }
        let unreachable = |why: String| Refusal::new("502 Bad Gateway", why);
        let found = lookup_host((normal(host), port)).await;
        let found: Vec<SocketAddr> =
            found.map_err(|e| unreachable(format!("'{host}' cannot be resolved: {e}")))?.collect();
        let public: Vec<SocketAddr> =
            found.into_iter().filter(|address| (self.may_reach)(address.ip())).collect();
        if public.is_empty() {
            return Err(forbidden(format!("'{host}' has no public address")));
        }
        TcpStream::connect(public.as_slice())
            .await
            .map_err(|e| unreachable(format!("'{host}' cannot be reached: {e}")))
    }
}

/// What is said to whoever asked.
struct Refusal {
    status: &'static str,
    why: String,
}

impl Refusal {
    fn new(status: &'static str, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }

    async fn send(self, stream: &mut (impl AsyncWrite + Unpin)) {
        let body = format!("Mendwright's sandbox: {}\n", self.why);
        let answer = format!(
            "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.status,
            body.len()
        );
        // Whoever asked may have left.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// A request to the proxy.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    host: String,
    port: u16,
    is_tunnel: bool,
    /// What goes to the other side before everything that follows.
    forward: Vec<u8>,
}

impl Request {
    fn parse(head: &[u8]) -> Result<Self, String> {
        let end = find_end(head).ok_or("the request has no end")?;
        let (head, after) = head.split_at(end);
        let text = std::str::from_utf8(head).map_err(|e| format!("the request is not text: {e}"))?;
        let mut lines = text.split("\r\n");
        let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, version @ ("HTTP/1.1" | "HTTP/1.0")] = words.as_slice() else {
            return Err("the first line is not that of a request in HTTP/1".to_owned());
        };
        if *method == "CONNECT" {
            let (host, port) = authority(target, None)?;
            return Ok(Self { host, port, is_tunnel: true, forward: after.to_vec() });
        }
        let rest = target.strip_prefix("http://").ok_or("a proxy needs an http:// address or CONNECT")?;
        let (named, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = authority(named, Some(80))?;
        // One request to a connection, and to the host that was allowed, whatever the headers say.
        let mut forward = format!("{method} {path} {version}\r\nHost: {named}\r\nConnection: close\r\n");
        for line in lines.filter(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            if !["host", "connection", "proxy-connection", "proxy-authorization", "keep-alive"]
                .contains(&name.trim())
            {
                forward.push_str(line);
                forward.push_str("\r\n");
            }
        }
        forward.push_str("\r\n");
        Ok(Self { host, port, is_tunnel: false, forward: [forward.as_bytes(), after].concat() })
    }
}

fn authority(text: &str, default_port: Option<u16>) -> Result<(String, u16), String> {
    let refuse = || format!("'{text}' is not a host and a port");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !text.ends_with(']') => {
            (host, port.parse().map_err(|_| refuse())?)
        }
        Some(_) | None => (text, default_port.ok_or_else(refuse)?),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ['-', '.', '_', ':'].contains(&c);
    if host.is_empty() || !host.chars().all(is_plain) {
        return Err(refuse());
    }
    Ok((host.to_owned(), port))
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, String> {
    let mut head = Vec::new();
    while find_end(&head).is_none() {
        if head.len() >= HEAD_BYTES_MAX {
            return Err("the request's head is too long".to_owned());
        }
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.map_err(|e: io::Error| e.to_string())?;
        if read == 0 {
            return Err("the request broke off".to_owned());
        }
        head.extend_from_slice(&chunk[..read]);
    }
    Ok(head)
}

fn find_end(head: &[u8]) -> Option<usize> {
    head.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether an address is on the public internet: IANA's registries of special-purpose addresses
/// (RFC 6890) say what is not.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    // Only 2000::/3 is given out; of it, not documentation, tunnels (which carry IPv4 addresses of
    // their own) and protocol assignments.
    match address.segments() {
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x2002, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn egress(allowed: &str, may_reach: fn(IpAddr) -> bool) -> Egress {
        Egress { may_reach, ..Egress::new("test", &[allowed.to_owned()]).unwrap() }
    }

    async fn ask(egress: &Egress, request: &str) -> String {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        egress.serve(server);
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[test]
    fn addresses_of_this_machine_and_its_networks_are_not_public() {
        let inner = "127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 \
                     255.255.255.255 198.18.0.1 ::1 :: fe80::1 fc00::1 ff02::1 ::ffff:127.0.0.1 \
                     64:ff9b::7f00:1 2002:7f00:1:: 2001::1 2001:db8::1";
        for address in inner.split_whitespace() {
            assert!(!is_public(address.parse().unwrap()), "{address} counts as public");
        }
        for address in ["140.82.121.4", "1.1.1.1", "2606:50c0:8000::153", "2a00:1450::1"] {
            assert!(is_public(address.parse().unwrap()), "{address} does not count as public");
        }
    }

    #[tokio::test]
    async fn only_named_hosts_and_web_ports_are_reached() {
        let egress = egress("crates.io", is_public);
        for (request, why) in [
            ("CONNECT evil.example:443 HTTP/1.1\r\n\r\n", "'evil.example' is not among the allowed ones"),
            ("CONNECT crates.io.evil.example:443 HTTP/1.1\r\n\r\n", "not among the allowed"),
            ("CONNECT sub.crates.io:443 HTTP/1.1\r\n\r\n", "not among the allowed"),
            ("CONNECT CRATES.io.:22 HTTP/1.1\r\n\r\n", "port 22 is not allowed"),
            ("GET http://crates.io@evil.example/ HTTP/1.1\r\n\r\n", "is not a host and a port"),
            ("GET /path HTTP/1.1\r\nHost: crates.io\r\n\r\n", "a proxy needs"),
            ("CONNECT [::1]:443 HTTP/1.1\r\n\r\n", "'::1' is not among"),
        ] {
            let answer = ask(&egress, request).await;
            assert!(answer.starts_with("HTTP/1.1 40") && answer.contains(why), "{request}: {answer}");
        }
    }

    #[tokio::test]
    async fn an_allowed_name_that_leads_home_is_refused() {
        let answer = ask(&egress("localhost", is_public), "CONNECT localhost:443 HTTP/1.1\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("has no public address"), "{answer}");
    }

    #[tokio::test]
    async fn both_directions_flow_through_a_tunnel_and_for_a_plain_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let mut heard = Vec::new();
            for _ in 0..2 {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut text = vec![0; 5];
                connection.read_exact(&mut text).await.unwrap();
                heard.push(String::from_utf8(text).unwrap());
                connection.write_all(b"answer").await.unwrap();
            }
            heard
        });
        let egress = Egress { ports: vec![port], ..egress("localhost", |_| true) };
        let tunnel = ask(&egress, &format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\nhello")).await;
        assert_eq!(tunnel, "HTTP/1.1 200 Connection established\r\n\r\nanswer");
        let plain = ask(&egress, &format!("GET http://localhost:{port}/x HTTP/1.1\r\n\r\n")).await;
        assert_eq!(plain, "answer");
        assert_eq!(server.await.unwrap(), ["hello", "GET /"]);
    }

    #[test]
    fn a_plain_request_is_rewritten_for_the_host_that_was_allowed() {
        let head = b"GET http://deb.debian.org/a?b HTTP/1.1\r\nHost: other\r\nProxy-Connection: x\r\nAccept: */*\r\n\r\nrest";
        let request = Request::parse(head).unwrap();
        let expected =
            "GET /a?b HTTP/1.1\r\nHost: deb.debian.org\r\nConnection: close\r\nAccept: */*\r\n\r\nrest";
        assert_eq!(String::from_utf8(request.forward).unwrap(), expected);
        assert_eq!((request.host.as_str(), request.port), ("deb.debian.org", 80));
    }
}
