//! What a command runs into beside its own faults: looks, while it runs, whether a writable file
//! system is full and whether the bound on processes is reached, and asks the kernel's own counters
//! before and after. Only looks: ends nothing, bounds nothing.
//!
//! Free space is sampled, the nearer to full the more often. A file system that was full for less
//! than [`PAUSE_MIN`] and was emptied again may be missed, and so is a reservation that is refused
//! as a whole (`fallocate` of more than is left): both leave no trace that could be read afterwards.
//! What another command filled counts, too: a run on a full disk proves nothing, whoever filled it.

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

/// A file system with less left than this is full: what is written in pieces ends up here, and no
/// file system can be filled to the last byte.
const RESERVE_BYTES: u64 = 64 << 10;
/// A file system with fewer inodes left than this is full.
const RESERVE_INODES: u64 = 1;
/// With fewer inodes left than this it is looked at as often as can be.
const FEW_INODES: u64 = 10_000;
/// Between two looks when nothing is nearly full.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// Between two looks when something is about to be.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// About as fast as memory is written by two processors.
const FILL_BYTES_PER_MILLISECOND: u64 = 4 << 20;
/// Counting the processes takes at most one part in so many of a processor's time.
const COUNT_SHARE: u32 = 20;
/// Processes that may have ended between a refusal and our look at them: those that met it.
const ENDED_SINCE: u64 = 4;

/// What can be watched in this sandbox.
pub struct Watch {
    places: Vec<(WritableDirectory, OwnedFd)>,
    counters: Counters,
    /// The bound that we took ourselves, where no control group holds one.
    tasks_max: Option<u64>,
}

impl Watch {
    /// Finds the writable file systems, each once, and the counters.
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

    /// What will be known of commands.
    pub fn watched(&self) -> LimitDetection {
        let counts = self.counters.read();
        LimitDetection {
            memory_kills: counts.memory_kills.is_some(),
            process_refusals: counts.process_refusals.is_some() || self.tasks_max.is_some(),
        }
    }

    /// The bound on processes, where it is ours to compare with what there are.
    pub fn tasks_max(&self) -> Option<u64> {
        self.tasks_max
    }

    /// Begins to look, for one command.
    pub fn begin(&self) -> Looking<'_> {
        let count_at = Instant::now();
        Looking { watch: self, before: self.counters.read(), count_at, hit: LimitsHit::default() }
    }

    /// The first full place, and how soon to look again.
    fn look(&self) -> (Option<WritableDirectory>, Duration) {
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

/// One command, watched.
pub struct Looking<'a> {
    watch: &'a Watch,
    before: Counts,
    /// When to count processes again.
    count_at: Instant,
    hit: LimitsHit,
}

impl Looking<'_> {
    /// Looks again and again until `work` is done.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let pause = self.look();
            if let Ok(done) = timeout(pause, &mut work).await {
                self.look();
                return done;
            }
        }
    }

    /// What was run into. `crowded`: by its supervisor's count at its end.
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

    fn look(&mut self) -> Duration {
        let (full, mut pause) = self.watch.look();
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

/// A file system without a number of blocks has none to run out of.
fn is_writable(room: &StatVfs) -> bool {
    !room.f_flag.contains(StatVfsMountFlags::RDONLY) && room.f_blocks > 0
}

fn free_bytes(room: &StatVfs) -> u64 {
    room.f_bavail.saturating_mul(room.f_frsize)
}

/// Some file systems make inodes as they are needed, and say that they have none.
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
    fn full_is_too_few_bytes_or_no_inode() {
        assert!(is_full(&room(0, 100, 100)) && is_full(&room(RESERVE_BYTES - 4096, 100, 100)));
        assert!(is_full(&room(1 << 30, 100, 0)));
        assert!(!is_full(&room(RESERVE_BYTES, 100, 1)));
        assert!(!is_full(&room(1 << 30, 0, 0)), "a file system that counts no inodes has enough of them");
    }

    #[test]
    fn the_nearer_to_full_the_more_often_it_is_looked_at() {
        assert_eq!(pause_until_full(&room(100 << 30, 100_000, 50_000)), PAUSE_MAX);
        assert_eq!(pause_until_full(&room(1 << 20, 100_000, 50_000)), PAUSE_MIN);
        assert_eq!(pause_until_full(&room(100 << 30, 100_000, 50)), PAUSE_MIN);
        let halfway = pause_until_full(&room(80 << 20, 100_000, 50_000));
        assert!(PAUSE_MIN < halfway && halfway < PAUSE_MAX, "{halfway:?}");
    }

    #[tokio::test]
    async fn the_work_is_done_however_often_is_looked() {
        let watch = Watch { places: Vec::new(), counters: Counters::default(), tasks_max: Some(1) };
        let mut looking = watch.begin();
        let done = looking.during(async {
            tokio::time::sleep(PAUSE_MAX + PAUSE_MIN).await;
            "done"
        });
        assert_eq!(done.await, "done");
        // We are at least one task.
        assert_eq!(looking.finish(false), LimitsHit { processes: true, ..LimitsHit::default() });
    }
}
