//! Detects the limits that a command hits: checks, while it runs, whether a writable file system is full and
//! whether the limit on processes is reached, and reads the kernel's counters before and after. Only detects:
//! ends nothing and limits nothing.
//!
//! Free space is sampled, more often if less is left. Two cases are missed, because they leave no trace: a file
//! system that was full for less than [`PAUSE_MIN`], and a reservation (`fallocate`) that is refused because it
//! is larger than what is left. It does not matter which command filled the disk: a run on a full disk proves
//! nothing.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, StatVfs, StatVfsMountFlags};
use tokio::time::timeout;

use crate::counters::{Counters, Counts};
use crate::processes::count_tasks;
use crate::tree::WORKSPACE;
use mendwright_protocol::{LimitDetection, LimitsHit, WritableDirectory};

/// A file system with fewer free bytes is full: no file system can be filled to the last byte.
const RESERVE_BYTES: u64 = 64 << 10;
/// A file system with fewer free inodes is full.
const RESERVE_INODES: u64 = 1;
/// With fewer free inodes the samples have the shortest interval.
const FEW_INODES: u64 = 10_000;
/// The longest interval between samples.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// The shortest interval between samples, if a file system is almost full.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// About the speed at which two processors write memory.
const FILL_BYTES_PER_MILLISECOND: u64 = 4 << 20;
/// Counting the processes takes at most this fraction (1/n) of a processor's time.
const COUNT_SHARE: u32 = 20;
/// Processes that may have ended between a refusal and the sample: those that were refused.
const ENDED_SINCE: u64 = 4;

/// What can be detected in this sandbox.
pub struct LimitWatch {
    places: Vec<(WritableDirectory, OwnedFd)>,
    counters: Counters,
    /// The limit that the toolbox set itself, if no control group has one.
    tasks_max: Option<u64>,
}

impl LimitWatch {
    /// Finds the writable file systems, each once, and the kernel's counters.
    pub fn new(tasks_max: Option<u64>) -> Self {
        let home = std::env::var_os("HOME").unwrap_or_default();
        let places = [
            (WritableDirectory::Workspace, Path::new(WORKSPACE)),
            (WritableDirectory::Home, Path::new(&home)),
            (WritableDirectory::Tmp, Path::new("/tmp")),
            (WritableDirectory::SharedMemory, Path::new("/dev/shm")),
            (WritableDirectory::Root, Path::new("/")),
        ];
        let mut seen = HashSet::new();
        let places = places.into_iter().filter_map(|(place, path)| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?;
            let is_new = seen.insert(rustix::fs::fstat(&directory).ok()?.st_dev);
            let is_writable = is_writable(&rustix::fs::fstatvfs(&directory).ok()?);
            (is_new && is_writable).then_some((place, directory))
        });
        Self { places: places.collect(), counters: Counters::of_this_sandbox(), tasks_max }
    }

    /// What can be detected for each command.
    pub fn detection(&self) -> LimitDetection {
        let counts = self.counters.read();
        LimitDetection {
            memory_kills: counts.memory_kills.is_some(),
            process_refusals: counts.process_refusals.is_some() || self.tasks_max.is_some(),
        }
    }

    /// The limit on processes, if processes have to be counted.
    pub fn tasks_max(&self) -> Option<u64> {
        self.tasks_max
    }

    /// Starts for one command.
    pub fn start(&self) -> CommandWatch<'_> {
        let count_at = Instant::now();
        CommandWatch { watch: self, before: self.counters.read(), count_at, hit: LimitsHit::default() }
    }

    /// The first full file system, and the time until the next sample.
    fn sample(&self) -> (Option<WritableDirectory>, Duration) {
        let (mut full, mut pause) = (None, PAUSE_MAX);
        for (place, directory) in &self.places {
            let Ok(room) = rustix::fs::fstatvfs(directory) else { continue };
            if is_full(&room) {
                full = full.or(Some(*place));
            }
            pause = pause.min(pause_until_full(&room));
        }
        (full, pause)
    }
}

/// The limits of one command, while it runs.
pub struct CommandWatch<'a> {
    watch: &'a LimitWatch,
    before: Counts,
    /// When to count processes again.
    count_at: Instant,
    hit: LimitsHit,
}

impl CommandWatch<'_> {
    /// Samples until `work` is done.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let pause = self.sample();
            if let Ok(done) = timeout(pause, &mut work).await {
                self.sample();
                return done;
            }
        }
    }

    /// The limits that were hit. `crowded`: its supervisor's count at the end.
    pub fn finish(self, crowded: bool) -> LimitsHit {
        let after = self.watch.counters.read();
        let rose = |before: Option<u64>, after: Option<u64>| match (before, after) {
            (Some(before), Some(after)) => after > before,
            (None, _) | (_, None) => false,
        };
        LimitsHit {
            disk: self.hit.disk,
            memory: rose(self.before.memory_kills, after.memory_kills),
            processes: crowded
                || self.hit.processes
                || rose(self.before.process_refusals, after.process_refusals),
        }
    }

    fn sample(&mut self) -> Duration {
        let (full, mut pause) = self.watch.sample();
        self.hit.disk = self.hit.disk.or(full);
        if let Some(tasks_max) = self.watch.tasks_max {
            let now = Instant::now();
            if now >= self.count_at {
                self.hit.processes |= is_crowded(tasks_max);
                self.count_at = now + (now.elapsed() * COUNT_SHARE).max(PAUSE_MIN);
            }
            pause = pause.min(self.count_at.saturating_duration_since(now));
        }
        pause
    }
}

/// Whether there are about as many processes and threads as there may be.
pub fn is_crowded(tasks_max: u64) -> bool {
    count_tasks().is_ok_and(|count| count + ENDED_SINCE >= tasks_max)
}

/// A file system without a number of blocks cannot become full.
fn is_writable(room: &StatVfs) -> bool {
    !room.f_flag.contains(StatVfsMountFlags::RDONLY) && room.f_blocks > 0
}

fn free_bytes(room: &StatVfs) -> u64 {
    room.f_bavail.saturating_mul(room.f_frsize)
}

/// Some file systems create inodes when they are needed, and report that they have none.
fn has_inodes(room: &StatVfs) -> bool {
    room.f_files > 0
}

fn is_full(room: &StatVfs) -> bool {
    free_bytes(room) < RESERVE_BYTES || (has_inodes(room) && room.f_favail < RESERVE_INODES)
}

fn pause_until_full(room: &StatVfs) -> Duration {
    if has_inodes(room) && room.f_favail < FEW_INODES {
        return PAUSE_MIN;
    }
    let left = free_bytes(room).saturating_sub(RESERVE_BYTES);
    Duration::from_millis(left / FILL_BYTES_PER_MILLISECOND).clamp(PAUSE_MIN, PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(free_bytes: u64, inodes: u64, free_inodes: u64) -> StatVfs {
        let mut room = rustix::fs::statvfs("/").unwrap();
        room.f_frsize = 4096;
        room.f_bavail = free_bytes / 4096;
        (room.f_files, room.f_favail) = (inodes, free_inodes);
        room
    }

    #[test]
    fn file_system_without_bytes_or_inodes_is_full() {
        assert!(is_full(&room(0, 100, 100)) && is_full(&room(RESERVE_BYTES - 4096, 100, 100)));
        assert!(is_full(&room(1 << 30, 100, 0)));
        assert!(!is_full(&room(RESERVE_BYTES, 100, 1)));
        assert!(!is_full(&room(1 << 30, 0, 0)), "a file system that counts no inodes has enough of them");
    }

    #[test]
    fn interval_is_shorter_if_less_space_is_left() {
        assert_eq!(pause_until_full(&room(100 << 30, 100_000, 50_000)), PAUSE_MAX);
        assert_eq!(pause_until_full(&room(1 << 20, 100_000, 50_000)), PAUSE_MIN);
        assert_eq!(pause_until_full(&room(100 << 30, 100_000, 50)), PAUSE_MIN);
        let halfway = pause_until_full(&room(80 << 20, 100_000, 50_000));
        assert!(PAUSE_MIN < halfway && halfway < PAUSE_MAX, "{halfway:?}");
    }

    #[tokio::test]
    async fn samples_are_taken_until_the_work_is_done() {
        let watch = LimitWatch { places: Vec::new(), counters: Counters::default(), tasks_max: Some(1) };
        let mut command_watch = watch.start();
        // Nothing wakes this work: it is polled only because the next sample is due.
        let mut polls = 0;
        let work = std::future::poll_fn(|_| {
            polls += 1;
            if polls < 5 { std::task::Poll::Pending } else { std::task::Poll::Ready("done") }
        });
        assert_eq!(command_watch.during(work).await, "done");
        // We are at least one task.
        assert_eq!(command_watch.finish(false), LimitsHit { processes: true, ..LimitsHit::default() });
    }
}
