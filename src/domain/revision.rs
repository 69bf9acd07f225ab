//! Revisions: somebody resumes a job that has ended, with more to spend, on the same branch and in the same transcript.
//! Each such part of a job is a round; the label starts the first one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CommentId, Login, PullRequestNumber, Sha};

/// What a round may spend in addition to what was spent before. Unspecified amounts are those of a new job, which is
/// also the maximum.
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

/// Why an ended job is resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[schemars(rename = "Resumption")]
pub enum ResumeReason {
    /// Somebody commented `continue`.
    Continued {
        /// What it may spend.
        grant: BudgetExtension,
        /// Their comment, as they wrote it.
        words: String,
    },
    /// Reviewers request changes in its pull request.
    Reviewed {
        /// The pull request.
        pull_request: PullRequestNumber,
        /// What they request.
        feedback: Vec<Feedback>,
    },
    /// Checks of others failed on its proposal, and the repository wants them fixed.
    ChecksFailed {
        /// The pull request.
        pull_request: PullRequestNumber,
        /// The commit that they failed on.
        head: Sha,
        /// The checks, and what they report.
        checks: Vec<FailedCheck>,
    },
}

/// A failed check run of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedCheck {
    /// Its name.
    pub name: String,
    /// Its conclusion, as GitHub names it.
    pub conclusion: String,
    /// Its title and summary, as they were written.
    pub text: String,
}

/// Something that a reviewer requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Feedback {
    /// Where to reply.
    pub place: FeedbackLocation,
    /// Who requests it.
    pub by: Login,
    /// What they wrote. Of a thread: everything by people with write access, each with their name.
    pub text: String,
}

/// Where feedback was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "place")]
#[schemars(rename = "FeedbackPlace")]
pub enum FeedbackLocation {
    /// The text of a whole review, or a comment on the pull request.
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
        /// The line in the new file, if GitHub still knows it.
        line: Option<u64>,
        /// The lines of the diff above the thread.
        hunk: String,
    },
}
