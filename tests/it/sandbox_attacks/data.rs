//! The probes, which `fixtures/sandbox/README.md` describes.

use std::collections::HashSet;
use std::sync::OnceLock;

use regex::Regex;
use serde::Deserialize;

use crate::backends::Backend;

/// Probes that belong together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub title: String,
    /// The least number of probes, so that none is lost unnoticed.
    pub share: usize,
    #[serde(default)]
    pub place: Place,
    legitimate: String,
    expected: String,
    pub probe: Vec<Probe>,
}

/// The kind of sandbox for a group's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// One sandbox for all of them.
    #[default]
    Shared,
    /// A sandbox whose process namespace is never removed: otherwise the attacks would kill every process of
    /// the user who runs the test.
    OwnProcesses,
    /// A sandbox with small limits.
    Small,
    /// A sandbox with allowed hosts, on a host with its own network.
    Connected,
    /// Two sandboxes, one after the other.
    Successive,
}

/// What a sandbox is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbePhase {
    #[serde(rename = "set_up")]
    Setup,
    Work,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum User {
    Root,
    Ordinary,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub name: String,
    pub defence: String,
    phase: Option<ProbePhase>,
    user: Option<User>,
    backend: Option<Backend>,
    machine: Option<String>,
    pub attack: String,
    held: String,
    held_by_docker: Option<String>,
    held_by_docker_set_up: Option<String>,
    legitimate: Option<String>,
    expected: Option<String>,
    pub outside: Option<String>,
    pub before: Option<String>,
    /// The listeners that may be connected to, if the test has its own network; otherwise none.
    pub reaches: Option<String>,
}

impl Probe {
    pub fn is_for(&self, backend: Backend, phase: ProbePhase, as_root: bool) -> bool {
        let user = if as_root { User::Root } else { User::Ordinary };
        self.is_for_backend(backend)
            && self.phase.is_none_or(|only| only == phase)
            && self.user.is_none_or(|only| only == user)
            && self.machine.as_deref().is_none_or(|only| only == std::env::consts::ARCH)
    }

    pub fn is_for_backend(&self, backend: Backend) -> bool {
        self.backend.is_none_or(|only| only == backend)
    }

    /// The pattern of the attack's output if the defence works.
    pub fn held(&self, backend: Backend, phase: ProbePhase) -> &str {
        let of_docker = self.held_by_docker.as_ref();
        let held = match (backend, phase) {
            (Backend::Bubblewrap, _) => None,
            (Backend::Docker, ProbePhase::Work) => of_docker,
            (Backend::Docker, ProbePhase::Setup) => self.held_by_docker_set_up.as_ref().or(of_docker),
        };
        held.unwrap_or(&self.held)
    }

    /// The legitimate command, and the pattern of its output.
    pub fn legitimate<'a>(&'a self, group: &'a Group) -> (&'a str, &'a str) {
        match (&self.legitimate, &self.expected) {
            (Some(act), Some(expected)) => (act, expected),
            (None, None) => (&group.legitimate, &group.expected),
            _ => panic!("'{}' says either what is legitimate or what is expected of it", self.name),
        }
    }
}

/// Whether a pattern matches a whole text.
pub fn is_like(pattern: &str, text: &str) -> bool {
    let whole = Regex::new(&format!("^(?:{pattern})$")).unwrap_or_else(|e| panic!("{e}"));
    whole.is_match(text.trim())
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../fixtures/sandbox/probes/", $name)))),*]
    };
}

/// All groups, each from its own file.
pub fn groups() -> &'static [Group] {
    static GROUPS: OnceLock<Vec<Group>> = OnceLock::new();
    GROUPS.get_or_init(|| {
        let files = files![
            "01-secrets.toml",
            "02-proc.toml",
            "03-descriptors-and-devices.toml",
            "04-mounts-and-namespaces.toml",
            "05-privileges.toml",
            "06-kernel.toml",
            "07-network.toml",
            "08-local-sockets.toml",
            "09-toolbox.toml",
            "10-bombs.toml",
            "11-leftovers.toml",
            "12-proxy.toml",
        ];
        files
            .into_iter()
            .map(|(name, text)| toml::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}")))
            .collect()
    })
}

/// The least number of all probes, so that none is lost unnoticed.
const PROBES_MIN: usize = 200;

#[test]
fn the_suite_has_not_shrunk() {
    let mut names = HashSet::new();
    for group in groups() {
        assert!(group.probe.len() >= group.share, "{}: only {} probes", group.title, group.probe.len());
        for probe in &group.probe {
            assert!(names.insert(&probe.name), "there are two probes named {}", probe.name);
            assert!(!probe.defence.is_empty() && !is_like(&probe.held, "sh: 1: prober: not found"));
            let (_, expected) = probe.legitimate(group);
            assert!(is_like(expected, "no such thing") <= expected.contains(".*"));
            let is_successive = group.place == Place::Successive;
            assert_eq!(probe.before.is_some(), is_successive, "{}: something before", probe.name);
        }
    }
    assert!(names.len() >= PROBES_MIN, "only {} probes", names.len());
    for backend in [Backend::Bubblewrap, Backend::Docker] {
        for phase in [ProbePhase::Work, ProbePhase::Setup] {
            for as_root in [true, false] {
                let all = groups().iter().flat_map(|group| &group.probe);
                let count = all.filter(|probe| probe.is_for(backend, phase, as_root)).count();
                assert!(count >= 180, "{backend:?}, {phase:?}, as root: {as_root}: only {count} probes");
            }
        }
    }
}
