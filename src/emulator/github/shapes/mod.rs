//! The emulator's objects in GitHub's JSON shapes, which REST answers and webhooks share. Each function
//! reads the database and changes nothing.

mod app;
mod format;
mod git;
mod issue;
mod pull;
mod repository;
mod review;

pub(crate) use app::{account, installation, integration, public_user};
pub(crate) use format::{node_id, timestamp, timestamp_of_seconds};
pub(crate) use git::{branch, commit, commit_with_changes, comparison, file_change, git_ref};
pub(crate) use issue::{comment, issue, label, label_event, reaction};
pub(crate) use pull::{check_run, pull, pull_simple};
pub(crate) use repository::repository;
pub(crate) use review::{review, review_comment};
