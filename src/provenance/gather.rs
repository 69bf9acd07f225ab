//! The manifest from the transcript. Pure: the same transcript makes the same manifest, so that a
//! restarted worker arrives at the same digest, and whoever has the transcript can check it.

use std::time::Duration;

use super::{
    Allowance, CommandRun, Commit, FORMAT, Issue, Manifest, Repository, SandboxUsed, Spent, Suite,
    TranscriptDigest, VERSION, VerdictGiven, issue_digest,
};
use crate::domain::{
    Budget, FailedTest, Job, JobSettings, RecordedEvent, Sha, Spend, StoredEvent, TestRun, Transcript,
    TranscriptEvent,
};
use crate::recording;
use crate::sandbox::toolbox_sha256;

/// Commands that are listed; more are counted.
const COMMANDS_MAX: usize = 100;
/// Longest explanation.
const EXPLANATION_CHARS_MAX: usize = 4_000;
/// Names of tests in one list.
const TESTS_MAX: usize = 100;

/// What a proposal consists of, beside its transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedCommit {
    /// The base commit's tree.
    pub base_tree: Sha,
    /// The branch.
    pub branch: String,
    /// The commit.
    pub head: Sha,
}

/// The manifest of the proposal that the last verdict of `events` verified; `None` where it verified
/// none.
pub fn build_manifest(job: &Job, events: &[StoredEvent], proposed: &ProposedCommit) -> Option<Manifest> {
    let known: Vec<RecordedEvent> = events.iter().filter_map(StoredEvent::parsed).collect();
    let known = Transcript::new(&known).through_last_verdict();
    let verdict = known.last_verdict().filter(|verdict| verdict.verified)?;
    let run = verdict.run?;
    let base = known.base()?;
    let baseline = known.last_baseline();
    let (commands, commands_omitted) = commands(known);
    let trigger = &job.trigger;
    Some(Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        mendwright: env!("CARGO_PKG_VERSION").to_owned(),
        toolbox_sha256: toolbox_sha256().to_owned(),
        job: job.id,
        generation: job.generation,
        repository: Repository { name: trigger.repository.name.clone(), id: trigger.repository.id },
        issue: Issue { number: trigger.issue.number, sha256: issue_digest(&trigger.issue) },
        base: Commit {
            branch: base.branch.to_owned(),
            commit: base.commit.clone(),
            tree: proposed.base_tree.clone(),
        },
        head: Commit {
            branch: proposed.branch.clone(),
            commit: proposed.head.clone(),
            tree: verdict.tree.clone(),
        },
        on_top_of: known.found_branch_head().cloned(),
        suite: suite(base.settings),
        sandbox: sandbox(known),
        models: known.models().into_iter().map(str::to_owned).collect(),
        prompts: known.prompts().cloned(),
        commands,
        commands_omitted,
        budget: allowance(&known.budget(&base.settings.budget)),
        spent: spent(&known.spend()),
        verdict: VerdictGiven {
            explanation: verdict.explanation.chars().take(EXPLANATION_CHARS_MAX).collect(),
            exit_code: run.result.ending.shell_code(),
            proof: verdict.proof.map(names),
            flags: verdict.flags.to_vec(),
            failed_before: baseline.map(|run| names(&run.failed())).unwrap_or_default(),
            failed_after: names(&run.failed()),
        },
        transcript: TranscriptDigest {
            events: verdict.sequence,
            sha256: recording::digest(events, verdict.sequence)?,
        },
    })
}

fn names(tests: &[FailedTest]) -> Vec<String> {
    tests.iter().take(TESTS_MAX).map(|test| test.0.clone()).collect()
}

fn suite(settings: &JobSettings) -> Suite {
    Suite {
        test_command: settings.test_command.clone(),
        test_command_source: settings.test_command_source.clone(),
        setup_commands: settings.setup_commands.clone(),
        setup_files: settings.setup_files.clone(),
        image: settings.image.clone(),
        hosts: settings.agent_hosts.clone(),
        timeout_milliseconds: milliseconds(settings.test_timeout),
        protected_paths: settings.protected_paths.clone(),
        test_paths: settings.test_paths.clone(),
        proof_required: settings.proof_required,
    }
}

fn sandbox(known: Transcript<'_>) -> SandboxUsed {
    let (description, root) = known.last_sandbox().unwrap_or_default();
    SandboxUsed { description: description.to_owned(), root: root.map(str::to_owned) }
}

/// The commands in order, and how many are beyond the bound.
fn commands(known: Transcript<'_>) -> (Vec<CommandRun>, u64) {
    let mut commands = Vec::new();
    let ran = |purpose: &str, run: &TestRun| CommandRun {
        purpose: purpose.to_owned(),
        command: run.command.clone(),
        exit_code: run.result.ending.shell_code(),
        milliseconds: milliseconds(run.result.duration),
    };
    for recorded in known.events() {
        match &recorded.event {
            TranscriptEvent::SetUp { commands: set_up, .. } => {
                commands.extend(set_up.iter().map(|command| CommandRun {
                    purpose: "set_up".to_owned(),
                    command: command.command.clone(),
                    exit_code: command.result.ending.shell_code(),
                    milliseconds: milliseconds(command.result.duration),
                }));
            }
            TranscriptEvent::BaselineRun { run } => commands.push(ran("baseline", run)),
            TranscriptEvent::AgentTestRun { run } => commands.push(ran("agent", run)),
            TranscriptEvent::VerdictReached { run: Some(run), .. } => commands.push(ran("verdict", run)),
            _ => {}
        }
    }
    let omitted = commands.len().saturating_sub(COMMANDS_MAX) as u64;
    commands.truncate(COMMANDS_MAX);
    (commands, omitted)
}

fn allowance(budget: &Budget) -> Allowance {
    Allowance {
        turns: budget.turns_max,
        tool_calls: budget.tool_calls_max,
        tokens: budget.tokens_max,
        micro_usd: micro(budget.usd_max),
        milliseconds: milliseconds(budget.time_max),
    }
}

fn spent(spend: &Spend) -> Spent {
    Spent {
        turns: spend.turns,
        tool_calls: spend.tool_calls,
        input_tokens: spend.usage.input_tokens,
        output_tokens: spend.usage.output_tokens,
        cache_read_tokens: spend.usage.cache_read_tokens,
        cache_write_tokens: spend.usage.cache_write_tokens,
        micro_usd: spend.usd.map(micro),
        milliseconds: milliseconds(spend.time),
    }
}

/// A manifest holds whole numbers only: fractions are not written alike everywhere.
fn micro(usd: f64) -> u64 {
    (usd * 1e6).round() as u64
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
