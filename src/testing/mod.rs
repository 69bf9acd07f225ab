//! Runs a repository's test suite in a sandbox and reads what its runner reports.
//!
//! `runner` recognises the runner of a command, `report_request` asks it for a report file,
//! `fail_fast` tells it to go on, `suite` runs it, and `reports` reads every known report format. Nothing here decides whether a run is good
//! enough: that is the verdict's.

mod canary;
mod fail_fast;
pub(crate) mod report_request;
mod reports;
mod runner;
mod shell_words;
mod suite;

pub use canary::{CanaryTests, canary};
pub use runner::{Selection, format_of_command};
pub use suite::{
    SuiteError, changed_files_of, run_selected, run_suite, run_suite_of_tree, run_suite_to_the_end,
};
