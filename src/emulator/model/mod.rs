//! An emulated model provider over real HTTP, for both wire formats, driven by a conversation file.
//!
//! It also polices every request as strictly as the strictest real provider: what it does not
//! accept is answered with status 400 and kept as a violation, so that a story can end with
//! `violations()` being empty. It never sees a key's text beyond noticing that there is one.
//!
//! # The conversation file
//! ```json
//! {
//!   "about": "for people; optional",
//!   "model": "demo-model",
//!   "brief_model": "demo-small",
//!   "brief": [ { "say": "Likely in src/lib.rs" } ],
//!   "turns": [
//!     { "expect": { "contains": ["text"], "last_contains": ["text"], "not_contains": ["text"] },
//!       "think": "reasoning, sent with a signature that must come back unchanged (Anthropic)",
//!       "say": "text",
//!       "calls": [ { "tool": "edit_file", "arguments": { "path": "a" } },
//!                  { "tool": "edit_file", "raw_arguments": "{\"broken" } ],
//!       "usage": { "input": 1200, "output": 80, "cache_read": 1000, "cache_write": 0 },
//!       "stop": "output_limit",
//!       "fault": { "status": 529, "times": 2, "retry_after": 1 } }
//!   ],
//!   "afterwards": "error",
//!   "context_tokens": 200000
//! }
//! ```
//! - A request **with tools** gets the turn whose index is the number of assistant messages in it,
//!   so nothing is remembered and a resumed conversation goes on at its place. One whose first
//!   message says `Turns so far: N.` stands for an earlier one, and goes on at turn N. A request
//!   **without tools** gets the first turn of `brief` whose `expect` holds.
//! - `expect`: texts that must, or must not, be in the request (system prompt, messages, tool
//!   results, tool arguments), or in its last message. Otherwise: 400 and a violation.
//! - `calls`: `arguments` is JSON (default `{}`), `raw_arguments` is text that need not be.
//! - `usage`: default from sizes (four bytes a token), with cache reads for the prefix seen before.
//! - `stop`: `output_limit` or `refusal`; by default what follows from `calls`.
//! - `fault`, for the first `times` (default 1) requests for this turn in each conversation:
//!   `{"status": 529, "retry_after": 1, "message": "…"}`, `{"cut_after_bytes": 100}` (connection
//!   reset; with `"cleanly": true` a proper end of the body), `{"stall": true}` (silence after half
//!   the answer), `{"hold": true}` (silence until the story releases it), `{"content_type": "text/html"}`, `{"stream_error": "overloaded_error"}`.
//! - `afterwards`: after the last turn, `error` (default: 400 and a violation) or `repeat_last`.
//! - `context_tokens`: a longer prompt is answered as too long, which is no violation. Default: none.
//! - Reasoning is signed with everything before it; where that changes, it is a violation. So is a
//!   conversation that changes in the middle, other than by results becoming handles of `read_result`.
//! - A model name that is neither `model` nor `brief_model` is 404, as with a real provider.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use crate::gate::Gate;

mod answer;
mod anthropic;
mod conversation;
mod heard;
mod openai;
mod provider;
mod serve;
mod usage;

pub use conversation::{
    Afterwards, Call, Conversation, Expect, Fault, InvalidConversation, StopOverride, Turn, TurnUsage,
};
pub use provider::Provider;

/// Requests that are kept for looking at; older ones are let go.
const REQUESTS_KEPT_MAX: usize = 1_000;
/// How long open answers may take to end at shutdown.
const SHUT_DOWN_TIME_MAX: Duration = Duration::from_secs(5);

/// A running provider. Dropping it stops it.
pub struct EmulatedProvider {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: DropGuard,
    server: JoinHandle<()>,
}

/// A request as it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedRequest {
    /// Which wire format it was in.
    pub provider: Provider,
    /// The turn it was answered with: the number of assistant messages in it.
    pub turn: Option<usize>,
    /// The status of the answer.
    pub status: u16,
    /// The body; null where it was not JSON.
    pub body: Value,
}

/// What the handlers share.
struct Shared {
    conversation: Conversation,
    stop: CancellationToken,
    /// Where held answers wait.
    gate: Gate,
    memory: Mutex<Memory>,
}

/// What is remembered of earlier requests: nothing that an answer's words depend on.
#[derive(Default)]
struct Memory {
    requests: Vec<RecordedRequest>,
    violations: Vec<String>,
    /// How often each turn of each conversation was asked for, for faults that pass.
    asked: HashMap<(String, bool, usize), u32>,
    /// System prompt and tools by conversation.
    prefixes: HashMap<String, String>,
    /// Fingerprints of the messages of each request, by conversation.
    said: HashMap<String, Vec<Vec<u64>>>,
    /// How often results became handles.
    rewrites: usize,
    /// How often a prompt was too long.
    overflows: usize,
    seen: usage::SeenPrefixes,
}

impl EmulatedProvider {
    /// Starts to listen at `listen` (port 0 for a free one).
    pub async fn start(listen: SocketAddr, conversation: Conversation) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            conversation,
            stop: stop.clone(),
            gate: Gate::default(),
            memory: Mutex::new(Memory::default()),
        });
        let router = serve::router(Arc::clone(&shared));
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the emulated model provider stopped");
            }
        });
        Ok(Self { address, shared, stop: stop.drop_guard(), server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base address for Anthropic's format.
    pub fn url_anthropic(&self) -> Url {
        self.url("")
    }

    /// The base address for OpenAI's format, ending in `/v1`.
    pub fn url_openai(&self) -> Url {
        self.url("/v1")
    }

    /// The base address for a provider's format.
    pub fn url_for(&self, provider: impl Into<Provider>) -> Url {
        match provider.into() {
            Provider::Anthropic => self.url_anthropic(),
            Provider::OpenAi => self.url_openai(),
        }
    }

    fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().expect("a socket address makes an address")
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.memory().requests.clone()
    }

    /// How many requests there were, as far as they are kept.
    pub fn request_count(&self) -> usize {
        self.shared.memory().requests.len()
    }

    /// Lets the answers go on that wait because of [`Fault::Hold`], and all later ones.
    pub fn release_held_answers(&self) {
        self.shared.gate.open();
    }

    /// What was not accepted so far.
    pub fn violations(&self) -> Vec<String> {
        self.shared.memory().violations.clone()
    }

    /// How often a conversation went on with results that had become handles.
    pub fn rewrites(&self) -> usize {
        self.shared.memory().rewrites
    }

    /// How often a prompt was longer than the conversation's `context_tokens`.
    pub fn overflows(&self) -> usize {
        self.shared.memory().overflows
    }

    /// Ends open answers, stops listening and waits until both are done.
    pub async fn shut_down(self) {
        drop(self.stop);
        let mut server = self.server;
        if tokio::time::timeout(SHUT_DOWN_TIME_MAX, &mut server).await.is_err() {
            server.abort();
        }
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn record(&mut self, request: RecordedRequest) {
        if self.requests.len() >= REQUESTS_KEPT_MAX {
            self.requests.remove(0);
        }
        self.requests.push(request);
    }
}
