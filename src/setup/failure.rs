//! A setup command that failed, and how that is described.

use super::missing_programs::lacking;
use crate::domain::{AllowedHost, EgressReport, OperatorNote, ProcessOutput};

/// Longest output of a failed command in a message, counted from its end, in characters.
const OUTPUT_CHARS_MAX: usize = 4_000;
/// Most refused hosts in a message.
const REFUSALS_SHOWN_MAX: usize = 10;
/// Most hosts that the operator is told to allow: the sandbox chooses what it asks for.
const HOSTS_NAMED_MAX: usize = 30;

/// A setup command that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct SetupFailure {
    /// The command.
    pub command: String,
    /// Its result.
    pub result: ProcessOutput,
    /// The setup's network requests.
    pub egress: EgressReport,
    /// The hosts that a setup may reach.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Why the setup ran without the network that it may have, if it did.
    pub offline: Option<String>,
}

impl SetupFailure {
    /// Describes the failure in a line: the command, the last line that it printed, and the hosts that it was refused.
    pub fn in_a_line(&self) -> String {
        let output = anstream::adapter::strip_str(&self.result.output.to_text()).to_string();
        let mut lines = output.lines().map(str::trim).filter(|line| !line.is_empty());
        let last = lines.clone().rfind(|line| tells_why(line)).or(lines.next_back()).unwrap_or_default();
        let said = if last.is_empty() { String::new() } else { format!(" ({last})") };
        let mut hosts: Vec<&str> = self.egress.refusals().map(|refusal| refusal.host.as_str()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.truncate(REFUSALS_SHOWN_MAX);
        let refused =
            if hosts.is_empty() { String::new() } else { format!("; refused: {}", hosts.join(", ")) };
        format!("`{}` fails: {}{said}{refused}", self.command, self.result.ending.describe())
    }

    /// Describes the failure for people and the model.
    pub fn describe(&self) -> String {
        let output = self.result.output.to_text();
        let skipped = output.chars().count().saturating_sub(OUTPUT_CHARS_MAX);
        let tail: String = output.chars().skip(skipped).collect();
        let cut = if skipped > 0 { "…" } else { "" };
        let mut words = format!(
            "the setup command `{}` fails: {}\n{cut}{}",
            self.command,
            self.result.ending.explain(),
            tail.trim_end()
        );
        let lacking = lacking(&output);
        if !lacking.is_empty() {
            words.push_str(&format!("\n{lacking}"));
        }
        for refusal in self.egress.refusals().take(REFUSALS_SHOWN_MAX) {
            let why = refusal.refused.as_deref().unwrap_or_default();
            words.push_str(&match is_unlisted(why) {
                true => format!("\nIt asked for {}, which is not allowed.", refusal.host),
                false => {
                    format!("\nIt asked for {}:{}, and that was refused: {why}.", refusal.host, refusal.port)
                }
            });
        }
        if let Some(why) = &self.offline {
            words.push_str(&format!("\nIt ran without network, since {why}."));
        }
        words
    }

    /// What the operator has to allow, if hosts were refused for that alone.
    pub fn operator_note(&self) -> Option<OperatorNote> {
        let mut wanted: Vec<AllowedHost> = Vec::new();
        for refusal in self.egress.refusals() {
            let why = refusal.refused.as_deref().unwrap_or_default();
            let found = match is_unlisted(why) {
                true => AllowedHost::parse(&refusal.host).into_iter().collect(),
                false => internal_entries(why, &refusal.host),
            };
            for host in found {
                if !wanted.contains(&host) && wanted.len() < HOSTS_NAMED_MAX {
                    wanted.push(host);
                }
            }
        }
        let mut names: Vec<&str> = wanted.iter().map(AllowedHost::name).collect();
        names.dedup();
        let why = format!("The setup was refused {}.", names.join(", "));
        (!wanted.is_empty()).then(|| OperatorNote::new(why, &self.allowed_hosts, &wanted))
    }
}

/// Whether a line is likely to say why a command failed, rather than what stands below its message.
fn tells_why(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["error", "fatal", "not found", "requires", "forbidden"].iter().any(|word| line.contains(word))
}

/// Whether the proxy refused a host because the operator does not name it.
fn is_unlisted(why: &str) -> bool {
    why.contains("among the allowed")
}

/// The entries with addresses that the proxy names for an internal host.
fn internal_entries(why: &str, host: &str) -> Vec<AllowedHost> {
    let entry = |word: &str| AllowedHost::parse(word.trim_end_matches(',')).ok();
    let of_host = |entry: &AllowedHost| entry.has_name(host) && entry.address_range().is_some();
    why.split_whitespace().filter_map(entry).filter(of_host).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::EgressDecision;

    #[test]
    fn refused_hosts_are_one_complete_line_for_the_operator() {
        let refused = |host: &str, port, why: Option<&str>| EgressDecision {
            at: Timestamp::UNIX_EPOCH,
            host: host.to_owned(),
            port,
            refused: why.map(str::to_owned),
            connections: 1,
            bytes_up: 0,
            bytes_down: 0,
        };
        let unlisted = Some("the host 'x' is not among the allowed ones");
        let private = Some(
            "'nexus.corp.example' has no public address; an internal host is named with where it is, as \
             nexus.corp.example=10.1.2.3/32, nexus.corp.example=10.1.2.4/32",
        );
        let mut failure = SetupFailure {
            command: "npm ci".into(),
            result: ProcessOutput {
                ending: crate::domain::ExitStatus::Exited { code: 1 },
                output: crate::domain::BoundedOutput {
                    head: "no\n".into(),
                    omitted_bytes: 0,
                    tail: String::new(),
                },
                duration: std::time::Duration::from_secs(1),
            },
            egress: EgressReport {
                decisions: vec![
                    refused("a.example", 443, None),
                    refused("b.example", 443, unlisted),
                    refused("b.example", 80, unlisted),
                    refused("evil\"].example", 443, unlisted),
                    refused("169.254.169.254", 80, unlisted),
                    refused("nexus.corp.example", 443, private),
                    refused(
                        "a.example",
                        22,
                        Some("port 22 is not allowed: a tunnel may only lead to port 443"),
                    ),
                ],
                omitted: 0,
            },
            allowed_hosts: vec![AllowedHost::public("a.example"), AllowedHost::public("nexus.corp.example")],
            offline: None,
        };
        let note = failure.operator_note().unwrap();
        assert_eq!(note.why, "The setup was refused b.example, nexus.corp.example.");
        assert_eq!(
            note.line().unwrap(),
            "allowed_hosts = [\"a.example\", \"b.example\", \"nexus.corp.example=10.1.2.3/32\", \
             \"nexus.corp.example=10.1.2.4/32\"]"
        );
        failure.egress = EgressReport::default();
        assert_eq!(failure.operator_note(), None);
        assert_eq!(failure.describe(), "the setup command `npm ci` fails: exit code 1.\nno");
    }
}
