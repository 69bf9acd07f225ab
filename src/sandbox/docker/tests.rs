//! The decisions before a request to an engine, and the request itself.

use std::path::Path;

use super::images::image_builder;
use super::*;
use crate::domain::EngineConfig;
use crate::sandbox::Limits;

fn info() -> EngineInfo {
    EngineInfo {
        name: "Docker Engine 1".to_owned(),
        seccomp: Some("default".to_owned()),
        bounds_memory: true,
        bounds_swap: true,
        bounds_processes: true,
        bounds_processor: true,
        ..EngineInfo::default()
    }
}

fn base() -> Image {
    Image {
        id: "sha256:base".to_owned(),
        exact: "name@sha256:digest".to_owned(),
        digest: "sha256:digest".to_owned(),
        path: Some("/usr/bin:/bin".to_owned()),
        volumes: vec!["/data".to_owned()],
        labels: [].into(),
    }
}

/// As it is sent, with all fields.
fn request(spec: &SandboxSpec, info: &EngineInfo, limits_root: bool) -> String {
    let context = RequestContext {
        image: "sha256:derived".to_owned(),
        base: &base(),
        owner: "owner",
        instance: "instance",
        info,
        runtime: Some("runsc"),
        userns: None,
        limits_root,
        open_files_max: u64::MAX,
        user_processes_max: None,
    };
    let body = serde_json::to_value(ContainerRequest::sandbox(spec, &context).into_body()).unwrap();
    // Maps have no order of their own.
    let mut text = String::new();
    flatten("", &body, &mut text);
    text
}

fn flatten(path: &str, value: &serde_json::Value, text: &mut String) {
    match value {
        serde_json::Value::Object(map) if !map.is_empty() => {
            let mut names: Vec<_> = map.keys().collect();
            names.sort();
            names.into_iter().for_each(|name| flatten(&format!("{path}.{name}"), &map[name], text));
        }
        serde_json::Value::Array(entries) if !entries.is_empty() => {
            entries
                .iter()
                .for_each(|entry| *text += &format!("{} + {entry}\n", path.trim_start_matches('.')));
        }
        other => *text += &format!("{} = {other}\n", path.trim_start_matches('.')),
    }
}

fn small(purpose: SandboxPurpose) -> SandboxSpec {
    let limits = Limits {
        memory_bytes_max: 1 << 30,
        pids_max: 100,
        cpu_millis_max: Some(1500),
        disk_bytes_max: 8 << 20,
        open_files_max: 1000,
    };
    SandboxSpec { purpose, limits, root: Root::Image("name:1".to_owned()), ..SandboxSpec::named("job-1") }
}

#[test]
fn work_container_has_no_privileges() {
    insta::assert_snapshot!(request(&small(SandboxPurpose::Work), &info(), false), @r#"
    AttachStderr = true
    AttachStdin = true
    AttachStdout = true
    Cmd + "init"
    Cmd + "--filters"
    Entrypoint + "/.mendwright/toolbox"
    Env + "HOME=/home/agent"
    Env + "USER=agent"
    Env + "LOGNAME=agent"
    Env + "SHELL=/bin/sh"
    Env + "LANG=C.UTF-8"
    Env + "TERM=dumb"
    Env + "TMPDIR=/tmp"
    Env + "CI=true"
    Env + "CARGO_HOME=/home/agent/.cargo"
    Env + "CARGO_NET_OFFLINE=true"
    Env + "npm_config_offline=true"
    Env + "PIP_RETRIES=0"
    Env + "PATH=/home/agent/.local/bin:/usr/bin:/bin"
    Env + "ALL_PROXY"
    Env + "FTP_PROXY"
    Env + "HTTPS_PROXY"
    Env + "HTTP_PROXY"
    Env + "NO_PROXY"
    Env + "all_proxy"
    Env + "ftp_proxy"
    Env + "http_proxy"
    Env + "https_proxy"
    Env + "no_proxy"
    Healthcheck.Test + "NONE"
    HostConfig.AutoRemove = true
    HostConfig.CapAdd = []
    HostConfig.CapDrop + "ALL"
    HostConfig.CgroupnsMode = "private"
    HostConfig.Init = false
    HostConfig.IpcMode = "private"
    HostConfig.LogConfig.Config = {}
    HostConfig.LogConfig.Type = "none"
    HostConfig.MaskedPaths + "/proc/acpi"
    HostConfig.MaskedPaths + "/proc/asound"
    HostConfig.MaskedPaths + "/proc/cmdline"
    HostConfig.MaskedPaths + "/proc/config.gz"
    HostConfig.MaskedPaths + "/proc/interrupts"
    HostConfig.MaskedPaths + "/proc/kcore"
    HostConfig.MaskedPaths + "/proc/keys"
    HostConfig.MaskedPaths + "/proc/latency_stats"
    HostConfig.MaskedPaths + "/proc/sched_debug"
    HostConfig.MaskedPaths + "/proc/scsi"
    HostConfig.MaskedPaths + "/proc/timer_list"
    HostConfig.MaskedPaths + "/proc/timer_stats"
    HostConfig.MaskedPaths + "/sys/block"
    HostConfig.MaskedPaths + "/sys/bus"
    HostConfig.MaskedPaths + "/sys/class"
    HostConfig.MaskedPaths + "/sys/dev"
    HostConfig.MaskedPaths + "/sys/devices"
    HostConfig.MaskedPaths + "/sys/firmware"
    HostConfig.MaskedPaths + "/sys/fs/bpf"
    HostConfig.MaskedPaths + "/sys/fs/btrfs"
    HostConfig.MaskedPaths + "/sys/fs/erofs"
    HostConfig.MaskedPaths + "/sys/fs/ext4"
    HostConfig.MaskedPaths + "/sys/fs/f2fs"
    HostConfig.MaskedPaths + "/sys/fs/fuse"
    HostConfig.MaskedPaths + "/sys/fs/jfs"
    HostConfig.MaskedPaths + "/sys/fs/nfs"
    HostConfig.MaskedPaths + "/sys/fs/nilfs2"
    HostConfig.MaskedPaths + "/sys/fs/ocfs2"
    HostConfig.MaskedPaths + "/sys/fs/pstore"
    HostConfig.MaskedPaths + "/sys/fs/resctrl"
    HostConfig.MaskedPaths + "/sys/fs/selinux"
    HostConfig.MaskedPaths + "/sys/fs/smackfs"
    HostConfig.MaskedPaths + "/sys/fs/xfs"
    HostConfig.MaskedPaths + "/sys/hypervisor"
    HostConfig.MaskedPaths + "/sys/kernel"
    HostConfig.MaskedPaths + "/sys/module"
    HostConfig.MaskedPaths + "/sys/power"
    HostConfig.MaskedPaths + "/etc/resolv.conf"
    HostConfig.Memory = 1073741824
    HostConfig.MemorySwap = 1073741824
    HostConfig.NanoCpus = 1500000000
    HostConfig.NetworkMode = "none"
    HostConfig.PidsLimit = 100
    HostConfig.ReadonlyRootfs = true
    HostConfig.RestartPolicy.Name = "no"
    HostConfig.Runtime = "runsc"
    HostConfig.SecurityOpt + "no-new-privileges"
    HostConfig.ShmSize = 1048576
    HostConfig.Tmpfs./data = "ro,nosuid,nodev,noexec,size=4096"
    HostConfig.Tmpfs./home/agent = "rw,nosuid,nodev,exec,mode=0755,size=2097152,uid=1000,gid=1000"
    HostConfig.Tmpfs./tmp = "rw,nosuid,nodev,exec,mode=1777,size=1048576"
    HostConfig.Tmpfs./workspace = "rw,nosuid,nodev,exec,mode=0755,size=4194304,uid=1000,gid=1000"
    HostConfig.Ulimits + {"Hard":1000,"Name":"nofile","Soft":1000}
    HostConfig.Ulimits + {"Hard":0,"Name":"core","Soft":0}
    Hostname = "sandbox"
    Image = "sha256:derived"
    Labels.mendwright.instance = "instance"
    Labels.mendwright.job = "job-1"
    Labels.mendwright.owner = "owner"
    OpenStdin = true
    StdinOnce = true
    Tty = false
    User = "1000:1000"
    WorkingDir = "/workspace"
    "#);
}

#[test]
fn setup_container_may_do_only_what_package_managers_need() {
    let spec = SandboxSpec {
        allowed_hosts: vec![crate::domain::AllowedHost::public("example.org")],
        ..small(SandboxPurpose::Setup)
    };
    let (work, setup) =
        (request(&small(SandboxPurpose::Work), &info(), false), request(&spec, &info(), true));
    let only_in = |first: &str, second: &str| -> String {
        first
            .lines()
            .filter(|line| !second.lines().any(|other| other == *line))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    insta::assert_snapshot!(only_in(&setup, &work), @r#"
    Cmd + "--proxy-port"
    Cmd + "3128"
    Env + "HTTP_PROXY=http://127.0.0.1:3128"
    Env + "http_proxy=http://127.0.0.1:3128"
    Env + "HTTPS_PROXY=http://127.0.0.1:3128"
    Env + "https_proxy=http://127.0.0.1:3128"
    Env + "ALL_PROXY=http://127.0.0.1:3128"
    Env + "all_proxy=http://127.0.0.1:3128"
    Env + "FTP_PROXY=http://127.0.0.1:3128"
    Env + "ftp_proxy=http://127.0.0.1:3128"
    Env + "PIP_PROXY=http://127.0.0.1:3128"
    Env + "CARGO_HTTP_PROXY=http://127.0.0.1:3128"
    Env + "npm_config_proxy=http://127.0.0.1:3128"
    Env + "npm_config_https_proxy=http://127.0.0.1:3128"
    Env + "YARN_HTTP_PROXY=http://127.0.0.1:3128"
    Env + "YARN_HTTPS_PROXY=http://127.0.0.1:3128"
    Env + "NO_PROXY=localhost,127.0.0.1,::1"
    Env + "no_proxy=localhost,127.0.0.1,::1"
    Env + "npm_config_noproxy=localhost,127.0.0.1,::1"
    Env + "JAVA_TOOL_OPTIONS=-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=3128 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128 -Dhttp.nonProxyHosts=localhost|127.0.0.1"
    Env + "npm_config_fetch_retries=2"
    Env + "npm_config_fetch_retry_mintimeout=500"
    Env + "npm_config_fetch_retry_maxtimeout=2000"
    Env + "PIP_RETRIES=2"
    Env + "PUPPETEER_SKIP_DOWNLOAD=true"
    Env + "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1"
    Env + "CYPRESS_INSTALL_BINARY=0"
    Env + "UV_NATIVE_TLS=true"
    HostConfig.AutoRemove = false
    HostConfig.CapAdd + "CHOWN"
    HostConfig.CapAdd + "DAC_OVERRIDE"
    HostConfig.CapAdd + "FOWNER"
    HostConfig.CapAdd + "FSETID"
    HostConfig.CapAdd + "KILL"
    HostConfig.CapAdd + "SETGID"
    HostConfig.CapAdd + "SETUID"
    HostConfig.ReadonlyRootfs = false
    HostConfig.StorageOpt.size = "8388608"
    User = "0:0"
    "#);
}

#[test]
fn container_with_a_snapshot_has_no_proxy_variables_of_the_setup() {
    let location = "sha256:kept".to_owned();
    let snapshot = SetupSnapshot {
        key: SetupKey::from_hex("0".repeat(64)).unwrap(),
        location,
        bytes: 0,
        created: jiff::Timestamp::UNIX_EPOCH,
    };
    let snapshot = SandboxSpec { snapshot: Some(snapshot), ..small(SandboxPurpose::Work) };
    let request = request(&snapshot, &info(), false);
    for (name, _) in crate::sandbox::environment::variables(true) {
        let value = request.lines().find(|line| line.starts_with(&format!("Env + \"{name}"))).unwrap();
        assert!(!value.contains("127.0.0.1"), "{value}");
    }
    assert!(request.contains("Cmd + \"--prepared\""), "{request}");
}

#[test]
fn request_to_podman_uses_its_own_options() {
    let podman = EngineInfo { is_podman: true, ..info() };
    let request = request(&small(SandboxPurpose::Work), &podman, false);
    let field = |name: &str| request.lines().find(|line| line.starts_with(name)).unwrap_or("").to_owned();
    assert!(request.contains("HostConfig.SecurityOpt + \"mask=/proc/acpi:/proc/asound:"), "{request}");
    assert!(!request.contains("HostConfig.MaskedPaths"));
    assert!(field("HostConfig.Tmpfs./workspace").ends_with("size=4194304,U\""), "{request}");
    assert!(request.contains("Env + \"HTTP_PROXY=\"\n"), "{request}");
}

#[test]
fn image_builder_container_has_no_network() {
    let builder = image_builder("sha256:base", [(Label::Owner, "owner".to_owned())]);
    assert_eq!((builder.network_disabled, builder.host_config), (Some(true), None));
}

#[test]
fn required_guarantee_that_is_missing_is_named() {
    let require = |purpose, required: Guarantee| SandboxSpec { required: vec![required], ..small(purpose) };
    let bare = EngineInfo { seccomp: Some("default".to_owned()), ..EngineInfo::default() };
    let missing =
        |info: &EngineInfo, spec: &SandboxSpec, us| info.missing(spec, None, us).unwrap_or_default();
    for guarantee in [Guarantee::Memory, Guarantee::Processes, Guarantee::Processor] {
        let spec = require(SandboxPurpose::Work, guarantee);
        assert_eq!(missing(&info(), &spec, 0), "");
        assert!(missing(&bare, &spec, 0).contains(guarantee.name()), "{guarantee:?}");
    }
    let unbounded = SandboxSpec {
        limits: Limits { cpu_millis_max: None, ..Limits::default() },
        ..require(SandboxPurpose::Work, Guarantee::Processor)
    };
    assert!(missing(&info(), &unbounded, 0).contains("no processor limit is set"));
    assert_eq!(missing(&info(), &require(SandboxPurpose::Work, Guarantee::Disk), 0), "");
    assert!(missing(&info(), &require(SandboxPurpose::Setup, Guarantee::Disk), 0).contains("'disk'"));
    // Root inside and outside is the same user, and so is an ordinary user; mapped users are not.
    assert!(
        missing(&info(), &require(SandboxPurpose::Setup, Guarantee::OtherUser), 0).contains("'other_user'")
    );
    assert!(
        missing(&info(), &require(SandboxPurpose::Work, Guarantee::OtherUser), WORK_USER)
            .contains("'other_user'")
    );
    assert_eq!(missing(&info(), &require(SandboxPurpose::Work, Guarantee::OtherUser), 0), "");
    let mapped = info().missing(&require(SandboxPurpose::Setup, Guarantee::OtherUser), Some("auto"), 0);
    assert_eq!(mapped, None);
    // Required even if the spec does not say so.
    let open = EngineInfo { seccomp: None, ..info() };
    insta::assert_snapshot!(missing(&open, &small(SandboxPurpose::Work), 0), @"a seccomp filter: the engine has none, or runs with seccomp=unconfined");
}

fn options(engine: EngineConfig) -> SandboxOptions {
    SandboxOptions { engine, ..SandboxOptions::standalone(SandboxKind::Docker) }
}

fn refusal(engine: EngineConfig, environment: &[(&str, &str)]) -> String {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Docker::with_environment(&options(engine), environment).unwrap_err().to_string()
}

#[test]
fn unreachable_engine_is_an_error_with_a_remedy() {
    let named = |socket: &str| EngineConfig { socket: Some(socket.to_owned()), ..EngineConfig::default() };
    insta::assert_snapshot!(refusal(named("unix:///nowhere/engine.sock"), &[]), @"the sandbox cannot be used: there is no socket /nowhere/engine.sock; start the engine, or name its socket");
    insta::assert_snapshot!(refusal(EngineConfig::default(), &[("DOCKER_HOST", "tcp://10.0.0.1:2375")]), @r#"the sandbox cannot be used: a Unix socket, but DOCKER_HOST is "tcp://10.0.0.1:2375"; name one, as unix:///var/run/docker.sock: engines are not used over a network"#);
    insta::assert_snapshot!(refusal(EngineConfig::default(), &[("DOCKER_HOST", "unix:///nowhere/else.sock")]), @"the sandbox cannot be used: there is no socket /nowhere/else.sock; start the engine, or name its socket");
    let forbidden =
        engine::unreachable(Path::new("/var/run/docker.sock"), &std::io::ErrorKind::PermissionDenied.into());
    insta::assert_snapshot!(forbidden.to_string(), @"the sandbox cannot be used: this user may not open the engine's socket /var/run/docker.sock; add the user to its group (usermod -aG docker USER), which amounts to root access on this machine; or run Podman as that user");
    let directory = tempfile::tempdir().unwrap();
    let nobody = directory.path().join("nobody.sock");
    drop(std::os::unix::net::UnixListener::bind(&nobody).unwrap());
    let refused = refusal(named(nobody.to_str().unwrap()), &[]);
    assert!(
        refused.contains("no engine responds at the socket") && refused.contains("start the engine"),
        "{refused}"
    );
}

#[test]
fn user_namespace_mode_of_the_host_is_refused() {
    for mode in ["host", "container:x", "ns:/proc/1/ns/user", ""] {
        let engine = EngineConfig { userns: Some(mode.to_owned()), ..EngineConfig::default() };
        let refused = refusal(engine, &[]);
        assert!(refused.contains("a user namespace separate from the host's"), "{mode}: {refused}");
    }
}
