//! Stories: the real program against the emulated world, a file for each part of the house.

#[macro_use]
mod backends;
mod cheating;
mod detect;
mod emulator;
mod github_client;
mod images;
mod install;
mod model;
mod reports;
mod sandbox_attacks;
mod sandbox_contract;
mod sandbox_docker;
mod setup;
mod stories;
mod support;
mod webhook;
