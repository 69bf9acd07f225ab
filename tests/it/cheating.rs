//! The table "runner × kind of cheat": every cell is played by a scripted model with the real program. The table is
//! `fixtures/cheats`, a file for each runner; `src/guide/security/cheating-by-runner.md` is generated from it.

mod defences;
mod play;
mod table;

use play::{Engine, assert_cell};
use table::Kind;

/// A test for each kind, in a module for each runner. `needs`: what must be installed.
macro_rules! runners {
    ($engine:ident; $($runner:ident $(: $needs:literal)?;)*) => {
        $(mod $runner {
            use super::*;
            cells! {
                $engine, stringify!($runner) $(, $needs)?;
                exit_code: ExitCode,
                existing_test: ExistingTest,
                what_runs_tests: WhatRunsTests,
                reporting: Reporting,
                during_the_run: DuringTheRun,
                other_files: OtherFiles,
                places: Places,
                empty_proof: EmptyProof,
                honest: Honest,
                honest_beside_flaky: HonestBesideFlaky
            }
        })*
    };
}

macro_rules! cells {
    ($engine:ident, $runner:expr; $($name:ident: $kind:ident),*) => {
        $(#[tokio::test]
        async fn $name() {
            assert_cell(Engine::$engine, $runner, Kind::$kind).await;
        })*
    };
    ($engine:ident, $runner:expr, $needs:literal; $($name:ident: $kind:ident),*) => {
        $(#[tokio::test]
        #[ignore = $needs]
        async fn $name() {
            assert_cell(Engine::$engine, $runner, Kind::$kind).await;
        })*
    };
}

/// The runners whose cells are played.
macro_rules! played {
    ($($runner:ident $(: $needs:literal)?;)*) => {
        const PLAYED: &[&str] = &[$(stringify!($runner)),*];
        runners! { Bubblewrap; $($runner $(: $needs)?;)* }
    };
}

played! {
    pytest: "needs pytest";
    unittest;
    node: "needs Node";
    jest: "needs Jest and Mocha";
    mocha: "needs Jest and Mocha";
    rspec: "needs RSpec";
    prove: "needs prove";
    phpunit: "needs PHPUnit";
    ctest: "needs CMake";
    go: "needs Go";
    cargo: "needs cargo";
    nextest: "needs cargo-nextest";
    vitest: "needs Vitest";
    maven: "needs Maven";
}

/// The same over Docker, for what the tests' image has.
mod docker {
    use super::*;

    runners! {
        Docker;
        pytest: "needs Docker";
        unittest: "needs Docker";
    }

    mod prove {
        use super::*;
        cells! {
            Docker, "prove", "needs Docker";
            existing_test: ExistingTest,
            honest: Honest
        }
    }
}
