//! The demo and what it runs against: the outside world, emulated over real HTTP.

pub mod provider;
