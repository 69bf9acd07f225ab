//! A port on the sandbox's loopback interface that forwards every connection to the host. The host decides what may
//! be reached; nothing is interpreted here.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use mendwright_protocol::mux::Opener;

/// Concurrent connections: more than the host serves, and half of the pipe's streams, so that a command with
/// thousands of connections leaves streams for the host's calls. The others wait to be accepted.
const CONNECTIONS_MAX: usize = 128;
/// Time for the first bytes of a connection.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Listens on the port.
pub async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Forwards every connection, for ever.
pub async fn lend(listener: TcpListener, opener: Opener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The places are there for ever.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        // The connection was closed before it was accepted, or too many files are open: the next one may
        // succeed.
        let Ok((connection, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let opener = opener.clone();
        tokio::spawn(async move {
            pass_on(connection, opener).await;
            drop(place);
        });
    }
}

async fn pass_on(mut connection: TcpStream, opener: Opener) {
    // The host never learns of a stream that is closed before anything was sent on it, so its end would never
    // come.
    let mut first = [0];
    if !matches!(timeout(SILENCE_MAX, connection.peek(&mut first)).await, Ok(Ok(1..))) {
        return;
    }
    let Some(mut stream) = opener.open().await else { return };
    // If one side closes it, the other sees its end.
    let _ = tokio::io::copy_bidirectional(&mut connection, &mut stream).await;
}
