//! Emulated peers over real HTTP and real git on loopback: a GitHub and two model providers.
//!
//! The demo, the tests and `mendwright emulate` run the real program against them. This crate knows
//! nothing of the program that it serves.

mod gate;
pub mod git;
pub mod github;
pub mod model;
mod repository_name;

pub use repository_name::{InvalidRepositoryName, RepositoryName};
