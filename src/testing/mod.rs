//! Runs a repository's test suite in a sandbox and reads what its runner reports.
//!
//! `recognition` finds the runner of a command, `runners` has a file for each runner, `suite` runs the command, and
//! `reports` reads every known report format. Nothing here decides whether a run is good enough: that is the
//! verdict's.

mod canary;
mod fail_fast;
mod invocation;
mod linters;
mod recognition;
pub(crate) mod report_request;
mod reports;
mod runner_call;
mod runners;
mod script;
mod selection;
mod shell_words;
mod suite;
mod whole_suite;
mod wrapper;

pub use canary::{CanaryTests, canary};
pub use linters::{Linter, Linters, find_linters, run_linter};
pub use recognition::format_of_command;
pub use script::{SCRIPT_BYTES_MAX, ScriptLanguage, run_script, script_languages};
pub use selection::{Selectable, Selection};
pub use suite::{
    SuiteError, run_selected, run_suite, run_suite_as_far_as_possible, run_suite_of_tree,
    run_suite_to_the_end,
};
pub use whole_suite::{files_of, why_not_the_whole_suite};
