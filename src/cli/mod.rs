//! The commands, as people type them.

pub mod sandbox;
