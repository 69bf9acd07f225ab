//! A job's life: one enum, one pure transition function.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{BudgetExhausted, JobId, OperatorNote, Origin, PullRequestNumber, SecretFinding, Sha, Trigger};

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Recorded, waiting for a worker.
    Queued,
    /// Authorization, fetch, sandbox, setup, baseline test run.
    Preparing,
    /// The agent's turns.
    Working,
    /// The proposal is verified in a fresh sandbox.
    Verifying,
    /// Branch and draft pull request, or the escalation comment, are being published.
    Publishing,
    /// Ended: a draft pull request is open.
    Proposed,
    /// Ended: a verified change waits for approval before it is pushed.
    Held,
    /// Ended: a person is asked to take over.
    Escalated,
    /// Ended: a person, or the state of the repository, cancelled it.
    Cancelled,
    /// Ended: Mendwright or its environment failed; nothing was proposed.
    Failed,
}

impl JobState {
    /// Whether the job has ended, so that nothing happens until somebody resumes it.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Preparing | Self::Working | Self::Verifying | Self::Publishing => false,
            Self::Proposed | Self::Held | Self::Escalated | Self::Cancelled | Self::Failed => true,
        }
    }

    /// The name used in the store, the JSON output and the pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Working => "working",
            Self::Verifying => "verifying",
            Self::Publishing => "publishing",
            Self::Proposed => "proposed",
            Self::Held => "held",
            Self::Escalated => "escalated",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// The state with this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Queued,
            Self::Preparing,
            Self::Working,
            Self::Verifying,
            Self::Publishing,
            Self::Proposed,
            Self::Held,
            Self::Escalated,
            Self::Cancelled,
            Self::Failed,
        ]
        .into_iter()
        .find(|state| state.name() == name)
    }
}

/// What happened to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobTransition {
    /// A worker claimed it, for the first time or again after a crash.
    Claimed,
    /// The baseline is known; the agent starts, or continues from its checkpoint.
    Prepared,
    /// The agent reports that it is done.
    Finished,
    /// The verdict was red; the agent continues with the reason.
    SentBack,
    /// There is something to publish: a verified proposal or an escalation.
    Decided,
    /// The draft pull request is open.
    ProposalPublished,
    /// The verified change is shown and waits for approval.
    ProposalHeld,
    /// A person approved the waiting change.
    Released,
    /// A person asked to publish the verified change again that GitHub refused.
    PublicationRetried,
    /// A person resumed it.
    Resumed,
    /// The escalation comment is posted.
    EscalationPublished,
    /// Cancelled.
    Cancelled,
    /// It failed with an error that no retry can fix.
    Failed,
}

/// A transition that the job's state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state:?} cannot take the step {step:?}")]
pub struct IllegalTransition {
    /// The job's state.
    pub state: JobState,
    /// The transition that was tried.
    pub step: JobTransition,
}

impl JobState {
    /// The state after `step`. Only a person's request leads out of a final state.
    pub fn after(self, step: JobTransition) -> Result<Self, IllegalTransition> {
        use JobState as S;
        let next = match (self, step) {
            (S::Held, JobTransition::Released) | (S::Escalated, JobTransition::PublicationRetried) => {
                Some(S::Publishing)
            }
            (S::Proposed | S::Escalated | S::Cancelled | S::Failed, JobTransition::Resumed) => {
                Some(S::Queued)
            }
            (S::Proposed | S::Held | S::Escalated | S::Cancelled | S::Failed, _) => None,
            (_, JobTransition::Cancelled) => Some(S::Cancelled),
            (_, JobTransition::Failed) => Some(S::Failed),
            (_, JobTransition::Claimed) => Some(S::Preparing),
            (S::Preparing, JobTransition::Prepared) | (S::Verifying, JobTransition::SentBack) => {
                Some(S::Working)
            }
            (S::Working, JobTransition::Finished) => Some(S::Verifying),
            (S::Preparing | S::Working | S::Verifying, JobTransition::Decided) => Some(S::Publishing),
            (S::Publishing, JobTransition::ProposalPublished) => Some(S::Proposed),
            (S::Publishing, JobTransition::ProposalHeld) => Some(S::Held),
            (S::Publishing, JobTransition::EscalationPublished) => Some(S::Escalated),
            (
                S::Queued | S::Preparing | S::Working | S::Verifying | S::Publishing,
                JobTransition::Prepared
                | JobTransition::Finished
                | JobTransition::SentBack
                | JobTransition::Decided
                | JobTransition::ProposalPublished
                | JobTransition::ProposalHeld
                | JobTransition::Released
                | JobTransition::PublicationRetried
                | JobTransition::Resumed
                | JobTransition::EscalationPublished,
            ) => None,
        };
        next.ok_or(IllegalTransition { state: self, step })
    }
}

/// Why a job was escalated to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum EscalationReason {
    /// A limit of the budget was reached.
    Budget {
        /// Which one.
        limit: BudgetExhausted,
    },
    /// The agent asked a question that only a person can answer.
    Question {
        /// The question.
        question: String,
    },
    /// The agent reported that it was done, and the verdict stayed red until it gave up or could not continue.
    NotVerified {
        /// The verdict's explanation.
        why: String,
    },
    /// The proposal broke a rule that no proposal may break.
    Refused {
        /// The rule, and where it was broken.
        why: String,
    },
    /// The suite cannot be run: setup failed, no test command, timed out before the agent began.
    Environment {
        /// What is wrong and what to do.
        why: String,
        /// What the operator has to do about it, if it is theirs to do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator: Option<OperatorNote>,
    },
    /// The model provider could not be used.
    Model {
        /// What the provider reported.
        why: String,
    },
    /// The change is verified and needs approval, but cannot be shown whole, so nobody could approve it.
    NotShown {
        /// What cannot be shown.
        why: String,
        /// The verified commit. It was not pushed.
        commit: Sha,
    },
    /// The change is verified, but GitHub refuses to take it.
    NotPublished {
        /// What was refused, and why.
        why: String,
        /// The verified commit.
        commit: Sha,
        /// The branch that it is on; `None` if it could not be pushed.
        branch: Option<String>,
    },
    /// The content to publish contains a secret. Nothing of it is shown.
    Secret {
        /// The kinds of secrets, and where they were found.
        found: Vec<SecretFinding>,
    },
}

impl EscalationReason {
    /// One word for the JSON output and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Budget { .. } => "budget",
            Self::Question { .. } => "question",
            Self::NotVerified { .. } => "not_verified",
            Self::Refused { .. } => "refused",
            Self::Environment { .. } => "environment",
            Self::Model { .. } => "model",
            Self::NotShown { .. } => "not_shown",
            Self::NotPublished { .. } => "not_published",
            Self::Secret { .. } => "secret",
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "outcome")]
#[schemars(rename = "Outcome")]
pub enum JobOutcome {
    /// A draft pull request is open.
    Proposed {
        /// Its number; `None` without GitHub (`mendwright fix`).
        pull_request: Option<PullRequestNumber>,
        /// The branch.
        branch: String,
        /// The proposed commit.
        head: Sha,
    },
    /// A verified change waits for approval before it is pushed.
    Held {
        /// The branch that it will be pushed to.
        branch: String,
        /// The commit.
        head: Sha,
    },
    /// A person was asked to take over.
    Escalated {
        /// Why.
        reason: EscalationReason,
    },
    /// Cancelled.
    Cancelled {
        /// Why.
        why: String,
    },
    /// Mendwright failed.
    Failed {
        /// What went wrong.
        why: String,
    },
}

impl JobOutcome {
    /// The transition that ends a job with this outcome.
    pub fn step(&self) -> JobTransition {
        match self {
            Self::Proposed { .. } => JobTransition::ProposalPublished,
            Self::Held { .. } => JobTransition::ProposalHeld,
            Self::Escalated { .. } => JobTransition::EscalationPublished,
            Self::Cancelled { .. } => JobTransition::Cancelled,
            Self::Failed { .. } => JobTransition::Failed,
        }
    }

    /// The final state of a job with this outcome.
    pub fn state(&self) -> JobState {
        match self {
            Self::Proposed { .. } => JobState::Proposed,
            Self::Held { .. } => JobState::Held,
            Self::Escalated { .. } => JobState::Escalated,
            Self::Cancelled { .. } => JobState::Cancelled,
            Self::Failed { .. } => JobState::Failed,
        }
    }
}

/// A job as the store holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Who requested what, and where.
    pub trigger: Trigger,
    /// The attempt on this issue: 1 for the first label, one more for each retry.
    pub generation: u32,
    /// Its state.
    pub state: JobState,
    /// How it ended, if it did.
    pub outcome: Option<JobOutcome>,
    /// When the trigger was recorded.
    pub created_at: Timestamp,
    /// When the state last changed.
    pub updated_at: Timestamp,
}

/// The prefix of our branches' names.
pub const BRANCH_PREFIX: &str = "agent-fix/";

impl Job {
    /// The commit of its verified change, if that waits for approval.
    pub fn held_commit(&self) -> Option<&Sha> {
        match &self.outcome {
            Some(JobOutcome::Held { head, .. }) => Some(head),
            Some(
                JobOutcome::Proposed { .. }
                | JobOutcome::Escalated { .. }
                | JobOutcome::Cancelled { .. }
                | JobOutcome::Failed { .. },
            )
            | None => None,
        }
    }

    /// Whether this job, the newest of its issue, was started by the same label as `trigger`, or ended after it: a
    /// webhook and reconciliation may report one label at different times. Two webhooks differ in their ids, which are
    /// compared elsewhere.
    pub fn is_for_same_label(&self, trigger: &Trigger) -> bool {
        let Some(at) = trigger.labelled_at else { return false };
        // GitHub's times are whole seconds, and an issue's may be a moment after its label's.
        let same_label = |own: Timestamp| own >= at || at.duration_since(own) <= SignedDuration::from_secs(1);
        let is_same = self.trigger.labelled_at.is_some_and(same_label);
        match trigger.found {
            true => is_same || (self.state.is_final() && self.updated_at >= at),
            false => self.trigger.found && is_same,
        }
    }

    /// The branch of this job's work. A later generation starts from a newer base and nothing is ever overwritten,
    /// so it has a branch of its own. The branch of a local job is named after the issue's title.
    pub fn branch(&self) -> String {
        self.branch_of_generation(self.generation)
    }

    /// The branches of the generations before this one, the latest first.
    pub fn earlier_branches(&self) -> impl Iterator<Item = String> {
        (1..self.generation).rev().map(|generation| self.branch_of_generation(generation))
    }

    fn branch_of_generation(&self, generation: u32) -> String {
        let issue = match self.trigger.issue.origin() {
            Origin::Local => slug(&self.trigger.issue.title),
            Origin::GitHub { issue } => format!("issue-{issue}"),
        };
        match generation {
            1 => format!("{BRANCH_PREFIX}{issue}"),
            later => format!("{BRANCH_PREFIX}{issue}-{later}"),
        }
    }
}

/// The letters and digits of a title, in lower case, joined by dashes: at most 40 bytes. If that leaves out
/// something that tells titles apart (other letters, signs, the end of a long title), the beginning of a digest
/// of the whole title follows.
fn slug(title: &str) -> String {
    const BYTES_MAX: usize = 40;
    const DIGEST_CHARS: usize = 8;
    let lower = title.trim().to_lowercase();
    let mut words: Vec<&str> =
        lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut is_whole = !words.is_empty() && lower.chars().all(is_represented);
    while words.join("-").len() > BYTES_MAX {
        words.pop();
        is_whole = false;
    }
    if !is_whole {
        let digest = hex::encode(Sha256::digest(lower.as_bytes()));
        if words.is_empty() {
            words.push("local");
        }
        return format!("{}-{}", words.join("-"), &digest[..DIGEST_CHARS]);
    }
    words.join("-")
}

/// Whether a slug represents this character: it is in the slug, or separates words.
fn is_represented(c: char) -> bool {
    c.is_ascii_alphanumeric() || c.is_whitespace() || ".,:;!?'\"`()[]{}/_-–—…’‘“”".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [JobState; 10] = [
        JobState::Queued,
        JobState::Preparing,
        JobState::Working,
        JobState::Verifying,
        JobState::Publishing,
        JobState::Proposed,
        JobState::Held,
        JobState::Escalated,
        JobState::Cancelled,
        JobState::Failed,
    ];
    const STEPS: [JobTransition; 13] = [
        JobTransition::Claimed,
        JobTransition::Prepared,
        JobTransition::Finished,
        JobTransition::SentBack,
        JobTransition::Decided,
        JobTransition::ProposalPublished,
        JobTransition::ProposalHeld,
        JobTransition::Released,
        JobTransition::PublicationRetried,
        JobTransition::Resumed,
        JobTransition::EscalationPublished,
        JobTransition::Cancelled,
        JobTransition::Failed,
    ];

    #[test]
    fn usual_transitions_lead_from_queued_to_proposed() {
        let transitions = [
            JobTransition::Claimed,
            JobTransition::Prepared,
            JobTransition::Finished,
            JobTransition::SentBack,
            JobTransition::Finished,
            JobTransition::Decided,
            JobTransition::ProposalPublished,
        ];
        let end = transitions.iter().try_fold(JobState::Queued, |state, step| state.after(*step));
        assert_eq!(end, Ok(JobState::Proposed));
    }

    #[test]
    fn only_a_request_leaves_a_final_state_and_only_publishing_leads_to_a_proposal() {
        for state in STATES {
            for step in STEPS {
                let after = state.after(step);
                let is_request = match step {
                    JobTransition::Released => state == JobState::Held,
                    JobTransition::PublicationRetried => state == JobState::Escalated,
                    JobTransition::Resumed => state.is_final() && state != JobState::Held,
                    _ => false,
                };
                assert_eq!(state.is_final() && after.is_ok(), is_request, "{state:?} took {step:?}");
                if matches!(after, Ok(JobState::Proposed | JobState::Held)) {
                    assert_eq!(state, JobState::Publishing);
                }
            }
            assert_eq!(JobState::from_name(state.name()), Some(state));
        }
    }

    #[test]
    fn title_becomes_a_valid_branch_name() {
        assert_eq!(slug("Fix: `foo..bar` – crashes! (again)"), "fix-foo-bar-crashes-again");
        let long = slug(&"word ".repeat(50));
        assert_eq!(long.rsplit_once('-').unwrap().0, "word-word-word-word-word-word-word-word");
        let titles = [
            "修复登录错误",
            "Ошибка при входе",
            "🔥",
            "",
            "修复 login",
            "Ошибка login",
            "login",
            "C++ crash",
            "C# crash",
            &format!("{} one", "word ".repeat(50)),
            &format!("{} two", "word ".repeat(50)),
            &"x".repeat(60),
            &"x".repeat(61),
        ];
        let slugs: std::collections::BTreeSet<String> = titles.iter().map(|title| slug(title)).collect();
        assert_eq!(slugs.len(), titles.len(), "{slugs:?}");
        for slug in slugs {
            let is_plain = slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            assert!(is_plain && slug.len() <= 50 && !slug.starts_with('-'), "{slug}");
        }
        assert_eq!(slug("修复登录错误"), slug("修复登录错误"));
    }

    #[test]
    fn unfinished_job_can_be_claimed_again_cancelled_or_failed() {
        for state in STATES.into_iter().filter(|state| !state.is_final()) {
            assert_eq!(state.after(JobTransition::Claimed), Ok(JobState::Preparing));
            assert_eq!(state.after(JobTransition::Cancelled), Ok(JobState::Cancelled));
            assert_eq!(state.after(JobTransition::Failed), Ok(JobState::Failed));
        }
    }
}
