//! The command line: subcommands, and nothing else. A contract: others script against it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::AllowedHost;
#[cfg(feature = "demo")]
use crate::demo::runner::REPOSITORY;
#[cfg(feature = "demo")]
use crate::demo::scenario::{SCENARIOS, Scenario};
use crate::sandbox::{CacheLimits, Sandbox};
#[cfg(feature = "demo")]
use mendwright_emulator::github::{EmulatorSeed, SeedIssue};

#[cfg(feature = "demo")]
mod demo;
mod detect;
mod doctor;
#[cfg(feature = "demo")]
mod emulate;
mod evaluate;
mod fix;
mod given;
mod replay;
mod sandbox;
mod serve;
mod transcript;
mod verify;

/// A labelled issue becomes a draft pull request with evidence, or an honest escalation.
#[derive(Debug, Parser)]
#[command(name = "mendwright", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the whole thing on loopback: no GitHub, no Docker, no key.
    #[cfg(feature = "demo")]
    Demo(demo::DemoArguments),
    /// Runs the service.
    Serve(serve::ServeArguments),
    /// Says what works, what does not, and what to do about it.
    Doctor(doctor::DoctorArguments),
    /// Fixes one issue in a local repository, without GitHub.
    Fix(Box<fix::FixArguments>),
    /// Says what a repository's tests need, and where that is written.
    Detect(detect::DetectArguments),
    /// Shows what happened in a job.
    Transcript(transcript::TranscriptArguments),
    /// Says whether a proposal's manifest, and the verdict in it, still hold.
    Verify(verify::VerifyArguments),
    /// Does a recorded job again, with the model's recorded answers.
    Replay(replay::ReplayArguments),
    /// Says how often it is right: on known issues, or on a repository's own past fixes.
    Evaluate(Box<evaluate::EvaluateArguments>),
    /// The emulated GitHub alone, as a process of its own.
    #[cfg(feature = "demo")]
    Emulate(emulate::EmulateArguments),
    /// What jobs run in.
    Sandbox {
        #[command(subcommand)]
        command: SandboxCommand,
    },
}

#[derive(Debug, Subcommand)]
enum SandboxCommand {
    /// Runs a command in a sandbox: what a job's command would see.
    Run(sandbox::RunArguments),
}

/// Holds what sandboxes keep between two uses by hand to its bounds. Best effort: the next one tries
/// again.
async fn tidy_by_hand(sandbox: &dyn Sandbox) {
    if let Err(error) = sandbox.sweep().await {
        tracing::warn!(%error, "what earlier sandboxes left behind could not be removed");
    }
    if let Err(error) = sandbox.evict(&CacheLimits::default()).await {
        tracing::warn!(%error, "what is kept for the next time could not be evicted");
    }
}

/// What `--allow` is given.
fn allowed_host(text: &str) -> Result<AllowedHost, String> {
    AllowedHost::parse(text).map_err(|problem| format!("it {problem}"))
}

/// Runs the command line. Errors go to standard error with every cause, and make exit code 1.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("mendwright: no runtime can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(Box::pin(run(arguments.command)));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match ended {
        Ok(code) => ExitCode::from(u8::try_from(code.clamp(0, 255)).unwrap_or(1)),
        Err(error) => {
            eprintln!("mendwright: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "demo")]
/// The scenarios as the emulator begins with them.
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
        Command::Fix(arguments) => fix::run(*arguments).await,
        Command::Detect(arguments) => detect::run(&arguments),
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
    }
}
