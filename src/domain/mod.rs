//! The vocabulary of the house: pure types and decisions. Nothing here does I/O or reads a clock.
//!
//! Reading order follows a job's life:
//! `Delivery → Trigger → Job → (workspace) → RunReport → Verdict → Publication`.

pub mod budget;
pub mod change;
pub mod command;
pub mod command_pattern;
pub mod conversation;
pub mod egress;
pub mod identity;
pub mod issue;
pub mod job;
pub mod path;
pub mod settings;
pub mod transcript;

pub use budget::{Budget, BudgetExhausted, Spend, Usage};
pub use change::{Change, ChangedContent, FileMode};
pub use command::{BoundedOutput, CommandResult, Ending, FailedTest, TestRun, WritablePlace};
pub use command_pattern::CommandPattern;
pub use conversation::{AssistantBlock, Message, StopReason, ToolArguments, ToolCall, ToolResult, ToolSpec};
pub use egress::{EgressDecision, EgressReport};
pub use identity::{
    CommentId, DeliveryId, InstallationId, InvalidIdentity, IssueNumber, JobId, Login, PullRequestNumber,
    RepositoryId, RepositoryName, RepositoryRef, Sha,
};
pub use issue::{IssueSnapshot, Trigger};
pub use job::{EscalationReason, IllegalTransition, Job, JobState, Outcome, Step};
pub use path::{HostilePath, RepoPath};
pub use settings::JobSettings;
pub use transcript::{PromptVersion, Recorded, SetUpCommand, TranscriptEvent};
