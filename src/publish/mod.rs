//! All texts that people read on GitHub, and publishing them.
//!
//! Rendering is pure: [`Evidence`] is gathered from a job's transcript, and each text is a function of it.
//! Publishing ([`publisher`]) looks for what we published before, by marker or branch, and changes that instead
//! of publishing twice. Nothing here reads the store, a clock or the network.
//!
//! Text by a model, a repository or an issue's author reaches a page only through [`escape`].

pub mod approval_comment;
pub mod check;
pub mod codeowners;
pub mod command_reply;
pub mod draft_pr;
pub mod escalation;
pub mod escape;
pub mod evidence;
pub mod marker;
pub mod progress;
pub mod publisher;
pub mod round_comment;
pub mod state_labels;

mod comment_split;
mod console;
mod environment_summary;
mod format;
mod found_setup;
mod patch_blocks;
mod refusal;
mod timeline;
mod transcript_document;

#[cfg(test)]
mod test_evidence;

pub use approval_comment::{NotWhole, comments_with_change};
pub use console::console_line;
pub use evidence::{BaseCommit, Evidence, SandboxSummary};
pub use marker::{Marker, MarkerKind};
pub use publisher::{
    publish_approval_request, publish_escalation, publish_proposal, update_progress, update_round_comment,
};
pub use refusal::{command_refused, label_refused};
pub use state_labels::label_changes;
pub use transcript_document::render as transcript_document;
