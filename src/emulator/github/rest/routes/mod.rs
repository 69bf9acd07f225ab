//! The handlers of the REST operations, one file for each kind of object.

pub(super) mod app;
pub(super) mod checks;
pub(super) mod comments;
pub(super) mod issues;
pub(super) mod labels;
pub(super) mod pulls;
pub(super) mod reactions;
pub(super) mod references;
pub(super) mod repositories;
pub(super) mod reviews;
pub(super) mod webhook;
