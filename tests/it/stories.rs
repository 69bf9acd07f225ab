//! The stories that the project promises, told through the real binary.

mod commands;
mod crashes;
mod money;
mod people;
mod processes;
mod scenarios;
mod tools;
mod verdicts;
