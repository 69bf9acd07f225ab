//! How a job's sandboxes were set up, what they had and lacked, and what they requested from the network, for people.

use crate::domain::{EgressReport, FetchedSubmodule, TranscriptEvent};

use super::escape::{code_span, cut, inline};
use super::format::{plural, thousands};

/// Hosts that are listed; more are counted.
const HOSTS_NAMED_MAX: usize = 8;
/// Longest host that is shown whole.
const HOST_CHARS_MAX: usize = 100;
/// Submodules that are listed; more are counted.
const SUBMODULES_NAMED_MAX: usize = 8;
/// Longest path or source of a submodule that is shown whole.
const SUBMODULE_CHARS_MAX: usize = 100;
/// Longest sentence about what sandboxes lacked that is shown whole.
const MISSING_CHARS_MAX: usize = 600;

/// The setup, the files from elsewhere and the network requests that the transcript records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EnvironmentSummary {
    setup: Option<SetupSummary>,
    egress: EgressReport,
    submodules: Vec<FetchedSubmodule>,
    missing: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct SetupSummary {
    commands: usize,
    seconds: f64,
    kept: bool,
    reused: bool,
}

impl EnvironmentSummary {
    /// Adds what an event says.
    pub(super) fn add(&mut self, event: &TranscriptEvent) {
        if let TranscriptEvent::SetUp { commands, seconds, kept, reused, .. } = event {
            self.setup = Some(SetupSummary {
                commands: commands.len(),
                seconds: *seconds,
                kept: *kept,
                reused: *reused,
            });
        }
        if let TranscriptEvent::Egress { report, .. } = event {
            self.egress.omitted += report.omitted;
            self.egress.decisions.extend(report.decisions.iter().cloned());
        }
        if let TranscriptEvent::SubmodulesFetched { fetched, .. } = event {
            self.submodules.clone_from(fetched);
        }
        if let TranscriptEvent::CheckoutIncomplete { missing } = event {
            self.missing.clone_from(missing);
        }
    }

    /// Everything that is known, with its name. Inert Markdown.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let known = [("Setup", self.setup()), ("Network", self.network()), ("Submodules", self.submodules())];
        let known = known.into_iter().filter_map(|(name, words)| Some((name, words?)));
        let missing = |sentence: &String| ("Not in the sandbox", inline(&cut(sentence, MISSING_CHARS_MAX)));
        known.chain(self.missing.iter().map(missing)).collect()
    }

    /// The submodules that sandboxes had, if there were any.
    fn submodules(&self) -> Option<String> {
        let one = |submodule: &FetchedSubmodule| {
            let path = code_span(&cut(&submodule.path.to_string(), SUBMODULE_CHARS_MAX));
            let source = code_span(&cut(&submodule.source, SUBMODULE_CHARS_MAX));
            format!("{path} at `{}` of {source}", submodule.commit.short())
        };
        let named: Vec<String> = self.submodules.iter().take(SUBMODULES_NAMED_MAX).map(one).collect();
        match self.submodules.len() - named.len() {
            _ if named.is_empty() => None,
            0 => Some(named.join(", ")),
            more => Some(format!("{} and {more} more", named.join(", "))),
        }
    }

    /// How the sandboxes were set up, if they were.
    fn setup(&self) -> Option<String> {
        let setup = self.setup.as_ref()?;
        Some(match setup {
            SetupSummary { reused: true, .. } => "the cached result for the same files was used".to_owned(),
            SetupSummary { commands, seconds, kept, .. } => format!(
                "{} in {seconds:.1} s; {}",
                plural(*commands as u64, "command", "commands"),
                if *kept { "its result was cached" } else { "its result was not cached" }
            ),
        })
    }

    /// What was requested from the network, if anything was. Inert Markdown.
    fn network(&self) -> Option<String> {
        if self.egress.is_empty() {
            return None;
        }
        let (mut allowed, mut refused) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for decision in &self.egress.decisions {
            bytes += decision.bytes_up + decision.bytes_down;
            let list = if decision.refused.is_some() { &mut refused } else { &mut allowed };
            let host = code_span(&cut(&decision.host, HOST_CHARS_MAX));
            if !decision.host.is_empty() && !list.contains(&host) {
                list.push(host);
            }
        }
        let named = |hosts: &[String]| match hosts.len().saturating_sub(HOSTS_NAMED_MAX) {
            0 => hosts.join(", "),
            more => format!("{} and {more} more", hosts[..HOSTS_NAMED_MAX].join(", ")),
        };
        let mut parts = Vec::new();
        if !allowed.is_empty() {
            parts.push(format!("{} ({} KiB)", named(&allowed), thousands(bytes.div_ceil(1024))));
        }
        if !refused.is_empty() {
            parts.push(format!("refused: {}", named(&refused)));
        }
        if self.egress.omitted > 0 {
            parts.push(format!("{} more connections were refused", thousands(self.egress.omitted)));
        }
        Some(parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::EgressDecision;

    fn decision(host: &str, refused: Option<&str>, bytes_down: u64) -> EgressDecision {
        EgressDecision {
            at: Timestamp::UNIX_EPOCH,
            host: host.to_owned(),
            port: 443,
            refused: refused.map(str::to_owned),
            connections: 1,
            bytes_up: 0,
            bytes_down,
        }
    }

    #[test]
    fn hosts_are_listed_once_and_refused_ones_apart() {
        let mut environment = EnvironmentSummary::default();
        assert_eq!((environment.setup(), environment.network()), (None, None));
        let decisions = vec![
            decision("registry.example", None, 3_000_000),
            decision("registry.example", None, 1),
            decision("evil`*.example", Some("no"), 0),
        ];
        let report = EgressReport { decisions, omitted: 2 };
        environment.add(&TranscriptEvent::Egress { purpose: "set-up".into(), report });
        environment.add(&TranscriptEvent::SetUp {
            key: "k".into(),
            root: "r".into(),
            commands: vec![],
            seconds: 1.25,
            kept: true,
            reused: false,
        });
        insta::assert_snapshot!(environment.network().unwrap(), @"`registry.example` (2,930 KiB); refused: ``evil`*.example``; 2 more connections were refused");
        insta::assert_snapshot!(environment.setup().unwrap(), @"0 commands in 1.2 s; its result was cached");
    }

    #[test]
    fn files_from_elsewhere_are_named_and_missing_ones_too() {
        let submodule = |n: usize| FetchedSubmodule {
            path: format!("vendor/lib{n}").parse().unwrap(),
            commit: "ab".repeat(20).parse().unwrap(),
            source: "octo/`lib`".to_owned(),
        };
        let mut environment = EnvironmentSummary::default();
        environment.add(&TranscriptEvent::SubmodulesFetched {
            base: "cd".repeat(20).parse().unwrap(),
            fetched: (0..10).map(submodule).collect(),
            missing: vec![],
        });
        environment.add(&TranscriptEvent::CheckoutIncomplete {
            missing: vec!["the sandbox has pointers: `@table`".to_owned()],
        });
        let rows: Vec<String> =
            environment.rows().iter().map(|(name, words)| format!("{name}: {words}")).collect();
        insta::assert_snapshot!(rows.join("\n"), @r"
        Submodules: `vendor/lib0` at `ababababab` of `` octo/`lib` ``, `vendor/lib1` at `ababababab` of `` octo/`lib` ``, `vendor/lib2` at `ababababab` of `` octo/`lib` ``, `vendor/lib3` at `ababababab` of `` octo/`lib` ``, `vendor/lib4` at `ababababab` of `` octo/`lib` ``, `vendor/lib5` at `ababababab` of `` octo/`lib` ``, `vendor/lib6` at `ababababab` of `` octo/`lib` ``, `vendor/lib7` at `ababababab` of `` octo/`lib` `` and 2 more
        Not in the sandbox: the sandbox has pointers: `@table`
        ");
    }
}
