//! Measures the resources of this process, without other tests in the same process.

use std::fs;

use super::Backend;

/// Set for a test that runs in a separate process.
const ALONE: &str = "MENDWRIGHT_TEST_ALONE";

/// Runs a test in a separate process, by starting that test again.
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
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("1 passed"), "{printed}{}", String::from_utf8_lossy(&output.stderr));
}

/// A memory value of this process, in KiB.
pub fn resident_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

/// The open descriptors of this process.
pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The threads of this process.
pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}
