//! `cargo nextest`. It prints the name of every test.

use super::cargo_target;
use super::row::{RunnerRow, subcommand};
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::reports::rust;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "cargo nextest",
    is_named: |program, words| program == "cargo" && subcommand(words) == Some("nextest"),
    // A name in a report begins with the name of the binary.
    select: |_, path, name| {
        cargo_target::select(path, name.map(|name| name.rsplit(' ').next().unwrap_or(name)))
    },
    keep_going: |invocation| match invocation.has(&["--max-fail"]) {
        true => None,
        false => KeepGoing::by_arguments(invocation, &["--no-fail-fast"]),
    },
    // It does not take both options.
    without_stop_option: Some(|word| match word.starts_with("--max-fail=") {
        true => Some("--no-fail-fast".to_owned()),
        false => Some(word.to_owned()),
    }),
    readers: &[rust::nextest],
    format: Some(ReportFormat::Nextest),
    ..RunnerRow::UNKNOWN
};
