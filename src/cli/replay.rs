//! `mendwright replay`: a recorded job done again, with the model's recorded answers.

use std::path::PathBuf;

use clap::Args;

use super::given::SandboxArguments;
use crate::audit::replay;
use crate::domain::Budget;
use crate::publish::console_line;
use crate::recording::Recording;
use crate::telemetry;
use crate::worker::SettingsOverride;

/// Does a recorded job again: fresh sandboxes, the real agent loop, and the model's answers from the
/// transcript. Publishes nothing. Exit code 0: everything happened as recorded; 3: it diverged, and
/// where is said; 1: it could not be done.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  mendwright replay transcript.jsonl --repo .\n\n\
    Compared, in order: each run of the suite (how it ended, which tests failed), each result of a tool, what else\n\
    the model is told, plan, files and verdicts. Lines of test output may come in any order. Before that, points in\n\
    time, durations, temporary paths, process and thread ids, addresses and local ports are taken out.")]
pub struct ReplayArguments {
    /// The transcript, as `transcript --json` or `fix` writes it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The repository with the base commit. It is only read.
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// Ends with one line of JSON on standard output: turns, turns_recorded, rounds_left_out, same,
    /// divergence.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sandbox: SandboxArguments,
}

/// Runs the command. Answers with the exit code.
pub(super) async fn run(arguments: ReplayArguments) -> anyhow::Result<i32> {
    telemetry::init(Some("error"), Some(telemetry::LineFormat::Human))?;
    let recording = Recording::load(&arguments.file)?;
    let repository = std::path::absolute(&arguments.repo)?;
    let kept_under = repository.display().to_string();
    let policy = arguments.sandbox.policy(kept_under, Budget::default(), SettingsOverride::default());
    let tell = |recorded: &crate::domain::RecordedEvent| {
        if let Some(line) = console_line(&recorded.event) {
            eprintln!("  {} {line}", recorded.at.strftime("%H:%M:%S"));
        }
    };
    let replayed = replay(&recording, &repository, arguments.sandbox.connect()?, &policy, tell).await?;
    eprintln!();
    if arguments.json {
        println!("{}", serde_json::to_string(&replayed)?);
    } else {
        let (turns, recorded) = (replayed.turns, replayed.turns_recorded);
        println!(
            "{turns} of {recorded} recorded turns were done again; {} steps are the same.",
            replayed.same
        );
        if replayed.rounds_left_out > 0 {
            println!(
                "Only the first round is done again: {} further rounds are left out.",
                replayed.rounds_left_out
            );
        }
        if let Some(divergence) = &replayed.divergence {
            print!("\nIt diverged (- recorded, + now) at {}", divergence.describe());
        }
    }
    Ok(if replayed.divergence.is_some() { 3 } else { 0 })
}
