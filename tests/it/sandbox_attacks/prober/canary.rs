//! Another process of the host's: it holds secrets in its environment, arguments and memory, listens
//! on everything that a sandbox must not reach, and counts who came. Runs outside of all sandboxes.

use std::io::{BufRead, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

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
    let came: Arc<Visitors> = Arc::default();
    let name = format!("mendwright-canary-{key}");
    let mut said = format!("abstract={name}");
    for (place, address) in [("tcp4", "127.0.0.1:0"), ("tcp6", "[::1]:0"), ("any", "0.0.0.0:0")] {
        let port = TcpListener::bind(address).and_then(|listener| {
            let port = listener.local_addr()?.port();
            came.count(place, move || listener.accept().is_ok());
            Ok(port)
        });
        // Without IPv6 there is nothing to reach by it.
        said.push_str(&format!(" {place}={}", port.unwrap_or(1)));
    }
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a datagram socket on the loopback interface");
    said.push_str(&format!(" udp4={}", datagrams.local_addr().expect("an address").port()));
    came.count("udp4", move || datagrams.recv(&mut [0; 64]).is_ok());
    let abstract_name = SocketAddr::from_abstract_name(&name).expect("a short name");
    let listener = UnixListener::bind_addr(&abstract_name).expect("an abstract name of our own");
    came.count("abstract", move || listener.accept().is_ok());
    for file in ["agent.sock", "docker.sock", "bus.sock"] {
        let path = format!("{directory}/{file}");
        let listener = UnixListener::bind(&path).expect("a socket in our own directory");
        open_to_everybody(&path);
        came.count(file, move || listener.accept().is_ok());
    }
    let shared = ["shm", "msg", "sem"].map(|kind| (kind, reach_ipc(kind, key, CREATE_FOR_EVERYBODY)));
    let queue = format!("mendwright-canary-{key}");
    let _ = reach_ipc("mq", &queue, CREATE_FOR_EVERYBODY);
    println!("{said}");
    let _ = std::io::stdout().flush();
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        let untouched = memory.iter().copied().eq(secret.bytes().cycle().take(memory.len()));
        let changed = if untouched { "" } else { " memory-was-changed" };
        println!("came:{}{changed}", came.since());
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

#[derive(Default)]
struct Visitors(std::sync::Mutex<Vec<(&'static str, Arc<AtomicU64>)>>);

impl Visitors {
    fn count(&self, place: &'static str, accept: impl Fn() -> bool + Send + 'static) {
        let counter = Arc::new(AtomicU64::new(0));
        self.0.lock().expect("nobody panics with it").push((place, Arc::clone(&counter)));
        thread::spawn(move || {
            while accept() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    /// Who came since it was last asked.
    fn since(&self) -> String {
        let places = self.0.lock().expect("nobody panics with it");
        let came = places.iter().filter(|(_, counter)| counter.swap(0, Ordering::SeqCst) > 0);
        came.map(|(place, _)| format!(" {place}")).collect()
    }
}
