//! x
mod webhook;
fn main() {}
