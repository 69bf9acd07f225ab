//! One container from its creation to its end, and the task that supervises it: even if the caller
//! gives up at any moment, nothing of the container is left.

use std::io;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, KillContainerOptions,
    RemoveContainerOptions, WaitContainerOptions,
};
use futures_util::{StreamExt, future};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::io::StreamReader;
use tracing::Instrument;

use super::engine::{Engine, is_not_found, message};
use super::memory_watch::{MemoryWatch, OutOfMemory};
use crate::sandbox::ContainerHandle;

/// How much of the toolbox's standard error is kept, for a person to read.
const STDERR_TAIL_BYTES_MAX: usize = 4 << 10;
/// For an engine to remove a container that has ended.
const REMOVAL_MAX: Duration = Duration::from_secs(30);
/// Between two attempts to remove a container that the engine is busy with.
const REMOVAL_STEP: Duration = Duration::from_millis(20);
/// Between two measurements of what a setup has written, if the engine does not limit it. Each
/// measurement makes the engine walk through the written files.
const SIZE_STEP: Duration = Duration::from_secs(1);
/// After this many failed measurements in a row, the size counts as too large.
const SIZE_FAILURES_MAX: u32 = 10;

/// What the supervisor must do. A later order replaces an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Wait,
    Watch,
    Stop,
    Remove,
}

/// How a container ended, as far as that is known.
#[derive(Debug, Default)]
struct ContainerState {
    stderr_tail: Mutex<Vec<u8>>,
    exit_code: OnceLock<i64>,
    out_of_memory: Arc<OutOfMemory>,
    kill_reason: OnceLock<String>,
}

/// A container of ours. Dropping it removes the container.
#[derive(Debug)]
pub(super) struct DockerContainer {
    pub(super) id: String,
    orders: watch::Sender<Order>,
    ended: watch::Receiver<bool>,
    state: Arc<ContainerState>,
}

/// How a container is supervised.
pub(super) struct Supervision {
    pub name: String,
    /// Whether the engine removes it when it ends.
    pub removes_itself: bool,
    /// How much it may write to its root file system, if the engine does not limit that.
    pub root_bytes_max: Option<u64>,
}

impl DockerContainer {
    /// Creates the container without starting it. From here on it is supervised.
    pub(super) async fn create(
        engine: Arc<Engine>,
        body: ContainerCreateBody,
        supervision: Supervision,
        memory: &MemoryWatch,
    ) -> Result<Self, Error> {
        let (sender, receiver) = oneshot::channel();
        // A task of its own, so that a caller who gives up leaves nothing behind.
        let creating = async move {
            let options = CreateContainerOptions {
                name: Some(supervision.name.clone()),
                ..CreateContainerOptions::default()
            };
            let id = match engine.api.create_container(Some(options), body).await {
                Ok(created) => created.id,
                Err(error) => {
                    // The caller may have given up.
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            let (orders, order) = watch::channel(Order::Wait);
            let (ended_sender, ended) = watch::channel(false);
            let state = Arc::new(ContainerState::default());
            let container = Self { id: id.clone(), orders, ended, state: Arc::clone(&state) };
            // If the caller has given up, the container is dropped here, which orders its removal.
            drop(sender.send(Ok(container)));
            Supervisor { engine, id, supervision, order, state }.run().await;
            // All receivers may be gone already.
            let _ = ended_sender.send(true);
        };
        tokio::spawn(creating.in_current_span());
        let broken = || io::Error::other("the task that creates containers panicked").into();
        let container = receiver.await.unwrap_or_else(|_| Err(broken()))?;
        memory.add(&container.id, &container.state.out_of_memory);
        Ok(container)
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
        Ok(pipe(attached, Arc::clone(&self.state), self.ended.clone()))
    }

    fn order(&self, order: Order) {
        self.orders.send_if_modified(|current| {
            let is_new = *current < order;
            *current = order.max(*current);
            is_new
        });
    }

    /// Kills everything inside, and leaves the container for the caller to remove.
    pub(super) async fn stop(&self) {
        self.order(Order::Stop);
        self.ended().await;
    }
}

#[async_trait]
impl ContainerHandle for DockerContainer {
    fn kill(&self) {
        self.order(Order::Remove);
    }

    async fn ended(&self) {
        // An error would mean that the supervisor has ended without reporting it. It is over either way.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    fn exit_code(&self) -> Option<i64> {
        self.state.exit_code.get().copied()
    }

    fn exit_reason(&self) -> String {
        if let Some(reason) = self.state.kill_reason.get() {
            return reason.clone();
        }
        if self.state.out_of_memory.is_set() {
            return "the kernel killed it because memory ran out".to_owned();
        }
        let stderr = self.state.stderr_tail.lock();
        let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
        match (stderr.is_empty(), self.state.exit_code.get()) {
            (false, _) => stderr,
            (true, Some(code)) if *code != 137 => format!("its first process exited with code {code}"),
            (true, _) => "its first process was killed from outside".to_owned(),
        }
    }
}

impl Drop for DockerContainer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The container's standard input and output as one pipe. The end of its standard error is kept.
fn pipe(
    attached: AttachContainerResults,
    state: Arc<ContainerState>,
    mut ended: watch::Receiver<bool>,
) -> impl AsyncRead + AsyncWrite + Send + Unpin {
    let output = attached.output.filter_map(move |piece| {
        future::ready(match piece {
            Ok(LogOutput::StdOut { message }) => Some(Ok(message)),
            Ok(LogOutput::StdErr { message } | LogOutput::Console { message }) => {
                let mut tail = state.stderr_tail.lock();
                tail.extend_from_slice(&message);
                let excess = tail.len().saturating_sub(STDERR_TAIL_BYTES_MAX);
                tail.drain(..excess);
                None
            }
            Ok(LogOutput::StdIn { .. }) => None,
            Err(error) => Some(Err(io::Error::other(message(&error)))),
        })
    });
    // An engine may leave a stream open after its container is gone.
    let over = async move { drop(ended.wait_for(|ended| *ended).await) };
    tokio::io::join(StreamReader::new(Box::pin(output.take_until(over))), attached.input)
}

struct Supervisor {
    engine: Arc<Engine>,
    id: String,
    supervision: Supervision,
    order: watch::Receiver<Order>,
    state: Arc<ContainerState>,
}

impl Supervisor {
    /// Returns when the container is gone, or stopped.
    async fn run(mut self) {
        // An error would mean that the handle was dropped.
        let first =
            self.order.wait_for(|order| *order > Order::Wait).await.map_or(Order::Remove, |order| *order);
        if first == Order::Watch {
            let api = &self.engine.api;
            // A container that removes itself is gone only after its removal.
            let condition = if self.supervision.removes_itself { "removed" } else { "not-running" };
            let order = tokio::select! {
                code = exit_code(api, &self.id, condition) => {
                    if let Some(code) = code {
                        let _ = self.state.exit_code.set(code);
                    }
                    Order::Remove
                }
                reason = too_large(api, &self.id, self.supervision.root_bytes_max) => {
                    let _ = self.state.kill_reason.set(reason);
                    Order::Remove
                }
                order = self.order.wait_for(|order| *order > Order::Watch) => {
                    order.map_or(Order::Remove, |order| *order)
                }
            };
            if order == Order::Stop {
                // It may have ended by itself. It only matters that it has ended.
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
        // The container was gone before the request, or the engine is.
        Some(Err(_)) | None => None,
    }
}

/// Resolves when more has been written to the root file system than is allowed.
async fn too_large(api: &bollard::Docker, id: &str, bytes_max: Option<u64>) -> String {
    let Some(bytes_max) = bytes_max else { return future::pending().await };
    let mut failures = 0;
    while failures < SIZE_FAILURES_MAX {
        sleep(SIZE_STEP).await;
        match written_bytes(api, id).await {
            Ok(bytes) if bytes > bytes_max => {
                let (bytes, most) = (bytes >> 20, bytes_max >> 20);
                return format!("it was killed because it wrote {bytes} MiB; {most} MiB are allowed");
            }
            Ok(_) => failures = 0,
            Err(_) => failures += 1,
        }
    }
    "it was killed because the engine no longer reports how much it writes".to_owned()
}

/// How much a container's root file system differs from its image.
pub(super) async fn written_bytes(api: &bollard::Docker, id: &str) -> Result<u64, Error> {
    let inspected = api.inspect_container(id, Some(InspectContainerOptions { size: true })).await?;
    Ok(inspected.size_rw.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
}

/// Kills and removes a container, whatever it is doing. Returns whether it existed.
pub(super) async fn remove(engine: &Engine, id: &str) -> bool {
    if engine.info.is_podman {
        // Otherwise Podman would send a polite signal first, and wait.
        let _ = engine.api.kill_container(id, None::<KillContainerOptions>).await;
    }
    let until = Instant::now() + REMOVAL_MAX;
    loop {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        match engine.api.remove_container(id, Some(options)).await {
            Ok(()) => return true,
            Err(error) if is_not_found(&error) => return false,
            // A removal that is in progress, or another error that may pass, is waited for.
            Err(error) if Instant::now() > until => {
                tracing::error!(container = id, error = message(&error), "could not remove a container");
                return false;
            }
            Err(_) => sleep(REMOVAL_STEP).await,
        }
    }
}
