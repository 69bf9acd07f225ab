//! A cgroup of its own for each sandbox, where we may make one: version 1 and 2, each controller
//! wherever it is mounted. Bounds memory, processes and processor time, counts what the kernel
//! killed and refused, and ends what is left.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

mod ending;
mod leftovers;
mod places;

pub(super) use self::leftovers::sweep;
use self::places::{Machine, Version};
use crate::sandbox::Limits;

/// `bwrap` itself and the toolbox's threads are no processes of the job's.
const OWN_PROCESSES: u32 = 16;
/// Over which processor time is counted; the kernel's own default.
const PROCESSOR_PERIOD_US: u64 = 100_000;
/// The least that the kernel takes.
const PROCESSOR_QUOTA_US_MIN: u64 = 1_000;

/// The cgroups of one sandbox. Removed when it is dropped at the latest; by then they must be empty.
#[derive(Debug, Default)]
pub(super) struct Cgroup {
    directories: Vec<PathBuf>,
    memory: Option<(PathBuf, Version)>,
    processes: Option<PathBuf>,
    bounds_processor: bool,
    /// The group by which everything can be ended.
    ending: Option<PathBuf>,
    events_at_removal: Mutex<LimitEvents>,
}

/// How often the kernel has enforced a limit by refusing or killing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LimitEvents {
    /// Processes killed for memory.
    pub memory_kills: u64,
    /// Processes and threads refused for their number.
    pub pid_refusals: u64,
}

/// A file of a group, and what is written to it.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    file: &'static str,
    value: String,
    /// Whether the limit holds without it on a kernel that has no such file.
    may_be_absent: bool,
}

impl Cgroup {
    /// Makes the cgroups with their limits, as far as this machine lets us.
    pub(super) fn create(label: &str, limits: &Limits) -> Self {
        let (name, machine) = (leftovers::unique_name(label), Machine::look());
        let mut cgroup = Self::default();
        cgroup.memory = cgroup.make(&machine, "memory", &name, limits);
        cgroup.processes = cgroup.make(&machine, "pids", &name, limits).map(|(directory, _)| directory);
        if limits.cpu_millis_max.is_some() {
            cgroup.bounds_processor = cgroup.make(&machine, "cpu", &name, limits).is_some();
        }
        cgroup.ending = cgroup.make_for_ending(&machine, &name);
        cgroup
    }

    fn make(
        &mut self,
        machine: &Machine,
        controller: &str,
        name: &str,
        limits: &Limits,
    ) -> Option<(PathBuf, Version)> {
        machine.places(controller).into_iter().find_map(|place| {
            let group = place.directory.join(name);
            let made = self.enter(&group, place.version, |group| {
                settings(controller, place.version, limits)
                    .iter()
                    .try_for_each(|setting| setting.apply(group))
            });
            made.then_some((group, place.version))
        })
    }

    /// Version 2 can end a group whatever its controllers; else a freezer lets nothing escape.
    fn make_for_ending(&mut self, machine: &Machine, name: &str) -> Option<PathBuf> {
        let is_killable = |group: &Path| fs::metadata(group.join("cgroup.kill")).map(drop);
        let places = machine.places_in_version_2().into_iter();
        let mut groups = places.map(|place| place.directory.join(name));
        groups.find(|group| self.enter(group, Version::Two, is_killable)).or_else(|| {
            let group = machine.place_in_version_1("freezer")?.directory.join(name);
            self.enter(&group, Version::One, |_| Ok(())).then_some(group)
        })
    }

    /// Whether a group could be made (or was before), may be entered, and took its limits.
    fn enter(&mut self, group: &Path, version: Version, limit: impl Fn(&Path) -> io::Result<()>) -> bool {
        let is_known = self.directories.iter().any(|known| known == group);
        if !is_known && fs::create_dir(group).is_err() {
            return false;
        }
        // It must also be ours to enter; version 2 asks the group above it, too.
        let may_enter = |group: &Path| File::options().write(true).open(group.join("cgroup.procs")).is_ok();
        let above = || version == Version::One || group.parent().is_some_and(may_enter);
        let entered = may_enter(group) && above() && limit(group).is_ok();
        match (entered, is_known) {
            (true, false) => self.directories.push(group.to_owned()),
            // Empty, and made a moment ago.
            (false, false) => drop(fs::remove_dir(group)),
            (_, true) => {}
        }
        entered
    }

    /// Whether memory is bounded and its kills are counted.
    pub(super) fn bounds_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Whether the number of processes is bounded.
    pub(super) fn bounds_processes(&self) -> bool {
        self.processes.is_some()
    }

    /// Whether processor time is bounded.
    pub(super) fn bounds_processor(&self) -> bool {
        self.bounds_processor
    }

    /// Open files; a process that writes "0" to each has joined.
    pub(super) fn doors(&self) -> io::Result<Vec<File>> {
        self.directories.iter().map(|d| File::options().write(true).open(d.join("cgroup.procs"))).collect()
    }

    /// What the limits have come to so far.
    pub(super) fn limit_events(&self) -> LimitEvents {
        let removed = *self.events_at_removal.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |file: PathBuf, key| fs::read_to_string(file).map(|text| count_of(key, &text)).ok();
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

    /// Ends whatever runs in them.
    pub(super) fn end_all(&self) {
        self.ending.iter().for_each(|group| ending::end_all(group));
    }

    /// Removes them, once nothing runs in them. May be called again.
    pub(super) fn remove(&self) {
        let events = self.limit_events();
        *self.events_at_removal.lock().unwrap_or_else(PoisonError::into_inner) = events;
        for directory in &self.directories {
            ending::remove(directory);
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.remove();
    }
}

/// What a controller is told.
fn settings(controller: &str, version: Version, limits: &Limits) -> Vec<Setting> {
    let must = |file, value: String| Setting { file, value, may_be_absent: false };
    let may = |file, value: String| Setting { file, value, may_be_absent: true };
    let memory = limits.memory_bytes_max.to_string();
    let quota = limits
        .cpu_millis_max
        .map(|millis| (u64::from(millis) * PROCESSOR_PERIOD_US / 1000).max(PROCESSOR_QUOTA_US_MIN));
    match (controller, version) {
        // Memory and swap together; not there without swap accounting, when there is no need.
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

impl Setting {
    fn apply(&self, group: &Path) -> io::Result<()> {
        match File::options().write(true).open(group.join(self.file)) {
            Ok(mut file) => file.write_all(self.value.as_bytes()),
            Err(error) if self.may_be_absent && error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn count_of(key: &str, text: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
