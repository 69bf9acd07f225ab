//! Plays a way to cheat: a scripted model proposes it to `mendwright fix`, with the real runner in a real sandbox.

use std::net::SocketAddr;
use std::path::Path;

use mendwright::domain::{Flag, TranscriptEvent};
use mendwright::model::Provider;
use mendwright::recording::Recording;
use mendwright_emulator::model::{Conversation, EmulatedProvider};
use serde_json::{Value, json};
use tokio::process::Command;

use super::table::{Expected, Kind, Play, RunnerTable, Way};
use crate::support::{BINARY, CommandOutput, assert_no_sandbox_left, commit_files, conversation};

/// Where a way is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Bubblewrap,
    Docker,
}

/// What became of a proposal.
#[derive(Debug)]
struct Outcome {
    end: Value,
    is_verified: bool,
    explanation: String,
    flags: Vec<String>,
    proof: Vec<String>,
}

/// Plays all ways of a kind with a runner, and compares each with the table.
pub async fn assert_cell(engine: Engine, runner: &str, kind: Kind) {
    let table = RunnerTable::load(runner);
    let mut wrong = Vec::new();
    for way in table.ways_of(kind) {
        let outcome = outcome_of(engine, &table.play(way)).await;
        wrong.extend(difference(way, &outcome));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// How an outcome differs from what the table says.
fn difference(way: &Way, outcome: &Outcome) -> Option<String> {
    let is_expected = match way.expected() {
        Expected::Refused(text) => {
            !outcome.is_verified
                && outcome.end["outcome"] == "escalated"
                && outcome.explanation.contains(text)
        }
        Expected::Proposed(flags) => {
            outcome.is_verified && outcome.end["outcome"] == "proposed" && outcome.flags == flags
        }
    };
    let is_proved = way.proof().is_none_or(|proof| outcome.proof == proof);
    let is_explained = way.says().iter().all(|text| outcome.explanation.contains(text));
    (!is_expected || !is_proved || !is_explained)
        .then(|| format!("{}\nexpected {:?}\nfound {outcome:#?}", way.does, way.expected()))
}

/// Makes the repository of a play, with its configuration.
fn commit(play: &Play, at: &Path) {
    let configuration = json!({
        "test": play.command, "setup": play.setup, "mutants": play.mutants,
    });
    let configuration = configuration.to_string();
    let files = play.base.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    commit_files(at, files.chain([(".github/agent-fix.yml", configuration.as_str())]));
}

async fn outcome_of(engine: Engine, play: &Play) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let repository = directory.path().join("repository");
    commit(play, &repository);
    let issue = directory.path().join("issue.md");
    std::fs::write(&issue, "# The sum is wrong\n\nIt subtracts.\n").unwrap();
    let mut script = conversation().turn("I write.");
    for (path, text) in &play.writes {
        script = script.write(path, text);
    }
    for path in &play.deletes {
        script = script.call("delete_file", json!({"path": path}));
    }
    let script =
        script.turn("Done.").finish("All tests pass. VERIFIED.").with("afterwards", json!("repeat_last"));
    let conversation = Conversation::from_json(&script.text()).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let provider = EmulatedProvider::start(any_port, conversation).await.unwrap();
    let mut command = Command::new(BINARY);
    command
        .args(["fix", "--json", "--provider", "openai", "--model", "scripted-1"])
        .arg("--repo")
        .arg(&repository)
        .arg("--issue")
        .arg(&issue)
        .arg("--model-url")
        .arg(provider.url_for(Provider::OpenAi).as_str())
        .env("MENDWRIGHT_MODEL_API_KEY", "sk-story")
        .env("XDG_CACHE_HOME", directory.path().join("cache"))
        .env("TMPDIR", directory.path());
    if engine == Engine::Docker {
        command.args(["--sandbox", "docker", "--image", "mendwright-test:2"]);
    }
    let output = CommandOutput::of(&mut command).await;
    assert!(matches!(output.code, Some(0 | 3)), "{}\n{}", output.out, output.err);
    assert_eq!(provider.violations(), [""; 0]);
    provider.shut_down().await;
    let end = output.last_json();
    let recording = Recording::load(Path::new(end["transcript"].as_str().unwrap())).unwrap();
    let events = recording.known_events();
    let verdict = events.into_iter().rev().find_map(|recorded| match recorded.event {
        TranscriptEvent::VerdictReached { verified, explanation, proof, flags, .. } => Some(Outcome {
            end: end.clone(),
            is_verified: verified,
            explanation,
            flags: flags.iter().map(Flag::describe).collect(),
            proof: proof.unwrap_or_default().into_iter().map(|test| test.0).collect(),
        }),
        _ => None,
    });
    assert_no_sandbox_left(directory.path());
    verdict.unwrap_or_else(|| panic!("no verdict: {}\n{}", output.out, output.err))
}
