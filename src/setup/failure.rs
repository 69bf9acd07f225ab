//! A setup command that failed, and how that is described.

use crate::domain::{EgressReport, ProcessOutput};

/// Longest output of a failed command in a message, counted from its end, in characters.
const OUTPUT_CHARS_MAX: usize = 4_000;
/// Most refused hosts in a message.
const REFUSALS_SHOWN_MAX: usize = 10;

/// A setup command that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct SetupFailure {
    /// The command.
    pub command: String,
    /// Its result.
    pub result: ProcessOutput,
    /// The setup's network requests.
    pub egress: EgressReport,
    /// Why the setup ran without the network that it may have, if it did.
    pub offline: Option<String>,
}

impl SetupFailure {
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
        for refusal in self.egress.refusals().take(REFUSALS_SHOWN_MAX) {
            let why = refusal.refused.as_deref().unwrap_or_default();
            words.push_str(&match why.contains("among the allowed") {
                true => format!(
                    "\nIt asked for {}, which is not allowed: add it to `sandbox.allowed_hosts` in the operator's \
                     configuration if it should be.",
                    refusal.host
                ),
                false => format!("\nIt asked for {}:{}, and that was refused: {why}.", refusal.host, refusal.port),
            });
        }
        if let Some(why) = &self.offline {
            words.push_str(&format!("\nIt ran without network, since {why}."));
        }
        words
    }
}
