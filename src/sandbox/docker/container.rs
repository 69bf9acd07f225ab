//! What an engine is asked to make. A request can say nothing but what stands here: there is no
//! field for privileges, devices, mounts of the host's, its namespaces or further capabilities.
//! Talks to nobody.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::ContainerCreateBody;
use serde::Serialize;

use super::engine::Facts;
use super::images::Image;
use crate::sandbox::egress::PROXY_PORT;
use crate::sandbox::{HOME, SandboxPurpose, SandboxSpec, TOOLBOX_PATH, WORKSPACE, environment};

/// What everything inside runs as while it works.
pub(super) const WORK_USER: u32 = 1000;

/// Tell about the host, or let it be disturbed: what engines cover by themselves (by the longest of
/// their lists), the rest of `/sys` but the container's own control groups, and the host's DNS.
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
/// An image's own settings may name a way out that is not ours, or one of a set-up's.
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

/// Whose a container or image is, and what it is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Label {
    /// The data directory's, over all its processes.
    Owner,
    /// The process's.
    Instance,
    /// Of a container: the sandbox's label.
    Job,
    /// Of an image: the id of the one that the toolbox was put into.
    Base,
    /// Of an image: the digest of the toolbox in it.
    Toolbox,
    /// Of an image: the key of the set-up that it keeps.
    Setup,
    /// Of an image: how much the set-up added.
    Bytes,
}

impl Label {
    /// As engines know it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Owner => "mendwright.owner",
            Self::Instance => "mendwright.instance",
            Self::Job => "mendwright.job",
            Self::Base => "mendwright.base",
            Self::Toolbox => "mendwright.toolbox",
            Self::Setup => "mendwright.setup",
            Self::Bytes => "mendwright.bytes",
        }
    }
}

/// What package managers need to install what they have unpacked, as several users, and to end
/// what they have started as them; nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum SetUpCapability {
    Chown,
    DacOverride,
    Fowner,
    Fsetid,
    Kill,
    Setgid,
    Setuid,
}

impl SetUpCapability {
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

/// A container, as an engine is asked for it.
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

/// The part of a request that says how the engine is to contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostRequest {
    network_mode: Fixed,
    ipc_mode: Fixed,
    cgroupns_mode: Fixed,
    cap_drop: [Fixed; 1],
    cap_add: Vec<SetUpCapability>,
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
    log_config: LogConfig,
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

/// An image's own check would be one more process, by nobody's command.
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

/// The pipe passes through the standard output, which engines would otherwise write to a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LogConfig {
    r#type: Fixed,
    config: BTreeMap<String, String>,
}

/// What a request depends on beside the specification.
pub(super) struct Wanted<'a> {
    /// Id of the image with the toolbox in it.
    pub image: String,
    /// What that image was made of.
    pub base: &'a Image,
    pub owner: &'a str,
    pub instance: &'a str,
    pub facts: &'a Facts,
    pub runtime: Option<&'a str>,
    pub userns: Option<&'a str>,
    /// Whether the engine bounds the root file system itself; asked for in a set-up only.
    pub bounds_root: bool,
    /// Open files of a process that the engine may grant.
    pub open_files_max: u64,
    /// Processes of one user, over all containers, where the engine would otherwise pass on a number
    /// that it may not grant.
    pub user_processes_max: Option<u64>,
}

impl ContainerRequest {
    /// A sandbox.
    pub(super) fn sandbox(spec: &SandboxSpec, wanted: &Wanted<'_>) -> Self {
        let limits = &spec.limits;
        let sets_up = spec.phase == SandboxPurpose::SetUp;
        let masks = || MASKED.to_vec();
        let mut security_opt = vec!["no-new-privileges".to_owned()];
        if wanted.facts.is_podman {
            // Podman adds these to its own, and knows no field for them.
            security_opt.push(format!("mask={}", masks().join(":")));
        }
        let mut labels = BTreeMap::new();
        labels.insert(Label::Owner.name(), wanted.owner.to_owned());
        labels.insert(Label::Instance.name(), wanted.instance.to_owned());
        labels.insert(Label::Job.name(), spec.label.clone());
        let mut cmd = vec!["init".to_owned(), "--filters".to_owned()];
        if !spec.allowed_hosts.is_empty() {
            cmd.extend(["--proxy-port".to_owned(), PROXY_PORT.to_string()]);
        }
        if spec.snapshot.is_some() {
            cmd.push("--prepared".to_owned());
        }
        Self {
            image: wanted.image.clone(),
            hostname: "sandbox",
            user: if sets_up { "0:0".to_owned() } else { format!("{WORK_USER}:{WORK_USER}") },
            working_dir: WORKSPACE,
            entrypoint: [TOOLBOX_PATH],
            cmd,
            env: variables(spec, wanted),
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
                cap_add: if sets_up { SetUpCapability::ALL.to_vec() } else { Vec::new() },
                security_opt,
                readonly_rootfs: !sets_up,
                tmpfs: writable(spec, wanted),
                shm_size: limits.disk_bytes_max / 8,
                memory: limits.memory_bytes_max,
                memory_swap: limits.memory_bytes_max,
                nano_cpus: limits.cpu_millis_max.map(|millis| u64::from(millis) * 1_000_000),
                pids_limit: limits.pids_max,
                ulimits: ulimits(limits.open_files_max.min(wanted.open_files_max), wanted.user_processes_max),
                init: false,
                // What a set-up made is kept after its end.
                auto_remove: !sets_up,
                restart_policy: RestartPolicy { name: Fixed::No },
                log_config: LogConfig { r#type: Fixed::None, config: BTreeMap::new() },
                masked_paths: (!wanted.facts.is_podman).then(masks),
                storage_opt: (sets_up && wanted.bounds_root)
                    .then(|| BTreeMap::from([("size", limits.disk_bytes_max.to_string())])),
                runtime: wanted.runtime.map(str::to_owned),
                userns_mode: wanted.userns.map(str::to_owned),
            },
        }
    }

    /// In the words of the client. The only place that makes these.
    pub(super) fn into_body(self) -> ContainerCreateBody {
        let ours = serde_json::to_value(self).expect("plain text, numbers and lists are JSON");
        serde_json::from_value(ours).expect("each field is one of the API's, with its type")
    }
}

/// A container that is never started: something to put files into and make an image of.
pub(super) fn mould(image: &str, labels: impl IntoIterator<Item = (Label, String)>) -> ContainerCreateBody {
    let labels = labels.into_iter().map(|(label, value)| (label.name().to_owned(), value));
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec![TOOLBOX_PATH.to_owned()]),
        cmd: Some(vec!["init".to_owned()]),
        labels: Some(labels.collect()),
        network_disabled: Some(true),
        ..ContainerCreateBody::default()
    }
}

/// Stated in any case: Podman would pass its own on.
fn ulimits(open_files_max: u64, user_processes_max: Option<u64>) -> Vec<Ulimit> {
    let same = |name, most| Ulimit { name, soft: most, hard: most };
    let mut ulimits = vec![same("nofile", open_files_max), same("core", 0)];
    ulimits.extend(user_processes_max.map(|most| same("nproc", most)));
    ulimits
}

/// The environment: ours over the image's own, which the engine adds.
fn variables(spec: &SandboxSpec, wanted: &Wanted<'_>) -> Vec<String> {
    let proxy = !spec.allowed_hosts.is_empty();
    let ours = environment::variables(proxy);
    let mut variables: Vec<String> = ours.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !wanted.base.has_path {
        variables.push(format!("PATH={}", environment::SYSTEM_PATH));
    }
    let mut foreign: BTreeSet<&str> = PROXY_VARIABLES.into();
    if spec.snapshot.is_some() {
        // The set-up's own are on its image.
        foreign.extend(environment::variables(true).iter().map(|(name, _)| *name));
    }
    foreign.retain(|name| ours.iter().all(|(ours, _)| ours != name));
    // A name alone takes the variable away; Podman would look it up in its own environment.
    variables.extend(foreign.into_iter().map(|name| match wanted.facts.is_podman {
        true => format!("{name}="),
        false => name.to_owned(),
    }));
    variables
}

/// What can be written beside the root file system: in memory, of bounded sizes that add up (with
/// `/dev/shm`) to no more than the bound on the disk.
fn writable(spec: &SandboxSpec, wanted: &Wanted<'_>) -> BTreeMap<String, String> {
    let part = |share: u64| spec.limits.disk_bytes_max / 8 * share;
    let common = "rw,nosuid,nodev,exec";
    let mut writable = BTreeMap::new();
    writable.insert("/tmp".to_owned(), format!("{common},mode=1777,size={}", part(1)));
    if spec.phase == SandboxPurpose::Work {
        let owner = match wanted.facts.is_podman {
            true => "U".to_owned(),
            false => format!("uid={WORK_USER},gid={WORK_USER}"),
        };
        for (path, share) in [(HOME, 2), (WORKSPACE, 4)] {
            writable.insert(path.to_owned(), format!("{common},mode=0755,size={},{owner}", part(share)));
        }
    }
    // Without something in their place the engine would make volumes there, on its own disk.
    for volume in &wanted.base.volumes {
        writable.entry(volume.clone()).or_insert_with(|| "ro,nosuid,nodev,noexec,size=4096".to_owned());
    }
    writable
}
