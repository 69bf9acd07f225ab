//! The settings of each version and, with real groups, that all processes in them can be killed.

use std::process::{Child, Command, Stdio};

use super::hierarchy::{enables, move_to_leaf};
use super::*;

fn written(controller: &str, version: Version) -> Vec<String> {
    let limits =
        Limits { memory_bytes_max: 1 << 30, pids_max: 100, cpu_millis_max: Some(1_500), ..Limits::default() };
    let settings = settings(controller, version, &limits).into_iter();
    settings
        .map(|CgroupSetting { file, value, may_be_absent }| {
            format!("{file} {value}{}", if may_be_absent { "?" } else { "" })
        })
        .collect()
}

#[test]
fn settings_use_the_files_of_each_version() {
    assert_eq!(
        written("memory", Version::One),
        ["memory.limit_in_bytes 1073741824", "memory.memsw.limit_in_bytes 1073741824?"]
    );
    assert_eq!(written("memory", Version::Two), ["memory.max 1073741824", "memory.swap.max 0?"]);
    for version in [Version::One, Version::Two] {
        assert_eq!(written("pids", version), ["pids.max 116"]);
    }
    assert_eq!(written("cpu", Version::One), ["cpu.cfs_period_us 100000", "cpu.cfs_quota_us 150000"]);
    assert_eq!(written("cpu", Version::Two), ["cpu.max 150000 100000"]);
    let sliver = Limits { cpu_millis_max: Some(1), ..Limits::default() };
    assert_eq!(settings("cpu", Version::Two, &sliver)[0].value, "1000 100000");
}

#[test]
fn kills_and_refusals_are_read_from_the_files_of_each_version() {
    assert_eq!(read_count("oom_kill", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
    assert_eq!(read_count("oom_kill", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n"), 1);
    assert_eq!(read_count("oom_kill", ""), 0);
    assert_eq!(read_count("max", "max 12\n"), 12);
}

#[test]
fn limit_events_are_known_after_the_removal() {
    let root = tempfile::tempdir().unwrap();
    let group = root.path().join("group");
    fs::create_dir(&group).unwrap();
    fs::write(group.join("memory.events"), "low 0\noom_kill 2\n").unwrap();
    fs::write(group.join("pids.events"), "max 3\n").unwrap();
    let mut cgroup = Cgroup::default();
    cgroup.memory = Some((group.clone(), Version::Two));
    cgroup.processes = Some(group.clone());
    let events = LimitEvents { memory_kills: 2, pid_refusals: 3 };
    assert_eq!(cgroup.limit_events(), events);
    cgroup.remove();
    fs::remove_dir_all(&group).unwrap();
    assert_eq!(cgroup.limit_events(), events);
}

/// A group of a real hierarchy, below the test's own. It is removed at the end.
struct RealGroup(PathBuf);

impl RealGroup {
    fn below(parent: &Path) -> Self {
        let group = parent.join(leftovers::unique_name("unit-test"));
        fs::create_dir(&group).unwrap();
        Self(group)
    }

    /// A process in it that starts others faster than a list of them could be read.
    fn fill(&self) -> Child {
        let script = "echo $$ > \"$0/cgroup.procs\" && echo in && while :; do (setsid sleep 4747 &) ; sleep 0.01; done";
        let mut command = Command::new("/bin/sh");
        let mut child = command.args(["-c", script]).arg(&self.0).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = [0; 3];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut output).unwrap();
        child
    }

    fn is_empty(&self) -> bool {
        fs::read_to_string(self.0.join("cgroup.procs")).unwrap().is_empty()
    }
}

impl Drop for RealGroup {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            termination::remove(&entry.path());
        }
        assert!(termination::remove(&self.0) || std::thread::panicking(), "{} is left", self.0.display());
    }
}

/// The version 2 hierarchy, mounted here or by us.
fn version_2() -> (PathBuf, Option<tempfile::TempDir>) {
    if let Some(parent) = Hierarchies::read().version_2_parents().pop() {
        return (parent.directory, None);
    }
    let point = tempfile::tempdir().unwrap();
    let none: Option<&str> = None;
    nix::mount::mount(none, point.path(), Some("cgroup2"), nix::mount::MsFlags::empty(), none).unwrap();
    (point.path().to_owned(), Some(point))
}

fn kill_and_wait(group: &RealGroup) {
    let mut child = group.fill();
    assert!(!group.is_empty());
    termination::kill_all(&group.0);
    assert!(!child.wait().unwrap().success());
    while !group.is_empty() {
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "needs root"]
fn kill_ends_every_process_of_a_group_in_either_version() {
    let (parent, mounted) = version_2();
    let group = RealGroup::below(&parent);
    assert!(group.0.join("cgroup.kill").exists());
    kill_and_wait(&group);
    drop(group);
    if let Some(point) = mounted {
        nix::mount::umount(point.path()).unwrap();
    }
    if let Some(parent) = Hierarchies::read().version_1_parent("freezer") {
        let group = RealGroup::below(&parent.directory);
        kill_and_wait(&group);
        assert_eq!(fs::read_to_string(group.0.join("freezer.state")).unwrap().trim(), "THAWED");
    }
}

/// As in a service with `Delegate=yes`: its group contains the service, and can enable no controllers until
/// the service moves to a child group.
#[test]
#[ignore = "needs root"]
fn delegated_group_enables_controllers_after_its_process_moved_to_a_leaf() {
    let (parent, mounted) = version_2();
    let all = fs::read_to_string(parent.join("cgroup.controllers")).unwrap();
    let controller = all.split_whitespace().next().expect("version 2 has no controller here");
    assert!(enables(&parent, controller));
    let group = RealGroup::below(&parent);
    let mut service = Command::new("sleep").arg("4848").spawn().unwrap();
    fs::write(group.0.join("cgroup.procs"), service.id().to_string()).unwrap();
    assert!(!enables(&group.0, controller), "the kernel enables controllers of a group with processes");
    assert!(move_to_leaf(&group.0, service.id()));
    assert!(enables(&group.0, controller));
    service.kill().unwrap();
    service.wait().unwrap();
    drop(group);
    if let Some(point) = mounted {
        nix::mount::umount(point.path()).unwrap();
    }
}
