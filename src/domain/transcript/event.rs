//! What a job's transcript records: each event, its number and its time.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{
    CallCost, CommentId, EgressReport, EscalationReason, FailedTest, FetchedSubmodule, Flag, JobOutcome,
    JobSettings, JobState, Login, Message, MissingSubmodule, PlanResult, ProcessOutput, ResumeReason,
    SetupRecipe, Sha, TestRun, Usage,
};

/// A setup command that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SetUpCommand")]
pub struct SetupCommand {
    /// The shell command.
    pub command: String,
    /// Its result.
    pub result: ProcessOutput,
}

/// What a cheaper model wrote before the first turn, for the model that does the work. It is checked, not
/// trusted: every path exists in the base tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkBrief {
    /// Files that probably hold the cause, the most probable first.
    pub files: Vec<String>,
    /// How to reproduce the failure.
    pub reproduce: String,
    /// The plan, one sentence for each step.
    pub steps: Vec<String>,
}

/// A comment on the issue as the model is given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotedComment {
    /// The comment.
    pub comment: CommentId,
    /// Who wrote it.
    pub by: Login,
    /// When it was written.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Its text, without everything that a reader of the page does not see.
    pub text: String,
}

/// The version of the texts that instruct a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromptVersion {
    /// Raised by hand when the way of working changes.
    pub number: u32,
    /// SHA-256 over every text and tool schema, in hexadecimal.
    pub digest: String,
}

impl std::fmt::Display for PromptVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.number, self.digest.get(..12).unwrap_or(&self.digest))
    }
}

/// An event with its number and its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// Its number in the job's transcript: from 1, without gaps.
    pub sequence: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    pub event: TranscriptEvent,
}

/// An event as the store holds it. Its text stays as it was written, so that digests over it stay the same
/// and events of a later version can be passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number in the job's transcript: from 1, without gaps.
    pub sequence: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened: JSON on one line.
    pub event: String,
}

impl StoredEvent {
    /// The event; `None` if this version does not know it.
    pub fn parsed(&self) -> Option<RecordedEvent> {
        let event = serde_json::from_str(&self.event).ok()?;
        Some(RecordedEvent { sequence: self.sequence, at: self.at, event })
    }

    /// Its line in a file, without the line end.
    pub fn line(&self) -> String {
        format!("{}{}}}", Self::prefix(self.sequence, self.at), self.event)
    }

    /// The beginning of an event's line, before its JSON.
    pub fn prefix(sequence: u64, at: Timestamp) -> String {
        format!(r#"{{"sequence":{sequence},"at":"{at}","event":"#)
    }
}

/// Something that happened in a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum TranscriptEvent {
    /// The job's state changed.
    StateChanged {
        /// The new state.
        state: JobState,
    },
    /// The base commit and the settings read from it. A restarted worker keeps them. A later round has
    /// another base if the branch merged more of its base branch.
    Prepared {
        /// The commit that the work starts from.
        base: Sha,
        /// Its branch.
        base_branch: String,
        /// The settings.
        settings: Box<JobSettings>,
    },
    /// A way to set the repository up and to run its tests was tried. Recorded if the first one was not good.
    PlanTried {
        /// What it was, and how it ended.
        result: PlanResult,
    },
    /// No plan was good, and a model begins to look for one, in a sandbox of its own. The conversation that follows is
    /// the setup agent's, until it ends or begins anew.
    SetupAgentStarted {
        /// What it may spend of the job's budget, in US dollars.
        usd_max: f64,
        /// How often it may call the model.
        turns_max: u32,
    },
    /// The setup agent ended.
    SetupAgentEnded {
        /// What it found, if that was seen to work.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recipe: Option<SetupRecipe>,
        /// Why it found nothing, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A sandbox was started.
    SandboxStarted {
        /// What for: `work`, `verdict`, `proof`.
        purpose: String,
        /// A description of the root file system and the limits.
        description: String,
        /// The root file system's digest.
        #[serde(default)]
        root: Option<String>,
    },
    /// The repository's setup commands ran, or the result of an earlier run was taken from the cache.
    SetUp {
        /// The cache key: a digest over everything that the result depends on.
        key: String,
        /// A description of the root file system.
        root: String,
        /// The commands that ran. If one failed, it is the last. Empty if the cache had the result.
        commands: Vec<SetupCommand>,
        /// Wall time of all commands together, in seconds.
        seconds: f64,
        /// Whether the cache keeps the result for later sandboxes.
        kept: bool,
        /// Whether the result came from the cache.
        reused: bool,
    },
    /// What a sandbox requested from the network.
    Egress {
        /// What the sandbox was for: `set-up`, `work`.
        purpose: String,
        /// Its requests, and how they were decided.
        report: EgressReport,
    },
    /// The suite ran at the base, before any change.
    BaselineRun {
        /// The run.
        run: TestRun,
    },
    /// The issue's comments from before the work was requested, as far as the model is given them. Recorded
    /// once, before the model's first turn, if there were any.
    CommentsRead {
        /// The comments by people with write access, oldest first.
        comments: Vec<QuotedComment>,
        /// What the model is not given, and why.
        left_out: Vec<String>,
    },
    /// The version of the texts that instruct the model. Recorded before its first turn, and again if a
    /// restarted worker has another version.
    Instructed {
        /// The version.
        prompts: PromptVersion,
    },
    /// The cheaper model was asked for a brief, before the first turn. It is asked once per attempt: after
    /// this event, never again.
    BriefAnswered {
        /// The brief; `None` if the answer was not usable.
        brief: Option<WorkBrief>,
        /// What was wrong with the answer, or was removed from it.
        remark: Option<String>,
        /// The provider's count.
        usage: Usage,
        /// The cost in US dollars, if the model has a price.
        usd: Option<f64>,
        /// The model that answered.
        model: String,
        /// Wall time of the call, in milliseconds.
        milliseconds: u64,
    },
    /// From here on the model sees only handles of these tool results, with which it can read them again. Both
    /// numbers count results from 1 through the whole conversation.
    ResultsElided {
        /// The first.
        first: u32,
        /// The last.
        last: u32,
    },
    /// From here on the model sees `message` in place of the conversation so far.
    Compacted {
        /// Task, plan, changes, last test run, and a summary of what was learned.
        message: String,
        /// Why there is no summary by a model, if there is none.
        fault: Option<String>,
        /// The provider's count for the summary; `None` if no model wrote one.
        usage: Option<Usage>,
        /// Its cost in US dollars, if the model has a price.
        usd: Option<f64>,
        /// The model that wrote it.
        model: Option<String>,
        /// Wall time of the call, in milliseconds.
        milliseconds: u64,
    },
    /// A message joined the conversation. Assistant messages carry what they cost.
    MessageAdded {
        /// The message.
        message: Message,
        /// The provider's count, for assistant messages.
        usage: Option<Usage>,
        /// The cost in US dollars, if the model has a price.
        usd: Option<f64>,
        /// The model that answered.
        model: Option<String>,
        /// Wall time of the call or of the tools, in milliseconds.
        milliseconds: u64,
    },
    /// A model call that gave no answer was billed, or may have been.
    CallWasted {
        /// Why it gave no answer.
        why: String,
        /// The model that was called.
        model: String,
        /// Its tokens.
        usage: Usage,
        /// The cost in US dollars, if the model has a price.
        usd: Option<f64>,
        /// Whether `usage` is the provider's count; if not, it is the worst case.
        counted: bool,
        /// Wall time of the call, in milliseconds.
        milliseconds: u64,
    },
    /// The full text of a tool's result of which the model sees less. Recorded before the message with the
    /// results.
    ResultKept {
        /// The result's number: results count from 1 through the whole conversation.
        result: u32,
        /// The text.
        text: String,
    },
    /// The agent ran the suite in its own sandbox.
    AgentTestRun {
        /// The run.
        run: TestRun,
    },
    /// The agent's plan changed.
    PlanUpdated {
        /// The steps, in Markdown.
        plan: String,
    },
    /// The workspace's changes were saved as a git tree in our own store.
    Checkpoint {
        /// The tree.
        tree: Sha,
        /// Every path that the agent's tools changed. A path that the tree does not have was deleted.
        paths: Vec<String>,
        /// The content of each path, in the same order: a digest, or nothing if it is as at the base.
        #[serde(default)]
        contents: Vec<Option<String>>,
    },
    /// The proposal was verified in a fresh sandbox.
    VerdictReached {
        /// Whether it is verified.
        verified: bool,
        /// The proposed tree.
        tree: Sha,
        /// Why, for the model and for people.
        explanation: String,
        /// The run at the proposed tree, if the verdict came that far.
        run: Option<TestRun>,
        /// The tests that fail on the base and pass on the proposal, if a proof was required and given.
        proof: Option<Vec<FailedTest>>,
        /// What a reviewer must look at in a verified proposal.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        flags: Vec<Flag>,
    },
    /// Something was published on GitHub: a comment, a branch, a pull request.
    Published {
        /// What kind.
        kind: String,
        /// Where to find it.
        reference: String,
    },
    /// Somebody approved the change that waited for approval.
    Released {
        /// Who.
        by: Login,
    },
    /// Somebody asked to publish the verified change again, which GitHub had refused. The round goes on: what
    /// was verified still counts.
    PublicationRetried {
        /// Who.
        by: Login,
        /// Whether GitHub says that they are a bot.
        #[serde(default)]
        by_is_bot: bool,
    },
    /// The job was resumed after it had ended: a new round begins. Earlier decisions no longer count.
    Resumed {
        /// Who requested it.
        by: Login,
        /// Whether GitHub says that they are a bot.
        #[serde(default)]
        by_is_bot: bool,
        /// Why.
        why: ResumeReason,
    },
    /// The job's branch as it is on GitHub, with what others pushed there. The work continues from the
    /// checkpoint recorded with this event, which is the branch's tree with our changes. Earlier verdicts no
    /// longer count.
    BranchFound {
        /// Its head.
        head: Sha,
        /// Files that others changed since the agent last saw them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<String>,
    },
    /// The job is escalated to a person.
    EscalationDecided {
        /// Why.
        reason: EscalationReason,
    },
    /// The repository has something elsewhere that sandboxes do not get: Git LFS, submodules.
    CheckoutIncomplete {
        /// What is missing, a sentence for each kind.
        missing: Vec<String>,
    },
    /// The submodules of the base commit were looked at.
    SubmodulesFetched {
        /// The base commit.
        base: Sha,
        /// Those whose files sandboxes have.
        fetched: Vec<FetchedSubmodule>,
        /// Those whose files they do not have.
        missing: Vec<MissingSubmodule>,
    },
    /// Something worth knowing that no other event says.
    Note {
        /// The text.
        text: String,
    },
    /// The job ended.
    Ended {
        /// How.
        outcome: JobOutcome,
    },
}

/// What an event is about. A new event gets its class here; code that needs only some events asks for the
/// class, or matches the events that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventClass {
    /// The job's state, its rounds and its end.
    Lifecycle,
    /// What the work starts from: base, sandboxes, setup, comments, prompts.
    Preparation,
    /// The conversation with the models, and what it cost.
    Conversation,
    /// What the agent did: plan, checkpoints, test runs.
    Work,
    /// Verdicts and escalations.
    Decision,
    /// What was published, and who approved it.
    Publication,
    /// Remarks.
    Note,
}

impl TranscriptEvent {
    /// What the event is about.
    pub fn class(&self) -> EventClass {
        match self {
            Self::StateChanged { .. }
            | Self::Resumed { .. }
            | Self::BranchFound { .. }
            | Self::Ended { .. } => EventClass::Lifecycle,
            Self::Prepared { .. }
            | Self::PlanTried { .. }
            | Self::SetupAgentStarted { .. }
            | Self::SetupAgentEnded { .. }
            | Self::SandboxStarted { .. }
            | Self::SetUp { .. }
            | Self::Egress { .. }
            | Self::SubmodulesFetched { .. }
            | Self::BaselineRun { .. }
            | Self::CommentsRead { .. }
            | Self::Instructed { .. } => EventClass::Preparation,
            Self::BriefAnswered { .. }
            | Self::ResultsElided { .. }
            | Self::Compacted { .. }
            | Self::MessageAdded { .. }
            | Self::CallWasted { .. }
            | Self::ResultKept { .. } => EventClass::Conversation,
            Self::AgentTestRun { .. } | Self::PlanUpdated { .. } | Self::Checkpoint { .. } => {
                EventClass::Work
            }
            Self::VerdictReached { .. } | Self::EscalationDecided { .. } => EventClass::Decision,
            Self::Published { .. } | Self::Released { .. } | Self::PublicationRetried { .. } => {
                EventClass::Publication
            }
            Self::CheckoutIncomplete { .. } | Self::Note { .. } => EventClass::Note,
        }
    }

    /// Whether the event is part of the work. Publishing is not: if it counted, a restarted worker would
    /// render other texts than those it already published.
    pub fn is_work(&self) -> bool {
        match self.class() {
            EventClass::Lifecycle => match self {
                Self::StateChanged { state } => match state {
                    JobState::Queued | JobState::Preparing | JobState::Working | JobState::Verifying => true,
                    JobState::Publishing
                    | JobState::Proposed
                    | JobState::Held
                    | JobState::Escalated
                    | JobState::Cancelled
                    | JobState::Failed => false,
                },
                Self::Ended { .. } => false,
                _ => true,
            },
            EventClass::Publication => false,
            EventClass::Preparation
            | EventClass::Conversation
            | EventClass::Work
            | EventClass::Decision
            | EventClass::Note => true,
        }
    }

    /// The job's state after this event, and its outcome if it ended, if the event changes them.
    pub fn state_change(&self) -> Option<(JobState, Option<&JobOutcome>)> {
        match self {
            Self::StateChanged { state } => Some((*state, None)),
            Self::Ended { outcome } => Some((outcome.state(), Some(outcome))),
            _ => None,
        }
    }

    /// What the model call of this event cost. Recording an event with a cost also settles the job's call
    /// that is in progress, in the same transaction.
    pub fn cost(&self) -> Option<CallCost<'_>> {
        match self {
            Self::MessageAdded { usage: Some(usage), usd, model, .. }
            | Self::Compacted { usage: Some(usage), usd, model, .. } => {
                Some(CallCost { model: model.as_deref().unwrap_or("unknown"), usage: *usage, usd: *usd })
            }
            Self::CallWasted { model, usage, usd, .. } | Self::BriefAnswered { model, usage, usd, .. } => {
                Some(CallCost { model, usage: *usage, usd: *usd })
            }
            _ => None,
        }
    }
}
