//! The agent: a loop that asks a model, carries out its tool calls in the sandbox, and stops at a
//! named ending. It never decides that the work is done, never sees a secret, and touches nothing
//! but the sandbox (through the toolbox) and the job's transcript.

mod brief;
pub mod context;
mod conversation;
mod loop_notices;
mod metered_model;
pub mod prompts;
mod results;
mod resume;
mod run;
mod sanitise;
pub mod test_summary;
mod tool_calls;
pub mod tools;
mod types;

pub use brief::TaskInput;
pub use conversation::Conversation;
pub use metered_model::{Completion, MeteredModel, ModelCallError, charge_unrecorded_call};
pub use results::{ResultWindow, Results, SHOWN_CHARS_MAX, ShownResult};

pub use sanitise::{Sanitised, sanitise, sanitise_in_background};
pub use types::{Agent, AgentEnding, AgentError, AgentRole, OpenCall};
