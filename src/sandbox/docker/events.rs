//! What an engine tells by itself: that the kernel ended something in a container for memory. A
//! container that removes itself cannot be asked about that afterwards.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::container::Label;
use super::engine::Engine;
use super::running::Fate;

/// Before an engine that has stopped telling is asked again.
const PAUSE: Duration = Duration::from_secs(1);

type Fates = Mutex<HashMap<String, Weak<Fate>>>;

/// Listens for as long as it is kept.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    fates: Arc<Fates>,
    _listening: DropGuard,
}

impl MemoryWatch {
    /// For the containers of this process.
    pub(super) fn start(engine: &Arc<Engine>, instance: &str) -> Self {
        let fates = Arc::<Fates>::default();
        let unwanted = CancellationToken::new();
        let (engine, noted, over) = (Arc::clone(engine), Arc::clone(&fates), unwanted.clone());
        let filter = format!("{}={instance}", Label::Instance.name());
        let listening = async move {
            loop {
                listen(&engine, &filter, &noted).await;
                sleep(PAUSE).await;
            }
        };
        tokio::spawn(async move { over.run_until_cancelled(listening).await });
        Self { fates, _listening: unwanted.drop_guard() }
    }

    pub(super) fn add(&self, id: &str, fate: &Arc<Fate>) {
        let mut fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        fates.retain(|_, fate| fate.strong_count() > 0);
        fates.insert(id.to_owned(), Arc::downgrade(fate));
    }
}

async fn listen(engine: &Engine, filter: &str, fates: &Fates) {
    let filters = [("type", "container"), ("event", "oom"), ("label", filter)];
    let filters = filters.map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
    let options = EventsOptions { filters: Some(filters.into()), ..EventsOptions::default() };
    let mut events = pin!(engine.api.events(Some(options)));
    while let Some(Ok(event)) = events.next().await {
        let fates = fates.lock().unwrap_or_else(PoisonError::into_inner);
        let id = event.actor.and_then(|actor| actor.id).unwrap_or_default();
        if let Some(fate) = fates.get(&id).and_then(Weak::upgrade) {
            fate.out_of_memory.store(true, Ordering::SeqCst);
        }
    }
}
