//! The exit codes of all commands: a contract, since others script against them. The guide lists them in
//! `reference/exit-codes.md`.

/// The command did what was asked, with the good result.
pub(super) const SUCCESS: i32 = 0;
/// The command worked, and its result is not the good one: escalated, differs, diverged, not detected.
pub(super) const OTHER_RESULT: i32 = 3;
/// A program could not be started, as in a shell.
pub(super) const NOT_STARTED: i32 = 127;
/// SIGINT ended the command, as in a shell.
pub(super) const INTERRUPTED: i32 = 130;
