//! The test runners that are known: a file for each, with how a command names it, how tests are selected, how it is
//! asked for a report and told to go on, and what reads its output. How a failing test is written for it is in
//! `canary.rs`, how its reports are read in `reports`.

mod ava;
mod cargo;
mod cargo_target;
mod ctest;
mod go;
mod gradle;
mod jest;
mod maven;
mod mocha;
mod nextest;
mod node;
mod phpunit;
mod prove;
mod pytest;
mod row;
mod rspec;
mod title;
mod unittest;
mod vitest;

pub(super) use row::RunnerRow;

/// A test runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runner {
    Pytest,
    Unittest,
    Cargo,
    Nextest,
    Go,
    Node,
    Jest,
    Vitest,
    Mocha,
    Ava,
    Rspec,
    Phpunit,
    Ctest,
    Prove,
    Maven,
    Gradle,
}

impl Runner {
    /// All of them, in the order in which they are looked for.
    pub(super) const ALL: [Self; 16] = [
        Self::Pytest,
        Self::Unittest,
        Self::Cargo,
        Self::Nextest,
        Self::Go,
        Self::Node,
        Self::Jest,
        Self::Vitest,
        Self::Mocha,
        Self::Ava,
        Self::Rspec,
        Self::Phpunit,
        Self::Ctest,
        Self::Prove,
        Self::Maven,
        Self::Gradle,
    ];

    /// What is known about it.
    pub(super) fn row(self) -> &'static RunnerRow {
        match self {
            Self::Pytest => &pytest::ROW,
            Self::Unittest => &unittest::ROW,
            Self::Cargo => &cargo::ROW,
            Self::Nextest => &nextest::ROW,
            Self::Go => &go::ROW,
            Self::Node => &node::ROW,
            Self::Jest => &jest::ROW,
            Self::Vitest => &vitest::ROW,
            Self::Mocha => &mocha::ROW,
            Self::Ava => &ava::ROW,
            Self::Rspec => &rspec::ROW,
            Self::Phpunit => &phpunit::ROW,
            Self::Ctest => &ctest::ROW,
            Self::Prove => &prove::ROW,
            Self::Maven => &maven::ROW,
            Self::Gradle => &gradle::ROW,
        }
    }
}
