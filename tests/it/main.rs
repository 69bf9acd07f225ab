//! x
mod webhook;
fn main() {}
mod model;
