//! What comes after an end: a job that is taken up again by somebody's word, with more to spend, on the
//! same branch, in the same transcript. Each such stretch is a round; the first one came of the label.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CommentId, Login, PullRequestNumber, RecordedEvent, Sha, TranscriptEvent};

/// What a round may spend on top of all that was spent before; where nothing is said, as much as a new
/// job. Never more than that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Grant")]
pub struct BudgetExtension {
    /// US cents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cents: Option<u32>,
    /// Model calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
}

/// Why an ended job is taken up again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[schemars(rename = "Resumption")]
pub enum ResumeReason {
    /// Somebody said `continue`.
    Continued {
        /// What it may spend.
        grant: BudgetExtension,
        /// Their comment, as they wrote it.
        words: String,
    },
    /// Reviewers ask for changes in its pull request.
    Reviewed {
        /// The pull request.
        pull_request: PullRequestNumber,
        /// What they ask for.
        feedback: Vec<Feedback>,
    },
    /// Checks of others failed on what it proposed, and the repository wants that mended.
    ChecksFailed {
        /// The pull request.
        pull_request: PullRequestNumber,
        /// The commit that they failed on.
        head: Sha,
        /// Which, and what they say.
        checks: Vec<FailedCheck>,
    },
}

/// A check run of somebody else that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedCheck {
    /// Its name.
    pub name: String,
    /// How it ended, in GitHub's word.
    pub conclusion: String,
    /// What it says: title and summary, as they were written.
    pub text: String,
}

/// Something that a reviewer asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Feedback {
    /// Where it is answered.
    pub place: FeedbackLocation,
    /// Who asks.
    pub by: Login,
    /// What they wrote, as they wrote it; of a thread, all that was written by people who may write,
    /// each with their name.
    pub text: String,
}

/// Where feedback stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "place")]
#[schemars(rename = "FeedbackPlace")]
pub enum FeedbackLocation {
    /// The words of a review as a whole, or a comment below the pull request.
    PullRequest {
        /// GitHub's id of the review or comment.
        id: u64,
    },
    /// A thread at a line.
    Thread {
        /// Its first comment.
        first: CommentId,
        /// The file.
        path: String,
        /// The line of the new file, where GitHub still knows it.
        line: Option<u64>,
        /// The lines of the diff that it stands below.
        hunk: String,
    },
}

/// Which round the transcript is in, from 1.
pub fn round_of(transcript: &[RecordedEvent]) -> u32 {
    let resumed =
        transcript.iter().filter(|recorded| matches!(recorded.event, TranscriptEvent::Resumed { .. }));
    u32::try_from(resumed.count()).unwrap_or(u32::MAX).saturating_add(1)
}

/// The present round: what was recorded since the job was taken up last, that event first.
pub fn present_round(transcript: &[RecordedEvent]) -> &[RecordedEvent] {
    let is_resumed = |recorded: &RecordedEvent| matches!(recorded.event, TranscriptEvent::Resumed { .. });
    &transcript[transcript.iter().rposition(is_resumed).unwrap_or(0)..]
}

/// What was recorded since the ground last changed: by a new round, or by others' commits on the branch.
/// Only there does a decision count, or somebody's word on what was decided.
pub fn on_present_ground(transcript: &[RecordedEvent]) -> &[RecordedEvent] {
    let is_ground = |recorded: &RecordedEvent| {
        matches!(recorded.event, TranscriptEvent::Resumed { .. } | TranscriptEvent::BranchFound { .. })
    };
    &transcript[transcript.iter().rposition(is_ground).unwrap_or(0)..]
}

/// The pull request that the job opened, if it has.
pub fn opened_pull_request(transcript: &[RecordedEvent]) -> Option<PullRequestNumber> {
    transcript.iter().rev().find_map(|recorded| match &recorded.event {
        TranscriptEvent::Published { kind, reference } if kind == "pull_request" => {
            let number = reference.strip_prefix('#')?.parse().ok()?;
            (number != 0).then_some(PullRequestNumber(number))
        }
        _ => None,
    })
}

/// The head of the job's branch that it works on top of, where the branch is on GitHub.
pub fn branch_found(transcript: &[RecordedEvent]) -> Option<&Sha> {
    present_round(transcript).iter().rev().find_map(|recorded| match &recorded.event {
        TranscriptEvent::BranchFound { head, .. } => Some(head),
        _ => None,
    })
}

/// What reviewers asked for since something was last published.
pub fn unanswered(transcript: &[RecordedEvent]) -> Vec<&Feedback> {
    let is_published = |recorded: &RecordedEvent| matches!(recorded.event, TranscriptEvent::Published { .. });
    let since = transcript.iter().rposition(is_published).map_or(0, |at| at + 1);
    let asked = transcript[since..].iter().filter_map(|recorded| match &recorded.event {
        TranscriptEvent::Resumed { why: ResumeReason::Reviewed { feedback, .. }, .. } => Some(feedback),
        _ => None,
    });
    asked.flatten().collect()
}
