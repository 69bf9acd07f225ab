//! The demo: scenarios that run the real service against an emulated GitHub and a scripted model on loopback.
//!
//! The emulated peers are in the crate `mendwright-emulator`; `scenario` holds the scenarios and `runner` runs
//! one through the composition root.

pub mod runner;
pub mod scenario;

use crate::model::Provider;

impl From<Provider> for mendwright_emulator::model::Provider {
    fn from(provider: Provider) -> Self {
        let emulated = Self::ALL.into_iter().find(|emulated| emulated.name() == provider.name());
        emulated.expect("every provider is emulated")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_emulated() {
        for provider in Provider::ALL {
            assert_eq!(mendwright_emulator::model::Provider::from(provider).name(), provider.name());
        }
    }
}
