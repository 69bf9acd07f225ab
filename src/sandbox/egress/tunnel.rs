//! A tunnel, which must begin with a TLS ClientHello that names the requested host. Anything else ends it.

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::destination::Destination;
use super::{Egress, SETUP_MAX, normalized};

/// A ClientHello has a few hundred bytes, or some thousands with the largest keys.
const CLIENT_HELLO_BYTES_MAX: usize = 64 << 10;

/// Passes bytes in both directions, after the ClientHello was checked.
pub(super) async fn run(
    egress: &Egress,
    to: &Destination,
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mut upstream: impl AsyncRead + AsyncWrite + Unpin,
) {
    let hello = match timeout(SETUP_MAX, read_client_hello(client)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(why)) => return egress.refuse(&to.host, to.port, &why),
        Err(_) => return egress.refuse(&to.host, to.port, "the tunnel's TLS greeting did not come in time"),
    };
    match hello.server_name {
        Some(name) if normalized(&name) == normalized(&to.host) => {}
        Some(name) => {
            let why = format!("the tunnel was asked for '{}' and its TLS greeting is to '{name}'", to.host);
            return egress.refuse(&to.host, to.port, &why);
        }
        None => return egress.refuse(&to.host, to.port, "the tunnel's TLS greeting names no host"),
    }
    if upstream.write_all(&hello.bytes).await.is_ok() {
        // Either side may close it. Then the other side sees its end.
        let _ = tokio::io::copy_bidirectional(client, &mut upstream).await;
    }
}

struct ClientHello {
    /// All bytes that were read, to be passed on unchanged.
    bytes: Vec<u8>,
    server_name: Option<String>,
}

/// Reads until the server name is known.
async fn read_client_hello(client: &mut (impl AsyncRead + Unpin)) -> Result<ClientHello, String> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = client.read(&mut chunk).await.map_err(|e| format!("the tunnel broke off: {e}"))?;
        if read == 0 {
            return Err("the tunnel ended before its TLS greeting".to_owned());
        }
        bytes.extend_from_slice(&chunk[..read]);
        if bytes.len() > CLIENT_HELLO_BYTES_MAX {
            return Err("the tunnel's TLS greeting is too long".to_owned());
        }
        let not_tls =
            |e: &dyn std::fmt::Display| format!("the tunnel does not begin with a TLS greeting: {e}");
        let mut fresh = &chunk[..read];
        while !fresh.is_empty() {
            if acceptor.read_tls(&mut fresh).map_err(|e| not_tls(&e))? == 0 {
                return Err("the tunnel's TLS greeting is too long".to_owned());
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let server_name = accepted.client_hello().server_name().map(str::to_owned);
                    return Ok(ClientHello { bytes, server_name });
                }
                Ok(None) => {}
                Err((error, _)) => return Err(not_tls(&error)),
            }
        }
    }
}
