//! The vocabulary of the house: pure types and decisions. Nothing here does I/O or reads a clock.
//!
//! Reading order follows a job's life:
//! `Delivery → Trigger → Job → (workspace) → RunReport → Verdict → Publication`.

pub mod ask;
mod authorization;
mod budget;
pub mod change;
pub mod command;
pub mod command_pattern;
pub mod conversation;
pub mod day;
pub mod egress;
pub mod flag;
mod host_name;
pub mod identity;
pub mod issue;
pub mod job;
pub mod path;
pub mod price;
pub mod report;
pub mod resumption;
pub mod secret_found;
pub mod served;
pub mod settings;
mod transcript;

pub use ask::{Ask, COMMAND, CommentCommand, SaidIn, is_addressed};
pub use authorization::{Authorisation, Permission, authorise, may_command};
pub use budget::{Budget, BudgetExhausted, CallCost, Spend, Usage, WorstCase};
pub use change::{Change, ChangedContent, FileMode};
pub use command::{BoundedOutput, CommandResult, Ending, FailedTest, TestRun, WritablePlace};
pub use command_pattern::CommandPattern;
pub use conversation::{AssistantBlock, Message, StopReason, ToolArguments, ToolCall, ToolResult, ToolSpec};
pub use day::{DAY, DayCall, DayCap, DayCapReached, DayCaps, Payer, micro_usd};
pub use egress::{EgressDecision, EgressReport};
pub use flag::{Flag, Suspicion};
pub use host_name::{host_name_problem, internal_host_name_problem};
pub use identity::{
    CommentId, DeliveryId, InstallationId, InvalidIdentity, IssueNumber, JobId, Login, PullRequestNumber,
    RepositoryId, RepositoryName, RepositoryRef, Sha,
};
pub use issue::{IssueSnapshot, Trigger};
pub use job::{BRANCH_PREFIX, EscalationReason, IllegalTransition, Job, JobState, Outcome, Step};
pub use path::{HostilePath, RepoPath};
pub use price::{InvalidPrices, LongPromptPrice, Price, PriceTable};
pub use report::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestLocation, TestOutcome, TestReport,
};
pub use resumption::{
    FailedCheck, Feedback, FeedbackPlace, Grant, Resumption, branch_found, on_present_ground,
    opened_pull_request, present_round, round_of, unanswered,
};
pub use secret_found::{SecretFound, SecretPlace};
pub use served::{RepositoryPattern, Served};
pub use settings::{JobSettings, TEST_TIMEOUT_DEFAULT};
pub use transcript::{
    PromptVersion, QuotedComment, Recorded, RecordedText, SetUpCommand, TranscriptEvent, WorkBrief,
};
