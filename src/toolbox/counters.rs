//! The kernel's counters of what it refused to this sandbox: in the control groups of this process, if the engine
//! makes them visible inside (version 1 and 2). Only reads.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where engines mount control groups.
const MOUNT: &str = "/sys/fs/cgroup";
/// Such a file has a few short lines.
const FILE_BYTES_MAX: usize = 4 << 10;

/// The files, held open so that no command can replace them.
#[derive(Debug, Default)]
pub struct Counters {
    memory: Option<File>,
    processes: Option<File>,
}

/// Their values at one moment; `None` if the value is not available here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Processes that were killed for memory.
    pub memory_kills: Option<u64>,
    /// Processes and threads that were refused.
    pub process_refusals: Option<u64>,
}

impl Counters {
    /// Those of the control groups that this process is in.
    pub fn of_this_sandbox() -> Self {
        let ours = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::below(Path::new(MOUNT), &ours)
    }

    fn below(mount: &Path, ours: &str) -> Self {
        let find = |controller: &str, file_1: &str, file_2: &str, key: &str| {
            let files = places(mount, ours, controller, file_1, file_2);
            files.into_iter().filter_map(|path| File::open(path).ok()).find(|file| read(file, key).is_some())
        };
        Self {
            memory: find("memory", "memory.oom_control", "memory.events", "oom_kill"),
            processes: find("pids", "pids.events", "pids.events", "max"),
        }
    }

    /// Their values now.
    pub fn read(&self) -> Counts {
        Counts {
            memory_kills: self.memory.as_ref().and_then(|file| read(file, "oom_kill")),
            process_refusals: self.processes.as_ref().and_then(|file| read(file, "max")),
        }
    }
}

/// Where a controller's file may be, best first: below our group's path where all groups are shown,
/// else at the top, where an engine shows ours alone. A controller is in version 1 or in version 2,
/// never in both.
fn places(mount: &Path, ours: &str, controller: &str, file_1: &str, file_2: &str) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for line in ours.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_start_matches('/');
        // A path that leads upwards is one that our namespace does not reach.
        let below = (!path.split('/').any(|part| part == "..")).then_some(path);
        let (top, file) = match controllers {
            "" => (mount.to_owned(), file_2),
            _ if controllers.split(',').any(|name| name == controller) => (mount.join(controller), file_1),
            _ => continue,
        };
        places.extend(below.map(|below| top.join(below).join(file)));
        places.push(top.join(file));
    }
    places
}

fn read(file: &File, key: &str) -> Option<u64> {
    let mut bytes = [0; FILE_BYTES_MAX];
    let read = file.read_at(&mut bytes, 0).ok()?;
    let text = std::str::from_utf8(&bytes[..read]).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn version_1_is_read_at_the_top_where_an_engine_shows_our_group_alone() {
        let mount = tempfile::tempdir().unwrap();
        put(mount.path().join("pids/pids.events"), "max 3\n");
        put(mount.path().join("memory/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        let ours = "9:memory:/docker/abc\n8:pids:/docker/abc\n0::/\n";
        let counts = Counters::below(mount.path(), ours).read();
        assert_eq!(counts, Counts { memory_kills: Some(2), process_refusals: Some(3) });
    }

    #[test]
    fn version_2_is_read_in_our_group_where_all_are_shown() {
        let mount = tempfile::tempdir().unwrap();
        put(mount.path().join("pids.events"), "max 100\n");
        put(mount.path().join("a/b/pids.events"), "max 1\n");
        put(mount.path().join("a/b/memory.events"), "low 0\noom 4\noom_kill 1\noom_group_kill 0\n");
        let counters = Counters::below(mount.path(), "0::/a/b\n");
        assert_eq!(counters.read(), Counts { memory_kills: Some(1), process_refusals: Some(1) });
        put(mount.path().join("a/b/pids.events"), "max 7\n");
        assert_eq!(counters.read().process_refusals, Some(7));
    }

    #[test]
    fn without_visible_groups_there_are_no_counts() {
        let mount = tempfile::tempdir().unwrap();
        put(mount.path().join("outside"), "max 1\n");
        let counts = Counters::below(mount.path(), "0::/../outside\n").read();
        assert_eq!(counts, Counts { memory_kills: None, process_refusals: None });
    }
}
