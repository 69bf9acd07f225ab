//! The way to an engine: finds its socket, agrees on a version, and asks once what it can do.
//! Makes nothing.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{SystemInfo, SystemVersion};
use bollard::{API_DEFAULT_VERSION, ClientVersion};

use super::{KIND, unavailable};
use crate::sandbox::{DockerOptions, Guarantee};
use crate::sandbox::{SandboxError, SandboxPurpose, SandboxSpec};

/// For an answer to anything but what moves whole images.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// For an image to be made of a container: some engines compress it.
pub(super) const COMMIT_MAX: Duration = Duration::from_secs(15 * 60);
/// The API of Docker Engine 20.10; Podman from 4 on speaks it too.
const VERSION_MIN: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };
/// Longest path of a socket, and more than any.
const SOCKET_BYTES_MAX: usize = 107;

/// An engine that answers.
#[derive(Debug)]
pub(super) struct Engine {
    pub api: bollard::Docker,
    pub facts: Facts,
}

/// What an engine is and can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// `Docker Engine 20.10.24`, `Podman 4.3.1`.
    pub name: String,
    pub is_podman: bool,
    /// The name of the filter of system calls that it applies by default, where it does.
    pub seccomp: Option<String>,
    /// Root inside is another user outside.
    pub maps_users: bool,
    pub bounds_memory: bool,
    pub bounds_swap: bool,
    pub bounds_processes: bool,
    pub bounds_processor: bool,
    pub cgroup_version: String,
    /// Its driver may be able to bound a container's root file system.
    pub may_bound_root: bool,
    pub default_runtime: String,
}

impl Facts {
    fn of(version: &SystemVersion, info: &SystemInfo) -> Self {
        let components = version.components.iter().flatten();
        let is_podman = components.into_iter().any(|component| component.name == "Podman Engine");
        let options: Vec<&str> = info.security_options.iter().flatten().map(String::as_str).collect();
        let has = |name: &str| options.iter().any(|option| option.split(',').next() == Some(name));
        let seccomp = options.iter().find(|option| option.split(',').next() == Some("name=seccomp"));
        let profile = seccomp.map(|option| option.split_once("profile=").map_or("default", |(_, name)| name));
        let backing = info.driver_status.iter().flatten().find(|pair| pair[0] == "Backing Filesystem");
        let driver = info.driver.as_deref().unwrap_or_default();
        let on_xfs = backing.is_some_and(|pair| pair.get(1).is_some_and(|name| name == "xfs"));
        Self {
            name: format!(
                "{} {}",
                if is_podman { "Podman" } else { "Docker Engine" },
                version.version.as_deref().unwrap_or("of unknown version")
            ),
            is_podman,
            seccomp: profile.filter(|profile| *profile != "unconfined").map(str::to_owned),
            maps_users: has("name=userns") || has("name=rootless"),
            bounds_memory: info.memory_limit.unwrap_or(false),
            bounds_swap: info.swap_limit.unwrap_or(false),
            bounds_processes: info.pids_limit.unwrap_or(false),
            bounds_processor: info.cpu_cfs_quota.unwrap_or(false),
            cgroup_version: info
                .cgroup_version
                .map_or_else(|| "unknown".to_owned(), |version| version.to_string()),
            may_bound_root: matches!(driver, "btrfs" | "zfs") || (driver.starts_with("overlay") && on_xfs),
            default_runtime: info.default_runtime.clone().unwrap_or_default(),
        }
    }

    /// What is asked for and cannot be had here, in words.
    pub(super) fn missing(&self, spec: &SandboxSpec, userns: Option<&str>, our_user: u32) -> Option<String> {
        if self.seccomp.is_none() {
            return Some(
                "a filter of system calls: the engine has none, or runs with seccomp=unconfined".to_owned(),
            );
        }
        let inside = match spec.phase {
            SandboxPurpose::SetUp => 0,
            SandboxPurpose::Work => super::container::WORK_USER,
        };
        let maps_users =
            (self.maps_users && inside != 0) || userns.is_some_and(|mode| mode.starts_with("auto"));
        let lacks = |guarantee: &Guarantee| match guarantee {
            Guarantee::Memory => !self.bounds_memory || !self.bounds_swap,
            Guarantee::Processes => !self.bounds_processes,
            Guarantee::Processor => !self.bounds_processor || spec.limits.cpu_millis_max.is_none(),
            Guarantee::Disk => spec.phase == SandboxPurpose::SetUp && !self.may_bound_root,
            Guarantee::OtherUser => inside == our_user && !maps_users,
        };
        let missing = spec.required.iter().find(|guarantee| lacks(guarantee))?;
        Some(format!(
            "the guarantee '{}', which is required: {}",
            missing.name(),
            match missing {
                Guarantee::Memory => "the engine's kernel has no cgroup for memory and swap",
                Guarantee::Processes => "the engine's kernel has no cgroup for processes",
                Guarantee::Processor =>
                    "no bound on the processor is set, or the engine's kernel has no cgroup for it",
                Guarantee::Disk =>
                    "a set-up writes to the engine's disk, and its storage driver cannot bound that (overlay2 on xfs \
                     with pquota, btrfs and zfs can)",
                Guarantee::OtherUser =>
                    "the user inside is this process's own; the engine maps no users (userns-remap, rootless)",
            }
        ))
    }
}

impl Engine {
    /// Agrees on a version, and asks what the engine can do.
    pub(super) async fn connect(socket: &Path) -> Result<Self, SandboxError> {
        let place = socket.display();
        let seconds = ANSWER_MAX.as_secs();
        let broken = |error: Error| {
            unavailable(
                format!("the engine at {place} does not answer as one ({})", words(&error)),
                "see that it runs, with `docker version` or `podman info`",
            )
        };
        let path = socket.to_string_lossy();
        let api = bollard::Docker::connect_with_unix(&path, seconds, API_DEFAULT_VERSION).map_err(broken)?;
        let api = api.negotiate_version().await.map_err(broken)?;
        let (version, info) = tokio::try_join!(api.version(), api.info()).map_err(broken)?;
        if api.client_version() < VERSION_MIN {
            return Err(unavailable(
                format!(
                    "the engine at {place} is too old: it speaks version {} of the API",
                    api.client_version()
                ),
                "use Docker Engine 20.10 or Podman 4, or later ones",
            ));
        }
        Ok(Self { api, facts: Facts::of(&version, &info) })
    }

    /// For what takes longer than an answer should.
    pub(super) fn patient(&self) -> bollard::Docker {
        self.api.clone().with_timeout(COMMIT_MAX)
    }
}

/// The socket to speak to: it is there, and we may.
pub(super) fn find_socket(
    options: &DockerOptions,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<PathBuf, SandboxError> {
    let mut said = [None, None];
    for (name, value) in environment {
        match name.as_str() {
            "DOCKER_HOST" if !value.is_empty() => said[0] = Some(value),
            "XDG_RUNTIME_DIR" if value.starts_with('/') => said[1] = Some(value),
            _ => {}
        }
    }
    let [docker_host, runtime_directory] = said;
    let named = match (&options.socket, &docker_host) {
        (Some(socket), _) => Some((socket, "the configured socket")),
        (None, Some(host)) => Some((host, "DOCKER_HOST")),
        (None, None) => None,
    };
    if let Some((address, whose)) = named {
        let path = PathBuf::from(address.strip_prefix("unix://").unwrap_or(address));
        if !path.is_absolute() || address.len() > SOCKET_BYTES_MAX {
            return Err(unavailable(
                format!("a Unix socket; {whose} says {address:?}"),
                "name one, as unix:///var/run/docker.sock: an engine is reached over no network",
            ));
        }
        return match UnixStream::connect(&path) {
            Ok(_) => Ok(path),
            Err(error) => Err(unreachable(&path, &error)),
        };
    }
    let mut usual = vec![PathBuf::from("/var/run/docker.sock")];
    usual.extend(runtime_directory.map(|directory| Path::new(&directory).join("podman/podman.sock")));
    usual.push("/run/podman/podman.sock".into());
    let mut first_refusal = None;
    for path in &usual {
        match UnixStream::connect(path) {
            Ok(_) => return Ok(path.clone()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => first_refusal = first_refusal.or_else(|| Some(unreachable(path, &error))),
        }
    }
    let looked: Vec<String> = usual.iter().map(|path| path.display().to_string()).collect();
    Err(first_refusal.unwrap_or_else(|| {
        unavailable(
            format!("no engine's socket is there (looked for {})", looked.join(", ")),
            "install and start Docker (Debian, Ubuntu: apt-get install docker.io) or Podman (systemctl start \
             podman.socket), or name its socket",
        )
    }))
}

pub(super) fn unreachable(path: &Path, error: &io::Error) -> SandboxError {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => unavailable(
            format!("this user may not open the engine's socket {path}"),
            "add the user to its group (usermod -aG docker USER), knowing that this is as good as root on this \
             machine; or run Podman as that user",
        ),
        io::ErrorKind::NotFound => unavailable(
            format!("there is no socket {path}"),
            "start the engine, or name the socket that it has",
        ),
        _ => unavailable(
            format!("nobody answers at the socket {path} ({error})"),
            "start the engine (systemctl start docker)",
        ),
    }
}

/// What an engine said, or what became of asking it.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, status_code } => {
            format!("{} ({status_code})", message.trim())
        }
        Error::RequestTimeoutError => "no answer in time".to_owned(),
        // The client's errors have no end in themselves.
        other => other.to_string(),
    }
}

/// Whether an engine said that there is no such thing.
pub(super) fn is_absent(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether an engine said that something is in the way: a name that is taken, an end under way.
pub(super) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 409, .. })
}

/// An engine refused or failed at something.
pub(super) fn failed(what: &str, error: &Error) -> SandboxError {
    SandboxError::Unavailable {
        kind: KIND,
        missing: format!("the engine could not {what} ({})", words(error)),
        remedy: "see the engine's own log (journalctl -u docker), and that its disk is not full".to_owned(),
    }
}
