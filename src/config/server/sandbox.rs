//! The section `[sandbox]`: the backend, the limits of every job, and what repositories' setup commands
//! may do.

use std::path::PathBuf;
use std::time::Duration;

use globset::Glob;

use crate::config::error::ConfigError;
use crate::config::key::{ConfigKey, ConfigSection, DefaultValue, ValueType};
use crate::config::raw::RawConfig;
use crate::config::setting::Setting;
use crate::domain::{AllowedHost, EngineConfig, Guarantee, SandboxKind};

/// The longest path of a Unix socket.
const SOCKET_BYTES_MAX: usize = 107;
/// The largest number of hosts, variables or image patterns.
const ENTRIES_MAX: usize = 500;

pub(super) const SANDBOX: ConfigSection = ConfigSection {
    name: "sandbox",
    description: "What jobs run in: the backend, the limits of every job, and what repositories' setup \
                  commands may do.",
    keys: &[
        ConfigKey {
            name: "sandbox.kind",
            value: ValueType::Choice(SandboxKind::NAMES),
            default: DefaultValue::Value("\"bubblewrap\""),
            example: "\"bubblewrap\"",
            description: "The backend. `docker` is Docker Engine or Podman, through their API.",
        },
        ConfigKey {
            name: "sandbox.image",
            value: ValueType::Text,
            default: DefaultValue::Unset("the host's `/usr`, unless the backend needs an image"),
            example: "\"registry.example.org/ci/base:1\"",
            description: "The OCI image that jobs run in.",
        },
        ConfigKey {
            name: "sandbox.images",
            value: ValueType::List { of: "patterns" },
            default: DefaultValue::Value("[]"),
            example: "[\"registry.example.org/ci/*\"]",
            description: "Images that a repository may ask for: image references, with `*` for any text.",
        },
        ConfigKey {
            name: "sandbox.toolchains",
            value: ValueType::List { of: "absolute paths, or \"detect\"" },
            default: DefaultValue::Value("\"detect\""),
            example: "[\"/opt/rust\"]",
            description: "Directories with toolchains of the host that jobs without an image see, \
                          read-only. `detect` takes what it finds in the usual places.",
        },
        ConfigKey {
            name: "sandbox.require",
            value: ValueType::List { of: "guarantees" },
            default: DefaultValue::Value("[]"),
            example: "[\"memory\", \"processes\", \"processor\", \"disk\", \"other_user\"]",
            description: "Guarantees without which no job runs: bounds on `memory`, `processes`, \
                          `processor` time and `disk` of all processes together, and `other_user`: nothing \
                          runs as the service's own user.",
        },
        ConfigKey {
            name: "sandbox.memory_mb",
            value: ValueType::Integer { min: 64, max: 1_048_576 },
            default: DefaultValue::Value("4096"),
            example: "4096",
            description: "Memory of one sandbox, in MiB.",
        },
        ConfigKey {
            name: "sandbox.cpus",
            value: ValueType::Decimal { min: 0.1, max: 1024.0 },
            default: DefaultValue::Unset("all processors"),
            example: "2.0",
            description: "Processors that one sandbox may use.",
        },
        ConfigKey {
            name: "sandbox.pids",
            value: ValueType::Integer { min: 16, max: 65_536 },
            default: DefaultValue::Value("1024"),
            example: "1024",
            description: "Processes and threads in one sandbox.",
        },
        ConfigKey {
            name: "sandbox.disk_mb",
            value: ValueType::Integer { min: 64, max: 16_777_216 },
            default: DefaultValue::Value("8192"),
            example: "8192",
            description: "Data that one sandbox may write, in MiB.",
        },
        ConfigKey {
            name: "sandbox.open_files",
            value: ValueType::Integer { min: 256, max: 1_048_576 },
            default: DefaultValue::Value("65_536"),
            example: "65_536",
            description: "Open files of one process.",
        },
        ConfigKey {
            name: "sandbox.allowed_hosts",
            value: ValueType::List { of: "host names" },
            default: DefaultValue::Value("[]"),
            example: "[\"registry.example.org\", \"nexus.internal.example=10.1.2.0/24\"]",
            description: "Hosts that setup commands may reach, by HTTP and HTTPS: exact names, an internal \
                          one with its address range as `NAME=RANGE`. Empty: setup commands have no \
                          network.",
        },
        ConfigKey {
            name: "sandbox.setup_variables",
            value: ValueType::List { of: "`NAME=VALUE` entries" },
            default: DefaultValue::Value("[]"),
            example: "[\"PIP_INDEX_URL=https://nexus.internal.example/simple\"]",
            description: "Environment variables of setup commands, such as a mirror's address. Never a \
                          secret: code of the repository reads them.",
        },
        ConfigKey {
            name: "sandbox.egress_mb",
            value: ValueType::Integer { min: 1, max: 1_048_576 },
            default: DefaultValue::Value("4096"),
            example: "4096",
            description: "Data that one setup may transfer over the network, both ways together, in MiB.",
        },
        ConfigKey {
            name: "sandbox.network_for_proposals",
            value: ValueType::Flag,
            default: DefaultValue::Value("false"),
            example: "false",
            description: "Whether a proposal that changes lock files gets a setup of its own, with the \
                          network of `sandbox.allowed_hosts`.",
        },
        ConfigKey {
            name: "sandbox.commands",
            value: ValueType::Flag,
            default: DefaultValue::Value("true"),
            example: "true",
            description: "Whether the agent may run the commands that a repository allows.",
        },
        ConfigKey {
            name: "sandbox.scripts",
            value: ValueType::Flag,
            default: DefaultValue::Value("true"),
            example: "true",
            description: "Whether the agent may run scripts of its own, each in a sandbox without network of \
                          which nothing is kept.",
        },
        ConfigKey {
            name: "sandbox.kept_gb",
            value: ValueType::Integer { min: 1, max: 16_384 },
            default: DefaultValue::Value("20"),
            example: "20",
            description: "Size of the caches of setups and images, in GiB. The least recently used go first.",
        },
        ConfigKey {
            name: "sandbox.kept_count",
            value: ValueType::Integer { min: 1, max: 10_000 },
            default: DefaultValue::Value("20"),
            example: "20",
            description: "Number of cached setups.",
        },
        ConfigKey {
            name: "sandbox.kept_days",
            value: ValueType::Integer { min: 1, max: 3650 },
            default: DefaultValue::Value("14"),
            example: "14",
            description: "Days after which a cached setup that nothing used is removed.",
        },
        ConfigKey {
            name: "sandbox.docker_socket",
            value: ValueType::Text,
            default: DefaultValue::Unset("`DOCKER_HOST`, else the usual places"),
            example: "\"unix:///run/podman/podman.sock\"",
            description: "The socket of the engine's API. An engine is never reached over the network.",
        },
        ConfigKey {
            name: "sandbox.docker_runtime",
            value: ValueType::Text,
            default: DefaultValue::Unset("the engine's default runtime"),
            example: "\"runsc\"",
            description: "The OCI runtime, by the engine's name for it, such as `runsc` (gVisor) or `kata`.",
        },
        ConfigKey {
            name: "sandbox.docker_userns",
            value: ValueType::Text,
            default: DefaultValue::Unset("the engine's default"),
            example: "\"auto\"",
            description: "The user namespace mode, such as `auto` for Podman.",
        },
    ],
};

/// What jobs run in.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxConfig {
    /// The backend.
    pub kind: SandboxKind,
    /// Memory of everything inside, in bytes.
    pub memory_bytes_max: u64,
    /// Processes and threads inside.
    pub pids_max: u32,
    /// Processor time, in thousandths of one processor; `None`: all there is.
    pub cpu_millis_max: Option<u32>,
    /// Bytes that may be written.
    pub disk_bytes_max: u64,
    /// Open files of one process.
    pub open_files_max: u64,
    /// Guarantees without which no job runs.
    pub required: Vec<Guarantee>,
    /// Toolchains of the host.
    pub toolchains: Toolchains,
    /// What repositories' setup commands may do.
    pub setup: SetupConfig,
    /// The image of the root file system; `None`: the host's own `/usr`.
    pub image: Option<String>,
    /// For `docker`.
    pub engine: EngineConfig,
}

/// Which host directories with toolchains a sandbox sees, read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchains {
    /// Those in the usual places.
    Detect,
    /// Exactly these.
    Paths(Vec<PathBuf>),
}

/// What setup commands may do, and how much of their results is cached.
#[derive(Debug, Clone, PartialEq)]
pub struct SetupConfig {
    /// Hosts that setup commands may reach; empty: no network.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Variables of setup commands.
    pub variables: Vec<(String, String)>,
    /// Globs of images that a repository may ask for.
    pub images: Vec<String>,
    /// Bytes that one setup may transfer, both ways together.
    pub egress_bytes_max: u64,
    /// US dollars that the setup agent may spend in a job; 0: there is none.
    pub agent_usd: f64,
    /// Whether the agent may run commands that a repository allows.
    pub commands: bool,
    /// Whether the agent may run scripts in sandboxes of their own.
    pub scripts: bool,
    /// Whether a proposal that changes lock files gets a setup of its own with that network.
    pub network_for_proposals: bool,
    /// Bytes of all cached setups and images.
    pub kept_bytes_max: u64,
    /// Number of cached setups.
    pub kept_count_max: usize,
    /// Longest time without use.
    pub kept_age_max: Duration,
}

pub(super) fn sandbox(raw: &RawConfig) -> Result<SandboxConfig, ConfigError> {
    let setting = raw.setting("sandbox.kind")?;
    let kind = SandboxKind::from_name(setting.choice()?)
        .ok_or_else(|| setting.invalid("is unknown", SandboxKind::NAMES.join(" or ")))?;
    let mebibytes = |key: &str| Ok::<u64, ConfigError>(raw.integer::<u64>(key)? << 20);
    Ok(SandboxConfig {
        kind,
        image: image(raw, kind)?,
        engine: engine(raw)?,
        memory_bytes_max: mebibytes("sandbox.memory_mb")?,
        pids_max: raw.integer("sandbox.pids")?,
        cpu_millis_max: raw.decimal("sandbox.cpus")?.map(|cpus| (cpus * 1000.0) as u32),
        disk_bytes_max: mebibytes("sandbox.disk_mb")?,
        open_files_max: raw.integer("sandbox.open_files")?,
        required: required(raw)?,
        toolchains: toolchains(raw)?,
        setup: setup(raw)?,
    })
}

/// The image; containers of an engine need one.
fn image(raw: &RawConfig, kind: SandboxKind) -> Result<Option<String>, ConfigError> {
    let image = raw.text("sandbox.image")?.filter(|image| !image.trim().is_empty()).map(str::to_owned);
    if kind.needs_image() && image.is_none() {
        let remedy = "containers need an image; write one as NAME:TAG or NAME@sha256:…";
        return Err(raw.missing("sandbox.image", remedy));
    }
    Ok(image)
}

fn engine(raw: &RawConfig) -> Result<EngineConfig, ConfigError> {
    let text = |key: &str| Ok(raw.text(key)?.map(str::to_owned));
    if let Some(setting) = raw.get("sandbox.docker_socket") {
        let path = setting.text()?.strip_prefix("unix://");
        if !path.is_some_and(|path| path.starts_with('/') && path.len() <= SOCKET_BYTES_MAX) {
            return Err(setting.invalid(
                "is not a Unix socket",
                "write it as \"unix:///var/run/docker.sock\": an engine is never reached over the network",
            ));
        }
    }
    Ok(EngineConfig {
        socket: text("sandbox.docker_socket")?,
        runtime: text("sandbox.docker_runtime")?,
        userns: text("sandbox.docker_userns")?,
    })
}

fn required(raw: &RawConfig) -> Result<Vec<Guarantee>, ConfigError> {
    let setting = raw.setting("sandbox.require")?;
    let remedy = "write some of [\"memory\", \"processes\", \"processor\", \"disk\", \"other_user\"]";
    let parse = |name: String| {
        Guarantee::from_name(&name)
            .ok_or_else(|| setting.invalid(format!("has an unknown guarantee, {name:?}"), remedy))
    };
    setting.list()?.into_iter().map(parse).collect()
}

fn toolchains(raw: &RawConfig) -> Result<Toolchains, ConfigError> {
    let setting = raw.setting("sandbox.toolchains")?;
    let remedy = "write \"detect\", or absolute paths of directories as [\"/opt/rust\"]";
    if !setting.is_list() && setting.text()? == "detect" {
        return Ok(Toolchains::Detect);
    }
    let paths: Vec<PathBuf> = setting.list()?.into_iter().map(PathBuf::from).collect();
    match paths.iter().find(|path| !path.is_absolute() || path.parent().is_none()) {
        Some(path) => Err(setting.invalid(format!("has an entry that cannot be used, {path:?}"), remedy)),
        None => Ok(Toolchains::Paths(paths)),
    }
}

fn setup(raw: &RawConfig) -> Result<SetupConfig, ConfigError> {
    let days: u64 = raw.integer("sandbox.kept_days")?;
    Ok(SetupConfig {
        allowed_hosts: entries(raw, "sandbox.allowed_hosts", allowed_host)?,
        variables: entries(raw, "sandbox.setup_variables", variable)?,
        images: entries(raw, "sandbox.images", checked_glob)?,
        agent_usd: raw.setting("budget.setup_usd")?.decimal()?,
        commands: raw.flag("sandbox.commands")?,
        scripts: raw.flag("sandbox.scripts")?,
        egress_bytes_max: raw.integer::<u64>("sandbox.egress_mb")? << 20,
        network_for_proposals: raw.flag("sandbox.network_for_proposals")?,
        kept_bytes_max: raw.integer::<u64>("sandbox.kept_gb")? << 30,
        kept_count_max: raw.integer("sandbox.kept_count")?,
        kept_age_max: Duration::from_secs(days * 24 * 3600),
    })
}

fn entries<T>(
    raw: &RawConfig,
    key: &str,
    parse: impl Fn(&Setting, &str) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    let setting = raw.setting(key)?;
    let list = setting.list()?;
    if list.len() > ENTRIES_MAX {
        let remedy = format!("write at most {ENTRIES_MAX}");
        return Err(setting.invalid(format!("has {} entries", list.len()), remedy));
    }
    list.iter().map(|entry| parse(setting, entry)).collect()
}

fn allowed_host(setting: &Setting, host: &str) -> Result<AllowedHost, ConfigError> {
    AllowedHost::parse(host).map_err(|problem| {
        setting.invalid(
            format!("has an entry that {problem}: {host:?}"),
            "write names as [\"registry.example.org\", \"mirror.internal.example=10.1.2.0/24\"]",
        )
    })
}

/// `NAME=VALUE`. Code of the repository reads every value, so nothing that looks like a secret is
/// accepted.
fn variable(setting: &Setting, entry: &str) -> Result<(String, String), ConfigError> {
    let invalid = |problem: &str, remedy: &str| {
        // The value may be a secret, so only the name is shown.
        let name = entry.split('=').next().unwrap_or_default();
        Err(setting.invalid(format!("has an entry that {problem}: {name:?}"), remedy))
    };
    let Some((name, value)) = entry.split_once('=') else {
        return invalid(
            "has no value",
            "write entries as [\"PIP_INDEX_URL=https://mirror.internal.example/simple\"]",
        );
    };
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if !is_name || value.contains('\0') {
        return invalid("is not a variable's name", "use letters, digits and '_'");
    }
    let lower = name.to_ascii_lowercase();
    // `goproxy` does not match: it names a registry of Go modules.
    if lower.ends_with("_proxy") || lower.ends_with("noproxy") {
        return invalid(
            "would bypass the sandbox's own proxy",
            "remove it: the sandbox sets the proxy variables itself",
        );
    }
    let in_name = ["password", "passwd", "secret", "token", "api_key", "apikey", "_auth"];
    let in_address =
        value.split("://").skip(1).any(|rest| rest.split('/').next().unwrap_or(rest).contains('@'));
    if in_address || in_name.iter().any(|word| lower.contains(word)) {
        return invalid(
            "looks like a secret, which code of the repository could read",
            "let the registry serve these networks without a login",
        );
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn checked_glob(setting: &Setting, glob: &str) -> Result<String, ConfigError> {
    match Glob::new(glob) {
        Ok(_) => Ok(glob.to_owned()),
        Err(error) => Err(setting.invalid(
            format!("has an entry that is not a pattern, {glob:?} ({error})"),
            "write image references, with * for any text",
        )),
    }
}
