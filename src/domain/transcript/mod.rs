//! A job's transcript: every event in order, recorded before the next step depends on it. Comments, pages,
//! cost and the restart after a crash all come from it.

mod event;
mod loop_detection;
mod queries;
mod spend;

pub use event::{
    EventClass, PromptVersion, QuotedComment, RecordedEvent, SetupCommand, StoredEvent, TranscriptEvent,
    WorkBrief,
};
pub use loop_detection::{LoopDetector, LoopNotice, SURCHARGE_CALLS};
pub use queries::{RecordedBase, RecordedVerdict, Transcript};
