//! What this process takes, measured where no other test takes anything.

use std::fs;

use super::Backend;

/// Set for a test that runs in a process of its own.
const ALONE: &str = "MENDWRIGHT_TEST_ALONE";

/// Runs a test's work in a process of its own, by starting that test once more.
pub async fn alone<F: Future<Output = ()>>(
    module: &str,
    backend: Backend,
    story: &str,
    work: impl FnOnce() -> F,
) {
    if std::env::var_os(ALONE).is_some() {
        return work().await;
    }
    let (_, module) = module.split_once("::").unwrap();
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{}::{story}", backend.name()), "--include-ignored"])
        .env(ALONE, "1")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// A figure of ours, in KiB.
pub fn resident_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

/// Descriptors that we have open.
pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Threads that we have.
pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}
