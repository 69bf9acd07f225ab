//! Proof without GitHub or a model provider: what Mendwright talks to, served on loopback over
//! real HTTP and real git, so that the program under test is the real one.

pub mod git_http;
pub mod github;
