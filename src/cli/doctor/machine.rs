//! This machine: the sandbox, and the data directory.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::report::{Check, Report};
use crate::app::probe_sandbox;
use crate::config::SandboxConfig;

/// A clone, a few sandboxes and their images need more than this.
const FREE_BYTES_ADVISED: u64 = 5 << 30;
/// With less, even the store cannot grow for long.
const FREE_BYTES_MIN: u64 = 500 << 20;
const FOR_OTHERS: u32 = 0o077;

/// Starts a sandbox and ends it.
pub(super) async fn sandbox(config: &SandboxConfig, data_dir: &Path, report: &mut Report) {
    report.add(match probe_sandbox(config, data_dir).await {
        Ok(description) => Check::ok("sandbox", format!("a sandbox was started: {description}")),
        Err(error) => {
            let remedy =
                "Jobs do not run without a sandbox. `mendwright sandbox run -- true` tries it alone.";
            Check::failure("sandbox", format!("{error:#}"), remedy)
        }
    });
}

pub(super) fn data_dir(data_dir: &Path, report: &mut Report) {
    let shown = data_dir.display();
    if !data_dir.exists() {
        let remedy =
            format!("Create it for the service's account: sudo install -d -m 0700 -o ACCOUNT {shown}");
        report.add(Check::failure("data directory", format!("{shown} does not exist"), remedy));
        return report.add(Check::skipped("git mirrors", "there is no data directory"));
    }
    report.add(match is_writable(data_dir) {
        Ok(()) => Check::ok("data directory", format!("{shown} is writable")),
        Err(error) => {
            let remedy = "Allow the service's account to write to it, and run this command as that account.";
            Check::failure("data directory", format!("{shown} is not writable: {error}"), remedy)
        }
    });
    if let Ok(metadata) = data_dir.metadata() {
        let mode = metadata.permissions().mode() & 0o777;
        if mode & FOR_OTHERS != 0 {
            let what = format!("other accounts can read {shown} (mode {mode:o})");
            report.add(Check::warning("data directory", what, format!("Run: chmod 700 {shown}")));
        }
    }
    report.add(space(data_dir));
    let mirrors = data_dir.join("mirrors");
    report.add(if !mirrors.exists() {
        Check::ok("git mirrors", format!("the first job creates {}", mirrors.display()))
    } else {
        match is_writable(&mirrors) {
            Ok(()) => Check::ok("git mirrors", format!("{} is writable", mirrors.display())),
            Err(error) => Check::failure(
                "git mirrors",
                format!("{} is not writable: {error}", mirrors.display()),
                "Make the service's account the owner of everything in it: chown -R",
            ),
        }
    });
}

/// Tries to write: permissions, a read-only file system and a full disk all show.
fn is_writable(directory: &Path) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&[0; 4096])?;
    file.as_file().sync_all()
}

fn space(data_dir: &Path) -> Check {
    let free = match nix::sys::statvfs::statvfs(data_dir) {
        Ok(found) => found.blocks_available().saturating_mul(found.fragment_size()),
        Err(error) => {
            return Check::skipped("disk", format!("the system does not report the free space: {error}"));
        }
    };
    free_space_check(free)
}

fn free_space_check(free: u64) -> Check {
    let what = format!("{:.1} GB are free", free as f64 / 1e9);
    let remedy =
        "Free some space, or move server.data_dir to a larger disk; sandbox.kept_gb limits the setup cache.";
    match free {
        FREE_BYTES_ADVISED.. => Check::ok("disk", what),
        FREE_BYTES_MIN.. => Check::warning("disk", what, remedy),
        _ => Check::failure("disk", what, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Finding;
    use super::*;

    #[test]
    fn free_space_below_5_gib_is_a_warning_and_below_500_mib_a_failure() {
        assert_eq!(free_space_check(6 << 30).result, Finding::Ok);
        assert_eq!(free_space_check(4 << 30).result, Finding::Warning);
        assert_eq!(free_space_check(100 << 20).result, Finding::Failure);
        insta::assert_snapshot!(free_space_check(100 << 20).what, @"0.1 GB are free");
    }
}
