//! The command line: a file for each command. A contract: others script against it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "demo")]
use crate::demo::runner::REPOSITORY;
#[cfg(feature = "demo")]
use crate::demo::scenario::{SCENARIOS, Scenario};
use crate::domain::AllowedHost;
use crate::sandbox::{CacheLimits, Sandbox};
#[cfg(feature = "demo")]
use mendwright_emulator::github::{EmulatorSeed, SeedIssue};

mod common_args;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod detect;
mod detect_try;
mod doctor;
#[cfg(feature = "demo")]
mod emulate;
mod evaluate;
mod exit_code;
mod fix;
mod guide;
mod reference;
mod replay;
mod sandbox;
mod serve;
mod transcript;
mod verify;

pub use guide::{Chapter, chapters};
pub use reference::command_line_page;

/// Turn a labelled issue into a draft pull request with evidence, or into an honest escalation
#[derive(Debug, Parser)]
#[command(name = "mendwright", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "demo")]
    Demo(demo::DemoArguments),
    Serve(serve::ServeArguments),
    Doctor(doctor::DoctorArguments),
    Config(config::ConfigArguments),
    Fix(Box<fix::FixArguments>),
    Detect(detect::DetectArguments),
    Transcript(transcript::TranscriptArguments),
    Verify(verify::VerifyArguments),
    Replay(replay::ReplayArguments),
    Evaluate(Box<evaluate::EvaluateArguments>),
    #[cfg(feature = "demo")]
    Emulate(emulate::EmulateArguments),
    /// Work with sandboxes
    Sandbox {
        #[command(subcommand)]
        command: SandboxCommand,
    },
    Guide(guide::GuideArguments),
}

#[derive(Debug, Subcommand)]
enum SandboxCommand {
    Run(sandbox::RunArguments),
}

/// Remove what earlier sandboxes left behind, and keep the caches within their limits. If that fails, the
/// next command tries again.
async fn clean_up(sandbox: &dyn Sandbox) {
    if let Err(error) = sandbox.sweep().await {
        tracing::warn!(%error, "leftovers of earlier sandboxes could not be removed");
    }
    if let Err(error) = sandbox.evict(&CacheLimits::default()).await {
        tracing::warn!(%error, "the setup cache could not be reduced to its limits");
    }
}

/// Parse the value of `--allow`.
fn allowed_host(text: &str) -> Result<AllowedHost, String> {
    AllowedHost::parse(text).map_err(|problem| format!("it {problem}"))
}

/// Run the command line. Errors go to standard error with every cause, and the exit code is then 1.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("mendwright: no runtime can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(Box::pin(run(arguments.command)));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match result {
        Ok(code) => ExitCode::from(u8::try_from(code.clamp(0, 255)).unwrap_or(1)),
        Err(error) => {
            eprintln!("mendwright: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the emulator contains at the start of each scenario.
#[cfg(feature = "demo")]
fn scenario_seeds() -> Vec<EmulatorSeed> {
    let seed = |scenario: &Scenario| EmulatorSeed {
        name: scenario.name.to_owned(),
        repository: REPOSITORY.to_owned(),
        files: scenario.files(),
        issues: vec![SeedIssue {
            title: scenario.issue_title.to_owned(),
            body: scenario.issue_body.to_owned(),
            author: "octo-reader".to_owned(),
        }],
    };
    SCENARIOS.iter().map(seed).collect()
}

async fn run(command: Command) -> anyhow::Result<i32> {
    match command {
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Doctor(arguments) => doctor::run(arguments).await,
        Command::Config(arguments) => config::run(&arguments),
        Command::Fix(arguments) => fix::run(*arguments).await,
        Command::Detect(arguments) => detect::run(&arguments).await,
        Command::Transcript(arguments) => transcript::run(arguments).await,
        Command::Verify(arguments) => verify::run(arguments).await,
        Command::Replay(arguments) => replay::run(arguments).await,
        Command::Evaluate(arguments) => evaluate::run(*arguments).await,
        #[cfg(feature = "demo")]
        Command::Emulate(arguments) => {
            emulate::run(arguments, &scenario_seeds()).await?;
            Ok(0)
        }
        Command::Sandbox { command: SandboxCommand::Run(arguments) } => sandbox::run(arguments).await,
        Command::Guide(arguments) => guide::run(&arguments),
    }
}
