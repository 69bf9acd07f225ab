//! The stories that the project promises, told through the real binary.

mod admission;
mod asks;
mod cancel;
mod cheats;
mod commands;
mod context;
mod crashes;
mod defects;
mod engine;
mod evaluation;
mod evidence;
mod hold;
mod leaks;
mod living_limits;
mod money;
mod people;
mod processes;
mod reading;
mod reconciliation;
mod rounds;
mod scenarios;
mod signed;
mod signs;
mod tools;
mod verdicts;
