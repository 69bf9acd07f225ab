//! Every event of a job, in order, recorded before the next step depends on it. The transcript is
//! the source for comments, pages, cost and for going on after a crash.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CallCost, CommentId, EgressReport, EscalationReason, FailedTest, Flag, JobOutcome, JobSettings, JobState,
    Login, Message, ProcessOutput, ResumeReason, Sha, TestRun, Usage,
};

/// A set-up command that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SetUpCommand")]
pub struct SetupCommand {
    /// The shell command.
    pub command: String,
    /// What came of it.
    pub result: ProcessOutput,
}

/// What a model wrote before the first turn, for the one that does the work. Checked: nothing in it
/// is believed, the paths exist in the base tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkBrief {
    /// Files that the cause is likely in, most likely first.
    pub files: Vec<String>,
    /// How to see the failure.
    pub reproduce: String,
    /// The plan, a sentence a step.
    pub steps: Vec<String>,
}

/// A comment on the issue as the model is given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotedComment {
    /// Which.
    pub comment: CommentId,
    /// Who wrote it.
    pub by: Login,
    /// When it was written.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// What is left of its text when all is taken out that a reader of the page would not see.
    pub text: String,
}

/// Which texts a model was instructed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromptVersion {
    /// Raised by people when the way of working changes.
    pub number: u32,
    /// SHA-256 over every text and tool schema, in hexadecimal.
    pub digest: String,
}

impl std::fmt::Display for PromptVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.number, self.digest.get(..12).unwrap_or(&self.digest))
    }
}

/// An event with its place and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// Its place in the job's transcript, from 1, without gaps.
    pub sequence: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    pub event: TranscriptEvent,
}

/// An event as the store holds it: its text is kept as it was written, so that a digest over it
/// stays the same, and so that an event of a later version can be handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the job's transcript, from 1, without gaps.
    pub sequence: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened: JSON on one line.
    pub event: String,
}

impl StoredEvent {
    /// The event; `None` where this version does not know it.
    pub fn parsed(&self) -> Option<RecordedEvent> {
        let event = serde_json::from_str(&self.event).ok()?;
        Some(RecordedEvent { sequence: self.sequence, at: self.at, event })
    }

    /// Its line in a file, without the line end.
    pub fn line(&self) -> String {
        format!("{}{}}}", Self::prefix(self.sequence, self.at), self.event)
    }

    /// What stands before an event's text in its line.
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
    /// The base commit and the settings read from it. A restarted worker keeps them; a further round has
    /// another where the branch took up more of its base.
    Prepared {
        /// The commit that the work starts from.
        base: Sha,
        /// Its branch.
        base_branch: String,
        /// The settings.
        settings: Box<JobSettings>,
    },
    /// A sandbox was started.
    SandboxStarted {
        /// What for: `work`, `verdict`, `proof`.
        purpose: String,
        /// The root file system and the limits applied, in words.
        description: String,
        /// The root file system's digest.
        #[serde(default)]
        root: Option<String>,
    },
    /// The repository's set-up commands ran, or what they made earlier was taken.
    SetUp {
        /// What its result is kept under: a digest over all that it depends on.
        key: String,
        /// The root file system, in words.
        root: String,
        /// The commands that ran, the last one failing if any did; none where all was there.
        commands: Vec<SetupCommand>,
        /// Wall time of the whole, in seconds.
        seconds: f64,
        /// Whether what they made is kept for later sandboxes.
        kept: bool,
        /// Whether it had been kept before, and nothing had to run.
        reused: bool,
    },
    /// What a sandbox asked of the network.
    Egress {
        /// What the sandbox was for: `set-up`, `work`.
        purpose: String,
        /// What it asked for, and was answered.
        report: EgressReport,
    },
    /// The suite ran at the base, before any change.
    BaselineRun {
        /// The run.
        run: TestRun,
    },
    /// What was written below the issue before the work was asked for, as far as the model is given
    /// it. Recorded once, before its first turn, where there was anything.
    CommentsRead {
        /// The comments by people with write access, oldest first.
        comments: Vec<QuotedComment>,
        /// What it is not given, and why, in words.
        left_out: Vec<String>,
    },
    /// Which texts the model is instructed with. Recorded before its first turn, and again where a
    /// restarted worker has others.
    Instructed {
        /// Their version.
        prompts: PromptVersion,
    },
    /// The cheaper model was asked for a brief, before the first turn. Once it is recorded, nobody is
    /// asked again for the same attempt.
    BriefAnswered {
        /// The brief; `None` where the answer could not be used.
        brief: Option<WorkBrief>,
        /// What was wrong with the answer, or was left out of it.
        remark: Option<String>,
        /// The provider's count.
        usage: Usage,
        /// The cost in US dollars, where the model has a price.
        usd: Option<f64>,
        /// The model that answered.
        model: String,
        /// Wall time of the call, in milliseconds.
        milliseconds: u64,
    },
    /// From here on the model is shown old results of its tools as handles only, by which it can
    /// read them again. Both numbers count results from 1 through the whole conversation.
    ResultsElided {
        /// The first.
        first: u32,
        /// The last.
        last: u32,
    },
    /// From here on the model is shown `message` in place of everything said before.
    Compacted {
        /// Task, plan, changes, last test run, and what was learned.
        message: String,
        /// Why there is no summary by a model in it, where there is none.
        fault: Option<String>,
        /// The provider's count for the summary; `None` where no model wrote one.
        usage: Option<Usage>,
        /// Its cost in US dollars, where the model has a price.
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
        /// The cost in US dollars, where the model has a price.
        usd: Option<f64>,
        /// The model that answered.
        model: Option<String>,
        /// Wall time of the call or of the tools, in milliseconds.
        milliseconds: u64,
    },
    /// A model call that gave no answer was billed, or may have been.
    CallWasted {
        /// What became of it.
        why: String,
        /// The model that was asked.
        model: String,
        /// Its tokens.
        usage: Usage,
        /// The cost in US dollars, where the model has a price.
        usd: Option<f64>,
        /// Whether `usage` is the provider's count; if not, it is the most that it can have been.
        counted: bool,
        /// Wall time of the call, in milliseconds.
        milliseconds: u64,
    },
    /// The full text of a tool's result of which the model is shown less. Recorded before the
    /// message with the results.
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
    /// The workspace's changes were kept as a git tree in our own store.
    Checkpoint {
        /// The tree.
        tree: Sha,
        /// Every path that the agent's tools have changed; one that the tree does not have was
        /// deleted.
        paths: Vec<String>,
        /// What each of them holds, in the same order: a digest, or nothing where it is as at the
        /// base.
        #[serde(default)]
        contents: Vec<Option<String>>,
    },
    /// The proposal was judged in a fresh sandbox.
    VerdictReached {
        /// Whether it is verified.
        verified: bool,
        /// The proposed tree.
        tree: Sha,
        /// Why, in words for the model and for people.
        explanation: String,
        /// The run at the proposed tree, where it came so far.
        run: Option<TestRun>,
        /// The tests that fail on the base and pass on the proposal, where a proof was asked for
        /// and given.
        proof: Option<Vec<FailedTest>>,
        /// What a reviewer must look at, of a proposal that is verified.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        flags: Vec<Flag>,
    },
    /// An effect outside took place: a comment, a branch, a pull request.
    Published {
        /// What kind.
        kind: String,
        /// Where to find it.
        reference: String,
    },
    /// What was held back may go out.
    Released {
        /// Who said so.
        by: Login,
    },
    /// The job was taken up again after it had ended: a new round begins. What was decided before
    /// decides nothing any more.
    Resumed {
        /// Whose word it rests on.
        by: Login,
        /// Whether GitHub says that they are a bot.
        #[serde(default)]
        by_is_bot: bool,
        /// Why.
        why: ResumeReason,
    },
    /// The job's branch as it is on GitHub, with whatever others pushed there: the work goes on from
    /// the checkpoint recorded with this, which is its tree with our changes. No verdict from before
    /// counts.
    BranchFound {
        /// Its head.
        head: Sha,
        /// Files that others changed since the agent last saw them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<String>,
    },
    /// The job is handed to a person.
    EscalationDecided {
        /// Why.
        reason: EscalationReason,
    },
    /// Something worth knowing that is none of the above.
    Note {
        /// The words.
        text: String,
    },
    /// The job ended.
    Ended {
        /// How.
        outcome: JobOutcome,
    },
}

impl TranscriptEvent {
    /// What the model call that it tells of cost. An event with a cost settles the job's call that
    /// is under way, in the transaction that records it.
    pub fn cost(&self) -> Option<CallCost<'_>> {
        match self {
            Self::MessageAdded { usage: Some(usage), usd, model, .. } => {
                Some(CallCost { model: model.as_deref().unwrap_or("unknown"), usage: *usage, usd: *usd })
            }
            Self::CallWasted { model, usage, usd, .. } | Self::BriefAnswered { model, usage, usd, .. } => {
                Some(CallCost { model, usage: *usage, usd: *usd })
            }
            Self::Compacted { usage: Some(usage), usd, model, .. } => {
                Some(CallCost { model: model.as_deref().unwrap_or("unknown"), usage: *usage, usd: *usd })
            }
            Self::Compacted { usage: None, .. }
            | Self::MessageAdded { usage: None, .. }
            | Self::ResultsElided { .. }
            | Self::StateChanged { .. }
            | Self::Prepared { .. }
            | Self::SandboxStarted { .. }
            | Self::SetUp { .. }
            | Self::Egress { .. }
            | Self::CommentsRead { .. }
            | Self::Instructed { .. }
            | Self::ResultKept { .. }
            | Self::BaselineRun { .. }
            | Self::AgentTestRun { .. }
            | Self::PlanUpdated { .. }
            | Self::Checkpoint { .. }
            | Self::VerdictReached { .. }
            | Self::Published { .. }
            | Self::Released { .. }
            | Self::Resumed { .. }
            | Self::BranchFound { .. }
            | Self::EscalationDecided { .. }
            | Self::Note { .. }
            | Self::Ended { .. } => None,
        }
    }
}
