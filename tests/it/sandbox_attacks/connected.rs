//! Attacks on the proxy, with a real one: on a host with its own network, where the names and public addresses
//! of the probes lead to listeners that report their connections.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use mendwright::domain::AllowedHost;

use super::data::{Place, ProbePhase, is_like};
use super::host::{Host, PROBER_VARIABLE, is_root, prober};
use super::probes::probes;
use super::room::{self, ProbedSandbox};
use crate::backends::Backend;

on_every_backend! {
    proxy_connects_only_to_allowed_hosts,
}

/// Set by the test when it runs itself in such a network.
const CONNECTED_VARIABLE: &str = "MENDWRIGHT_TEST_CONNECTED";
/// Addresses that lead to the listeners but do not belong to this machine: public ones, two metadata services
/// of clouds, some of private networks, and the neighbour of [`OWN`].
const ELSEWHERE: [&str; 7] = [
    "203.0.114.10",
    "203.0.114.11",
    "169.254.169.254",
    "168.63.129.16",
    "10.9.8.7",
    "10.9.9.7",
    "198.51.99.6",
];
/// A public address of this machine, in a network of 256 addresses.
const OWN: &str = "198.51.99.5";
const NAMES: &str = "127.0.0.1 localhost home.example mixed.example\n\
    203.0.114.10 allowed.example mixed.example\n\
    203.0.114.11 other.example sub.allowed.example allowed.example.evil.example evil-allowed.example\n\
    169.254.169.254 metadata.example\n\
    168.63.129.16 platform.example internal-platform.example\n\
    10.9.8.7 private.example internal.example internal-mixed.example\n\
    10.9.9.7 internal-elsewhere.example internal-mixed.example\n\
    127.0.0.1 internal-home.example\n\
    198.51.99.5 own.example internal-own.example\n\
    ::ffff:198.51.99.5 internal-own-mapped.example\n\
    198.51.99.6 neighbour.example\n\
    ::ffff:127.0.0.1 mapped.example\n";
const ALLOWED: [&str; 10] = [
    "allowed.example",
    "platform.example",
    "own.example",
    "neighbour.example",
    "home.example",
    "localhost",
    "metadata.example",
    "private.example",
    "mapped.example",
    "mixed.example",
];
/// Internal hosts with their configured ranges.
const INTERNAL: [&str; 7] = [
    "internal.example=10.9.8.0/24",
    "internal-elsewhere.example=10.9.8.0/24",
    "internal-mixed.example=10.9.8.0/24",
    "internal-home.example=10.9.8.0/24",
    "internal-platform.example=168.0.0.0/8",
    "internal-own.example=198.51.99.0/24",
    "internal-own-mapped.example=198.51.99.0/24",
];
const PORTS: [u16; 5] = [22, 25, 80, 443, 8080];
/// For the first bytes of a connection.
const WORDS_MAX: Duration = Duration::from_secs(5);

async fn proxy_connects_only_to_allowed_hosts(backend: Backend) {
    if std::env::var_os(CONNECTED_VARIABLE).is_none() {
        return run_connected(backend);
    }
    let visitors = listen();
    let mut host = Host::plant();
    let mut spec = room::spec(backend, Place::Connected, ProbePhase::Work, &host);
    let internal = INTERNAL.map(|host| AllowedHost::parse(host).unwrap());
    spec.allowed_hosts = [&ALLOWED.map(AllowedHost::public)[..], &internal].concat();
    let mut room = ProbedSandbox::open(backend.sandbox(), backend, spec).await;
    let mut broken = Vec::new();
    for (group, probe) in probes(Place::Connected, backend, ProbePhase::Work) {
        let mut wrong: Vec<String> = room.attack(&mut host, probe).await.err().into_iter().collect();
        let reached = visitors.connected_addresses();
        let expected = probe.reaches.as_deref().unwrap_or("nobody");
        if !is_like(expected, &reached) {
            wrong.push(format!(
                "the attack: {}\n    it reached: {reached}\n    wanted: {expected}",
                probe.attack
            ));
        }
        wrong.extend(room.legitimate(&host, group, probe).await);
        visitors.connected_addresses();
        if !wrong.is_empty() {
            broken.push(room.report(group, probe, &wrong));
        }
    }
    room.close().await;
    host.leave();
    assert!(broken.is_empty(), "{} probes were not held:\n\n{}\n", broken.len(), broken.join("\n\n"));
}

/// Runs this test again, in a network namespace that imitates the internet.
fn run_connected(backend: Backend) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let hosts = file("hosts", NAMES);
    let resolv = file("resolv.conf", "");
    let name = format!(
        "sandbox_attacks::connected::{}::proxy_connects_only_to_allowed_hosts",
        format!("{backend:?}").to_lowercase()
    );
    let prober_path = prober().display();
    let routes = ELSEWHERE.map(|address| format!("{prober_path} route {address} && ")).concat();
    let addresses = format!("{prober_path} address {OWN} && {routes}");
    let mut command = Command::new("bwrap");
    command.args(["--dev-bind", "/", "/", "--unshare-net", "--die-with-parent", "--cap-add", "ALL"]);
    if !is_root() {
        command.args(["--unshare-user", "--uid", "0", "--gid", "0"]);
    }
    let output = command
        .arg("--ro-bind")
        .args([&hosts, std::path::Path::new("/etc/hosts")])
        .arg("--ro-bind")
        .args([&resolv, &fs::canonicalize("/etc/resolv.conf").unwrap()])
        .args(["/bin/sh", "-c", &format!("{addresses} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--include-ignored", "--nocapture"])
        .env(CONNECTED_VARIABLE, "yes")
        .env(PROBER_VARIABLE, prober())
        .output()
        .unwrap();
    let printed =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

/// The connections to the listeners: local and remote address.
struct Visitors(Receiver<(SocketAddr, SocketAddr)>);

impl Visitors {
    /// The addresses that were connected to since the last call.
    fn connected_addresses(&self) -> String {
        let mut addresses = BTreeSet::new();
        for port in PORTS {
            // Earlier connections are reported before ours.
            let ours = TcpStream::connect(("127.0.0.1", port)).unwrap();
            loop {
                let (place, from) =
                    self.0.recv_timeout(WORDS_MAX).expect("the listener reports every connection");
                if from == ours.local_addr().unwrap() {
                    break;
                }
                addresses.insert(place.to_string());
            }
        }
        if addresses.is_empty() {
            "nobody".to_owned()
        } else {
            addresses.into_iter().collect::<Vec<_>>().join(", ")
        }
    }
}

fn listen() -> Visitors {
    let (sender, receiver) = channel();
    for port in PORTS {
        let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
        let sender = sender.clone();
        thread::spawn(move || {
            while let Ok((connection, from)) = listener.accept() {
                // The peer may have closed the connection already.
                let Ok(place) = connection.local_addr() else { continue };
                // The receiver is gone at the end of the test.
                let _ = sender.send((place, from));
                thread::spawn(move || receive(connection, &place.to_string()));
            }
        });
    }
    Visitors(receiver)
}

/// Responds with the request and the address, in the protocol of the request.
fn receive(mut connection: TcpStream, place: &str) {
    connection.set_read_timeout(Some(WORDS_MAX)).unwrap();
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = connection.read(&mut chunk) {
        received.extend_from_slice(&chunk[..read]);
        if received[0] == 22 || received.windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
    }
    // The peer may have closed the connection.
    if received.first() == Some(&22) {
        let _ = connection.write_all(format!("greeted at {place}").as_bytes());
        return;
    }
    let text = String::from_utf8_lossy(&received).to_lowercase();
    let header = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or("none").trim().to_owned()
    };
    let body = format!("host {} upgrade {} at {place}", header("host"), header("upgrade"));
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let _ = connection.write_all(answer.as_bytes());
}
