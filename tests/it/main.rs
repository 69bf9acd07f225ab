//! x
mod github_client;
mod webhook;
fn main() {}
