//! What was recorded is done again: the verdict on a proposal ([`verify()`]), and a whole job with the
//! model's recorded answers ([`replay()`]). Publishes nothing, and writes to nobody's repository.

mod compare;
mod replay;
mod verify;

pub use compare::{Divergence, ReplayStep, normalised};
pub use replay::{ReplayReport, replay};
pub use verify::{Check, CheckOutcome, Verification, VerificationRequest, verify};
