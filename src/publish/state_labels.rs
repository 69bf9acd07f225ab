//! The labels that show the state of jobs in a list of issues. We set and remove them; we never touch the label that
//! requests work. Pure.

use crate::domain::{JobState, is_same_label};
use crate::github::Label;

/// GitHub's bound on a label's name.
const NAME_CHARS_MAX: usize = 50;
/// The prefix of their names if the operator's label is too long to be one.
const PREFIX: &str = "agent-fix";

/// The state of a job, as a label shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateLabel {
    /// A job is running.
    Working,
    /// A draft pull request is open.
    Proposed,
    /// A person must act.
    NeedsHuman,
}

impl StateLabel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Working, Self::Proposed, Self::NeedsHuman];

    /// The label of a job in this state; `None` for a cancelled job.
    pub fn of(state: JobState) -> Option<Self> {
        match state {
            JobState::Queued
            | JobState::Preparing
            | JobState::Working
            | JobState::Verifying
            | JobState::Publishing => Some(Self::Working),
            JobState::Proposed => Some(Self::Proposed),
            JobState::Held | JobState::Escalated | JobState::Failed => Some(Self::NeedsHuman),
            JobState::Cancelled => None,
        }
    }

    /// The label on GitHub, if `label` is the one that requests work.
    pub fn label(self, label: &str) -> Label {
        let (word, color, description) = match self {
            Self::Working => ("working", "1d76db", "Mendwright is working on it"),
            Self::Proposed => ("proposed", "0e8a16", "Mendwright has opened a draft pull request"),
            Self::NeedsHuman => ("needs-human", "d93f0b", "Mendwright needs a person"),
        };
        let name = format!("{label}: {word}");
        let name = if name.chars().count() > NAME_CHARS_MAX { format!("{PREFIX}: {word}") } else { name };
        Label { name, color: color.to_owned(), description: description.to_owned() }
    }
}

/// What to change on an issue with the labels `present` for a job in `state`: the label to add, if it is missing, and
/// the names to remove. A cancelled job removes only the label that says that it works: the proposal of another job
/// may still be open.
pub fn label_changes(label: &str, state: JobState, present: &[String]) -> (Option<Label>, Vec<String>) {
    let wanted = StateLabel::of(state);
    let is_present = |name: &str| present.iter().any(|present| is_same_label(present, name));
    let stale = StateLabel::ALL.into_iter().filter(|other| match wanted {
        Some(wanted) => *other != wanted,
        None => *other == StateLabel::Working,
    });
    let stale = stale.map(|stale| stale.label(label).name).filter(|name| is_present(name)).collect();
    let add = wanted.map(|wanted| wanted.label(label)).filter(|wanted| !is_present(&wanted.name));
    (add, stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(state: JobState, present: &[&str]) -> (Option<String>, Vec<String>) {
        let present: Vec<String> = present.iter().map(|name| (*name).to_owned()).collect();
        let (add, remove) = label_changes("agent-fix", state, &present);
        (add.map(|label| label.name), remove)
    }

    #[test]
    fn state_labels_replace_each_other_and_the_requesting_label_stays() {
        let add = |name: &str| Some(format!("agent-fix: {name}"));
        let asked = ["bug", "agent-fix"];
        assert_eq!(changes(JobState::Preparing, &asked), (add("working"), vec![]));
        let works = ["agent-fix", "Agent-Fix: Working"];
        assert_eq!(changes(JobState::Verifying, &works), (None, vec![]));
        let working = "agent-fix: working".to_owned();
        assert_eq!(changes(JobState::Proposed, &works), (add("proposed"), vec![working.clone()]));
        assert_eq!(changes(JobState::Failed, &works), (add("needs-human"), vec![working.clone()]));
        assert_eq!(
            changes(JobState::Cancelled, &["agent-fix: working", "agent-fix: proposed"]),
            (None, vec![working])
        );
        let again = changes(JobState::Working, &["agent-fix: proposed", "agent-fix: needs-human"]);
        assert_eq!(again.1, ["agent-fix: proposed", "agent-fix: needs-human"]);
        assert!(StateLabel::NeedsHuman.label(&"x".repeat(45)).name.starts_with("agent-fix: "));
    }
}
