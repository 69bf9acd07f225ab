//! A cgroup of its own for each sandbox, where we may make one: version 1 and 2, each controller
//! wherever it is mounted. Bounds memory and processes, and counts what the kernel killed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const PREFIX: &str = "mendwright-";
/// `bwrap` itself and the toolbox's threads are no processes of the job's.
const OWN_PROCESSES: u32 = 16;
/// Between two attempts to remove a cgroup whose last process is just leaving.
const REMOVE_PAUSE: Duration = Duration::from_millis(5);
const REMOVE_ATTEMPTS_MAX: u32 = 400;

/// The cgroups of one sandbox. Removed when it is dropped at the latest; by then they must be empty.
#[derive(Debug, Default)]
pub(super) struct Cgroup {
    directories: Vec<PathBuf>,
    memory_kills_at_removal: AtomicU64,
    memory: Option<(PathBuf, Version)>,
    processes: Option<Version>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where a controller's groups may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    directory: PathBuf,
    version: Version,
}

impl Cgroup {
    /// Makes the cgroups with their limits, as far as this machine lets us.
    pub(super) fn create(label: &str, memory_bytes_max: u64, pids_max: u32) -> Self {
        let name = unique_name(label);
        let mut cgroup = Self::default();
        if let Some((directory, version)) =
            cgroup.make("memory", &name, |group, version| set_memory(group, version, memory_bytes_max))
        {
            cgroup.memory = Some((directory, version));
        }
        let made = cgroup.make("pids", &name, |group, _| {
            fs::write(group.join("pids.max"), pids_max.saturating_add(OWN_PROCESSES).to_string())
        });
        cgroup.processes = made.map(|(_, version)| version);
        cgroup
    }

    fn make(
        &mut self,
        controller: &str,
        name: &str,
        limit: impl Fn(&Path, Version) -> io::Result<()>,
    ) -> Option<(PathBuf, Version)> {
        for place in places(controller) {
            let group = place.directory.join(name);
            if !self.directories.contains(&group) && fs::create_dir(&group).is_err() {
                continue;
            }
            // It must also be ours to enter; version 2 asks the group above it, too.
            let may_enter =
                |group: &Path| File::options().write(true).open(group.join("cgroup.procs")).is_ok();
            let may_enter =
                may_enter(&group) && (place.version == Version::One || may_enter(&place.directory));
            if may_enter && limit(&group, place.version).is_ok() {
                if !self.directories.contains(&group) {
                    self.directories.push(group.clone());
                }
                return Some((group, place.version));
            }
            if !self.directories.contains(&group) {
                // Empty, and made a moment ago.
                let _ = fs::remove_dir(&group);
            }
        }
        None
    }

    /// Whether memory is bounded and its kills are counted.
    pub(super) fn bounds_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Whether the number of processes is bounded.
    pub(super) fn bounds_processes(&self) -> bool {
        self.processes.is_some()
    }

    /// Open files; a process that writes "0" to each has joined.
    pub(super) fn doors(&self) -> io::Result<Vec<File>> {
        self.directories.iter().map(|d| File::options().write(true).open(d.join("cgroup.procs"))).collect()
    }

    /// How often the kernel has killed something in it for memory.
    pub(super) fn memory_kills(&self) -> u64 {
        let Some((directory, version)) = &self.memory else { return 0 };
        let file = match version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        match fs::read_to_string(directory.join(file)) {
            Ok(text) => count_of("oom_kill", &text),
            Err(_) => self.memory_kills_at_removal.load(Ordering::SeqCst),
        }
    }

    /// How often the kernel has refused it a process or thread for their number.
    pub(super) fn pid_refusals(&self) -> u64 {
        let events = self.directories.iter().map(|directory| directory.join("pids.events"));
        events.filter_map(|file| fs::read_to_string(file).ok()).map(|text| count_of("max", &text)).sum()
    }

    /// Removes them, once nothing runs in them. May be called again.
    pub(super) fn remove(&self) {
        self.memory_kills_at_removal.fetch_max(self.memory_kills(), Ordering::SeqCst);
        for directory in &self.directories {
            for _ in 0..REMOVE_ATTEMPTS_MAX {
                match fs::remove_dir(directory) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(REMOVE_PAUSE);
                    }
                    Ok(()) | Err(_) => break,
                }
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.remove();
    }
}

fn set_memory(group: &Path, version: Version, bytes_max: u64) -> io::Result<()> {
    let bytes_max = bytes_max.to_string();
    match version {
        Version::One => {
            fs::write(group.join("memory.limit_in_bytes"), &bytes_max)?;
            // Memory and swap together; not there without swap accounting, when there is no need.
            write_if_there(&group.join("memory.memsw.limit_in_bytes"), &bytes_max)
        }
        Version::Two => {
            fs::write(group.join("memory.max"), &bytes_max)?;
            write_if_there(&group.join("memory.swap.max"), "0")
        }
    }
}

fn write_if_there(path: &Path, value: &str) -> io::Result<()> {
    match File::options().write(true).open(path) {
        Ok(mut file) => file.write_all(value.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn count_of(key: &str, text: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Removes what a predecessor left that died before it could: beside ours, and in the groups
/// beside our own, where it will have been if it was another session's or service's. Only empty
/// groups go, and those of the living are left alone.
pub(super) fn sweep() {
    for place in ["memory", "pids"].iter().flat_map(|controller| places(controller)) {
        let beside = place.directory.parent().into_iter().flat_map(directories_in);
        for directory in beside.chain([place.directory.clone()]) {
            directories_in(&directory).for_each(|group| remove_if_left_over(&group));
        }
    }
}

fn directories_in(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn remove_if_left_over(group: &Path) {
    let maker = group.file_name().and_then(|name| maker_of(name.to_str()?));
    if maker.is_some_and(|(pid, started)| start_time(pid) != Some(started)) {
        // Fails while there is a process in it, which is right.
        let _ = fs::remove_dir(group);
    }
}

/// `mendwright-<pid>-<when that process started>-<number>-<label>`
fn unique_name(label: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let pid = std::process::id();
    let started = start_time(pid).unwrap_or(0);
    format!("{PREFIX}{pid}-{started}-{}-{label}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn maker_of(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Tells a process from a later one with the same number.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].split_whitespace().nth(19)?.parse().ok()
}

/// Where groups with this controller may be made, best first.
fn places(controller: &str) -> Vec<Place> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let ours = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if let Some(place) = place_in_version_1(controller, &mounts, &ours) {
        return vec![place];
    }
    places_in_version_2(&mounts, &ours)
        .into_iter()
        .filter(|place| offers(&place.directory, controller))
        .collect()
}

fn place_in_version_1(controller: &str, mounts: &str, ours: &str) -> Option<Place> {
    let has = |list: &str| list.split(',').any(|option| option == controller);
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let is_ours = after.next() == Some("cgroup") && has(after.nth(1)?);
        is_ours.then(|| before.split(' ').nth(4))?
    })?;
    let path = ours.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        has(fields.next()?).then(|| fields.next())?
    });
    Some(Place { directory: below(Path::new(mount), path.unwrap_or("/")), version: Version::One })
}

/// Our own group, if it may have children with controllers, then those above it, to the root.
fn places_in_version_2(mounts: &str, ours: &str) -> Vec<Place> {
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4))?
    });
    let Some(mount) = mount.map(Path::new) else { return Vec::new() };
    let path = ours.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let start = below(mount, path);
    let above = start.ancestors().take_while(|directory| directory.starts_with(mount));
    above.map(|directory| Place { directory: directory.to_owned(), version: Version::Two }).collect()
}

/// In a container the path may be one that only the host can see.
fn below(mount: &Path, path: &str) -> PathBuf {
    let inside = mount.join(path.trim_start_matches('/'));
    if inside.is_dir() { inside } else { mount.to_owned() }
}

/// Whether children of this version 2 group have the controller; asks for it where we may.
fn offers(directory: &Path, controller: &str) -> bool {
    let file = directory.join("cgroup.subtree_control");
    let enabled =
        || fs::read_to_string(&file).is_ok_and(|text| text.split_whitespace().any(|name| name == controller));
    // Refused while the group has processes of its own: then a group above it has to do.
    enabled() || (fs::write(&file, format!("+{controller}")).is_ok() && enabled())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_found_where_version_1_mounts_it() {
        let mounts = "29 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      30 29 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                      31 29 0:28 / /nowhere/memory rw shared:10 - cgroup cgroup rw,memory\n\
                      32 29 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let place = place_in_version_1("memory", mounts, "4:memory:/user/x\n0::/\n").unwrap();
        assert_eq!(place, Place { directory: "/nowhere/memory".into(), version: Version::One });
        assert_eq!(place_in_version_1("pids", mounts, ""), None);
    }

    #[test]
    fn version_2_is_tried_from_our_own_group_upwards() {
        let root = tempfile::tempdir().unwrap();
        let ours = root.path().join("user.slice/app.slice");
        fs::create_dir_all(&ours).unwrap();
        let mounts = format!("32 29 0:29 / {} rw - cgroup2 cgroup2 rw\n", root.path().display());
        let directories: Vec<PathBuf> = places_in_version_2(&mounts, "0::/user.slice/app.slice\n")
            .into_iter()
            .map(|p| p.directory)
            .collect();
        assert_eq!(directories, [ours.clone(), root.path().join("user.slice"), root.path().to_owned()]);
        fs::write(ours.join("cgroup.subtree_control"), "cpu memory\n").unwrap();
        assert!(offers(&ours, "memory"));
        assert!(!offers(&root.path().join("absent"), "memory"));
    }

    #[test]
    fn the_makers_process_is_read_from_the_name() {
        let name = unique_name("job-7");
        let (pid, started) = maker_of(&name).unwrap();
        assert_eq!((pid, Some(started)), (std::process::id(), start_time(pid)));
        assert_eq!(maker_of("user.slice"), None);
    }

    #[test]
    fn kills_are_counted_in_either_versions_file() {
        assert_eq!(count_of("oom_kill", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
        assert_eq!(count_of("oom_kill", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n"), 1);
        assert_eq!(count_of("oom_kill", ""), 0);
    }
}
