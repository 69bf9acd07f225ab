//! Abuse of the proxy, with a real one: on a host whose network is the test's own, where the names
//! and public addresses that the probes speak of lead to listeners which tell who came.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::data::{Phase, Place, is_like};
use super::host::{Host, PROBER_VARIABLE, is_root, prober};
use super::probes::probes;
use super::room::{Backend, Room};

held_by_every_backend! {
    only_what_is_allowed_is_reached_through_the_proxy,
}

/// Said by the test to itself, when it runs itself in such a network.
const CONNECTED_VARIABLE: &str = "MENDWRIGHT_TEST_CONNECTED";
/// Public ones, one that cloud machines ask for their credentials, and one of a private network.
const ADDRESSES: [&str; 4] = ["203.0.114.10", "203.0.114.11", "169.254.169.254", "10.9.8.7"];
const NAMES: &str = "127.0.0.1 localhost home.example mixed.example\n\
    203.0.114.10 allowed.example mixed.example\n\
    203.0.114.11 other.example sub.allowed.example allowed.example.evil.example evil-allowed.example\n\
    169.254.169.254 metadata.example\n\
    10.9.8.7 private.example\n\
    ::ffff:127.0.0.1 mapped.example\n";
const ALLOWED: [&str; 7] = [
    "allowed.example",
    "home.example",
    "localhost",
    "metadata.example",
    "private.example",
    "mapped.example",
    "mixed.example",
];
const PORTS: [u16; 5] = [22, 25, 80, 443, 8080];
/// For the first words of who has come.
const WORDS_MAX: Duration = Duration::from_secs(5);

async fn only_what_is_allowed_is_reached_through_the_proxy(backend: Backend) {
    if std::env::var_os(CONNECTED_VARIABLE).is_none() {
        return run_connected(backend);
    }
    let visitors = listen();
    let mut host = Host::plant();
    let mut spec = backend.spec(Place::Connected, Phase::Work, &host);
    spec.allowed_hosts = ALLOWED.map(str::to_owned).to_vec();
    let mut room = Room::open(backend.sandbox(), backend, spec).await;
    let mut broken = Vec::new();
    for (group, probe) in probes(Place::Connected, backend, Phase::Work) {
        let mut wrong: Vec<String> = room.attack(&mut host, probe).await.err().into_iter().collect();
        let reached = visitors.who_came();
        let expected = probe.reaches.as_deref().unwrap_or("nobody");
        if !is_like(expected, &reached) {
            wrong.push(format!(
                "the attack: {}\n    it reached: {reached}\n    wanted: {expected}",
                probe.attack
            ));
        }
        wrong.extend(room.legitimate(&host, group, probe).await);
        visitors.who_came();
        if !wrong.is_empty() {
            broken.push(room.report(group, probe, &wrong));
        }
    }
    room.close().await;
    host.leave();
    assert!(broken.is_empty(), "{} probes were not held:\n\n{}\n", broken.len(), broken.join("\n\n"));
}

/// This test once more, in a network namespace that is like the internet.
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
        "sandbox_attacks::connected::{}::only_what_is_allowed_is_reached_through_the_proxy",
        format!("{backend:?}").to_lowercase()
    );
    let addresses: String =
        ADDRESSES.iter().map(|address| format!("{} address {address} && ", prober().display())).collect();
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
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Where connections came to, and from where.
struct Visitors(Receiver<(SocketAddr, SocketAddr)>);

impl Visitors {
    /// Since it was last asked.
    fn who_came(&self) -> String {
        let mut came = BTreeSet::new();
        for port in PORTS {
            // Who has come before us is told before us.
            let ours = TcpStream::connect(("127.0.0.1", port)).unwrap();
            loop {
                let (place, from) = self.0.recv().unwrap();
                if from == ours.local_addr().unwrap() {
                    break;
                }
                came.insert(place.to_string());
            }
        }
        if came.is_empty() { "nobody".to_owned() } else { came.into_iter().collect::<Vec<_>>().join(", ") }
    }
}

fn listen() -> Visitors {
    let (sender, receiver) = channel();
    for port in PORTS {
        let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
        let sender = sender.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let place = connection.local_addr().unwrap();
                // At the test's end nobody listens any more.
                let _ = sender.send((place, connection.peer_addr().unwrap()));
                thread::spawn(move || receive(connection, &place.to_string()));
            }
        });
    }
    Visitors(receiver)
}

/// Says what was asked for and where, in the language in which it was asked.
fn receive(mut connection: TcpStream, place: &str) {
    connection.set_read_timeout(Some(WORDS_MAX)).unwrap();
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = connection.read(&mut chunk) {
        heard.extend_from_slice(&chunk[..read]);
        if heard[0] == 22 || heard.windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
    }
    // Whoever came may have left.
    if heard.first() == Some(&22) {
        let _ = connection.write_all(format!("greeted at {place}").as_bytes());
        return;
    }
    let text = String::from_utf8_lossy(&heard).to_lowercase();
    let header = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or("none").trim().to_owned()
    };
    let body = format!("host {} upgrade {} at {place}", header("host"), header("upgrade"));
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let _ = connection.write_all(answer.as_bytes());
}
