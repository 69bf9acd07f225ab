//! What a job publishes: the acknowledgement, its progress, the branch, the draft pull request, the
//! request for approval, the escalation, and its end. Each effect is recorded in the ledger when it is
//! begun and when it is done, and looked for before it is done again. Progress is best effort.

mod approval_gate;
mod commit_publisher;
mod ending;
mod escalation;
mod follow_up;
mod progress;
mod proposal;
mod secret_check;
mod thread_replies;

pub(super) use ending::{active_since, end, end_silently, end_unreported};
pub(super) use escalation::escalate;
pub(super) use progress::{acknowledge, report_progress};
pub(super) use proposal::{is_published, propose};
