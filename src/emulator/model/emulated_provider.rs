//! The emulated provider as a value: start, addresses, recorded requests, shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::conversation::Conversation;
use super::provider::Provider;
use super::serve;
use super::shared::{RecordedRequest, Shared};

/// How long open answers may take to end at shutdown.
const SHUT_DOWN_TIME_MAX: Duration = Duration::from_secs(5);

/// A running provider. Dropping it stops it.
pub struct EmulatedProvider {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: DropGuard,
    server: JoinHandle<()>,
}

impl EmulatedProvider {
    /// Starts a provider that listens at `listen`; port 0 takes a free one.
    pub async fn start(listen: SocketAddr, conversation: Conversation) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared::new(conversation, stop.clone()));
        let router = serve::router(Arc::clone(&shared));
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "emulated model provider failed");
            }
        });
        Ok(Self { address, shared, stop: stop.drop_guard(), server })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base address for a provider's format.
    pub fn url_for(&self, provider: impl Into<Provider>) -> Url {
        self.url(provider.into().format().base)
    }

    fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().expect("a socket address makes a URL")
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.memory().requests.clone()
    }

    /// The number of recorded requests.
    pub fn request_count(&self) -> usize {
        self.shared.memory().requests.len()
    }

    /// Continues the answers that wait because of [`TurnFault::Hold`](super::TurnFault::Hold), and all later
    /// ones.
    pub fn continue_held_answers(&self) {
        self.shared.gate.open();
    }

    /// The rejected requests so far, each as a message.
    pub fn violations(&self) -> Vec<String> {
        self.shared.memory().violations.clone()
    }

    /// How often a conversation continued with results that handles had replaced.
    pub fn rewrites(&self) -> usize {
        self.shared.memory().rewrites
    }

    /// How often a prompt was longer than the conversation's `context_tokens`.
    pub fn overflows(&self) -> usize {
        self.shared.memory().overflows
    }

    /// Ends open answers, stops listening and waits until both have happened.
    pub async fn shut_down(self) {
        drop(self.stop);
        let mut server = self.server;
        if tokio::time::timeout(SHUT_DOWN_TIME_MAX, &mut server).await.is_err() {
            server.abort();
        }
    }
}
