//! Mendwright: a labelled issue becomes a draft pull request with evidence, or an honest
//! escalation.
//!
//! Two invariants carry everything: *the model never decides that it is done* (a fresh sandbox's
//! exit code does), and *the model's tools never share a process with a secret*. The modules are
//! declared in layer order; a module uses lower layers only, and `tests/tidy.rs` checks that. Where a
//! behaviour is decided: `src/guide/develop/where.md`.

// Layer 0
pub mod domain;
pub mod markdown;
// Layer 1
pub mod config;
pub mod detect;
pub mod recording;
pub mod secrets;
pub mod telemetry;
// Layer 2: the ports to the world, and their adapters
pub mod github;
pub mod model;
pub mod sandbox;
pub mod store;
// Layer 3: the parts of a job
pub mod agent;
pub mod provenance;
pub mod publish;
pub mod setup;
pub mod testing;
pub mod verdict;
pub mod webhook;
pub mod workspace;
// Layer 4: a job from top to bottom; many with known tests; the App's registration
pub mod evaluate;
pub mod install;
pub mod worker;
// Layer 5
pub mod app;
pub mod audit;
#[cfg(feature = "demo")]
pub mod demo;

// Layer 6: the command line
pub mod cli;
