//! A removed defence is noticed: for each defence that can be removed, by exactly the listed probes. The
//! product has no switch for that; the test stands between the product and `bwrap` or the engine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use mendwright::sandbox::{Bubblewrap, Sandbox};
use serde::Deserialize;

use super::data::{Place, ProbePhase, groups};
use super::host::{Host, is_root, prober};
use super::posture::difference_in;
use super::probes::probes;
use super::room::{self, ProbedSandbox};
use crate::backends::Backend;

mod engine;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weakening {
    /// The removed defence.
    without: String,
    backend: Backend,
    #[serde(default)]
    place: Place,
    /// The change between the product and `bwrap` or the engine.
    rules: Vec<String>,
    /// Probes that may or may not be held without it.
    #[serde(default)]
    may: BTreeSet<String>,
    /// The probes that are not held without it.
    red: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Weakenings {
    weakening: Vec<Weakening>,
}

/// The name of the posture comparison among the probes.
const POSTURE: &str = "posture";
/// They are independent, and mostly wait.
const AT_ONCE: usize = 2;
/// The least number, so that none is lost unnoticed.
const WEAKENINGS_MIN: usize = 12;

fn weakenings() -> &'static [Weakening] {
    static WEAKENINGS: OnceLock<Vec<Weakening>> = OnceLock::new();
    WEAKENINGS.get_or_init(|| {
        let text = include_str!("../../../fixtures/sandbox/weakenings.toml");
        let parsed: Weakenings = toml::from_str(text).unwrap_or_else(|e| panic!("weakenings.toml: {e}"));
        parsed.weakening
    })
}

#[test]
fn each_weakening_is_noticed_by_probes_that_there_are() {
    let names: BTreeSet<&str> =
        groups().iter().flat_map(|group| &group.probe).map(|probe| probe.name.as_str()).collect();
    for weakening in weakenings() {
        assert!(!weakening.red.is_empty(), "nothing notices {}", weakening.without);
        let harmless = [Place::Shared, Place::Small].contains(&weakening.place);
        assert!(harmless, "{}: such probes are for whole sandboxes only", weakening.without);
        for red in &weakening.red {
            assert!(
                names.contains(red.as_str()) || red == POSTURE,
                "{}: there is no probe {red}",
                weakening.without
            );
        }
    }
    let of = |backend| weakenings().iter().filter(|weakening| weakening.backend == backend).count();
    assert!(of(Backend::Bubblewrap) >= WEAKENINGS_MIN && of(Backend::Docker) >= WEAKENINGS_MIN);
}

#[tokio::test]
async fn bubblewrap_without_a_defence_is_noticed() {
    if !is_root() {
        return; // The arguments for other users differ, but the result is the same.
    }
    let all = weakenings().iter().filter(|weakening| weakening.backend == Backend::Bubblewrap);
    let wrong = futures_util::stream::iter(all).map(async |weakening| {
        let (_directory, program) = weakened_bwrap(&weakening.rules);
        match Bubblewrap::with_program(program) {
            Ok(sandbox) => compare(weakening, Arc::new(sandbox)).await,
            Err(error) => Some(format!("without {}: there is no sandbox: {error}", weakening.without)),
        }
    });
    let wrong: Vec<String> = wrong.buffer_unordered(AT_ONCE).filter_map(async |wrong| wrong).collect().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn docker_without_a_defence_is_noticed() {
    let all = weakenings().iter().filter(|weakening| weakening.backend == Backend::Docker);
    let wrong = futures_util::stream::iter(all).map(async |weakening| {
        let (_directory, sandbox) = engine::weakened_docker(&weakening.rules);
        compare(weakening, Arc::new(sandbox)).await
    });
    let wrong: Vec<String> = wrong.buffer_unordered(AT_ONCE).filter_map(async |wrong| wrong).collect().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What was noticed, if it differs from the expectation.
async fn compare(weakening: &'static Weakening, sandbox: Arc<dyn Sandbox>) -> Option<String> {
    let mut host = Host::plant();
    let open = async |host: &Host| {
        let spec = room::spec(weakening.backend, weakening.place, ProbePhase::Work, host);
        ProbedSandbox::open(Arc::clone(&sandbox), weakening.backend, spec).await
    };
    let mut room = open(&host).await;
    let mut red = BTreeSet::new();
    if !difference_in(&mut room, weakening.backend, &host).await.is_empty() {
        red.insert(POSTURE.to_owned());
    }
    for (_, probe) in probes(weakening.place, weakening.backend, ProbePhase::Work) {
        if room.attack(&mut host, probe).await.is_err() {
            red.insert(probe.name.clone());
        }
        if weakening.place == Place::Small {
            std::mem::replace(&mut room, open(&host).await).close().await;
        }
    }
    room.close().await;
    let unnoticed: Vec<_> = weakening.red.difference(&red).collect();
    let unexpected: Vec<_> =
        red.difference(&weakening.red).filter(|probe| !weakening.may.contains(*probe)).collect();
    (!unnoticed.is_empty() || !unexpected.is_empty()).then(|| {
        format!(
            "without {}:\n  not noticed by: {unnoticed:?}\n  also noticed by: {unexpected:?}",
            weakening.without
        )
    })
}

/// A program that starts the real `bwrap` with other arguments.
fn weakened_bwrap(rules: &[String]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let real = path.split(':').map(|place| PathBuf::from(place).join("bwrap")).find(|file| file.is_file());
    let mut lines = vec![real.expect("bwrap on the PATH").display().to_string()];
    lines.extend(rules.iter().cloned());
    fs::write(directory.path().join("rules"), lines.join("\n")).unwrap();
    let program = directory.path().join("bwrap");
    symlink(prober(), &program).unwrap();
    (directory, program)
}
