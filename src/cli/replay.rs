//! `mendwright replay`: runs a recorded job again with the model's recorded answers.

use std::path::PathBuf;

use clap::Args;

use super::common_args::SandboxArguments;
use super::exit_code;
use crate::audit::replay;
use crate::domain::Budget;
use crate::publish::console_line;
use crate::recording::Recording;
use crate::telemetry;
use crate::worker::SettingsOverride;

/// Replay a recorded job
///
/// Uses fresh sandboxes, the real agent loop, and the model's answers from the transcript. Publishes
/// nothing. Exit code 0: everything happened as recorded; 3: it diverged, and the output says where; 1: it
/// could not be replayed.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  mendwright replay transcript.jsonl --repo .\n\n\
    These are compared, in order: each test run (its result and its failed tests), each tool result, each\n\
    message to the model, plan, files and verdicts. Lines of test output may come in any order. Timestamps,\n\
    durations, temporary paths, process and thread ids, addresses and local ports are ignored.")]
pub struct ReplayArguments {
    /// The transcript, as `transcript --json` or `fix` writes it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The repository with the base commit; it is only read
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// Print one JSON object as the last line: turns, turns_recorded, rounds_left_out, same, divergence
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sandbox: SandboxArguments,
}

/// Run the command. Returns the exit code.
pub(super) async fn run(arguments: ReplayArguments) -> anyhow::Result<i32> {
    telemetry::init(Some("error"), telemetry::LogFormat::Human)?;
    let recording = Recording::load(&arguments.file)?;
    let repository = std::path::absolute(&arguments.repo)?;
    let cache_scope = repository.display().to_string();
    let policy = arguments.sandbox.policy(cache_scope, Budget::default(), SettingsOverride::default());
    let report = |recorded: &crate::domain::RecordedEvent| {
        if let Some(line) = console_line(&recorded.event) {
            eprintln!("  {} {line}", recorded.at.strftime("%H:%M:%S"));
        }
    };
    let replayed = replay(&recording, &repository, arguments.sandbox.connect()?, &policy, report).await?;
    eprintln!();
    if arguments.json {
        println!("{}", serde_json::to_string(&replayed)?);
    } else {
        let (turns, recorded) = (replayed.turns, replayed.turns_recorded);
        println!("Replayed {turns} of {recorded} recorded turns; {} steps are the same.", replayed.same);
        if replayed.rounds_left_out > 0 {
            println!(
                "Only the first round is replayed; {} further rounds are left out.",
                replayed.rounds_left_out
            );
        }
        if let Some(divergence) = &replayed.divergence {
            print!("\nIt diverged (- recorded, + now) at {}", divergence.describe());
        }
    }
    Ok(if replayed.divergence.is_some() { exit_code::OTHER_RESULT } else { exit_code::SUCCESS })
}
