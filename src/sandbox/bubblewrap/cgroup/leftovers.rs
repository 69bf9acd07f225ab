//! The names of our cgroups, and the removal of those whose maker has died before it could. Never
//! touches what a living process has made.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::ending;
use super::places::Machine;

const PREFIX: &str = "mendwright-";
/// Controllers, and the hierarchy for ending, in which groups are made.
const LOOKED_INTO: [&str; 4] = ["memory", "pids", "cpu", "freezer"];

/// Who made a group.
#[derive(Debug, PartialEq, Eq)]
struct Maker {
    /// The process namespace that `process` is a number in.
    namespace: u64,
    process: u32,
    /// Tells it from a later one with the same number.
    started: u64,
}

/// `mendwright-<process namespace>-<process>-<when that process started>-<number>-<label>`
pub(super) fn unique_name(label: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let process = std::process::id();
    let (namespace, started) = (process_namespace().unwrap_or(0), start_time(process).unwrap_or(0));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{namespace}-{process}-{started}-{number}-{label}")
}

/// Removes what a predecessor left: beside ours, and in the groups beside our own, where it will
/// have been if it was another session's or service's. What still runs in them is ended. Says how
/// many sandboxes there were.
pub(in crate::sandbox::bubblewrap) fn sweep() -> u32 {
    let machine = Machine::look();
    let mut places = machine.places_in_version_2();
    places.extend(LOOKED_INTO.iter().filter_map(|controller| machine.place_in_version_1(controller)));
    let mut removed = HashSet::new();
    for place in places {
        let beside = place.directory.parent().into_iter().flat_map(directories_in);
        for directory in beside.chain([place.directory.clone()]) {
            removed.extend(directories_in(&directory).filter_map(|group| remove_if_left_over(&group)));
        }
    }
    u32::try_from(removed.len()).unwrap_or(u32::MAX)
}

fn directories_in(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// Its name, if it is gone now.
fn remove_if_left_over(group: &Path) -> Option<String> {
    let name = group.file_name()?.to_str()?;
    let maker = maker_of(name)?;
    let is_neighbour = process_namespace() == Some(maker.namespace);
    if is_neighbour && start_time(maker.process) == Some(maker.started) {
        return None;
    }
    let is_removed = if is_neighbour {
        ending::end_all(group);
        ending::remove(group)
    } else {
        // There its maker may live: fails while there is a process in it, which is right.
        fs::remove_dir(group).is_ok()
    };
    is_removed.then(|| name.to_owned())
}

fn maker_of(name: &str) -> Option<Maker> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let mut next = || parts.next()?.parse::<u64>().ok();
    let (namespace, process, started) = (next()?, next()?, next()?);
    Some(Maker { namespace, process: u32::try_from(process).ok()?, started })
}

fn process_namespace() -> Option<u64> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    link.to_str()?.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

fn start_time(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_makers_process_is_read_from_the_name() {
        let maker = maker_of(&unique_name("job-7")).unwrap();
        let us = std::process::id();
        assert_eq!((maker.process, Some(maker.started)), (us, start_time(us)));
        assert_eq!(Some(maker.namespace), process_namespace());
        assert_eq!(maker_of("user.slice"), None);
        assert_eq!(maker_of("mendwright-itself"), None);
    }
}
