//! The steps of a verdict.

mod base_tests;
mod candidate;
mod inverted;
mod lines;
mod places;
mod proof_runs;
mod suite;

pub(super) use candidate::{ChangedFile, JudgedProposal, Rejection, StepError};
pub(super) use proof_runs::NO_TEST;
