//! Works on jobs: claims a job, keeps its lease valid, runs its pipeline, and ends it. Beside it, carries out
//! commands, acknowledges jobs that wait, and recovers missed webhooks.
//!
//! In reading order: `runner` claims jobs, `pipeline` runs one from top to bottom, `commands` carries
//! out requests, `reconcile` recovers webhooks, and `local` runs a job without GitHub.

mod acknowledger;
mod admission;
mod approval;
mod baseline;
mod commands;
mod context;
mod effects;
mod git_access;
mod issue_comments;
mod lease;
pub mod local;
mod pipeline;
mod plans;
mod preparation;
mod progress_reporter;
mod publication;
mod reconcile;
mod report;
mod reverify;
mod revisions;
mod runner;
mod setup_agent;
mod stage;
mod stop;
mod submodules;

pub use acknowledger::Acknowledger;
pub use approval::{Approval, ApprovalComment, ApprovalError, approve};
pub use commands::CommandProcessor;
pub use context::{JobPolicy, SettingsOverride, WorkerContext};
pub use preparation::{SettingsError, resolve_settings};
pub use reconcile::Reconciler;
pub use report::JobReport;
pub use reverify::{
    Rerun, Reverification, TestBench, TrialProgress, UsablePlan, rerun, reverify, usable_plan,
};
pub use runner::Worker;
pub use submodules::with_local_submodules;
