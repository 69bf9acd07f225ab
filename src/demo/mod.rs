//! Proof without GitHub or a model provider: what Mendwright talks to, served on loopback over
//! real HTTP and real git, so that the program under test is the real one.
//!
//! The emulated GitHub and model providers are the crate `mendwright-emulator`; `scenario` holds the
//! stories and `runner` plays one through the composition root.

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
