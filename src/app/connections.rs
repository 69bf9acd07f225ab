//! Accepts HTTP connections within bounds: so many at a time, and none that takes long to send a
//! request's head. Strangers can open connections, too, and theirs must not use up the descriptors
//! that jobs need or keep GitHub's out. If there are too many, the oldest is closed: a delivery is
//! over within moments.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tracing::{debug, warn};

/// Connections at a time: many more than GitHub opens.
const CONNECTIONS_MAX: usize = 256;
/// Connections take at most this part of the file descriptors that the process may open: the store,
/// sandboxes and git need the others.
const DESCRIPTOR_SHARE: u64 = 4;
/// For a request's head, and between two requests of a connection.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How long to wait if no connection can be accepted, for example if there is no free descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `shutdown`, then completes the requests that are being answered.
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let mut connections = Connections::new(connections_max());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connections.one_ended() => continue,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => connections.begin(answer(stream, peer, router.clone(), shutdown.clone())),
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.all_ended().await;
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, peer: SocketAddr, router: Router, shutdown: CancellationToken) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        async move {
            // A router is always ready.
            let response = router.call(request).await;
            response.map_err(|never: Infallible| never)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, %peer, "a connection ended early");
    }
}

fn connections_max() -> usize {
    use nix::sys::resource::{Resource, getrlimit};
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    usize::try_from(descriptors / DESCRIPTOR_SHARE).unwrap_or(CONNECTIONS_MAX).clamp(1, CONNECTIONS_MAX)
}

/// The open connections, by age.
struct Connections {
    max: usize,
    next_id: u64,
    tasks: JoinSet<u64>,
    by_age: BTreeMap<u64, AbortHandle>,
}

impl Connections {
    fn new(max: usize) -> Self {
        Self { max, next_id: 0, tasks: JoinSet::new(), by_age: BTreeMap::new() }
    }

    /// Begins to answer a connection; if there are too many, the oldest is closed.
    fn begin(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.by_age.len() >= self.max {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            oldest.abort();
        }
        self.next_id += 1;
        let id = self.next_id;
        let task = self.tasks.spawn(async move {
            connection.await;
            id
        });
        self.by_age.insert(id, task);
    }

    /// Waits until a connection ends; for ever if there is none.
    async fn one_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(id)) => drop(self.by_age.remove(&id)),
            // It was closed by us, or it panicked.
            Some(Err(_)) => self.by_age.retain(|_, task| !task.is_finished()),
            None => std::future::pending().await,
        }
    }

    async fn all_ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn connections_beyond_the_limit_close_the_oldest_and_never_wait() {
        let mut connections = Connections::new(2);
        let ended = Arc::new(Notify::new());
        for _ in 0..100 {
            connections.begin(std::future::pending());
        }
        assert_eq!(connections.by_age.len(), 2);
        let newest = ended.clone();
        connections.begin(async move { newest.notify_one() });
        ended.notified().await;
        while connections.by_age.len() > 1 {
            connections.one_ended().await;
        }
        assert_eq!(connections.by_age.keys().copied().collect::<Vec<_>>(), [100]);
    }
}
