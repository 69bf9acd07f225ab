//! Sandboxes in Docker Engine or Podman, through their API: the toolbox is a container's first process,
//! and its standard streams are the pipe. No path of this machine is passed to the engine, so Mendwright
//! itself may run in a container next to it.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bollard::errors::Error;
use nix::sys::resource::Resource;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tracing::Instrument;

use self::archive::toolbox_digest;
use self::container::{DockerContainer, Supervision};
use self::engine::{Engine, EngineInfo, failed, is_not_found};
use self::images::{DerivedImages, Image, find, find_or_pull};
use self::labels::{Label, WORK_USER, instance};
use self::memory_watch::MemoryWatch;
use self::request::{ContainerRequest, RequestContext};
use self::setup_cache::SetupCache;
use super::{
    CacheLimits, CallError, Egress, ResolvedRoot, Root, Sandbox, SandboxError, SandboxOptions,
    SandboxPurpose, SandboxSpec, SetupKey, SetupSnapshot, Toolbox,
};
use crate::domain::{Guarantee, SandboxKind};

mod archive;
mod container;
mod engine;
mod images;
mod labels;
mod memory_watch;
mod request;
mod setup_cache;
mod sweep;
#[cfg(test)]
mod tests;

/// Open files per process that every engine may grant.
const OPEN_FILES_MIN: u64 = 1024;
/// Processes of one user that Podman's service may have itself. It would try to grant more.
const PODMAN_PROCESSES_MAX: u64 = 32_768;
/// User namespace modes that share no users with the host. (Docker's only mode, `host`, does.)
const USERNS_MODES: [&str; 4] = ["auto", "private", "nomap", "keep-id"];

/// Starts sandboxes through an engine's API.
#[derive(Debug)]
pub struct Docker {
    socket: PathBuf,
    owner: String,
    runtime: Option<String>,
    userns: Option<String>,
    connected: OnceCell<Connected>,
    derived: DerivedImages,
    cache: SetupCache,
    /// The engine has reported that it cannot limit a root file system.
    cannot_limit_root: AtomicBool,
    /// Open files per process that the engine has not refused to grant.
    open_files_max: AtomicU64,
}

#[derive(Debug)]
struct Connected {
    engine: Arc<Engine>,
    memory: MemoryWatch,
}

impl Docker {
    /// Finds the engine's socket.
    ///
    /// # Errors
    /// No engine listens at the usual sockets or at the named one, this process may not connect to it, or
    /// an option requests something that a sandbox may not have.
    pub fn new(options: &SandboxOptions) -> Result<Self, SandboxError> {
        Self::with_environment(options, crate::config::environment())
    }

    fn with_environment(
        options: &SandboxOptions,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SandboxError> {
        let docker = &options.engine;
        if let Some(mode) = &docker.userns
            && !USERNS_MODES.contains(&mode.split(':').next().unwrap_or_default())
        {
            return Err(SandboxError::unavailable(
                format!("a user namespace separate from the host's, but the mode is {mode:?}"),
                "use 'auto', 'private', 'nomap' or 'keep-id' (Podman), or remove the key",
            ));
        }
        Ok(Self {
            socket: engine::find_socket(docker, environment)?,
            owner: options.owner.clone(),
            runtime: docker.runtime.clone(),
            userns: docker.userns.clone(),
            connected: OnceCell::new(),
            derived: DerivedImages::default(),
            cache: SetupCache::new(&options.owner, &options.state_dir),
            cannot_limit_root: AtomicBool::new(false),
            open_files_max: AtomicU64::new(u64::MAX),
        })
    }

    async fn connected(&self) -> Result<&Connected, SandboxError> {
        let connect = async || {
            let engine = Arc::new(Engine::connect(&self.socket).await?);
            let memory = MemoryWatch::start(&engine, instance());
            Ok(Connected { engine, memory })
        };
        self.connected.get_or_try_init(connect).await
    }

    async fn engine(&self) -> Result<&Arc<Engine>, SandboxError> {
        Ok(&self.connected().await?.engine)
    }

    /// The image that a sandbox starts from, and the image that it was created from.
    async fn image(&self, engine: &Engine, spec: &SandboxSpec) -> Result<(String, Image), SandboxError> {
        if let Some(snapshot) = &spec.snapshot {
            let image = find(engine, &snapshot.location).await?;
            // Another toolbox in it would use another protocol, or not be trustworthy.
            let is_ours = |image: &Image| {
                image.label(Label::Setup) == Some(snapshot.key.as_str())
                    && image.label(Label::Toolbox) == Some(toolbox_digest())
            };
            let image = image.filter(is_ours).ok_or_else(|| {
                let missing = format!("the setup snapshot {} no longer exists", snapshot.key);
                SandboxError::unavailable(missing, "run the setup again")
            })?;
            return Ok((image.id.clone(), image));
        }
        let Root::Image(reference) = &spec.root else { return Err(no_image()) };
        let base = find_or_pull(engine, reference).await?;
        Ok((self.derived.find_or_create(engine, &base, &self.owner).await?, base))
    }

    /// Creates and starts the container, with smaller limits if the engine refuses the requested ones.
    async fn launch(
        &self,
        spec: &SandboxSpec,
    ) -> Result<(DockerContainer, impl AsyncRead + AsyncWrite + Send + Unpin + use<>, String), SandboxError>
    {
        let engine = self.engine().await?;
        loop {
            let open_files_max = self.open_files_max.load(Ordering::SeqCst).min(spec.limits.open_files_max);
            let (container, description) = self.create(spec, open_files_max).await?;
            match container.start(engine).await {
                Ok(pipe) => return Ok((container, pipe, description)),
                // The engine itself was started with a lower limit and may not raise it: perhaps the limit
                // of this process, at the lowest the default of Linux.
                Err(error) if engine::message(&error).to_lowercase().contains("rlimit") => {
                    let lower_limits = [hard_limit(Resource::RLIMIT_NOFILE), OPEN_FILES_MIN];
                    let Some(less) = lower_limits.into_iter().find(|less| *less < open_files_max) else {
                        return Err(self.refused("start the container", &error));
                    };
                    self.open_files_max.store(less, Ordering::SeqCst);
                }
                Err(error) => return Err(self.refused("start the container", &error)),
            }
        }
    }

    async fn create(
        &self,
        spec: &SandboxSpec,
        open_files_max: u64,
    ) -> Result<(DockerContainer, String), SandboxError> {
        let Connected { engine, memory } = self.connected().await?;
        let mut is_second_attempt = false;
        loop {
            let (image, base) = self.image(engine, spec).await?;
            let is_setup = spec.purpose == SandboxPurpose::Setup;
            let limits_root =
                is_setup && engine.info.may_limit_root && !self.cannot_limit_root.load(Ordering::SeqCst);
            if is_setup && !limits_root && spec.required.contains(&Guarantee::Disk) {
                return Err(SandboxError::unavailable(
                    "the guarantee 'disk', which is required: the engine's storage driver cannot limit what a setup \
                     writes",
                    "use overlay2 on xfs with pquota, btrfs or zfs, or remove 'disk' from the required guarantees",
                ));
            }
            let request = ContainerRequest::sandbox(
                spec,
                &RequestContext {
                    image,
                    base: &base,
                    owner: &self.owner,
                    instance: instance(),
                    info: &engine.info,
                    runtime: self.runtime.as_deref(),
                    userns: self.userns.as_deref(),
                    limits_root,
                    open_files_max,
                    user_processes_max: (engine.info.is_podman)
                        .then(|| hard_limit(Resource::RLIMIT_NPROC).min(PODMAN_PROCESSES_MAX)),
                },
            );
            let supervision = Supervision {
                name: format!(
                    "mendwright-{}-{}",
                    spec.label,
                    &uuid::Uuid::new_v4().simple().to_string()[..8]
                ),
                removes_itself: !is_setup,
                root_bytes_max: (is_setup && !limits_root).then_some(spec.limits.disk_bytes_max),
            };
            match DockerContainer::create(Arc::clone(engine), request.into_body(), supervision, memory).await
            {
                Ok(container) => {
                    let mut description = self.describe(&engine.info, spec, &base, limits_root);
                    if open_files_max < spec.limits.open_files_max {
                        let granted =
                            format!("; {open_files_max} open files (the engine may not grant more)");
                        description.push_str(&granted);
                    }
                    return Ok((container, description));
                }
                // The image was removed after it was found.
                Err(error) if is_not_found(&error) && !is_second_attempt && spec.snapshot.is_none() => {
                    is_second_attempt = true;
                    self.derived.forget(&base);
                }
                // Only xfs with quotas can do this, and the engine does not report beforehand whether it
                // has them.
                Err(error) if limits_root && engine::message(&error).to_lowercase().contains("storage") => {
                    self.cannot_limit_root.store(true, Ordering::SeqCst);
                }
                Err(error) => return Err(self.refused("create the container", &error)),
            }
        }
    }

    fn refused(&self, what: &str, error: &Error) -> SandboxError {
        let message = engine::message(error);
        match &self.runtime {
            Some(runtime) if message.contains(runtime.as_str()) => SandboxError::unavailable(
                format!("the engine cannot {what} with the runtime {runtime:?} ({message})"),
                "install that runtime and name it in the engine's configuration (/etc/docker/daemon.json)",
            ),
            Some(_) | None => failed(what, error),
        }
    }

    async fn start_in_span(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError> {
        if !spec.has_valid_label() {
            let missing = format!("a valid label; {:?} is not one", spec.label);
            return Err(SandboxError::unavailable(missing, "use at most 60 of a-z, 0-9 and '-'"));
        }
        let engine = self.engine().await?;
        let our_user = nix::unistd::geteuid().as_raw();
        if let Some(missing) = engine.info.missing(spec, self.userns.as_deref(), our_user) {
            return Err(SandboxError::unavailable(
                missing,
                "correct the engine's configuration, or require fewer guarantees",
            ));
        }
        let (container, pipe, description) = self.launch(spec).await?;
        Toolbox::connect(pipe, container, description, Egress::for_sandbox(spec)).await
    }

    /// What was applied and what was not, as text.
    fn describe(&self, info: &EngineInfo, spec: &SandboxSpec, image: &Image, limits_root: bool) -> String {
        let limits = &spec.limits;
        let runtime = self.runtime.as_deref().unwrap_or(&info.default_runtime);
        let users = match (self.userns.as_deref(), info.maps_users) {
            (Some(mode), _) => format!("users mapped ({mode})"),
            (None, true) => "users mapped by the engine".to_owned(),
            (None, false) => "users not mapped".to_owned(),
        };
        let user = match spec.purpose {
            SandboxPurpose::Work => {
                format!("as user {WORK_USER} without capabilities, root file system read-only")
            }
            SandboxPurpose::Setup => "as root with the capabilities of a package manager".to_owned(),
        };
        let network = match spec.allowed_hosts.as_slice() {
            [] => "no network".to_owned(),
            hosts => {
                let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                format!("network through a proxy to {} only", hosts.join(", "))
            }
        };
        let unless = |applied: bool, what: &str| match applied {
            true => String::new(),
            false => format!(" (NOT applied: {what})"),
        };
        let memory = match (info.bounds_memory, info.bounds_swap) {
            (true, true) => "(cgroup)",
            (true, false) => "(cgroup), swap NOT bounded: the engine's kernel does not count it",
            (false, _) => "(NOT applied: the engine has no cgroup for it)",
        };
        let processor = match limits.cpu_millis_max {
            Some(millis) => {
                let lacking = unless(info.bounds_processor, "the engine has no cgroup for it");
                format!("{}.{:03} processors{lacking}", millis / 1000, millis % 1000)
            }
            None => "all processors".to_owned(),
        };
        let space = limits.disk_bytes_max >> 20;
        let space = match (spec.purpose, limits_root) {
            (SandboxPurpose::Work, _) => format!("{space} MiB of writable space, in memory"),
            (SandboxPurpose::Setup, true) => format!("{space} MiB of writable space, by the storage driver"),
            (SandboxPurpose::Setup, false) => {
                format!(
                    "{space} MiB of writable space (measured each second: the storage driver cannot bound it)"
                )
            }
        };
        let volumes = match image.volumes.as_slice() {
            [] => String::new(),
            volumes => format!("; the image's volumes are empty and read-only: {}", volumes.join(", ")),
        };
        format!(
            "{} (runtime {runtime}, {users}, cgroup v{}); image {} ({}), {user}; {network}; seccomp {} and our own, \
             no new privileges; {} MiB of memory {memory}; {} processes (cgroup{}); {processor}; {space}{volumes}",
            info.name,
            info.cgroup_version,
            image.exact,
            image.digest,
            info.seccomp.as_deref().unwrap_or("NOT applied"),
            limits.memory_bytes_max >> 20,
            limits.pids_max,
            unless(info.bounds_processes, "the engine has none for it"),
        )
    }
}

#[async_trait]
impl Sandbox for Docker {
    fn kind(&self) -> SandboxKind {
        SandboxKind::Docker
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError> {
        self.start_in_span(spec).instrument(spec.span()).await
    }

    async fn resolve(&self, root: &Root) -> Result<ResolvedRoot, SandboxError> {
        let Root::Image(reference) = root else { return Err(no_image()) };
        let image = find_or_pull(self.engine().await?, reference).await?;
        Ok(ResolvedRoot {
            description: format!("the image {reference} ({})", image.digest),
            digest: image.digest,
            root: Root::Image(image.exact),
        })
    }

    async fn save_snapshot(
        &self,
        toolbox: Toolbox,
        key: &SetupKey,
        bytes_max: u64,
    ) -> Result<SetupSnapshot, SandboxError> {
        let engine = self.engine().await?;
        toolbox.seal().await.map_err(|error| match error {
            CallError::RespondToModel(why) => {
                SandboxError::Gone(format!("the setup snapshot cannot be saved: {why}"))
            }
            CallError::Fatal(lost) => lost,
        })?;
        let container = toolbox.container();
        let container: &dyn Any = container.as_ref();
        let Some(container) = container.downcast_ref::<DockerContainer>() else {
            return Err(SandboxError::Gone("another backend started it".to_owned()));
        };
        container.stop().await;
        self.cache.add(engine, &container.id, key, bytes_max).await
    }

    async fn find_snapshot(&self, key: &SetupKey) -> Result<Option<SetupSnapshot>, SandboxError> {
        self.cache.find(self.engine().await?, key).await
    }

    async fn evict(&self, limits: &CacheLimits) -> Result<Vec<SetupKey>, SandboxError> {
        self.cache.evict(self.engine().await?, limits, SystemTime::now()).await
    }

    async fn sweep(&self) -> Result<u32, SandboxError> {
        sweep::sweep(self.engine().await?, &self.owner, instance(), SystemTime::now()).await
    }
}

/// The hard limit of this process, which an engine on this machine probably has, too.
fn hard_limit(resource: Resource) -> u64 {
    nix::sys::resource::getrlimit(resource).map_or(OPEN_FILES_MIN, |(_, hard)| hard)
}

fn no_image() -> SandboxError {
    SandboxError::unavailable(
        "a container needs an image as its root file system, but none is named",
        "name one (sandbox.image, --image)",
    )
}
