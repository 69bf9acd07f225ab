//! One container from its making to its end, and the task that stands guard over it: whoever asked
//! may lose interest at any moment, and nothing is left of it all the same.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, KillContainerOptions,
    RemoveContainerOptions, WaitContainerOptions,
};
use futures_util::{StreamExt, future};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::io::StreamReader;

use super::engine::{Engine, is_absent, words};
use super::events::MemoryWatch;

/// Of what the toolbox says on standard error, for a person to read.
const LAST_WORDS_BYTES_MAX: usize = 4 << 10;
/// For an engine to remove what has ended.
const REMOVAL_MAX: Duration = Duration::from_secs(30);
/// Between two looks at something that the engine is busy with.
const REMOVAL_STEP: Duration = Duration::from_millis(20);
/// Between two looks at how much a set-up has written, where the engine does not bound it. Each
/// makes the engine walk through what was written.
const SIZE_STEP: Duration = Duration::from_secs(1);
/// Looks in vain, one after the other, before what is not seen counts as too much.
const SIZE_FAILURES_MAX: u32 = 10;

/// What the guard is to do. Later ones count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Wait,
    Watch,
    Hold,
    Remove,
}

/// What became of a container.
#[derive(Debug, Default)]
pub(super) struct Fate {
    said: Mutex<Vec<u8>>,
    exit_code: OnceLock<i64>,
    pub out_of_memory: AtomicBool,
    why: OnceLock<String>,
}

/// A container of ours.
#[derive(Debug)]
pub(in crate::sandbox) struct Running {
    pub(super) id: String,
    orders: watch::Sender<Order>,
    ended: watch::Receiver<bool>,
    fate: Arc<Fate>,
}

/// How a container is to be watched.
pub(super) struct Watched {
    pub name: String,
    /// The engine removes it at its end.
    pub removes_itself: bool,
    /// What it may write to its root file system, where the engine does not see to that.
    pub root_bytes_max: Option<u64>,
}

impl Running {
    /// Makes the container; it does not run yet. From here on it is guarded.
    pub(super) async fn create(
        engine: Arc<Engine>,
        body: ContainerCreateBody,
        watched: Watched,
        memory: &MemoryWatch,
    ) -> Result<Self, Error> {
        let (sender, receiver) = oneshot::channel();
        // On a task of its own, so that a caller who gives up leaves nothing behind.
        let making = async move {
            let options = CreateContainerOptions {
                name: Some(watched.name.clone()),
                ..CreateContainerOptions::default()
            };
            let id = match engine.api.create_container(Some(options), body).await {
                Ok(created) => created.id,
                Err(error) => {
                    // Nobody may be waiting any more.
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            let (orders, given) = watch::channel(Order::Wait);
            let (ended_sender, ended) = watch::channel(false);
            let fate = Arc::new(Fate::default());
            let running = Self { id: id.clone(), orders, ended, fate: Arc::clone(&fate) };
            // Where nobody waits, it is dropped here, which is the order to remove it.
            drop(sender.send(Ok(running)));
            Guard { engine, id, watched, given, fate }.stand().await;
            // All receivers may be gone already.
            let _ = ended_sender.send(true);
        };
        tokio::spawn(making);
        let gone = || io::Error::other("the task that makes containers broke").into();
        let running = receiver.await.unwrap_or_else(|_| Err(gone()))?;
        memory.add(&running.id, &running.fate);
        Ok(running)
    }

    /// Attaches to the container's standard streams, and starts it.
    pub(super) async fn start(
        &self,
        engine: &Engine,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, Error> {
        let streams = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = engine.api.attach_container(&self.id, Some(streams)).await?;
        engine.api.start_container(&self.id, None).await?;
        self.order(Order::Watch);
        Ok(pipe(attached, Arc::clone(&self.fate), self.ended.clone()))
    }

    fn order(&self, order: Order) {
        self.orders.send_if_modified(|given| {
            let is_new = *given < order;
            *given = order.max(*given);
            is_new
        });
    }

    /// Ends everything inside. Does not wait.
    pub(in crate::sandbox) fn kill(&self) {
        self.order(Order::Remove);
    }

    /// Ends everything inside and leaves the container: it is the caller's to remove.
    pub(super) async fn hold(&self) {
        self.order(Order::Hold);
        self.ended().await;
    }

    /// Resolves when nothing is left.
    pub(in crate::sandbox) async fn ended(&self) {
        // An error would mean that the guard has ended without saying so; it is over either way.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Why it ended, as far as that is known.
    pub(in crate::sandbox) fn last_words(&self) -> String {
        if let Some(why) = self.fate.why.get() {
            return why.clone();
        }
        if self.fate.out_of_memory.load(Ordering::SeqCst) {
            return "the kernel ended it for memory".to_owned();
        }
        let said = self.fate.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        match (said.is_empty(), self.fate.exit_code.get()) {
            (false, _) => said,
            (true, Some(code)) if *code != 137 => format!("its first process ended with exit code {code}"),
            (true, _) => "its first process was ended from outside".to_owned(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The container's standard input and output as one pipe; what it says on standard error is kept.
fn pipe(
    attached: AttachContainerResults,
    fate: Arc<Fate>,
    mut ended: watch::Receiver<bool>,
) -> impl AsyncRead + AsyncWrite + Send + Unpin {
    let output = attached.output.filter_map(move |piece| {
        future::ready(match piece {
            Ok(LogOutput::StdOut { message }) => Some(Ok(message)),
            Ok(LogOutput::StdErr { message } | LogOutput::Console { message }) => {
                let mut said = fate.said.lock().unwrap_or_else(PoisonError::into_inner);
                said.extend_from_slice(&message);
                let excess = said.len().saturating_sub(LAST_WORDS_BYTES_MAX);
                said.drain(..excess);
                None
            }
            Ok(LogOutput::StdIn { .. }) => None,
            Err(error) => Some(Err(io::Error::other(words(&error)))),
        })
    });
    // An engine may leave a stream open whose container is gone.
    let over = async move { drop(ended.wait_for(|ended| *ended).await) };
    tokio::io::join(StreamReader::new(Box::pin(output.take_until(over))), attached.input)
}

struct Guard {
    engine: Arc<Engine>,
    id: String,
    watched: Watched,
    given: watch::Receiver<Order>,
    fate: Arc<Fate>,
}

impl Guard {
    /// Returns when the container is gone, or held.
    async fn stand(mut self) {
        // An error would mean that nobody is left to give orders.
        let first =
            self.given.wait_for(|order| *order > Order::Wait).await.map_or(Order::Remove, |order| *order);
        if first == Order::Watch {
            let api = &self.engine.api;
            // One that removes itself is gone only then.
            let condition = if self.watched.removes_itself { "removed" } else { "not-running" };
            let order = tokio::select! {
                code = exit_code(api, &self.id, condition) => {
                    if let Some(code) = code {
                        let _ = self.fate.exit_code.set(code);
                    }
                    Order::Remove
                }
                why = outgrown(api, &self.id, self.watched.root_bytes_max) => {
                    let _ = self.fate.why.set(why);
                    Order::Remove
                }
                order = self.given.wait_for(|order| *order > Order::Watch) => {
                    order.map_or(Order::Remove, |order| *order)
                }
            };
            if order == Order::Hold {
                // It may have ended by itself; that it has ended is what is waited for.
                let _ = api.kill_container(&self.id, None::<KillContainerOptions>).await;
                let _ = exit_code(api, &self.id, "not-running").await;
                return;
            }
        }
        remove(&self.engine, &self.id).await;
    }
}

async fn exit_code(api: &bollard::Docker, id: &str, condition: &str) -> Option<i64> {
    let options = WaitContainerOptions { condition: condition.to_owned() };
    let mut waiting = pin!(api.wait_container(id, Some(options)));
    match waiting.next().await {
        Some(Ok(ended)) => Some(ended.status_code),
        Some(Err(Error::DockerContainerWaitError { code, .. })) => Some(code),
        // It was gone before we asked, or the engine is.
        Some(Err(_)) | None => None,
    }
}

/// Resolves when more has been written to the root file system than may be.
async fn outgrown(api: &bollard::Docker, id: &str, bytes_max: Option<u64>) -> String {
    let Some(bytes_max) = bytes_max else { return future::pending().await };
    let mut failures = 0;
    while failures < SIZE_FAILURES_MAX {
        sleep(SIZE_STEP).await;
        match written(api, id).await {
            Ok(bytes) if bytes > bytes_max => {
                let (bytes, most) = (bytes >> 20, bytes_max >> 20);
                return format!("it was ended for writing {bytes} MiB, where {most} are allowed");
            }
            Ok(_) => failures = 0,
            Err(_) => failures += 1,
        }
    }
    "it was ended because the engine does not say any more how much it writes".to_owned()
}

/// How much a container's root file system differs from its image.
pub(super) async fn written(api: &bollard::Docker, id: &str) -> Result<u64, Error> {
    let inspected = api.inspect_container(id, Some(InspectContainerOptions { size: true })).await?;
    Ok(inspected.size_rw.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
}

/// Ends and removes a container, whatever it is doing. Says whether it was there.
pub(super) async fn remove(engine: &Engine, id: &str) -> bool {
    if engine.facts.is_podman {
        // Podman would ask it politely first, and wait.
        let _ = engine.api.kill_container(id, None::<KillContainerOptions>).await;
    }
    let until = Instant::now() + REMOVAL_MAX;
    loop {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        match engine.api.remove_container(id, Some(options)).await {
            Ok(()) => return true,
            Err(error) if is_absent(&error) => return false,
            // An end that is under way is waited for; whatever else there is may pass.
            Err(error) if Instant::now() > until => {
                tracing::warn!(container = id, "a container could not be removed: {}", words(&error));
                return false;
            }
            Err(_) => sleep(REMOVAL_STEP).await,
        }
    }
}
