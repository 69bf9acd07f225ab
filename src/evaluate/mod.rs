//! Evaluation: works on many issues with known tests, each in the same pipeline as any other job, then
//! judges the proposals with tests that the model never saw. Data and predictions use SWE-bench's fields.
//! Also makes such instances from a repository's history. Publishes nothing.
//!
//! An instance is a line of JSON with `instance_id`, `repo`, `base_commit`, `problem_statement`,
//! `test_patch`, `FAIL_TO_PASS` and `PASS_TO_PASS` (lists, or lists written as JSON in a string, as
//! the original data has them); other fields are not looked at.
//! Source: <https://www.swebench.com/SWE-bench/guides/datasets/> and `.../guides/evaluation/`.

mod history;
mod instance;
mod outcome;
mod report;
mod repositories;
mod run;
mod state;
mod statistics;

pub use history::{Candidate, HistoryCheck, check_history};
pub use instance::{Instance, InvalidInstances, read_instances};
pub use outcome::{InstanceVerdict, judge_run};
pub use report::{Report, history_report};
pub use repositories::RepositorySources;
pub use run::{Evaluation, evaluate};
pub use state::{InstanceResult, State};
pub use statistics::{Interval, wilson};
