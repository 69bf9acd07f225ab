//! The names of our cgroups, and the removal of those whose creator died before it could remove them.
//! Never touches the groups of a living process.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::hierarchy::Hierarchies;
use super::termination;

const PREFIX: &str = "mendwright-";
/// The version 1 controllers whose hierarchies contain groups of ours.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "freezer"];

/// The process that created a group.
#[derive(Debug, PartialEq, Eq)]
struct Creator {
    /// The process namespace of the id `process`.
    namespace: u64,
    process: u32,
    /// Its start time, which distinguishes it from a later process with the same id.
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

/// Removes the groups that earlier processes left: in our own group, and in its siblings, where a process
/// of another session or service created them. Processes in them are killed. Returns how many sandboxes
/// were removed.
pub(in crate::sandbox::bubblewrap) fn sweep() -> u32 {
    let hierarchies = Hierarchies::read();
    let mut parents = hierarchies.version_2_parents();
    parents.extend(CONTROLLERS.iter().filter_map(|controller| hierarchies.version_1_parent(controller)));
    let mut removed = HashSet::new();
    for parent in parents {
        let siblings = parent.directory.parent().into_iter().flat_map(directories_in);
        for directory in siblings.chain([parent.directory.clone()]) {
            removed.extend(directories_in(&directory).filter_map(|group| remove_if_leftover(&group)));
        }
    }
    u32::try_from(removed.len()).unwrap_or(u32::MAX)
}

fn directories_in(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// Its name, if it was removed.
fn remove_if_leftover(group: &Path) -> Option<String> {
    let name = group.file_name()?.to_str()?;
    let creator = creator_of(name)?;
    let same_namespace = process_namespace() == Some(creator.namespace);
    if same_namespace && start_time(creator.process) == Some(creator.started) {
        return None;
    }
    let is_removed = if same_namespace {
        termination::kill_all(group);
        termination::remove(group)
    } else {
        // Its creator may be alive in its namespace. This fails while the group has a process, which is right.
        fs::remove_dir(group).is_ok()
    };
    is_removed.then(|| name.to_owned())
}

fn creator_of(name: &str) -> Option<Creator> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let mut next = || parts.next()?.parse::<u64>().ok();
    let (namespace, process, started) = (next()?, next()?, next()?);
    Some(Creator { namespace, process: u32::try_from(process).ok()?, started })
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
    fn group_name_contains_its_creator() {
        let creator = creator_of(&unique_name("job-7")).unwrap();
        let us = std::process::id();
        assert_eq!((creator.process, Some(creator.started)), (us, start_time(us)));
        assert_eq!(Some(creator.namespace), process_namespace());
        assert_eq!(creator_of("user.slice"), None);
        assert_eq!(creator_of("mendwright-itself"), None);
    }
}
