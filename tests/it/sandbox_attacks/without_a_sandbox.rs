//! An attack that always fails proves nothing: here each attack runs without a sandbox, and must succeed, or at
//! least have another output than with a defence.

use std::path::Path;
use std::process::{Command, Stdio};

use super::data::{Place, ProbePhase, is_like};
use super::host::{Host, is_root, prober};
use super::probes::probes;
use crate::backends::Backend;

/// On this machine without changes. For attacks on the first process, that process is an ordinary one.
const NOTHING_HELD: [&[&str]; 2] = [&[], &["--unshare-pid", "--as-pid-1", "--proc", "/proc"]];

/// As root, on this machine. Only the mounts are private, so that none of them remains.
#[test]
fn every_attack_can_succeed_where_nothing_holds_it() {
    if !is_root() {
        return; // The kernel already restricts an ordinary user. The run as root covers this.
    }
    let host = Host::plant();
    let bench = tempfile::tempdir().unwrap();
    let program = bench.path().join("prober");
    assert!(Command::new("cp").arg(prober()).arg(&program).status().unwrap().success());
    let mut tame = Vec::new();
    let of_places =
        [Place::Shared, Place::Small].map(|place| probes(place, Backend::Bubblewrap, ProbePhase::Work));
    for (_, probe) in of_places.into_iter().flatten().filter(|(_, probe)| probe.outside.is_none()) {
        let script = host.script(&probe.attack, &program.to_string_lossy());
        let answers = NOTHING_HELD.map(|options| run(bench.path(), options, &script));
        if answers.iter().all(|answer| is_like(probe.held(Backend::Bubblewrap, ProbePhase::Work), answer)) {
            tame.push(format!("{}: {}\n  answer: {}", probe.name, probe.attack, answers[0].trim()));
        }
    }
    assert!(tame.is_empty(), "{} attacks say the same without a sandbox:\n{}", tame.len(), tame.join("\n"));
}

fn run(bench: &Path, options: &[&str], script: &str) -> String {
    let output = Command::new("bwrap")
        .args(["--dev-bind", "/", "/", "--die-with-parent", "--new-session", "--cap-add", "ALL"])
        .args(options)
        .arg("--chdir")
        .arg(bench)
        .args(["/bin/sh", "-c", script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}
