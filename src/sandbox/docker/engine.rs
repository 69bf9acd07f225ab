//! The connection to an engine: finds its socket, negotiates the API version, and reads once what the
//! engine supports. Creates nothing.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{SystemInfo, SystemVersion};
use bollard::{API_DEFAULT_VERSION, ClientVersion};

use super::labels::WORK_USER;
use crate::domain::EngineConfig;
use crate::domain::Guarantee;
use crate::sandbox::{SandboxError, SandboxPurpose, SandboxSpec};

/// For a response to any request that does not move whole images.
const RESPONSE_MAX: Duration = Duration::from_secs(60);
/// For an image to be created from a container: some engines compress it.
pub(super) const COMMIT_MAX: Duration = Duration::from_secs(15 * 60);
/// The API of Docker Engine 20.10, which Podman 4 and later also supports.
const VERSION_MIN: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };
/// The longest path of a socket.
const SOCKET_BYTES_MAX: usize = 107;

/// A connected engine.
#[derive(Debug)]
pub(super) struct Engine {
    pub api: bollard::Docker,
    pub info: EngineInfo,
}

/// What an engine is, and what it supports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EngineInfo {
    /// `Docker Engine 20.10.24`, `Podman 4.3.1`.
    pub name: String,
    pub is_podman: bool,
    /// The name of its default seccomp profile, if it applies one.
    pub seccomp: Option<String>,
    /// Whether root inside is another user outside.
    pub maps_users: bool,
    pub bounds_memory: bool,
    pub bounds_swap: bool,
    pub bounds_processes: bool,
    pub bounds_processor: bool,
    pub cgroup_version: String,
    /// Whether its storage driver may be able to limit a container's root file system.
    pub may_limit_root: bool,
    pub default_runtime: String,
}

impl EngineInfo {
    fn from_responses(version: &SystemVersion, info: &SystemInfo) -> Self {
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
            may_limit_root: matches!(driver, "btrfs" | "zfs") || (driver.starts_with("overlay") && on_xfs),
            default_runtime: info.default_runtime.clone().unwrap_or_default(),
        }
    }

    /// What the spec requires and the engine cannot enforce, as text.
    pub(super) fn missing(&self, spec: &SandboxSpec, userns: Option<&str>, our_user: u32) -> Option<String> {
        if self.seccomp.is_none() {
            return Some("a seccomp filter: the engine has none, or runs with seccomp=unconfined".to_owned());
        }
        let inside = match spec.purpose {
            SandboxPurpose::Setup => 0,
            SandboxPurpose::Work => WORK_USER,
        };
        let maps_users =
            (self.maps_users && inside != 0) || userns.is_some_and(|mode| mode.starts_with("auto"));
        let lacks = |guarantee: &Guarantee| match guarantee {
            Guarantee::Memory => !self.bounds_memory || !self.bounds_swap,
            Guarantee::Processes => !self.bounds_processes,
            Guarantee::Processor => !self.bounds_processor || spec.limits.cpu_millis_max.is_none(),
            Guarantee::Disk => spec.purpose == SandboxPurpose::Setup && !self.may_limit_root,
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
                    "no processor limit is set, or the engine's kernel has no cgroup for it",
                Guarantee::Disk =>
                    "a setup writes to the engine's disk, and its storage driver cannot limit that (overlay2 on xfs \
                     with pquota, btrfs and zfs can)",
                Guarantee::OtherUser =>
                    "the user inside is the user of this process, and the engine maps no users (userns-remap, rootless)",
            }
        ))
    }
}

impl Engine {
    /// Negotiates the API version, and reads what the engine supports.
    pub(super) async fn connect(socket: &Path) -> Result<Self, SandboxError> {
        let path = socket.display();
        let seconds = RESPONSE_MAX.as_secs();
        let broken = |error: Error| {
            SandboxError::unavailable(
                format!("the engine at {path} does not respond correctly ({})", message(&error)),
                "check that it runs, with `docker version` or `podman info`",
            )
        };
        let address = socket.to_string_lossy();
        let api =
            bollard::Docker::connect_with_unix(&address, seconds, API_DEFAULT_VERSION).map_err(broken)?;
        let api = api.negotiate_version().await.map_err(broken)?;
        let (version, info) = tokio::try_join!(api.version(), api.info()).map_err(broken)?;
        if api.client_version() < VERSION_MIN {
            return Err(SandboxError::unavailable(
                format!(
                    "the engine at {path} is too old: it supports version {} of the API",
                    api.client_version()
                ),
                "use Docker Engine 20.10 or later, or Podman 4 or later",
            ));
        }
        Ok(Self { api, info: EngineInfo::from_responses(&version, &info) })
    }

    /// A client for requests that may take longer.
    pub(super) fn with_long_timeout(&self) -> bollard::Docker {
        self.api.clone().with_timeout(COMMIT_MAX)
    }
}

/// The engine's socket. It exists, and this process may connect to it.
pub(super) fn find_socket(
    options: &EngineConfig,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<PathBuf, SandboxError> {
    let mut variables = [None, None];
    for (name, value) in environment {
        match name.as_str() {
            "DOCKER_HOST" if !value.is_empty() => variables[0] = Some(value),
            "XDG_RUNTIME_DIR" if value.starts_with('/') => variables[1] = Some(value),
            _ => {}
        }
    }
    let [docker_host, runtime_directory] = variables;
    let named = match (&options.socket, &docker_host) {
        (Some(socket), _) => Some((socket, "the configured socket")),
        (None, Some(host)) => Some((host, "DOCKER_HOST")),
        (None, None) => None,
    };
    if let Some((address, source)) = named {
        let path = PathBuf::from(address.strip_prefix("unix://").unwrap_or(address));
        if !path.is_absolute() || address.len() > SOCKET_BYTES_MAX {
            return Err(SandboxError::unavailable(
                format!("a Unix socket, but {source} is {address:?}"),
                "name one, as unix:///var/run/docker.sock: engines are not used over a network",
            ));
        }
        return match UnixStream::connect(&path) {
            Ok(_) => Ok(path),
            Err(error) => Err(unreachable(&path, &error)),
        };
    }
    let mut candidates = vec![PathBuf::from("/var/run/docker.sock")];
    candidates.extend(runtime_directory.map(|directory| Path::new(&directory).join("podman/podman.sock")));
    candidates.push("/run/podman/podman.sock".into());
    let mut first_refusal = None;
    for path in &candidates {
        match UnixStream::connect(path) {
            Ok(_) => return Ok(path.clone()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => first_refusal = first_refusal.or_else(|| Some(unreachable(path, &error))),
        }
    }
    let looked: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
    Err(first_refusal.unwrap_or_else(|| {
        SandboxError::unavailable(
            format!("no engine's socket exists (looked for {})", looked.join(", ")),
            "install and start Docker (Debian, Ubuntu: apt-get install docker.io) or Podman (systemctl start \
             podman.socket), or name its socket",
        )
    }))
}

pub(super) fn unreachable(path: &Path, error: &io::Error) -> SandboxError {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => SandboxError::unavailable(
            format!("this user may not open the engine's socket {path}"),
            "add the user to its group (usermod -aG docker USER), which amounts to root access on this machine; or \
             run Podman as that user",
        ),
        io::ErrorKind::NotFound => SandboxError::unavailable(
            format!("there is no socket {path}"),
            "start the engine, or name its socket",
        ),
        _ => SandboxError::unavailable(
            format!("no engine responds at the socket {path} ({error})"),
            "start the engine (systemctl start docker)",
        ),
    }
}

/// The engine's error message, or why there was no response.
pub(super) fn message(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, status_code } => {
            format!("{} ({status_code})", message.trim())
        }
        Error::RequestTimeoutError => "no response in time".to_owned(),
        other => other.to_string(),
    }
}

/// Whether the engine reported that the object does not exist.
pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine reported a conflict: a name that is taken, or a removal in progress.
pub(super) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 409, .. })
}

/// The error for a request that the engine refused or failed.
pub(super) fn failed(what: &str, error: &Error) -> SandboxError {
    SandboxError::unavailable(
        format!("the engine could not {what} ({})", message(error)),
        "check the engine's log (journalctl -u docker), and that its disk is not full",
    )
}
