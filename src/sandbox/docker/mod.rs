//! Sandboxes by Docker Engine or Podman, through their API: the toolbox is a container's first
//! process, and its standard streams are the pipe. Nothing of this machine's file system is named
//! to the engine, so that we may ourselves run in a container beside it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use async_trait::async_trait;
use bollard::errors::Error;
use nix::sys::resource::Resource;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;

use self::archive::toolbox_digest;
use self::container::{ContainerRequest, Label, WORK_USER, Wanted};
use self::engine::{Engine, Facts, failed, is_absent};
use self::events::MemoryWatch;
use self::images::{Derived, Image, find, find_or_pull};
pub(super) use self::running::Running;
use self::running::Watched;
use super::container::Container;
use super::egress::Egress;
use super::{
    CacheLimits, CallError, Guarantee, ResolvedRoot, Root, Sandbox, SandboxError, SandboxOptions,
    SandboxPurpose, SandboxSpec, SetupKey, SetupSnapshot, Toolbox,
};

mod archive;
mod container;
mod engine;
mod events;
mod images;
mod kept;
mod running;
mod sweep;
#[cfg(test)]
mod tests;

const KIND: &str = "docker";
/// Open files of a process that any engine may grant.
const OPEN_FILES_LEAST: u64 = 1024;
/// Processes of one user, as many as Podman's service may itself have; it would try to grant more.
const PODMAN_PROCESSES_MAX: u64 = 32_768;
/// Longest label.
const LABEL_BYTES_MAX: usize = 60;
/// User namespace modes that share no users with the host. (Docker's only one, `host`, does.)
const USERNS_MODES: [&str; 4] = ["auto", "private", "nomap", "keep-id"];

/// Starts sandboxes by an engine's API.
#[derive(Debug)]
pub struct Docker {
    socket: PathBuf,
    owner: String,
    runtime: Option<String>,
    userns: Option<String>,
    connected: OnceCell<Connected>,
    derived: Derived,
    kept: kept::Store,
    /// The engine has said that it cannot bound a root file system.
    cannot_bound_root: AtomicBool,
    /// Open files of a process that the engine has not said it may not grant.
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
    /// No engine listens at any of the usual places or at the named one, we may not speak to it, or
    /// an option asks for what a sandbox may not have.
    pub fn new(options: &SandboxOptions) -> Result<Self, SandboxError> {
        Self::with_environment(options, crate::config::environment())
    }

    fn with_environment(
        options: &SandboxOptions,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SandboxError> {
        let docker = &options.docker;
        if let Some(mode) = &docker.userns
            && !USERNS_MODES.contains(&mode.split(':').next().unwrap_or_default())
        {
            return Err(unavailable(
                format!("a user namespace apart from the host's; {mode:?} is none"),
                "write one of 'auto', 'private', 'nomap' and 'keep-id' (Podman), or leave the key out",
            ));
        }
        Ok(Self {
            socket: engine::find_socket(docker, environment)?,
            owner: options.owner.clone(),
            runtime: docker.runtime.clone(),
            userns: docker.userns.clone(),
            connected: OnceCell::new(),
            derived: Derived::default(),
            kept: kept::Store::new(&options.owner, &options.state_dir),
            cannot_bound_root: AtomicBool::new(false),
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

    /// The image that a sandbox starts from, and what it was made of.
    async fn image(&self, engine: &Engine, spec: &SandboxSpec) -> Result<(String, Image), SandboxError> {
        if let Some(snapshot) = &spec.snapshot {
            let image = find(engine, &snapshot.place).await?;
            // Another toolbox in it would speak another protocol, or lie.
            let is_ours = |image: &Image| {
                image.label(Label::Setup) == Some(snapshot.key.as_str())
                    && image.label(Label::Toolbox) == Some(toolbox_digest())
            };
            let image = image.filter(is_ours).ok_or_else(|| {
                let missing = format!("what was kept of the set-up {} is not there any more", snapshot.key);
                unavailable(missing, "set up again")
            })?;
            return Ok((image.id.clone(), image));
        }
        let Root::Image(reference) = &spec.root else { return Err(no_image()) };
        let base = find_or_pull(engine, reference).await?;
        Ok((self.derived.of(engine, &base, &self.owner).await?, base))
    }

    /// Makes and starts the container, without what the engine turns out not to have.
    async fn launch(
        &self,
        spec: &SandboxSpec,
    ) -> Result<(Running, impl AsyncRead + AsyncWrite + Send + Unpin + use<>, String), SandboxError> {
        let engine = self.engine().await?;
        loop {
            let open_files_max = self.open_files_max.load(Ordering::SeqCst).min(spec.limits.open_files_max);
            let (running, description) = self.create(spec, open_files_max).await?;
            match running.start(engine).await {
                Ok(pipe) => return Ok((running, pipe, description)),
                // An engine that was itself started with less, and without the right to raise it:
                // perhaps by whoever started us, and at the least with what Linux gives to all.
                Err(error) if engine::words(&error).to_lowercase().contains("rlimit") => {
                    let ladder = [hard_limit(Resource::RLIMIT_NOFILE), OPEN_FILES_LEAST];
                    let Some(less) = ladder.into_iter().find(|less| *less < open_files_max) else {
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
    ) -> Result<(Running, String), SandboxError> {
        let Connected { engine, memory } = self.connected().await?;
        let mut is_second_try = false;
        loop {
            let (image, base) = self.image(engine, spec).await?;
            let sets_up = spec.phase == SandboxPurpose::SetUp;
            let bounds_root =
                sets_up && engine.facts.may_bound_root && !self.cannot_bound_root.load(Ordering::SeqCst);
            if sets_up && !bounds_root && spec.required.contains(&Guarantee::Disk) {
                return Err(unavailable(
                    "the guarantee 'disk', which is required: the engine's storage driver cannot bound what a set-up \
                     writes",
                    "use overlay2 on xfs with pquota, btrfs or zfs, or require less",
                ));
            }
            let request = ContainerRequest::sandbox(
                spec,
                &Wanted {
                    image,
                    base: &base,
                    owner: &self.owner,
                    instance: instance(),
                    facts: &engine.facts,
                    runtime: self.runtime.as_deref(),
                    userns: self.userns.as_deref(),
                    bounds_root,
                    open_files_max,
                    user_processes_max: (engine.facts.is_podman)
                        .then(|| hard_limit(Resource::RLIMIT_NPROC).min(PODMAN_PROCESSES_MAX)),
                },
            );
            let watched = Watched {
                name: format!(
                    "mendwright-{}-{}",
                    spec.label,
                    &uuid::Uuid::new_v4().simple().to_string()[..8]
                ),
                removes_itself: !sets_up,
                root_bytes_max: (sets_up && !bounds_root).then_some(spec.limits.disk_bytes_max),
            };
            match Running::create(Arc::clone(engine), request.into_body(), watched, memory).await {
                Ok(running) => {
                    let mut description = self.describe(&engine.facts, spec, &base, bounds_root);
                    if open_files_max < spec.limits.open_files_max {
                        let granted =
                            format!("; {open_files_max} open files (the engine may not grant more)");
                        description.push_str(&granted);
                    }
                    return Ok((running, description));
                }
                // The image went between our knowing it and now.
                Err(error) if is_absent(&error) && !is_second_try && spec.snapshot.is_none() => {
                    is_second_try = true;
                    self.derived.forget(&base);
                }
                // Only xfs with quotas can, and that it has them is not said before.
                Err(error) if bounds_root && engine::words(&error).to_lowercase().contains("storage") => {
                    self.cannot_bound_root.store(true, Ordering::SeqCst);
                }
                Err(error) => return Err(self.refused("make the container", &error)),
            }
        }
    }

    fn refused(&self, what: &str, error: &Error) -> SandboxError {
        let words = engine::words(error);
        match &self.runtime {
            Some(runtime) if words.contains(runtime.as_str()) => unavailable(
                format!("the engine cannot {what} with the runtime {runtime:?} ({words})"),
                "install that runtime and name it in the engine's configuration (/etc/docker/daemon.json)",
            ),
            Some(_) | None => failed(what, error),
        }
    }

    /// What was applied, and what was not, in words.
    fn describe(&self, facts: &Facts, spec: &SandboxSpec, image: &Image, bounds_root: bool) -> String {
        let limits = &spec.limits;
        let runtime = self.runtime.as_deref().unwrap_or(&facts.default_runtime);
        let users = match (self.userns.as_deref(), facts.maps_users) {
            (Some(mode), _) => format!("users mapped ({mode})"),
            (None, true) => "users mapped by the engine".to_owned(),
            (None, false) => "users not mapped".to_owned(),
        };
        let who = match spec.phase {
            SandboxPurpose::Work => {
                format!("as user {WORK_USER} without capabilities, root file system read-only")
            }
            SandboxPurpose::SetUp => "as root with the capabilities of a package manager".to_owned(),
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
        let memory = match (facts.bounds_memory, facts.bounds_swap) {
            (true, true) => "(cgroup)",
            (true, false) => "(cgroup), swap NOT bounded: the engine's kernel does not count it",
            (false, _) => "(NOT applied: the engine has no cgroup for it)",
        };
        let processor = match limits.cpu_millis_max {
            Some(millis) => {
                let lacking = unless(facts.bounds_processor, "the engine has no cgroup for it");
                format!("{}.{:03} processors{lacking}", millis / 1000, millis % 1000)
            }
            None => "all processors".to_owned(),
        };
        let space = limits.disk_bytes_max >> 20;
        let space = match (spec.phase, bounds_root) {
            (SandboxPurpose::Work, _) => format!("{space} MiB of writable space, in memory"),
            (SandboxPurpose::SetUp, true) => format!("{space} MiB of writable space, by the storage driver"),
            (SandboxPurpose::SetUp, false) => {
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
            "{} (runtime {runtime}, {users}, cgroup v{}); image {} ({}), {who}; {network}; seccomp {} and our own, \
             no new privileges; {} MiB of memory {memory}; {} processes (cgroup{}); {processor}; {space}{volumes}",
            facts.name,
            facts.cgroup_version,
            image.exact,
            image.digest,
            facts.seccomp.as_deref().unwrap_or("NOT applied"),
            limits.memory_bytes_max >> 20,
            limits.pids_max,
            unless(facts.bounds_processes, "the engine has none for it"),
        )
    }
}

#[async_trait]
impl Sandbox for Docker {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError> {
        if !is_label(&spec.label) {
            let missing = format!("a label that is a name; {:?} is none", spec.label);
            return Err(unavailable(missing, "use at most 60 of a-z, 0-9 and '-'"));
        }
        let engine = self.engine().await?;
        let our_user = nix::unistd::geteuid().as_raw();
        if let Some(missing) = engine.facts.missing(spec, self.userns.as_deref(), our_user) {
            return Err(unavailable(missing, "correct the engine's configuration, or require less"));
        }
        let (running, pipe, description) = self.launch(spec).await?;
        let egress = Egress::of(spec);
        Toolbox::connect(pipe, Container::Docker(running), description, egress).await
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

    async fn keep(
        &self,
        toolbox: Toolbox,
        key: &SetupKey,
        bytes_max: u64,
    ) -> Result<SetupSnapshot, SandboxError> {
        let engine = self.engine().await?;
        toolbox.seal().await.map_err(|error| match error {
            CallError::RespondToModel(why) => {
                SandboxError::Gone(format!("what the set-up made cannot be kept: {why}"))
            }
            CallError::Fatal(lost) => lost,
        })?;
        let container = toolbox.container();
        let Container::Docker(running) = container.as_ref() else {
            return Err(SandboxError::Gone("it is another backend's".to_owned()));
        };
        running.hold().await;
        self.kept.add(engine, &running.id, key, bytes_max).await
    }

    async fn kept(&self, key: &SetupKey) -> Result<Option<SetupSnapshot>, SandboxError> {
        self.kept.find(self.engine().await?, key).await
    }

    async fn evict(&self, bounds: &CacheLimits) -> Result<Vec<SetupKey>, SandboxError> {
        self.kept.evict(self.engine().await?, bounds, SystemTime::now()).await
    }

    async fn sweep(&self) -> Result<u32, SandboxError> {
        sweep::sweep(self.engine().await?, &self.owner, instance(), SystemTime::now()).await
    }
}

/// What this process may have, and an engine on this machine probably, too.
fn hard_limit(resource: Resource) -> u64 {
    nix::sys::resource::getrlimit(resource).map_or(OPEN_FILES_LEAST, |(_, hard)| hard)
}

/// This process, as it signs its containers.
fn instance() -> &'static str {
    static INSTANCE: OnceLock<String> = OnceLock::new();
    INSTANCE.get_or_init(|| uuid::Uuid::new_v4().simple().to_string())
}

fn unavailable(missing: impl Into<String>, remedy: &str) -> SandboxError {
    SandboxError::Unavailable { kind: KIND, missing: missing.into(), remedy: remedy.to_owned() }
}

fn no_image() -> SandboxError {
    unavailable(
        "a container's root file system is an image, and none is named",
        "name one (sandbox.image, --image)",
    )
}

fn is_label(label: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !label.is_empty() && label.len() <= LABEL_BYTES_MAX && label.chars().all(is_plain)
}
