//! Another process of the host's: it holds secrets in its environment, arguments and memory, listens
//! on everything that a sandbox must not reach, and counts who came. Runs outside of all sandboxes.

use std::io::{BufRead, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::ExitCode;

use super::calls::call;
use super::network::reach_ipc;

const CREATE_FOR_EVERYBODY: usize = 0o1666;
const REMOVE: usize = 0;

/// `canary SECRET DIRECTORY KEY`: says where it listens, then for every line that it reads who came
/// since; ends with its input, and leaves nothing behind.
pub fn stand(words: &[&str]) -> ExitCode {
    let [secret, directory, key] = words else {
        println!("canary SECRET DIRECTORY KEY");
        return ExitCode::FAILURE;
    };
    let memory: Vec<u8> = secret.bytes().cycle().take(64 << 10).collect();
    let mut visitors = Visitors(Vec::new());
    let name = format!("mendwright-canary-{key}");
    let mut report = format!("abstract={name}");
    for (place, address) in [("tcp4", "127.0.0.1:0"), ("tcp6", "[::1]:0"), ("any", "0.0.0.0:0")] {
        // Without IPv6 there is nothing to reach by it.
        let port = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            visitors.expect(place, move || listener.accept().is_ok());
            Ok(port)
        });
        report.push_str(&format!(" {place}={}", port.unwrap_or(1)));
    }
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a datagram socket on the loopback interface");
    report.push_str(&format!(" udp4={}", datagrams.local_addr().expect("an address").port()));
    datagrams.set_nonblocking(true).expect("a socket that does not wait");
    visitors.expect("udp4", move || datagrams.recv(&mut [0; 64]).is_ok());
    let abstract_name = SocketAddr::from_abstract_name(&name).expect("a short name");
    let listener = UnixListener::bind_addr(&abstract_name).expect("an abstract name of our own");
    visitors.expect_local("abstract", listener);
    for file in ["agent.sock", "docker.sock", "bus.sock"] {
        let path = format!("{directory}/{file}");
        let listener = UnixListener::bind(&path).expect("a socket in our own directory");
        open_to_everybody(&path);
        visitors.expect_local(file, listener);
    }
    let shared = ["shm", "msg", "sem"].map(|kind| (kind, reach_ipc(kind, key, CREATE_FOR_EVERYBODY)));
    let queue = format!("mendwright-canary-{key}");
    let _ = reach_ipc("mq", &queue, CREATE_FOR_EVERYBODY);
    println!("{report}");
    let _ = std::io::stdout().flush();
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        let untouched = memory.iter().copied().eq(secret.bytes().cycle().take(memory.len()));
        let changed = if untouched { "" } else { " memory-was-changed" };
        println!("came:{}{changed}", visitors.since());
        let _ = std::io::stdout().flush();
    }
    for (kind, identifier) in shared {
        let Ok(identifier) = identifier else { continue };
        let _ = match kind {
            "shm" => call("shmctl", &[identifier, REMOVE, 0]),
            "msg" => call("msgctl", &[identifier, REMOVE, 0]),
            _ => call("semctl", &[identifier, 0, REMOVE, 0]),
        };
    }
    if let Ok(queue) = std::ffi::CString::new(queue) {
        let _ = call("mq_unlink", &[queue.as_ptr() as usize]);
    }
    ExitCode::SUCCESS
}

fn open_to_everybody(path: &str) {
    use std::os::unix::fs::PermissionsExt;
    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666));
}

/// The places where somebody may come, each with what tells whether somebody waits there. Asked
/// only when the test asks: the kernel keeps who has come until then.
struct Visitors(Vec<(&'static str, Question)>);

/// Whether somebody waits.
type Question = Box<dyn Fn() -> bool>;

impl Visitors {
    fn expect(&mut self, place: &'static str, next: impl Fn() -> bool + 'static) {
        self.0.push((place, Box::new(next)));
    }

    fn expect_local(&mut self, place: &'static str, listener: UnixListener) {
        listener.set_nonblocking(true).expect("a socket that does not wait");
        self.expect(place, move || listener.accept().is_ok());
    }

    /// Who came since it was last asked.
    fn since(&self) -> String {
        let came = self.0.iter().filter(|(_, next)| std::iter::from_fn(|| next().then_some(())).count() > 0);
        came.map(|(place, _)| format!(" {place}")).collect()
    }
}
