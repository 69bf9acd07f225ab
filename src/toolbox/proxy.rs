//! A port on the sandbox's own loopback interface whose connections all end at the host. What may
//! be reached is decided there; nothing is understood here.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use mendwright_protocol::mux::Opener;

/// Connections at one time: more than the host serves, and half of the streams that the pipe has, so
/// that whoever opens thousands leaves room for the host's calls. The others wait to be taken.
const CONNECTIONS_MAX: usize = 128;
/// For the first word of whoever connects.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Takes the port.
pub async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Passes every connection on, for ever.
pub async fn lend(listener: TcpListener, opener: Opener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The places are there for ever.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        // A connection that was given up before it was taken, or too many files open: the next one
        // may do better.
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
    // A stream that is closed before anything was said on it is one that the host never hears of, so
    // that its end would never come.
    let mut first = [0];
    if !matches!(timeout(SILENCE_MAX, connection.peek(&mut first)).await, Ok(Ok(1..))) {
        return;
    }
    let Some(mut stream) = opener.open().await else { return };
    // Either side may break it off; the other then sees its end.
    let _ = tokio::io::copy_bidirectional(&mut connection, &mut stream).await;
}
