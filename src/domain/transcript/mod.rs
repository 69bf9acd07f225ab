//! A job's transcript: every event in order, recorded before the next step depends on it. Comments, pages,
//! cost and the restart after a crash all come from it.

mod event;
mod loop_detection;
mod plan_result;
mod queries;
mod setup_agent;
mod spend;
mod stuck_detection;
mod tool_effect;

pub use event::{
    EventClass, PromptVersion, QuotedComment, RecordedEvent, SetupCommand, StoredEvent, TranscriptEvent,
    WorkBrief,
};
pub use loop_detection::{LoopDetector, LoopNotice, SURCHARGE_CALLS};
pub use plan_result::{PlanResult, commands_in_words};
pub use queries::{RecordedBase, RecordedVerdict, Transcript};
pub use stuck_detection::NOTHING_NEW;
pub use tool_effect::ToolEffect;
