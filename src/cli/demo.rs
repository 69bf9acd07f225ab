//! `mendwright demo`: plays a scenario with everything on loopback.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use crate::demo::runner::{ScenarioOptions, run_scenario};
use crate::demo::scenario::{SCENARIOS, Scenario};
use crate::domain::{ModelProvider, SandboxKind};
use crate::telemetry;

/// Demonstrate Mendwright locally: no GitHub, no Docker, no key
///
/// Plays a scenario with a scripted model and an emulated GitHub on loopback. Exit code 0: it ended as it
/// should.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  mendwright demo --scenario lying-model --keep /tmp/story --json")]
pub struct DemoArguments {
    /// The scenario: fix, proof, lying-model, budget or hostile
    #[arg(long, default_value = "fix")]
    scenario: String,
    /// The sandbox backend
    #[arg(long, value_name = "KIND", value_enum, default_value = "bubblewrap")]
    sandbox: SandboxKind,
    /// The wire format of the scripted model
    #[arg(long, value_enum, default_value = "anthropic")]
    provider: ModelProvider,
    /// Keep repository, store, configuration and transcript in this new directory
    ///
    /// Without it, they are in a temporary directory, which the last lines name.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Record each exchange with the emulated GitHub in this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print one JSON object on standard output, and everything else on standard error
    #[arg(long)]
    json: bool,
}

/// Run the command. Returns the exit code.
pub(super) async fn run(arguments: DemoArguments) -> anyhow::Result<i32> {
    let Some(scenario) = Scenario::by_name(&arguments.scenario) else {
        let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        bail!("unknown scenario {:?}; the scenarios are {}", arguments.scenario, known.join(", "));
    };
    // The output shows what happens; the log shows warnings only.
    telemetry::init(Some("warn"), telemetry::LogFormat::Human)?;
    let directory = match arguments.keep {
        Some(directory) => std::path::absolute(directory)?,
        None => tempfile::Builder::new()
            .prefix("mendwright-demo-")
            .tempdir()
            .context("a temporary directory cannot be created")?
            .keep(),
    };
    let to_stderr = arguments.json;
    let mut say = move |line: &str| print_line(to_stderr, line);
    say(&format!("Mendwright demo, scenario {}: {}\n", scenario.name, scenario.about));
    let options = ScenarioOptions {
        scenario,
        directory: directory.clone(),
        record: arguments.record,
        sandbox: arguments.sandbox.name().to_owned(),
        provider: arguments.provider,
    };
    let end = run_scenario(&options, &mut say).await?;
    say(&format!("\n{}", end.pages.trim_end()));
    say("\n── result");
    say(&format!("outcome     {}{}", end.report.outcome, reason(end.report.reason.as_deref())));
    say(&format!(
        "spent       {} turns, {} tool calls, {}, {:.1} s",
        end.report.turns,
        end.report.tool_calls,
        dollars(end.report.cost_usd),
        end.report.seconds
    ));
    say(&format!("repository  git -C {} log --oneline --all --graph", end.git_dir.display()));
    say(&format!("transcript  {}", end.transcript.display()));
    say(&format!("kept in     {} (remove it when you like)", directory.display()));
    for failure in &end.failures {
        eprintln!("failed expectation: {failure}");
    }
    if end.failures.is_empty() {
        say(&format!("\nThe scenario {} ended as it should.", scenario.name));
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&end)?);
    }
    Ok(i32::from(!end.failures.is_empty()))
}

fn print_line(to_stderr: bool, line: &str) {
    // A reader that went away is no reason to stop the story.
    let _ = match to_stderr {
        true => writeln!(std::io::stderr(), "{line}"),
        false => writeln!(std::io::stdout(), "{line}"),
    };
}

fn reason(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

fn dollars(usd: Option<f64>) -> String {
    usd.map_or_else(|| "price unknown".to_owned(), |usd| format!("${usd:.4}"))
}
