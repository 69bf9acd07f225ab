//! Runs a repository's test suite in a sandbox and reads what its runner reports.
//!
//! `runner` recognises the runner of a command, `report_request` asks it for a report file, `suite`
//! runs it, and `reports` reads every known report format. Nothing here decides whether a run is good
//! enough: that is the verdict's.

pub(crate) mod report_request;
mod reports;
mod runner;
mod shell_words;
mod suite;

pub use runner::Selection;
pub use suite::{SuiteError, run_selected, run_suite};
