//! A tunnel, which must lead where it was asked to: it begins with a TLS greeting that names the
//! allowed host. Anything else ends it.

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::requests::Destination;
use super::{Egress, SETUP_MAX, normal};

/// A greeting has a few hundred bytes, some thousands with the largest keys.
const GREETING_BYTES_MAX: usize = 64 << 10;

/// Passes bytes both ways, once the greeting is as it must be.
pub(super) async fn run(
    egress: &Egress,
    to: &Destination,
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mut upstream: impl AsyncRead + AsyncWrite + Unpin,
) {
    let greeting = match timeout(SETUP_MAX, read_greeting(client)).await {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(why)) => return egress.refuse(&to.host, to.port, &why),
        Err(_) => return egress.refuse(&to.host, to.port, "the tunnel's TLS greeting did not come in time"),
    };
    match greeting.server_name {
        Some(name) if normal(&name) == normal(&to.host) => {}
        Some(name) => {
            let why = format!("the tunnel was asked for '{}' and its TLS greeting is to '{name}'", to.host);
            return egress.refuse(&to.host, to.port, &why);
        }
        None => return egress.refuse(&to.host, to.port, "the tunnel's TLS greeting names no host"),
    }
    if upstream.write_all(&greeting.bytes).await.is_ok() {
        // Either side may break it off; the other then sees its end.
        let _ = tokio::io::copy_bidirectional(client, &mut upstream).await;
    }
}

struct Greeting {
    /// All that was read, to be passed on as it is.
    bytes: Vec<u8>,
    server_name: Option<String>,
}

/// Reads as much as is needed to know to whom the greeting is.
async fn read_greeting(client: &mut (impl AsyncRead + Unpin)) -> Result<Greeting, String> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = client.read(&mut chunk).await.map_err(|e| format!("the tunnel broke off: {e}"))?;
        if read == 0 {
            return Err("the tunnel ended before its TLS greeting".to_owned());
        }
        bytes.extend_from_slice(&chunk[..read]);
        if bytes.len() > GREETING_BYTES_MAX {
            return Err("the tunnel's TLS greeting is too long".to_owned());
        }
        let no_tls =
            |e: &dyn std::fmt::Display| format!("the tunnel does not begin with a TLS greeting: {e}");
        let mut fresh = &chunk[..read];
        while !fresh.is_empty() {
            if acceptor.read_tls(&mut fresh).map_err(|e| no_tls(&e))? == 0 {
                return Err("the tunnel's TLS greeting is too long".to_owned());
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let server_name = accepted.client_hello().server_name().map(str::to_owned);
                    return Ok(Greeting { bytes, server_name });
                }
                Ok(None) => {}
                Err((error, _)) => return Err(no_tls(&error)),
            }
        }
    }
}
