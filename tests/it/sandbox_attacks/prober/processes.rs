//! Attacks on other processes, and inherited descriptors.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::Outcome;
use super::calls::{call, integer};

const SIGNALS: std::ops::RangeInclusive<usize> = 1..=64;

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Which of the other processes' files below `/proc` can be opened: `environ`, `mem`, `maps`, or
/// listed: `fd`, `ns`, `map_files`; or followed: `root`, `exe`, `cwd`. Our shell is ours.
pub fn others(what: &str) -> String {
    let own = [std::process::id(), std::os::unix::process::parent_id()];
    let mut opened = Vec::new();
    for pid in pids().into_iter().filter(|pid| !own.contains(pid)) {
        let path = format!("/proc/{pid}/{what}");
        let reached = match what {
            "fd" | "fdinfo" | "map_files" | "ns" => fs::read_dir(&path)
                .is_ok_and(|entries| entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok())),
            "root" | "exe" | "cwd" => fs::read_link(&path).is_ok(),
            // Their opening succeeds for everybody; reading is what counts.
            "environ" | "auxv" | "maps" => fs::read(&path).is_ok_and(|bytes| !bytes.is_empty()),
            "mem" => fs::File::open(&path).is_ok(),
            "mem-for-writing" => fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/mem")).is_ok(),
            "cmdline" => {
                let bytes = fs::read(&path).unwrap_or_default();
                opened.push(String::from_utf8_lossy(&bytes).replace('\0', " "));
                continue;
            }
            unknown => panic!("the prober does not look at /proc/PID/{unknown}"),
        };
        if reached {
            opened.push(pid.to_string());
        }
    }
    if opened.is_empty() { "nothing".to_owned() } else { format!("reached: {}", opened.join(" ; ")) }
}

/// What is open beside the three standard files and the directory that lists them.
pub fn descriptors() -> String {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let number: u32 = entry.file_name().to_string_lossy().parse().unwrap_or(0);
        let target = fs::read_link(entry.path()).unwrap_or_default();
        if number > 2 && !target.starts_with(format!("/proc/{}/fd", std::process::id())) {
            found.push(format!("{number} -> {}", target.display()));
        }
    }
    if found.is_empty() { "none".to_owned() } else { format!("open: {}", found.join(" ; ")) }
}

/// The user, groups and capabilities of this process.
pub fn who() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().nth(1).or(line.split_whitespace().next()).unwrap_or_default().to_owned()
    };
    let effective_user = field("Uid:");
    let user = if effective_user == "0" { "root" } else { "ordinary" };
    let capabilities = u64::from_str_radix(&field("CapEff:"), 16).unwrap_or(u64::MAX);
    format!("user {user}, capabilities {}", if capabilities == 0 { "none" } else { "some" })
}

fn pid(word: &str) -> usize {
    match word {
        "parent" => std::os::unix::process::parent_id() as usize,
        // The supervisor: our shell's parent.
        "supervisor" => {
            let stat = fs::read_to_string(format!("/proc/{}/stat", std::os::unix::process::parent_id()));
            let stat = stat.unwrap_or_default();
            let after = stat.rfind(')').map_or("", |at| &stat[at + 1..]);
            after.split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).unwrap_or(0)
        }
        number => integer(number) as usize,
    }
}

/// Attaches to a process as a debugger does, and detaches.
pub fn attach(word: &str) -> Outcome {
    const SEIZE: usize = 0x4206;
    const DETACH: usize = 17;
    let pid = pid(word);
    call("ptrace", &[SEIZE, pid, 0, 0])?;
    // It may be running; then it is detached when this process ends.
    let _ = call("ptrace", &[DETACH, pid, 0, 0]);
    Ok("attached".to_owned())
}

/// Reads memory of another process. Only whether that is allowed is reported.
pub fn peek(word: &str) -> Outcome {
    let pid = pid(word);
    let mut buffer = [0u8; 8];
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let start = maps.lines().find(|line| line.contains(" r")).and_then(|line| line.split('-').next());
    let start = start.and_then(|start| usize::from_str_radix(start, 16).ok()).unwrap_or(0x1000);
    let local = [buffer.as_mut_ptr() as usize, buffer.len()];
    let remote = [start, buffer.len()];
    call("process_vm_readv", &[pid, local.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0])?;
    Ok("read".to_owned())
}

/// Every signal there is.
pub fn signal_all(word: &str) -> String {
    let pid = pid(word);
    let sent = SIGNALS.filter(|signal| call("kill", &[pid, *signal]).is_ok()).count();
    format!("sent {sent}")
}

/// Writes to every pipe or socket of another process that can be opened.
pub fn write_pipes(word: &str) -> String {
    use std::io::Write;
    let directory = format!("/proc/{}/fd", pid(word));
    let mut written = 0;
    // If the directory is hidden, the numbers can still be guessed.
    for number in 0..64 {
        let path = Path::new(&directory).join(number.to_string());
        let is_pipe = fs::metadata(&path).is_ok_and(|m| m.file_type().is_fifo() || m.file_type().is_socket());
        if let Ok(mut file) = fs::OpenOptions::new().write(true).open(&path)
            && is_pipe
            && file.write_all(&[0xff; 64]).is_ok()
        {
            written += 1;
        }
    }
    if written == 0 { "nothing".to_owned() } else { format!("wrote to {written}") }
}
