//! Stories: the real program against the emulated world, a file for each part of the house.

mod emulator;
mod github_client;
mod model;
mod sandbox_contract;
mod sandbox_docker;
mod stories;
mod support;
mod webhook;
