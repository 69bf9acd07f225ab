//! Repeats what was recorded: the verdict on a proposal ([`verify()`]), and a whole job with the model's
//! recorded answers ([`replay()`]). Counts what the parts of its requests cost ([`RequestCosts`]). Publishes nothing,
//! and writes to no repository but its own.

mod compare;
mod replay;
mod request_costs;
mod verdict_check;
mod verification;
mod verify;

pub use compare::{Divergence, ReplayStep, normalised};
pub use replay::{ReplayReport, replay};
pub use request_costs::{PartCost, RequestCosts};
pub use verification::{Check, CheckOutcome, Verification};
pub use verify::{VerificationRequest, verify};
