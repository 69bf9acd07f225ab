//! The posture: the isolation as seen from inside, compared with the declared one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Deserialize;

use super::data::{Place, ProbePhase};
use super::host::{Host, is_root};
use super::room::{self, ProbedSandbox};
use crate::backends::Backend;

on_every_backend! {
    posture_matches_the_declared_one,
}

/// Facts by section.
type Facts = BTreeMap<String, BTreeSet<String>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    /// All visible facts.
    is: Facts,
    /// Facts that depend on the machine's kernel or distribution.
    #[serde(default)]
    may_be: Facts,
}

fn declared(backend: Backend) -> Declared {
    let (name, text) = match (backend, is_root()) {
        (Backend::Bubblewrap, true) => {
            ("bubblewrap-root", include_str!("../../../fixtures/sandbox/posture/bubblewrap-root.toml"))
        }
        (Backend::Bubblewrap, false) => {
            ("bubblewrap-user", include_str!("../../../fixtures/sandbox/posture/bubblewrap-user.toml"))
        }
        (Backend::Docker, _) => ("docker", include_str!("../../../fixtures/sandbox/posture/docker.toml")),
    };
    toml::from_str(text).unwrap_or_else(|e| panic!("posture/{name}.toml: {e}"))
}

async fn posture_matches_the_declared_one(backend: Backend) {
    let host = Host::plant();
    let spec = room::spec(backend, Place::Shared, ProbePhase::Work, &host);
    let mut room = ProbedSandbox::open(backend.sandbox(), backend, spec).await;
    let difference = difference_in(&mut room, backend, &host).await;
    room.close().await;
    host.leave();
    assert!(
        difference.is_empty(),
        "the posture of {backend:?} is not the declared one ('-' is declared and missing, '+' is there and not \
         declared); if that is meant, change fixtures/sandbox/posture in the same commit:\n{difference}"
    );
}

/// The difference to the declared posture in a running sandbox.
pub async fn difference_in(room: &mut ProbedSandbox, backend: Backend, host: &Host) -> String {
    let report = room.run(host, "exec prober_path posture").await;
    // The test's own programs with privileges, which it shows inside.
    let is_ours = |line: &&str| line.contains(&*host.rights().to_string_lossy());
    let report: Vec<&str> = report.lines().filter(|line| !is_ours(line)).collect();
    difference(&declared(backend), &observed(&report.join("\n")))
}

/// One line for each fact that is on only one side.
fn difference(declared: &Declared, seen: &Facts) -> String {
    let none = BTreeSet::new();
    let of = |facts: &Facts, section: &str| facts.get(section).unwrap_or(&none).clone();
    let sections: BTreeSet<&String> = declared.is.keys().chain(seen.keys()).collect();
    let mut lines = String::new();
    for section in sections {
        let (is, may_be) = (of(&declared.is, section), of(&declared.may_be, section));
        let seen = of(seen, section);
        for fact in is.difference(&seen) {
            lines.push_str(&format!("- {section}: {fact}\n"));
        }
        for fact in seen.difference(&is).filter(|fact| !may_be.contains(*fact)) {
            lines.push_str(&format!("+ {section}: {fact}\n"));
        }
    }
    lines
}

/// The facts without values that differ between sandboxes: ids of users and namespaces.
fn observed(report: &str) -> Facts {
    let user = report.lines().find_map(|line| line.strip_prefix("identity: user ")).unwrap_or("?").to_owned();
    let mut facts = Facts::new();
    for line in report.lines() {
        let (section, fact) = line.split_once(": ").unwrap_or(("not a fact", line));
        let fact = match (section, fact.split_once(' ')) {
            ("namespaces", Some((name, link))) => {
                let hosts = fs::read_link(format!("/proc/self/ns/{name}")).unwrap_or_default();
                format!("{name} {}", if hosts.as_os_str() == link { "of the host" } else { "of its own" })
            }
            ("identity", _) if user.len() >= 4 && !fact.contains("4294967295") => fact
                .split(' ')
                .map(|word| if word == user { "USER" } else { word })
                .collect::<Vec<_>>()
                .join(" "),
            // Which of them exist depends on the distribution.
            ("mounts", Some((path, how @ "disk nodev,nosuid,ro"))) if path.starts_with("/etc/") => {
                format!("/etc/* {how}")
            }
            _ => fact.to_owned(),
        };
        facts.entry(section.to_owned()).or_default().insert(fact);
    }
    facts
}

#[test]
fn changed_posture_is_a_readable_difference() {
    let facts = |text: &str| observed(text);
    let declared = Declared {
        is: facts("status: NoNewPrivs 1\nmounts: /usr disk ro"),
        may_be: facts("mounts: /lib32 disk ro"),
    };
    let seen =
        facts("status: NoNewPrivs 0\nmounts: /usr disk ro\nmounts: /lib32 disk ro\nmounts: /root disk rw");
    insta::assert_snapshot!(difference(&declared, &seen), @r"
    + mounts: /root disk rw
    - status: NoNewPrivs 1
    + status: NoNewPrivs 0
    ");
}
