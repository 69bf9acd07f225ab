//! Reports the isolation that a process inside can see: one line for each fact, in a form that is the same
//! wherever the isolation is the same.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::calls::call;

/// File systems of the host's disks, whichever they are.
const KERNELS_OWN: [&str; 9] =
    ["tmpfs", "devtmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "fuse"];

/// `SECTION: FACT` lines.
pub fn report() -> String {
    let mut lines = Vec::new();
    let mut say = |section: &str, fact: String| lines.push(format!("{section}: {fact}"));
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    for field in
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Groups", "Umask"]
    {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
        say("status", format!("{field} {}", line.unwrap_or("?").trim()).trim().to_owned());
    }
    for mount in read("/proc/self/mountinfo").lines() {
        say("mounts", describe_mount(mount));
    }
    for namespace in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        let link = fs::read_link(format!("/proc/self/ns/{namespace}")).unwrap_or_default();
        say("namespaces", format!("{namespace} {}", link.display()));
    }
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        let number = entry.file_name().to_string_lossy().into_owned();
        if !target.ends_with("/fd") {
            let kind = target.split(':').next().unwrap_or_default();
            say("descriptors", format!("{number} {kind}"));
        }
    }
    for (name, _) in std::env::vars() {
        say("environment", name);
    }
    let user = fs::metadata("/proc/self").map(|metadata| metadata.uid()).unwrap_or_default();
    say("identity", format!("user {user}"));
    for map in ["uid_map", "gid_map"] {
        for line in read(&format!("/proc/self/{map}")).lines() {
            say("identity", format!("{map} {}", line.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    say("identity", format!("setgroups {}", read("/proc/self/setgroups").trim()));
    for limit in read("/proc/self/limits").lines().skip(1) {
        // The name is 26 characters wide, then soft and hard limit. How much depends on the machine.
        let (name, values) = limit.split_at(limit.len().min(26));
        let values: Vec<&str> = values.split_whitespace().take(2).collect();
        let bound = match values.as_slice() {
            ["0", "0"] => "none",
            [_, "unlimited"] => "unlimited",
            _ => "bounded",
        };
        say("limits", format!("{} {bound}", name.trim()));
    }
    for interface in super::network::interfaces().split_whitespace() {
        say("interfaces", interface.to_owned());
    }
    for path in writable() {
        say("writable", path);
    }
    for name in names("/dev") {
        say("devices", name);
    }
    for name in names("/sys") {
        say("sys", name);
    }
    for file in
        ["kcore", "keys", "timer_list", "sched_debug", "latency_stats", "cmdline", "kallsyms", "acpi", "scsi"]
    {
        let path = format!("/proc/{file}");
        let seen = match fs::read(&path) {
            _ if !Path::new(&path).exists() => continue,
            Ok(bytes) if bytes.is_empty() => "empty",
            Ok(_) => "readable",
            Err(_) => "refused",
        };
        say("proc", format!("{file} {seen}"));
    }
    for file in ["sys/kernel/core_pattern", "sysrq-trigger", "sys/kernel/hostname", "sys/vm/drop_caches"] {
        let path = format!("/proc/{file}");
        if Path::new(&path).exists() {
            let may = fs::OpenOptions::new().write(true).open(&path).is_ok();
            say("proc", format!("{file} {}", if may { "writable" } else { "not writable" }));
        }
    }
    say("names", format!("hostname {}", read("/proc/sys/kernel/hostname").trim()));
    say("names", format!("domain {}", read("/proc/sys/kernel/domainname").trim()));
    say("names", format!("cgroup {}", cgroup_paths(&read("/proc/self/cgroup"))));
    say("names", format!("first process {}", read("/proc/1/comm").trim()));
    let dumpable = call("prctl", &[3, 0, 0, 0, 0]).unwrap_or(9);
    say("names", format!("dumpable {dumpable}"));
    let terminal = fs::File::open("/dev/tty").is_ok();
    say("names", format!("controlling terminal {}", if terminal { "yes" } else { "none" }));
    lines.sort();
    lines.dedup();
    lines.join("\n")
}

/// `/usr disk ro,nodev,nosuid`
fn describe_mount(line: &str) -> String {
    let (mount, file_system) = line.split_once(" - ").unwrap_or((line, ""));
    let fields: Vec<&str> = mount.split(' ').collect();
    let kind = file_system.split(' ').next().unwrap_or_default();
    let kind = if KERNELS_OWN.contains(&kind) { kind } else { "disk" };
    let mut options: BTreeSet<&str> = fields[5].split(',').collect();
    // Irrelevant for the isolation.
    for of_no_consequence in ["relatime", "noatime", "nodiratime"] {
        options.remove(of_no_consequence);
    }
    let propagates = fields[6..].iter().any(|field| field.starts_with("shared:"));
    // The size depends on the limits.
    let mut sizes = file_system.split(' ').nth(2).unwrap_or_default().split(',');
    let is_bounded = kind == "tmpfs" && sizes.any(|option| option.starts_with("size="));
    let mut options: Vec<&str> = options.into_iter().collect();
    if is_bounded {
        options.push("bounded");
    }
    let shared = if propagates { " shared" } else { "" };
    format!("{} {kind} {}{shared}", fields[4], options.join(","))
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Directories and files that may be written, at most two below the root.
fn writable() -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![(Path::new("/").to_owned(), 0)];
    while let Some((path, depth)) = pending.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if path == Path::new("/proc") || metadata.is_symlink() {
            continue;
        }
        if may_write(&path, &metadata) {
            found.push(path.display().to_string());
        }
        if metadata.is_dir() && depth < 2 {
            let inner = fs::read_dir(&path).into_iter().flatten().flatten();
            pending.extend(inner.map(|entry| (entry.path(), depth + 1)));
        }
    }
    found
}

fn may_write(path: &Path, metadata: &fs::Metadata) -> bool {
    if metadata.is_dir() {
        // The kernel decides. The file is removed immediately.
        let trial = path.join(format!(".trial-{}", std::process::id()));
        let made = fs::File::create(&trial).is_ok();
        if made {
            let _ = fs::remove_file(&trial);
        }
        return made;
    }
    // Devices are not opened for a test.
    metadata.file_type().is_file()
        && metadata.mode() & 0o222 != 0
        && fs::OpenOptions::new().append(true).open(path).is_ok()
}

/// Only whether the path reveals the position in the host's tree.
fn cgroup_paths(table: &str) -> String {
    let is_root = |line: &str| line.rsplit(':').next().is_some_and(|path| path == "/");
    if table.lines().all(is_root) { "at the root of its namespace" } else { "shows a path" }.to_owned()
}
