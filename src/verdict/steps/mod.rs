//! The steps of a verdict.

mod altered_tests;
mod base_suite;
mod base_tests;
mod canary;
mod candidate;
mod in_source;
mod inverted;
mod lines;
mod mutation;
mod places;
mod proof_runs;
mod selected_run;
mod setup_files;
mod suite;

pub(super) use candidate::{ChangedFile, JudgedProposal, Rejection, StepError};
pub(super) use proof_runs::NO_TEST;
