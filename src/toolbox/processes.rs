//! The processes of this namespace, as `/proc` shows them, and ending those that must go.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::process::{Pid, Signal, WaitOptions};

/// Rounds of stopping a growing tree before what was found so far is killed.
const ROUNDS_MAX: usize = 64;

/// Every live process, with its parent.
fn parents() -> io::Result<HashMap<i32, i32>> {
    let mut parents = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some((state, parent)) = state_and_parent(&stat)
            && !matches!(state, "Z" | "X")
        {
            parents.insert(pid, parent);
        }
    }
    Ok(parents)
}

/// The number of processes and threads in this namespace, zombies included: as the kernel counts them against
/// `RLIMIT_NPROC`.
pub fn count_tasks() -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else {
            continue;
        };
        // A directory has two links more than directories in it, here one for each thread. It may
        // be gone by now.
        count += fs::metadata(format!("/proc/{pid}/task")).map_or(0, |tasks| tasks.nlink().saturating_sub(2));
    }
    Ok(count)
}

/// The third and fourth field. The second is the program's name in parentheses, which may contain parentheses and
/// spaces.
fn state_and_parent(stat: &str) -> Option<(&str, i32)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?, fields.next()?.parse().ok()?))
}

/// The live descendants of `ancestor`.
pub fn descendants(ancestor: i32) -> io::Result<HashSet<i32>> {
    let parents = parents()?;
    Ok(parents.keys().copied().filter(|pid| chain(&parents, *pid).any(|above| above == ancestor)).collect())
}

/// The live processes that descend from this one, the first process, but not from its children `kept`.
pub fn strays(kept: &HashSet<i32>) -> io::Result<HashSet<i32>> {
    let parents = parents()?;
    let is_stray = |pid: i32| {
        let mut line: Vec<i32> = std::iter::once(pid).chain(chain(&parents, pid)).collect();
        // Ends in 1 for what descends from us; a process put here from outside has parent 0.
        line.pop() == Some(1) && line.last().is_some_and(|child| !kept.contains(child))
    };
    Ok(parents.keys().copied().filter(|pid| *pid != 1 && is_stray(*pid)).collect())
}

/// The processes above `pid`, nearest first, up to the first process.
fn chain(parents: &HashMap<i32, i32>, pid: i32) -> impl Iterator<Item = i32> {
    let above = |pid: &i32| parents.get(pid).copied().filter(|parent| *parent != 0);
    // A chain is never longer than there are processes, even if a number was used twice meanwhile.
    std::iter::successors(above(&pid), above).take(parents.len())
}

/// Kills all processes that `find` finds. Stops them first: a stopped process cannot start others, and still counts
/// against the process limit, so that even a fork bomb stops growing.
pub fn kill_all(find: impl Fn() -> io::Result<HashSet<i32>>) -> io::Result<usize> {
    let mut stopped = HashSet::new();
    for _ in 0..ROUNDS_MAX {
        let fresh: Vec<i32> = find()?.difference(&stopped).copied().collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            send(pid, Signal::STOP);
            stopped.insert(pid);
        }
    }
    for pid in &stopped {
        send(*pid, Signal::KILL);
    }
    Ok(stopped.len())
}

/// Sends a signal to a process that may have ended.
pub fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Waits for every child that has ended. Returns false if there is no child left.
pub fn reap_ended() -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_cannot_pass_for_other_fields() {
        assert_eq!(state_and_parent("12 (a) Z 1 (b)) S 7 7 0"), Some(("S", 7)));
        assert_eq!(state_and_parent("nonsense"), None);
    }

    #[test]
    fn threads_are_counted() {
        let before = count_tasks().unwrap();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let threads: Vec<_> = {
            let held = std::sync::Arc::new(std::sync::Mutex::new(held));
            let wait = |_| {
                let held = std::sync::Arc::clone(&held);
                std::thread::spawn(move || assert!(held.lock().unwrap().recv().is_err()))
            };
            (0..50).map(wait).collect()
        };
        let during = count_tasks().unwrap();
        drop(hold);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // Others on this machine come and go.
        assert!(during >= before + 20, "{before} before, {during} with 50 threads more");
    }

    #[test]
    fn a_child_is_found_and_ended() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id() as i32;
        let us = std::process::id() as i32;
        assert!(descendants(us).unwrap().contains(&pid));
        kill_all(|| Ok(HashSet::from([pid]))).unwrap();
        child.wait().unwrap();
        assert!(!descendants(us).unwrap().contains(&pid));
    }
}
