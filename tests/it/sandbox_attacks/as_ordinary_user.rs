//! The same tests with a service that does not run as root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::host::{PLANTED_VARIABLE, PROBER_VARIABLE, is_root, prober};

const NOBODY: u32 = 65_534;

#[test]
fn attacks_fail_for_an_ordinary_user() {
    if !is_root() {
        return; // This process already runs as an ordinary user, so the other tests cover it.
    }
    let directory = tempfile::tempdir().unwrap();
    let copies = [std::env::current_exe().unwrap(), prober().to_owned()].map(|file| {
        let copy = directory.path().join(file.file_name().unwrap());
        // In a new process: if a process of another test inherited a descriptor of ours, the file would be
        // too busy to run.
        assert!(Command::new("cp").arg(&file).arg(&copy).status().unwrap().success());
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        copy
    });
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let [tests, prober] = copies;
    let output = Command::new(&tests)
        .arg("sandbox_attacks::")
        .args(["--skip", "::docker::", "--skip", "weakened::"])
        .env(PROBER_VARIABLE, prober)
        .env(PLANTED_VARIABLE, "planted-in-the-services-own-environment")
        .env("HOME", "/nonexistent")
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output_text}{}", String::from_utf8_lossy(&output.stderr));
    let passed = "probes::bubblewrap::every_probe_is_held_while_the_agent_works ... ok";
    assert!(output_text.contains(passed), "{output_text}");
}
