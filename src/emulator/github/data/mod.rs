//! Everything the emulated GitHub remembers, in memory. Plain data that knows no HTTP; only the git
//! objects are on disk.

mod account;
mod app;
mod check_run;
mod database;
mod delivery;
mod disruption;
mod fault;
mod initial;
mod issue;
mod permission;
mod pull_request;
mod random;
mod repository;
mod token;

pub use account::Role;
pub use app::AppCredentials;
pub use disruption::Disruption;
pub use fault::{FaultKind, FaultRule};

pub(crate) use account::{Account, AccountKind};
pub(crate) use app::AppRegistration;
pub(crate) use check_run::CheckRun;
pub(crate) use database::{Database, Urls};
pub(crate) use delivery::{Delivery, DeliveryResult};
pub(crate) use fault::{ActiveFault, delay_of, take_fault};
pub(crate) use initial::{DEFAULT_ACTOR, initial_database};
pub(crate) use issue::{Comment, Issue, LabelEvent, REACTIONS, Reaction};
pub(crate) use permission::PermissionLevel;
pub(crate) use pull_request::{PullRequest, Review, ReviewComment};
pub(crate) use random::{generate_key, random_text, random_token};
pub(crate) use repository::{Label, Repository};
pub(crate) use token::InstallationToken;
