//! Listens to an engine's events for containers in which the kernel killed a process because memory ran
//! out. A container that removes itself cannot be inspected for that afterwards.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::engine::Engine;
use super::labels::Label;

/// Before the stream of events is opened again after it has ended.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether the kernel has killed a process of one container because memory ran out.
#[derive(Debug, Default)]
pub(super) struct OutOfMemory(AtomicBool);

impl OutOfMemory {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

type ByContainer = Mutex<HashMap<String, Weak<OutOfMemory>>>;

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    containers: Arc<ByContainer>,
    _listening: DropGuard,
}

impl MemoryWatch {
    /// For the containers of this process.
    pub(super) fn start(engine: &Arc<Engine>, instance: &str) -> Self {
        let containers = Arc::<ByContainer>::default();
        let dropped = CancellationToken::new();
        let (engine, listed, cancelled) = (Arc::clone(engine), Arc::clone(&containers), dropped.clone());
        let filter = format!("{}={instance}", Label::Instance.name());
        let listening = async move {
            loop {
                listen(&engine, &filter, &listed).await;
                sleep(PAUSE).await;
            }
        };
        tokio::spawn(async move { cancelled.run_until_cancelled(listening).await });
        Self { containers, _listening: dropped.drop_guard() }
    }

    pub(super) fn add(&self, id: &str, out_of_memory: &Arc<OutOfMemory>) {
        let mut containers = self.containers.lock();
        containers.retain(|_, container| container.strong_count() > 0);
        containers.insert(id.to_owned(), Arc::downgrade(out_of_memory));
    }
}

async fn listen(engine: &Engine, filter: &str, containers: &ByContainer) {
    let filters = [("type", "container"), ("event", "oom"), ("label", filter)];
    let filters = filters.map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
    let options = EventsOptions { filters: Some(filters.into()), ..EventsOptions::default() };
    let mut events = pin!(engine.api.events(Some(options)));
    while let Some(Ok(event)) = events.next().await {
        let containers = containers.lock();
        let id = event.actor.and_then(|actor| actor.id).unwrap_or_default();
        if let Some(container) = containers.get(&id).and_then(Weak::upgrade) {
            container.0.store(true, Ordering::SeqCst);
        }
    }
}
