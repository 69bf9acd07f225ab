//! The demo: scenarios that run the real service against an emulated GitHub and a scripted model on loopback.
//!
//! The emulated peers are in the crate `mendwright-emulator`; `scenario` holds the scenarios and `runner` runs
//! one through the composition root.

pub mod runner;
pub mod scenario;

use crate::model::Provider;

impl From<Provider> for mendwright_emulator::model::Provider {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Anthropic => Self::Anthropic,
            Provider::OpenAi => Self::OpenAi,
        }
    }
}
