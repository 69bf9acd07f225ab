//! All words that people read on GitHub, and the acts of publishing them.
//!
//! Rendering is pure: [`Evidence`] is gathered from a job's transcript, and each text is a function
//! of it. Acting ([`act`]) looks for what we published before, by marker or branch, and changes
//! that instead of publishing twice. Nothing here reads the store, a clock or the network.
//!
//! Text that a model, a repository or an issue's author wrote reaches a page only through
//! [`escape`].

pub mod act;
pub mod check;
pub mod codeowners;
pub mod command_reply;
pub mod draft_pr;
pub mod escalation;
pub mod escape;
pub mod evidence;
pub mod held;
pub mod labels;
pub mod marker;
pub mod patch;
pub mod progress;
pub mod rounds;

mod console;
mod pages;
mod patch_words;
mod story;
mod surroundings;
mod whole;
mod words;

#[cfg(test)]
mod samples;

pub use act::{
    publish_approval_request, publish_escalation, publish_proposal, update_progress, update_round_comment,
};
pub use console::console_line;
pub use evidence::{BaseCommit, Evidence, SandboxSummary};
pub use labels::label_changes;
pub use marker::{Marker, MarkerKind};
pub use patch::{Diff, FileStat};
pub use whole::render as transcript_document;
