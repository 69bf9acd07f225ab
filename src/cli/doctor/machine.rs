//! The machine: the sandbox, and the directory that everything is kept in.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::report::{Check, Report};
use crate::app::try_sandbox;
use crate::config::SandboxConfig;

/// A clone, a few sandboxes and their images need more than this.
const FREE_BYTES_ADVISED: u64 = 5 << 30;
/// With less not even the store can grow for long.
const FREE_BYTES_MIN: u64 = 500 << 20;
const FOR_OTHERS: u32 = 0o077;

/// Starts one and ends it.
pub(super) async fn sandbox(config: &SandboxConfig, data_dir: &Path, report: &mut Report) {
    report.add(match try_sandbox(config, data_dir).await {
        Ok(description) => Check::ok("sandbox", format!("one was started: {description}")),
        Err(error) => {
            let remedy = "Jobs do not run without it. `mendwright sandbox run -- true` tries it alone.";
            Check::failure("sandbox", format!("{error:#}"), remedy)
        }
    });
}

pub(super) fn data_dir(data_dir: &Path, report: &mut Report) {
    let shown = data_dir.display();
    if !data_dir.exists() {
        let remedy =
            format!("Make it for the service's account: sudo install -d -m 0700 -o THE-USER {shown}");
        report.add(Check::failure("data directory", format!("{shown} is not there"), remedy));
        return report.add(Check::skipped("git mirrors", "there is no data directory"));
    }
    report.add(match is_writable(data_dir) {
        Ok(()) => Check::ok("data directory", format!("{shown} can be written to")),
        Err(error) => {
            let remedy =
                "Let the account that the service runs as write to it, and run this as that account.";
            Check::failure("data directory", format!("{shown} cannot be written to: {error}"), remedy)
        }
    });
    if let Ok(metadata) = data_dir.metadata() {
        let mode = metadata.permissions().mode() & 0o777;
        if mode & FOR_OTHERS != 0 {
            let what = format!("other accounts may look into {shown} (mode {mode:o})");
            report.add(Check::warning("data directory", what, format!("Run: chmod 700 {shown}")));
        }
    }
    report.add(space(data_dir));
    let mirrors = data_dir.join("mirrors");
    report.add(if !mirrors.exists() {
        Check::ok("git mirrors", format!("{} is made by the first job", mirrors.display()))
    } else {
        match is_writable(&mirrors) {
            Ok(()) => Check::ok("git mirrors", format!("{} can be written to", mirrors.display())),
            Err(error) => Check::failure(
                "git mirrors",
                format!("{} cannot be written to: {error}", mirrors.display()),
                "Let the service's account own everything in it: chown -R",
            ),
        }
    });
}

/// Tries it: rights, a read-only file system, a full disk.
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
            return Check::skipped("disk", format!("the system does not say how much is free: {error}"));
        }
    };
    judged(free)
}

fn judged(free: u64) -> Check {
    let what = format!("{:.1} GB are free", free as f64 / 1e9);
    let remedy =
        "Free some, or put server.data_dir on a larger disk; sandbox.kept_gb bounds what set-ups leave.";
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
    fn little_room_is_warned_of_and_hardly_any_is_a_failure() {
        assert_eq!(judged(6 << 30).result, Finding::Ok);
        assert_eq!(judged(4 << 30).result, Finding::Warning);
        assert_eq!(judged(100 << 20).result, Finding::Failure);
        insta::assert_snapshot!(judged(100 << 20).what, @"0.1 GB are free");
    }
}
