//! The requests to create containers. A request can contain nothing else than what is defined here:
//! there is no field for privileges, devices, host mounts, host namespaces or further capabilities.
//! Sends nothing.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::ContainerCreateBody;
use serde::Serialize;

use super::engine::EngineInfo;
use super::images::Image;
use super::labels::{Label, WORK_USER};
use crate::sandbox::{HOME, PROXY_PORT, SandboxPurpose, SandboxSpec, TOOLBOX_PATH, WORKSPACE, environment};

/// Paths that reveal something about the host or could disturb it: what engines cover by themselves (the
/// longest of their lists), the rest of `/sys` except the container's own cgroups, and the host's DNS.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/cmdline",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/block",
    "/sys/bus",
    "/sys/class",
    "/sys/dev",
    "/sys/devices",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/btrfs",
    "/sys/fs/erofs",
    "/sys/fs/ext4",
    "/sys/fs/f2fs",
    "/sys/fs/fuse",
    "/sys/fs/jfs",
    "/sys/fs/nfs",
    "/sys/fs/nilfs2",
    "/sys/fs/ocfs2",
    "/sys/fs/pstore",
    "/sys/fs/resctrl",
    "/sys/fs/selinux",
    "/sys/fs/smackfs",
    "/sys/fs/xfs",
    "/sys/hypervisor",
    "/sys/kernel",
    "/sys/module",
    "/sys/power",
    "/etc/resolv.conf",
];
/// An image's own settings may name another proxy, or the proxy of a setup.
const PROXY_VARIABLES: [&str; 10] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
];

/// The capabilities that package managers need to install files as several users, and to end processes
/// that they have started as those users. Nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum SetupCapability {
    Chown,
    DacOverride,
    Fowner,
    Fsetid,
    Kill,
    Setgid,
    Setuid,
}

impl SetupCapability {
    const ALL: [Self; 7] =
        [Self::Chown, Self::DacOverride, Self::Fowner, Self::Fsetid, Self::Kill, Self::Setgid, Self::Setuid];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Fixed {
    #[serde(rename = "ALL")]
    All,
    #[serde(rename = "none")]
    None,
    #[serde(rename = "private")]
    Private,
    #[serde(rename = "no")]
    No,
    #[serde(rename = "NONE")]
    NoCheck,
}

/// A request for a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerRequest {
    image: String,
    hostname: &'static str,
    user: String,
    working_dir: &'static str,
    entrypoint: [&'static str; 1],
    cmd: Vec<String>,
    env: Vec<String>,
    labels: BTreeMap<&'static str, String>,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    open_stdin: bool,
    stdin_once: bool,
    tty: bool,
    healthcheck: Healthcheck,
    host_config: HostRequest,
}

/// The part of a request that describes the isolation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostRequest {
    network_mode: Fixed,
    ipc_mode: Fixed,
    cgroupns_mode: Fixed,
    cap_drop: [Fixed; 1],
    cap_add: Vec<SetupCapability>,
    security_opt: Vec<String>,
    readonly_rootfs: bool,
    tmpfs: BTreeMap<String, String>,
    shm_size: u64,
    memory: u64,
    memory_swap: u64,
    nano_cpus: Option<u64>,
    pids_limit: u32,
    ulimits: Vec<Ulimit>,
    init: bool,
    auto_remove: bool,
    restart_policy: RestartPolicy,
    log_config: ContainerLogs,
    masked_paths: Option<Vec<&'static str>>,
    storage_opt: Option<BTreeMap<&'static str, String>>,
    runtime: Option<String>,
    userns_mode: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ulimit {
    name: &'static str,
    soft: u64,
    hard: u64,
}

/// An image's own health check would be another, unrequested process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Healthcheck {
    test: [Fixed; 1],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    name: Fixed,
}

/// The pipe is the standard output, which engines would otherwise write to a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerLogs {
    r#type: Fixed,
    config: BTreeMap<String, String>,
}

/// What a request depends on besides the specification.
pub(super) struct RequestContext<'a> {
    /// The id of the image with the toolbox in it.
    pub image: String,
    /// The image that it was created from.
    pub base: &'a Image,
    pub owner: &'a str,
    pub instance: &'a str,
    pub info: &'a EngineInfo,
    pub runtime: Option<&'a str>,
    pub userns: Option<&'a str>,
    /// Whether the engine limits the root file system itself; requested only for a setup.
    pub limits_root: bool,
    /// How many open files per process the engine may grant.
    pub open_files_max: u64,
    /// Processes of one user in all containers together, if the engine would otherwise request a number
    /// that it may not grant.
    pub user_processes_max: Option<u64>,
}

impl ContainerRequest {
    /// The request for a sandbox.
    pub(super) fn sandbox(spec: &SandboxSpec, context: &RequestContext<'_>) -> Self {
        let limits = &spec.limits;
        let is_setup = spec.purpose == SandboxPurpose::Setup;
        let masks = || MASKED.to_vec();
        let mut security_opt = vec!["no-new-privileges".to_owned()];
        if context.info.is_podman {
            // Podman has no field for these, and adds them to its own.
            security_opt.push(format!("mask={}", masks().join(":")));
        }
        let mut labels = BTreeMap::new();
        labels.insert(Label::Owner.name(), context.owner.to_owned());
        labels.insert(Label::Instance.name(), context.instance.to_owned());
        labels.insert(Label::Job.name(), spec.label.clone());
        let mut cmd = vec!["init".to_owned(), "--filters".to_owned()];
        if !spec.allowed_hosts.is_empty() {
            cmd.extend(["--proxy-port".to_owned(), PROXY_PORT.to_string()]);
        }
        if spec.snapshot.is_some() {
            cmd.push("--prepared".to_owned());
        }
        Self {
            image: context.image.clone(),
            hostname: "sandbox",
            user: if is_setup { "0:0".to_owned() } else { format!("{WORK_USER}:{WORK_USER}") },
            working_dir: WORKSPACE,
            entrypoint: [TOOLBOX_PATH],
            cmd,
            env: variables(spec, context),
            labels,
            attach_stdin: true,
            attach_stdout: true,
            attach_stderr: true,
            open_stdin: true,
            stdin_once: true,
            tty: false,
            healthcheck: Healthcheck { test: [Fixed::NoCheck] },
            host_config: HostRequest {
                network_mode: Fixed::None,
                ipc_mode: Fixed::Private,
                cgroupns_mode: Fixed::Private,
                cap_drop: [Fixed::All],
                cap_add: if is_setup { SetupCapability::ALL.to_vec() } else { Vec::new() },
                security_opt,
                readonly_rootfs: !is_setup,
                tmpfs: writable(spec, context),
                shm_size: limits.disk_bytes_max / 8,
                memory: limits.memory_bytes_max,
                memory_swap: limits.memory_bytes_max,
                nano_cpus: limits.cpu_millis_max.map(|millis| u64::from(millis) * 1_000_000),
                pids_limit: limits.pids_max,
                ulimits: ulimits(
                    limits.open_files_max.min(context.open_files_max),
                    context.user_processes_max,
                ),
                init: false,
                // The file system of a setup is stored after its end.
                auto_remove: !is_setup,
                restart_policy: RestartPolicy { name: Fixed::No },
                log_config: ContainerLogs { r#type: Fixed::None, config: BTreeMap::new() },
                masked_paths: (!context.info.is_podman).then(masks),
                storage_opt: (is_setup && context.limits_root)
                    .then(|| BTreeMap::from([("size", limits.disk_bytes_max.to_string())])),
                runtime: context.runtime.map(str::to_owned),
                userns_mode: context.userns.map(str::to_owned),
            },
        }
    }

    /// As a type of the client. This is the only place that creates those.
    pub(super) fn into_body(self) -> ContainerCreateBody {
        let ours = serde_json::to_value(self).expect("plain text, numbers and lists are JSON");
        serde_json::from_value(ours).expect("each field is one of the API's, with its type")
    }
}

/// Always set: Podman would pass on its own limits.
fn ulimits(open_files_max: u64, user_processes_max: Option<u64>) -> Vec<Ulimit> {
    let same = |name, most| Ulimit { name, soft: most, hard: most };
    let mut ulimits = vec![same("nofile", open_files_max), same("core", 0)];
    ulimits.extend(user_processes_max.map(|most| same("nproc", most)));
    ulimits
}

/// The environment: our variables replace the image's own, which the engine adds.
fn variables(spec: &SandboxSpec, context: &RequestContext<'_>) -> Vec<String> {
    let proxy = !spec.allowed_hosts.is_empty();
    let ours = environment::variables(proxy);
    let mut variables: Vec<String> = ours.iter().map(|(name, value)| format!("{name}={value}")).collect();
    variables.push(format!("PATH={}", environment::search_path(context.base.path.as_deref())));
    let mut removed: BTreeSet<&str> = PROXY_VARIABLES.into();
    if spec.snapshot.is_some() {
        // The image of a snapshot has the setup's variables.
        removed.extend(environment::variables(true).iter().map(|(name, _)| *name));
    }
    removed.retain(|name| ours.iter().all(|(ours, _)| ours != name));
    // A name without a value removes the variable; Podman would look it up in its own environment.
    variables.extend(removed.into_iter().map(|name| match context.info.is_podman {
        true => format!("{name}="),
        false => name.to_owned(),
    }));
    variables
}

/// The writable file systems besides the root: in memory, with sizes that add up (with `/dev/shm`) to at
/// most the limit of the disk.
fn writable(spec: &SandboxSpec, context: &RequestContext<'_>) -> BTreeMap<String, String> {
    let part = |share: u64| spec.limits.disk_bytes_max / 8 * share;
    let common = "rw,nosuid,nodev,exec";
    let mut writable = BTreeMap::new();
    writable.insert("/tmp".to_owned(), format!("{common},mode=1777,size={}", part(1)));
    if spec.purpose == SandboxPurpose::Work {
        let owner = match context.info.is_podman {
            true => "U".to_owned(),
            false => format!("uid={WORK_USER},gid={WORK_USER}"),
        };
        for (path, share) in [(HOME, 2), (WORKSPACE, 4)] {
            writable.insert(path.to_owned(), format!("{common},mode=0755,size={},{owner}", part(share)));
        }
    }
    // Otherwise the engine would create volumes there, on its own disk.
    for volume in &context.base.volumes {
        writable.entry(volume.clone()).or_insert_with(|| "ro,nosuid,nodev,noexec,size=4096".to_owned());
    }
    writable
}
