//! Attacks on the proxy of the toolbox.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const PORT: u16 = 3128;
const PATIENCE: Duration = Duration::from_secs(20);
const SHOWN_BYTES_MAX: usize = 4096;
/// For the rest of a response that has begun.
const SOON: Duration = Duration::from_millis(300);
/// To connect again after many connections were closed.
const ATTEMPTS_MAX: u32 = 100;
/// Between two pieces of a slow request.
const PAUSE: Duration = Duration::from_millis(20);

fn open() -> std::io::Result<TcpStream> {
    let connection = TcpStream::connect(("127.0.0.1", PORT))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

/// `\r`, `\n`, `\0`, `\\` and `{N*x}` for a run of a letter.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((run, after)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'))
            && let Some((count, letter)) = run.split_once('*')
            && let Ok(count) = count.parse()
        {
            bytes.extend(letter.as_bytes().repeat(count));
            rest = after;
            continue;
        }
        let (byte, length) = match rest.get(..2) {
            Some("\\r") => (Some(b'\r'), 2),
            Some("\\n") => (Some(b'\n'), 2),
            Some("\\0") => (Some(0), 2),
            Some("\\\\") => (Some(b'\\'), 2),
            _ => (None, first.len_utf8()),
        };
        match byte {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(first.to_string().as_bytes()),
        }
        rest = &rest[length..];
    }
    bytes
}

fn one_line(heard: &[u8]) -> String {
    let shown = &heard[..heard.len().min(SHOWN_BYTES_MAX)];
    let text = String::from_utf8_lossy(shown);
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() { "closed".to_owned() } else { words.join(" ") }
}

fn listen(connection: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match connection.read(&mut chunk) {
            Ok(0) => return one_line(&heard),
            Ok(read) => {
                heard.extend_from_slice(&chunk[..read]);
                // The connection may be kept for another request; whatever else comes, comes soon.
                let _ = connection.set_read_timeout(Some(SOON));
            }
            Err(error) if heard.is_empty() && error.kind() == std::io::ErrorKind::WouldBlock => {
                return "no answer".to_owned();
            }
            // Reset or silent after an answer.
            Err(_) => return one_line(&heard),
        }
        if heard.len() > SHOWN_BYTES_MAX {
            return one_line(&heard);
        }
    }
}

/// Sends everything in one piece, and returns the response.
pub fn talk(text: &str) -> String {
    let outcome = open().map(|mut connection| {
        // The proxy may refuse and close the connection before everything is sent.
        let _ = connection.write_all(&bytes(text));
        listen(&mut connection)
    });
    outcome.unwrap_or_else(|error| format!("no proxy: {error}"))
}

/// Sends it byte by byte.
pub fn talk_slowly(text: &str) -> String {
    let outcome = open().map(|mut connection| {
        for byte in bytes(text) {
            if connection.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        listen(&mut connection)
    });
    outcome.unwrap_or_else(|error| format!("no proxy: {error}"))
}

/// Opens so many idle connections, sends a request on another one, and again after they are closed.
pub fn many(count: &str, text: &str) -> String {
    let count: usize = count.parse().expect("a number of connections");
    let place = (Ipv4Addr::LOCALHOST, PORT).into();
    // A connection that is not accepted soon must wait until others are closed.
    let enter = || TcpStream::connect_timeout(&place, SOON);
    let held: Vec<TcpStream> = (0..count).map_while(|_| enter().ok()).collect();
    let opened = held.len();
    let while_full = enter().and_then(|mut connection| {
        connection.set_read_timeout(Some(SOON))?;
        connection.write_all(&bytes(text))?;
        Ok(listen(&mut connection))
    });
    drop(held);
    // A closed connection frees a slot; how soon depends on the proxy.
    let mut afterwards = talk(text);
    for _ in 0..ATTEMPTS_MAX {
        if afterwards != "closed" {
            break;
        }
        std::thread::sleep(PAUSE);
        afterwards = talk(text);
    }
    let while_full = while_full.unwrap_or_else(|error| format!("no proxy: {error}"));
    format!("opened {opened}; then: {while_full}; afterwards: {afterwards}")
}

/// Requests a tunnel and begins TLS in it, for a server with another name.
pub fn hello(authority: &str, name: &str) -> String {
    tunnel(authority, &client_hello(Some(name)))
}

pub fn hello_without_a_name(authority: &str) -> String {
    tunnel(authority, &client_hello(None))
}

fn tunnel(authority: &str, first: &[u8]) -> String {
    let outcome = open().and_then(|mut connection| {
        write!(connection, "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && connection.read(&mut byte)? == 1 {
            head.push(byte[0]);
        }
        if !head.starts_with(b"HTTP/1.1 200") {
            return Ok(format!("no tunnel: {}", one_line(&head)));
        }
        let _ = connection.write_all(first);
        Ok(format!("tunnel: {}", listen(&mut connection)))
    });
    outcome.unwrap_or_else(|error| format!("no tunnel: {error}"))
}

/// The first message of TLS 1.2 and 1.3 (RFC 8446, 4.1.2), with the server's name (RFC 6066, 3).
fn client_hello(name: Option<&str>) -> Vec<u8> {
    let with_length = |bytes: Vec<u8>| [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let entry = [&[0][..], &with_length(name.as_bytes().to_vec())].concat();
        extensions.extend([&[0, 0][..], &with_length(with_length(entry))].concat());
    }
    // Signatures (ECDSA and RSA-PSS), groups (X25519).
    extensions.extend([0, 13, 0, 6, 0, 4, 4, 3, 8, 4]);
    extensions.extend([0, 10, 0, 4, 0, 2, 0, 0x1d]);
    // Supported versions: 1.3 and 1.2.
    extensions.extend([0, 43, 0, 5, 4, 3, 4, 3, 3]);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend(with_length(vec![0x13, 0x01, 0xc0, 0x2f]));
    body.extend([1, 0]);
    body.extend(with_length(extensions));
    let length = (body.len() as u32).to_be_bytes();
    let handshake = [&[1][..], &length[1..], &body].concat();
    [&[22, 3, 1][..], &with_length(handshake)].concat()
}
