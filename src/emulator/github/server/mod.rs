//! The HTTP side of the emulator: the REST API, git, the pages for people, the admin endpoint, faults, and
//! the sender of webhooks.

mod admin;
mod app_pages;
mod connection;
mod git;
mod handler;
mod recorder;
mod reply;
mod shared;
mod webhook_sender;

pub(crate) use connection::{AbortableListener, ConnectionAborter};
pub(crate) use handler::{API_PREFIX, handle};
pub(crate) use recorder::Recorder;
pub(crate) use shared::Shared;
pub(crate) use webhook_sender::{OUTBOX_MAX, send_all};
