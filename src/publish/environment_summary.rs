//! How a job's sandboxes were set up, and what they requested from the network, for people.

use crate::domain::{EgressReport, TranscriptEvent};

use super::escape::{code_span, cut};
use super::format::{plural, thousands};

/// Hosts that are listed; more are counted.
const HOSTS_NAMED_MAX: usize = 8;
/// Longest host that is shown whole.
const HOST_CHARS_MAX: usize = 100;

/// The setup and the network requests that the transcript records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EnvironmentSummary {
    setup: Option<SetupSummary>,
    egress: EgressReport,
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
    }

    /// How the sandboxes were set up, if they were.
    pub(super) fn setup(&self) -> Option<String> {
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
    pub(super) fn network(&self) -> Option<String> {
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
}
