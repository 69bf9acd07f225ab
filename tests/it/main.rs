//! x
fn main() {}
mod model;
