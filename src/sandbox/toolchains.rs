//! Language toolchains of this machine that are not part of its system directories.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The language toolchains of this machine that are not the system's own, for
/// [`Root::Host`](super::Root::Host): so far only Rust's, at the path that `rustc` prints.
pub fn detect_toolchains() -> Vec<PathBuf> {
    let mut rustc = Command::new("rustc");
    // In the root directory, no project's file can choose another toolchain.
    rustc.args(["--print", "sysroot"]).current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    let output = rustc.output();
    let sysroot = output.ok().filter(|output| output.status.success()).and_then(|output| {
        let path = String::from_utf8(output.stdout).ok()?;
        // A sandbox shows only real paths.
        std::fs::canonicalize(path.trim_end()).ok()
    });
    // Toolchains that a distribution installs are on the sandbox's path already.
    let is_system = |path: &PathBuf| ["/usr", "/usr/local"].iter().any(|system| path == Path::new(system));
    sysroot.into_iter().filter(|path| !is_system(path)).collect()
}
