//! Proof without GitHub or a model provider: what Mendwright talks to, served on loopback over
//! real HTTP and real git, so that the program under test is the real one.
//!
//! `github` and `git_http` are the emulated GitHub, `provider` the emulated model providers;
//! `scenario` holds the stories and `story` plays one through the composition root.

pub mod git_http;
pub mod github;
pub mod provider;
pub mod scenario;
pub mod story;
