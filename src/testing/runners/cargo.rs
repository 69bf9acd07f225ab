//! `cargo test`. It prints the name of every test, and has no better report on a stable toolchain.

use super::cargo_target;
use super::row::{RunnerRow, subcommand};
use crate::domain::ReportFormat;
use crate::testing::fail_fast::KeepGoing;
use crate::testing::reports::rust;

pub(super) static ROW: RunnerRow = RunnerRow {
    name: "cargo test",
    is_named: |program, words| program == "cargo" && matches!(subcommand(words), Some("test" | "t")),
    select: |_, path, name| cargo_target::select(path, name),
    keep_going: |invocation| KeepGoing::by_arguments(invocation, &["--no-fail-fast"]),
    readers: &[rust::cargo],
    format: Some(ReportFormat::CargoTest),
    ..RunnerRow::UNKNOWN
};
