//! What a job does outside of the store, by the names that the effects ledger knows: each is recorded when
//! it is begun and when it is done, so that no crash makes it happen twice.

use crate::domain::{RecordedEvent, Transcript};

use super::revisions::branch_changes;

/// Something that a job does once, or once in each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobEffect {
    /// The reaction that shows that the job was noticed.
    Acknowledgement,
    /// The commit on its branch.
    Branch,
    /// The draft pull request.
    PullRequest,
    /// The comments that ask for approval of a change.
    ApprovalRequest,
    /// The escalation comments.
    Escalation,
    /// The check run on the branch.
    Check,
    /// The requests for review: made once, and not again if somebody removes a reviewer.
    Reviewers,
}

impl JobEffect {
    /// The name in the ledger, of the first round. It never changes.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Acknowledgement => "reaction",
            Self::Branch => "branch",
            Self::PullRequest => "pull_request",
            Self::ApprovalRequest => "held",
            Self::Escalation => "escalation",
            Self::Check => "check",
            Self::Reviewers => "reviewers",
        }
    }

    /// The name in the ledger, of the transcript's current round.
    pub(super) fn in_round_of(self, transcript: &[RecordedEvent]) -> String {
        let name = self.name();
        let in_round = match (self, Transcript::new(transcript).round_number()) {
            (Self::Acknowledgement | Self::Reviewers, _) | (_, 1) => name.to_owned(),
            (_, round) => format!("{name}.{round}"),
        };
        let retries = Transcript::new(transcript).publication_retries();
        match (self, branch_changes(transcript)) {
            // Others' commits changed what waits for approval: it is asked for again.
            (Self::ApprovalRequest, changes @ 2..) => format!("{in_round}.{changes}"),
            // What was refused once more is reported once more.
            (Self::Escalation, _) if retries > 0 => format!("{in_round}.retry-{retries}"),
            _ => in_round,
        }
    }
}
