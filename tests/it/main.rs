//! Stories: the real program against the emulated world, a file for each part of the house.

mod github_client;
mod model;
mod webhook;
