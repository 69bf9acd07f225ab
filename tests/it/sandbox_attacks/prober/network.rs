//! All ways to connect to another machine, to listeners of this one, or to another process through the kernel.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::time::Duration;

use super::Outcome;
use super::calls::{Errno, call, integer};

const PATIENCE: Duration = Duration::from_secs(3);

pub fn socket(family: &str, kind: &str, protocol: &str) -> Outcome {
    let arguments = [family, kind, protocol].map(|word| integer(word) as usize);
    call("socket", &arguments).map(|_| "ok".to_owned())
}

pub fn socketpair(family: &str) -> Outcome {
    let ends = [0i32; 2];
    call("socketpair", &[integer(family) as usize, 1, 0, ends.as_ptr() as usize]).map(|_| "ok".to_owned())
}

fn internet(address: &str, port: &str) -> SocketAddr {
    let address: IpAddr = address.parse().unwrap_or_else(|e| panic!("'{address}' is no address: {e}"));
    SocketAddr::new(address, integer(port) as u16)
}

/// `tcp ADDRESS PORT`, `unix PATH`, `abstract NAME`.
pub fn connect(place: &[&str]) -> Outcome {
    match place {
        ["tcp", address, port] => {
            drop(TcpStream::connect_timeout(&internet(address, port), PATIENCE).map_err(slow)?);
        }
        ["unix", path] => drop(UnixStream::connect(path)?),
        ["abstract", name] => drop(UnixStream::connect_addr(&UnixAddr::from_abstract_name(name)?)?),
        unknown => panic!("{unknown:?} is no place to connect to"),
    }
    Ok("connected".to_owned())
}

fn slow(error: std::io::Error) -> Errno {
    const TIMED_OUT: i32 = 110;
    match error.kind() {
        std::io::ErrorKind::TimedOut => Errno(TIMED_OUT),
        _ => error.into(),
    }
}

/// A datagram: `udp ADDRESS PORT`, `abstract NAME`.
pub fn send(place: &[&str]) -> Outcome {
    match place {
        ["udp", address, port] => {
            let to = internet(address, port);
            let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(from)?;
            socket.set_broadcast(true)?;
            socket.send_to(b"let me out", to)?;
        }
        unknown => panic!("{unknown:?} is no place to send to"),
    }
    Ok("sent".to_owned())
}

/// What test suites often do: start a server on the loopback interface.
pub fn serve_own() -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    server.write_all(b"hello")?;
    let mut heard = [0; 5];
    client.read_exact(&mut heard)?;
    let (mut one, mut other) = UnixStream::pair()?;
    one.write_all(&heard)?;
    other.read_exact(&mut heard)?;
    Ok("served".to_owned())
}

/// The names of the network interfaces.
pub fn interfaces() -> String {
    let table = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let names: Vec<&str> =
        table.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
    names.join(" ")
}

/// Routes an address to this machine, although it does not belong to this machine.
pub fn take_route(address: &str) -> Outcome {
    const NEW_ROUTE: u16 = 24;
    const REQUEST_CREATE_ACKNOWLEDGE: u16 = 0x1 | 0x400 | 0x4;
    let IpAddr::V4(address) = internet(address, "0").ip() else { panic!("an IPv4 address is needed") };
    // A header (rtnetlink(7)); then the internet's family, all bits of the address, the table of what
    // is local, by an administrator, for this host, of the kind "local"; address and interface (lo).
    let head =
        [&44u32.to_ne_bytes()[..], &NEW_ROUTE.to_ne_bytes(), &REQUEST_CREATE_ACKNOWLEDGE.to_ne_bytes()];
    let route = [2u8, 32, 0, 0, 255, 4, 254, 2, 0, 0, 0, 0];
    let attribute =
        |kind: u16, value: [u8; 4]| [&8u16.to_ne_bytes()[..], &kind.to_ne_bytes(), &value].concat();
    let request = [
        head.concat(),
        vec![0; 8],
        route.to_vec(),
        attribute(1, address.octets()),
        attribute(4, 1u32.to_ne_bytes()),
    ]
    .concat();
    let socket = call("socket", &[16, 3, 0])?;
    call("sendto", &[socket, request.as_ptr() as usize, request.len(), 0, 0, 0])?;
    let answer = [0u8; 128];
    call("recvfrom", &[socket, answer.as_ptr() as usize, answer.len(), 0, 0, 0])?;
    // Of the acknowledgement: an error's number, negative, behind its header.
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok("ok".to_owned()),
        error => Err(Errno(-error)),
    }
}

/// Gives the loopback interface an address, as an administrator would.
pub fn take_address(address: &str) -> Outcome {
    const SET_ADDRESS: usize = 0x8916;
    let IpAddr::V4(address) = internet(address, "0").ip() else { panic!("an IPv4 address is needed") };
    let mut request = [0u8; 40];
    request[..3].copy_from_slice(b"lo:");
    // An interface can have several, each by a name of its own.
    request[3] = b'a' + address.octets()[3] % 26;
    request[16..18].copy_from_slice(&2u16.to_ne_bytes());
    request[20..24].copy_from_slice(&address.octets());
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    call("ioctl", &[socket.as_raw_fd() as usize, SET_ADDRESS, request.as_ptr() as usize])?;
    Ok("ok".to_owned())
}

/// Listens on an abstract name until it is killed.
pub fn hold_abstract(name: &str) -> Outcome {
    let listener = UnixListener::bind_addr(&UnixAddr::from_abstract_name(name)?)?;
    println!("holding");
    for connection in listener.incoming() {
        // The peer may have closed the connection.
        let _ = connection.and_then(|mut connection| connection.write_all(b"hello"));
    }
    Ok("ended".to_owned())
}

/// Listens on a port of the loopback interface until it is killed.
pub fn hold_port(port: &str) -> Outcome {
    let listener = TcpListener::bind(internet("127.0.0.1", port))?;
    println!("holding");
    for connection in listener.incoming() {
        // The peer may have closed the connection.
        let _ = connection.and_then(|mut connection| connection.write_all(b"hello"));
    }
    Ok("ended".to_owned())
}

const CREATE: usize = 0o1000;
const FOR_EVERYBODY: usize = 0o666;

/// Finds an object of another process in the kernel by its number or name: `shm`, `msg`, `sem`, `mq`.
pub fn ipc(kind: &str, name: &str) -> Outcome {
    reach_ipc(kind, name, 0).map(|_| "found".to_owned())
}

/// Creates such an object.
pub fn leave_ipc(kind: &str, name: &str) -> Outcome {
    reach_ipc(kind, name, CREATE | FOR_EVERYBODY).map(|_| "left".to_owned())
}

/// The identifier of such an object.
pub fn reach_ipc(kind: &str, name: &str, flags: usize) -> Result<usize, Errno> {
    const CREATE_FILE: usize = 0o100;
    let size = if flags == 0 { 0 } else { 4096 };
    match kind {
        "shm" => call("shmget", &[integer(name) as usize, size, flags]),
        "msg" => call("msgget", &[integer(name) as usize, flags]),
        "sem" => call("semget", &[integer(name) as usize, usize::from(flags != 0), flags]),
        "mq" => {
            let name = std::ffi::CString::new(name).expect("no zero in a name");
            let create = if flags == 0 { 0 } else { CREATE_FILE };
            call("mq_open", &[name.as_ptr() as usize, create, FOR_EVERYBODY, 0])
        }
        unknown => panic!("'{unknown}' is no kind of what processes share"),
    }
}
