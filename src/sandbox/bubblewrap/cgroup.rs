//! One cgroup for each sandbox, if this process may create cgroups: version 1 and 2, each controller
//! wherever it is mounted. Limits memory, processes and processor time, counts what the kernel killed and
//! refused, and kills what is left.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use self::hierarchy::{CgroupParent, Hierarchies, Version};
use crate::sandbox::Limits;

mod hierarchy;
mod leftovers;
mod termination;

pub(super) use self::leftovers::sweep;

/// `bwrap` itself and the toolbox's threads do not count as processes of the job.
const OWN_PROCESSES: u32 = 16;
/// The period over which processor time is counted: the kernel's default.
const PROCESSOR_PERIOD_US: u64 = 100_000;
/// The kernel's minimum.
const PROCESSOR_QUOTA_US_MIN: u64 = 1_000;

/// The cgroups of one sandbox. They are removed when it is dropped at the latest, and must be empty then.
#[derive(Debug, Default)]
pub(super) struct Cgroup {
    directories: Vec<PathBuf>,
    memory: Option<(PathBuf, Version)>,
    processes: Option<PathBuf>,
    bounds_processor: bool,
    /// The group with which everything inside can be killed.
    kill_group: Option<PathBuf>,
    events_at_removal: Mutex<LimitEvents>,
}

/// How often the kernel has enforced a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LimitEvents {
    /// Processes killed because memory ran out.
    pub memory_kills: u64,
    /// Processes and threads refused because there were too many.
    pub pid_refusals: u64,
}

/// A file of a group, and the value that is written to it.
#[derive(Debug, PartialEq, Eq)]
struct CgroupSetting {
    file: &'static str,
    value: String,
    /// Whether the limit also holds on a kernel without this file.
    may_be_absent: bool,
}

impl Cgroup {
    /// Creates the cgroups with their limits, as far as this machine allows.
    pub(super) fn create(label: &str, limits: &Limits) -> Self {
        let (name, hierarchies) = (leftovers::unique_name(label), Hierarchies::read());
        let mut cgroup = Self::default();
        cgroup.memory = cgroup.create_group(&hierarchies, "memory", &name, limits);
        cgroup.processes =
            cgroup.create_group(&hierarchies, "pids", &name, limits).map(|(directory, _)| directory);
        if limits.cpu_millis_max.is_some() {
            cgroup.bounds_processor = cgroup.create_group(&hierarchies, "cpu", &name, limits).is_some();
        }
        cgroup.kill_group = cgroup.create_kill_group(&hierarchies, &name);
        cgroup
    }

    fn create_group(
        &mut self,
        hierarchies: &Hierarchies,
        controller: &str,
        name: &str,
        limits: &Limits,
    ) -> Option<(PathBuf, Version)> {
        hierarchies.parents(controller).into_iter().find_map(|parent| {
            let group = parent.directory.join(name);
            let created = self.enter(&group, parent.version, |group| {
                settings(controller, parent.version, limits)
                    .iter()
                    .try_for_each(|setting| setting.apply(group))
            });
            created.then_some((group, parent.version))
        })
    }

    /// Version 2 can kill a group regardless of its controllers. Otherwise a freezer lets no process
    /// escape.
    fn create_kill_group(&mut self, hierarchies: &Hierarchies, name: &str) -> Option<PathBuf> {
        let is_killable = |group: &Path| fs::metadata(group.join("cgroup.kill")).map(drop);
        let parents = hierarchies.version_2_parents().into_iter();
        let mut groups = parents.map(|parent: CgroupParent| parent.directory.join(name));
        groups.find(|group| self.enter(group, Version::Two, is_killable)).or_else(|| {
            let group = hierarchies.version_1_parent("freezer")?.directory.join(name);
            self.enter(&group, Version::One, |_| Ok(())).then_some(group)
        })
    }

    /// Whether a group could be created (now or before), may be joined, and accepted its limits.
    fn enter(&mut self, group: &Path, version: Version, limit: impl Fn(&Path) -> io::Result<()>) -> bool {
        let is_known = self.directories.iter().any(|known| known == group);
        if !is_known && fs::create_dir(group).is_err() {
            return false;
        }
        // It must also be joinable; version 2 checks the group above it, too.
        let may_enter = |group: &Path| File::options().write(true).open(group.join("cgroup.procs")).is_ok();
        let above = || version == Version::One || group.parent().is_some_and(may_enter);
        let entered = may_enter(group) && above() && limit(group).is_ok();
        match (entered, is_known) {
            (true, false) => self.directories.push(group.to_owned()),
            // Empty, and created a moment ago.
            (false, false) => drop(fs::remove_dir(group)),
            (_, true) => {}
        }
        entered
    }

    /// Whether memory is limited and its kills are counted.
    pub(super) fn bounds_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Whether the number of processes is limited.
    pub(super) fn bounds_processes(&self) -> bool {
        self.processes.is_some()
    }

    /// Whether processor time is limited.
    pub(super) fn bounds_processor(&self) -> bool {
        self.bounds_processor
    }

    /// Open files. A process joins by writing "0" to each of them.
    pub(super) fn membership_files(&self) -> io::Result<Vec<File>> {
        self.directories.iter().map(|d| File::options().write(true).open(d.join("cgroup.procs"))).collect()
    }

    /// How often the limits were enforced so far.
    pub(super) fn limit_events(&self) -> LimitEvents {
        let removed = *self.events_at_removal.lock();
        let count = |file: PathBuf, key| fs::read_to_string(file).map(|text| read_count(key, &text)).ok();
        let memory_kills = self.memory.as_ref().and_then(|(directory, version)| match version {
            Version::One => count(directory.join("memory.oom_control"), "oom_kill"),
            Version::Two => count(directory.join("memory.events"), "oom_kill"),
        });
        let pid_refusals = self.processes.as_ref().and_then(|group| count(group.join("pids.events"), "max"));
        LimitEvents {
            memory_kills: memory_kills.unwrap_or(removed.memory_kills),
            pid_refusals: pid_refusals.unwrap_or(removed.pid_refusals),
        }
    }

    /// Kills all processes in them.
    pub(super) fn kill_all(&self) {
        self.kill_group.iter().for_each(|group| termination::kill_all(group));
    }

    /// Removes them, once no process runs in them. May be called again.
    pub(super) fn remove(&self) {
        let events = self.limit_events();
        *self.events_at_removal.lock() = events;
        for directory in &self.directories {
            termination::remove(directory);
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The settings of a controller.
fn settings(controller: &str, version: Version, limits: &Limits) -> Vec<CgroupSetting> {
    let must = |file, value: String| CgroupSetting { file, value, may_be_absent: false };
    let may = |file, value: String| CgroupSetting { file, value, may_be_absent: true };
    let memory = limits.memory_bytes_max.to_string();
    let quota = limits
        .cpu_millis_max
        .map(|millis| (u64::from(millis) * PROCESSOR_PERIOD_US / 1000).max(PROCESSOR_QUOTA_US_MIN));
    match (controller, version) {
        // Memory and swap together. The file is missing without swap accounting; then it is not needed.
        ("memory", Version::One) => {
            vec![must("memory.limit_in_bytes", memory.clone()), may("memory.memsw.limit_in_bytes", memory)]
        }
        ("memory", Version::Two) => vec![must("memory.max", memory), may("memory.swap.max", "0".to_owned())],
        ("pids", _) => vec![must("pids.max", limits.pids_max.saturating_add(OWN_PROCESSES).to_string())],
        ("cpu", Version::One) => quota.map_or_else(Vec::new, |quota| {
            vec![
                must("cpu.cfs_period_us", PROCESSOR_PERIOD_US.to_string()),
                must("cpu.cfs_quota_us", quota.to_string()),
            ]
        }),
        ("cpu", Version::Two) => quota
            .map_or_else(Vec::new, |quota| vec![must("cpu.max", format!("{quota} {PROCESSOR_PERIOD_US}"))]),
        (_, _) => Vec::new(),
    }
}

impl CgroupSetting {
    fn apply(&self, group: &Path) -> io::Result<()> {
        match File::options().write(true).open(group.join(self.file)) {
            Ok(mut file) => file.write_all(self.value.as_bytes()),
            Err(error) if self.may_be_absent && error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn read_count(key: &str, text: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
