//! What stories are made of: a world, a conversation, waiting for a state, and what holds at every end.

mod assertions;
mod command;
mod conversation;
mod judging;
mod wait;
mod world;

pub use assertions::assert_no_sandbox_left;
pub use command::{CommandOutput, LocalFix, mendwright};
pub use conversation::{Script, conversation, fix, recorded, stalled};
pub use judging::{commit_files, environment_of, environment_with, judge, written};
pub use wait::{WAIT_MAX, eventually};
pub use world::{BINARY, ISSUE_BODY, ISSUE_TITLE, MODEL_KEY, TEST_COMMAND, World, write_slugs};
