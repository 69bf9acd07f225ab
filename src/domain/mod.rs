//! The terms of the project: pure types and decisions. Nothing here does I/O or reads a clock.

mod allowed_host;
mod authorization;
mod budget;
mod call_cost;
pub mod change;
pub mod command_pattern;
pub mod conversation;
pub mod daily_cap;
pub mod egress;
pub mod flag;
mod host_name;
pub mod identity;
mod image_reference;
pub mod issue;
pub mod job;
mod model_provider;
mod operator_note;
pub mod path;
pub mod price;
pub mod process;
pub mod report;
pub mod repository_filter;
pub mod request;
pub mod revision;
mod rewritten_file;
mod sandbox;
pub mod secret_finding;
pub mod settings;
mod setup_recipe;
mod shortage;
pub mod slash_command;
mod submodule;
mod transcript;

pub use allowed_host::{AllowedHost, is_forbidden_address};
pub use authorization::{Permission, Refusal, authorize, is_listed};
pub use budget::{Budget, BudgetExhausted, Spend};
pub use call_cost::{CallCost, Usage, WorstCase};
pub use change::{Change, ChangedContent, FileMode};
pub use command_pattern::CommandPattern;
pub use conversation::{AssistantBlock, Message, StopReason, ToolArguments, ToolCall, ToolResult, ToolSpec};
pub use daily_cap::{BudgetScope, DAY, DailyCap, DailyCapReached, DailyCaps, RecentCall, micro_usd};
pub use egress::{EgressDecision, EgressReport};
pub use flag::{Flag, Suspicion, TouchedFile, TouchedKind};
pub use host_name::{host_name_problem, internal_host_name_problem, is_loopback};
pub use identity::{
    CommentId, DeliveryId, InstallationId, InvalidIdentity, IssueNumber, JobId, Login, PullRequestNumber,
    RepositoryId, RepositoryName, RepositoryRef, Sha,
};
pub use image_reference::{is_image_reference, is_sha256_digest, parse_image_reference};
pub use issue::{IssueSnapshot, Origin, Trigger, is_same_label};
pub use job::{BRANCH_PREFIX, EscalationReason, IllegalTransition, Job, JobOutcome, JobState, JobTransition};
pub use model_provider::{ModelProvider, provider_table};
pub use operator_note::OperatorNote;
pub use path::{InvalidPath, RepoPath, is_dot_git};
pub use price::{InvalidPrices, LongPromptPrice, Price, PriceTable};
pub use process::{BoundedOutput, ExitStatus, FailedTest, ProcessOutput, TestRun, WritableMount};
pub use report::{
    ReportBuilder, ReportFormat, ReportSource, TestCase, TestCounts, TestLocation, TestOutcome, TestReport,
};
pub use repository_filter::{RepositoryFilter, RepositoryPattern};
pub use request::{
    CheckFailure, CommandRequest, DeliveryRequest, EventRequest, EventTask, Lane, NewDelivery, QueuedRequest,
    RequestComment, ReviewKind, ReviewRequest,
};
pub use revision::{BudgetExtension, FailedCheck, Feedback, FeedbackLocation, ResumeReason};
pub use rewritten_file::{RewrittenFile, TrackedFileChange};
pub use sandbox::{EngineConfig, Guarantee, SandboxKind};
pub use secret_finding::{SecretFinding, SecretLocation};
pub use settings::{FROM_THE_COMMAND_LINE, JobSettings, TEST_TIMEOUT_DEFAULT};
pub use setup_recipe::{FOUND_BY_SETUP_AGENT, SetupRecipe};
pub use shortage::is_shortage;
pub use slash_command::{COMMAND_PREFIX, COMMANDS, CommandRow, SlashCommand, command_table, mentions_bot};
pub use submodule::{FetchedSubmodule, MissingSubmodule};
pub use transcript::{
    EventClass, LoopDetector, LoopNotice, NOTHING_NEW, PlanResult, PromptVersion, QuotedComment,
    RecordedBase, RecordedEvent, RecordedVerdict, SURCHARGE_CALLS, SetupCommand, StoredEvent, ToolEffect,
    Transcript, TranscriptEvent, WorkBrief, commands_in_words,
};
