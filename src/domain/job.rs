//! A job's life: one enum, one pure transition function.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BudgetExhausted, JobId, PullRequestNumber, SecretFinding, Sha, Trigger};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Recorded, waiting for a worker.
    Queued,
    /// Authorisation, fetch, sandbox, set-up, baseline test run.
    Preparing,
    /// The agent's turns.
    Working,
    /// The proposal is judged in a fresh sandbox.
    Verifying,
    /// Branch and draft pull request, or the escalation comment, are being made.
    Publishing,
    /// Ended: a draft pull request is open.
    Proposed,
    /// Ended: a verified change is kept, and not pushed before somebody says so.
    Held,
    /// Ended: a person is asked to go on.
    Escalated,
    /// Ended: a person, or the state of the repository, called it off.
    Cancelled,
    /// Ended: our own fault or our surroundings'; nothing was proposed.
    Failed,
}

impl JobState {
    /// Whether nothing more will happen before somebody has it taken up again.
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
    /// A worker took it (the first time, or again after a crash).
    Claimed,
    /// The baseline is known; the agent starts, or goes on from its checkpoint.
    Prepared,
    /// The agent says that it has finished.
    Finished,
    /// The verdict was red; the agent is shown why.
    SentBack,
    /// There is something to publish: a verified proposal or an escalation.
    Decided,
    /// The draft pull request is open.
    ProposalPublished,
    /// The verified change is shown, and not pushed.
    ProposalHeld,
    /// A person said that what was held may go out.
    Released,
    /// A person had it taken up again.
    Resumed,
    /// The escalation comment is posted.
    EscalationPublished,
    /// Called off.
    CalledOff,
    /// An error that no retry will mend.
    Broke,
}

/// A step that cannot follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state:?} cannot take the step {step:?}")]
pub struct IllegalTransition {
    /// Where the job stands.
    pub state: JobState,
    /// What was said to have happened.
    pub step: JobTransition,
}

impl JobState {
    /// The state after `step`. Final states take none but a person's word.
    pub fn after(self, step: JobTransition) -> Result<Self, IllegalTransition> {
        use JobState as S;
        let next = match (self, step) {
            (S::Held, JobTransition::Released) => Some(S::Publishing),
            (S::Proposed | S::Escalated | S::Cancelled | S::Failed, JobTransition::Resumed) => {
                Some(S::Queued)
            }
            (S::Proposed | S::Held | S::Escalated | S::Cancelled | S::Failed, _) => None,
            (_, JobTransition::CalledOff) => Some(S::Cancelled),
            (_, JobTransition::Broke) => Some(S::Failed),
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
                | JobTransition::Resumed
                | JobTransition::EscalationPublished,
            ) => None,
        };
        next.ok_or(IllegalTransition { state: self, step })
    }
}

/// Why a job was handed to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum EscalationReason {
    /// A limit of the budget was reached.
    Budget {
        /// Which.
        limit: BudgetExhausted,
    },
    /// The agent asked a question that only a person can answer.
    Question {
        /// The question.
        question: String,
    },
    /// The agent said that it had finished, and the verdict stayed red until it gave up or could
    /// not go on.
    NotVerified {
        /// The verdict's words.
        why: String,
    },
    /// The proposal did what no proposal may do.
    Refused {
        /// Which rule, and where.
        why: String,
    },
    /// The suite cannot be run: set-up failed, no test command, timed out before the agent began.
    Environment {
        /// What is wrong and what to do.
        why: String,
    },
    /// The model provider could not be used.
    Model {
        /// The provider's words.
        why: String,
    },
    /// What was to be published holds a secret. Nothing of it is shown.
    Secret {
        /// Which kinds, and where.
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
        /// Its number; `None` where there is no GitHub (`mendwright fix`).
        pull_request: Option<PullRequestNumber>,
        /// The branch.
        branch: String,
        /// The commit proposed.
        head: Sha,
    },
    /// A verified change is kept, and not pushed before somebody says so.
    Held {
        /// The branch that it would go to.
        branch: String,
        /// The commit.
        head: Sha,
    },
    /// A person was asked to go on.
    Escalated {
        /// Why.
        reason: EscalationReason,
    },
    /// Called off.
    Cancelled {
        /// Why.
        why: String,
    },
    /// Our own fault.
    Failed {
        /// What went wrong.
        why: String,
    },
}

impl JobOutcome {
    /// The step that ends a job so.
    pub fn step(&self) -> JobTransition {
        match self {
            Self::Proposed { .. } => JobTransition::ProposalPublished,
            Self::Held { .. } => JobTransition::ProposalHeld,
            Self::Escalated { .. } => JobTransition::EscalationPublished,
            Self::Cancelled { .. } => JobTransition::CalledOff,
            Self::Failed { .. } => JobTransition::Broke,
        }
    }

    /// The final state that goes with it.
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

/// A job as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Who asked for what, where.
    pub trigger: Trigger,
    /// Which attempt on this issue: 1 for the first label, one more for each retry.
    pub generation: u32,
    /// Where it stands.
    pub state: JobState,
    /// How it ended, once it did.
    pub outcome: Option<JobOutcome>,
    /// When the trigger was recorded.
    pub created_at: Timestamp,
    /// When the state last changed.
    pub updated_at: Timestamp,
}

/// What the names of our branches begin with.
pub const BRANCH_PREFIX: &str = "agent-fix/";

impl Job {
    /// Whether this job, the newest of its issue, came of the same label that `trigger` tells of, or
    /// ended after it: a webhook and reconciliation may tell of one label at different times. Two
    /// webhooks are told apart by their ids, not here.
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

    /// The one branch that this job's work goes to. Work that is begun anew (a later generation)
    /// starts from a newer base, and nothing is ever overwritten, so it has a branch of its own. A
    /// local issue, which has no number (0), gives it words of its title.
    pub fn branch(&self) -> String {
        self.branch_of_generation(self.generation)
    }

    /// The branches of the generations before this one, the latest first.
    pub fn earlier_branches(&self) -> impl Iterator<Item = String> {
        (1..self.generation).rev().map(|generation| self.branch_of_generation(generation))
    }

    fn branch_of_generation(&self, generation: u32) -> String {
        let issue = match self.trigger.issue.number.0 {
            0 => slug(&self.trigger.issue.title),
            number => format!("issue-{number}"),
        };
        match generation {
            1 => format!("{BRANCH_PREFIX}{issue}"),
            later => format!("{BRANCH_PREFIX}{issue}-{later}"),
        }
    }
}

/// Letters and digits of a title, in lower case, joined by dashes: at most 40 bytes.
fn slug(title: &str) -> String {
    const BYTES_MAX: usize = 40;
    let lower = title.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = String::new();
    for word in words {
        if slug.len() + 1 + word.len() > BYTES_MAX {
            break;
        }
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(word);
    }
    if slug.is_empty() { "local".to_owned() } else { slug }
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
    const STEPS: [JobTransition; 12] = [
        JobTransition::Claimed,
        JobTransition::Prepared,
        JobTransition::Finished,
        JobTransition::SentBack,
        JobTransition::Decided,
        JobTransition::ProposalPublished,
        JobTransition::ProposalHeld,
        JobTransition::Released,
        JobTransition::Resumed,
        JobTransition::EscalationPublished,
        JobTransition::CalledOff,
        JobTransition::Broke,
    ];

    #[test]
    fn the_main_road_leads_from_queued_to_proposed() {
        let road = [
            JobTransition::Claimed,
            JobTransition::Prepared,
            JobTransition::Finished,
            JobTransition::SentBack,
            JobTransition::Finished,
            JobTransition::Decided,
            JobTransition::ProposalPublished,
        ];
        let end = road.iter().try_fold(JobState::Queued, |state, step| state.after(*step));
        assert_eq!(end, Ok(JobState::Proposed));
    }

    #[test]
    fn only_somebody_s_word_follows_an_end_and_a_proposal_only_follows_publishing() {
        for state in STATES {
            for step in STEPS {
                let after = state.after(step);
                let is_word = match step {
                    JobTransition::Released => state == JobState::Held,
                    JobTransition::Resumed => state.is_final() && state != JobState::Held,
                    _ => false,
                };
                assert_eq!(state.is_final() && after.is_ok(), is_word, "{state:?} took {step:?}");
                if matches!(after, Ok(JobState::Proposed | JobState::Held)) {
                    assert_eq!(state, JobState::Publishing);
                }
            }
            assert_eq!(JobState::from_name(state.name()), Some(state));
        }
    }

    #[test]
    fn a_title_becomes_a_branch_name_that_git_takes() {
        assert_eq!(slug("Fix: `foo..bar` ~ crashes! (again)"), "fix-foo-bar-crashes-again");
        assert_eq!(slug("日本語"), "local");
        assert_eq!(slug(&"word ".repeat(50)), "word-word-word-word-word-word-word-word");
    }

    #[test]
    fn every_unfinished_job_can_be_claimed_again_called_off_or_broken() {
        for state in STATES.into_iter().filter(|state| !state.is_final()) {
            assert_eq!(state.after(JobTransition::Claimed), Ok(JobState::Preparing));
            assert_eq!(state.after(JobTransition::CalledOff), Ok(JobState::Cancelled));
            assert_eq!(state.after(JobTransition::Broke), Ok(JobState::Failed));
        }
    }
}
