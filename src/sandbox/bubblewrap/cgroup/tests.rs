//! What is written where, and, with real groups, that everything in them can be ended.

use std::process::{Child, Command, Stdio};

use super::places::{make_room, offers};
use super::*;

fn told(controller: &str, version: Version) -> Vec<String> {
    let limits =
        Limits { memory_bytes_max: 1 << 30, pids_max: 100, cpu_millis_max: Some(1_500), ..Limits::default() };
    let settings = settings(controller, version, &limits).into_iter();
    settings
        .map(|Setting { file, value, may_be_absent }| {
            format!("{file} {value}{}", if may_be_absent { "?" } else { "" })
        })
        .collect()
}

#[test]
fn each_version_is_told_in_its_own_words() {
    assert_eq!(
        told("memory", Version::One),
        ["memory.limit_in_bytes 1073741824", "memory.memsw.limit_in_bytes 1073741824?"]
    );
    assert_eq!(told("memory", Version::Two), ["memory.max 1073741824", "memory.swap.max 0?"]);
    for version in [Version::One, Version::Two] {
        assert_eq!(told("pids", version), ["pids.max 116"]);
    }
    assert_eq!(told("cpu", Version::One), ["cpu.cfs_period_us 100000", "cpu.cfs_quota_us 150000"]);
    assert_eq!(told("cpu", Version::Two), ["cpu.max 150000 100000"]);
    let sliver = Limits { cpu_millis_max: Some(1), ..Limits::default() };
    assert_eq!(settings("cpu", Version::Two, &sliver)[0].value, "1000 100000");
}

#[test]
fn kills_and_refusals_are_counted_in_either_versions_file() {
    assert_eq!(count_of("oom_kill", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
    assert_eq!(count_of("oom_kill", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n"), 1);
    assert_eq!(count_of("oom_kill", ""), 0);
    assert_eq!(count_of("max", "max 12\n"), 12);
}

#[test]
fn what_was_counted_is_known_after_the_removal() {
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

/// A group of a real hierarchy, below the test's own; gone at the end.
struct RealGroup(PathBuf);

impl RealGroup {
    fn below(place: &Path) -> Self {
        let group = place.join(leftovers::unique_name("unit-test"));
        fs::create_dir(&group).unwrap();
        Self(group)
    }

    /// A process in it that makes others, faster than a list of them could be read.
    fn fill(&self) -> Child {
        let script = "echo $$ > \"$0/cgroup.procs\" && echo in && while :; do (setsid sleep 4747 &) ; sleep 0.01; done";
        let mut command = Command::new("/bin/sh");
        let mut child = command.args(["-c", script]).arg(&self.0).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 3];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        child
    }

    fn is_empty(&self) -> bool {
        fs::read_to_string(self.0.join("cgroup.procs")).unwrap().is_empty()
    }
}

impl Drop for RealGroup {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            ending::remove(&entry.path());
        }
        assert!(ending::remove(&self.0) || std::thread::panicking(), "{} is left", self.0.display());
    }
}

/// The version 2 hierarchy, mounted here or by us.
fn version_2() -> (PathBuf, Option<tempfile::TempDir>) {
    if let Some(place) = Machine::look().places_in_version_2().pop() {
        return (place.directory, None);
    }
    let point = tempfile::tempdir().unwrap();
    let none: Option<&str> = None;
    nix::mount::mount(none, point.path(), Some("cgroup2"), nix::mount::MsFlags::empty(), none).unwrap();
    (point.path().to_owned(), Some(point))
}

fn end_and_wait(group: &RealGroup) {
    let mut child = group.fill();
    assert!(!group.is_empty());
    ending::end_all(&group.0);
    assert!(!child.wait().unwrap().success());
    while !group.is_empty() {
        std::thread::yield_now();
    }
}

#[test]
#[ignore = "needs root"]
fn everything_in_a_group_is_ended_by_either_version() {
    let (place, mounted) = version_2();
    let group = RealGroup::below(&place);
    assert!(group.0.join("cgroup.kill").exists());
    end_and_wait(&group);
    drop(group);
    if let Some(point) = mounted {
        nix::mount::umount(point.path()).unwrap();
    }
    if let Some(place) = Machine::look().place_in_version_1("freezer") {
        let group = RealGroup::below(&place.directory);
        end_and_wait(&group);
        assert_eq!(fs::read_to_string(group.0.join("freezer.state")).unwrap().trim(), "THAWED");
    }
}

/// As in a service with `Delegate=yes`: its group has the service in it, and so no controllers to
/// give away, until the service moves to a group below.
#[test]
#[ignore = "needs root"]
fn a_delegated_group_gives_its_controllers_away_once_room_is_made() {
    let (place, mounted) = version_2();
    let all = fs::read_to_string(place.join("cgroup.controllers")).unwrap();
    let controller = all.split_whitespace().next().expect("version 2 has no controller here");
    assert!(offers(&place, controller));
    let group = RealGroup::below(&place);
    let mut service = Command::new("sleep").arg("4848").spawn().unwrap();
    fs::write(group.0.join("cgroup.procs"), service.id().to_string()).unwrap();
    assert!(!offers(&group.0, controller), "the kernel gives controllers of a group with processes");
    assert!(make_room(&group.0, service.id()));
    assert!(offers(&group.0, controller));
    service.kill().unwrap();
    service.wait().unwrap();
    drop(group);
    if let Some(point) = mounted {
        nix::mount::umount(point.path()).unwrap();
    }
}
