//! GitHub, emulated: the REST operations Mendwright uses, App authentication, webhooks with real
//! signatures, and git over HTTP, on a loopback port.
//!
//! Responses have GitHub's shapes and errors GitHub's messages; the contract tests check them against
//! GitHub's own schemas. It knows nothing of Mendwright and communicates with it only over HTTP.
//!
//! Modules use only those above them in this list: `data` (the database), `shapes` (JSON), `mutations`
//! (changes and their webhooks), `rest` (operations), `server` (HTTP), `emulator` and `user_actions`.

mod data;
mod error;
mod options;

mod shapes;
mod snapshot;

mod mutations;

mod rest;

mod server;

mod emulator;
mod user_actions;

pub use data::{AppCredentials, Disruption, FaultKind, FaultRule, Role};
pub use emulator::EmulatedGitHub;
pub use error::EmulatorError;
pub use options::{EmulatorOptions, EmulatorSeed, RepositorySource, SeedIssue};
