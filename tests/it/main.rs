//! x
mod sandbox_contract;
fn main() {}
