//! The manifest from the transcript. Pure: the same transcript makes the same manifest, so that a
//! restarted worker arrives at the same digest, and whoever has the transcript can check it.

use std::time::Duration;

use super::{
    Allowance, CommandRun, Commit, FORMAT, Issue, Manifest, Repository, SandboxUsed, Spent, Suite,
    TranscriptDigest, VERSION, VerdictGiven, issue_digest,
};
use crate::agent::Conversation;
use crate::domain::{
    Budget, FailedTest, Job, JobSettings, PromptVersion, RecordedEvent, Sha, Spend, StoredEvent, TestRun,
    TranscriptEvent, branch_found,
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
    let last = known
        .iter()
        .rposition(|recorded| matches!(recorded.event, TranscriptEvent::VerdictReached { .. }))?;
    let through = known[last].sequence;
    let known = &known[..=last];
    let TranscriptEvent::VerdictReached { verified: true, tree, explanation, run: Some(run), proof, flags } =
        &known[last].event
    else {
        return None;
    };
    let (base, base_branch, settings) = known.iter().rev().find_map(|recorded| match &recorded.event {
        TranscriptEvent::Prepared { base, base_branch, settings } => Some((base, base_branch, settings)),
        _ => None,
    })?;
    let baseline = known.iter().rev().find_map(|recorded| match &recorded.event {
        TranscriptEvent::BaselineRun { run } => Some(run),
        _ => None,
    });
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
        base: Commit { branch: base_branch.clone(), commit: base.clone(), tree: proposed.base_tree.clone() },
        head: Commit { branch: proposed.branch.clone(), commit: proposed.head.clone(), tree: tree.clone() },
        on_top_of: branch_found(known).cloned(),
        suite: suite(settings),
        sandbox: sandbox(known),
        models: models(known),
        prompts: prompts(known),
        commands,
        commands_omitted,
        budget: allowance(&Conversation::budget(known, &settings.budget)),
        spent: spent(&Conversation::replay(known).spend),
        verdict: VerdictGiven {
            explanation: explanation.chars().take(EXPLANATION_CHARS_MAX).collect(),
            exit_code: run.result.ending.shell_code(),
            proof: proof.as_deref().map(names),
            flags: flags.clone(),
            failed_before: baseline.map(|run| names(&run.failed())).unwrap_or_default(),
            failed_after: names(&run.failed()),
        },
        transcript: TranscriptDigest { events: through, sha256: recording::digest(events, through)? },
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
        image: settings.image.clone(),
        hosts: settings.agent_hosts.clone(),
        timeout_milliseconds: milliseconds(settings.test_timeout),
        protected_paths: settings.protected_paths.clone(),
        test_paths: settings.test_paths.clone(),
        proof_required: settings.proof_required,
    }
}

fn sandbox(known: &[RecordedEvent]) -> SandboxUsed {
    let last = known.iter().rev().find_map(|recorded| match &recorded.event {
        TranscriptEvent::SandboxStarted { description, root, .. } => {
            Some(SandboxUsed { description: description.clone(), root: root.clone() })
        }
        _ => None,
    });
    last.unwrap_or_else(|| SandboxUsed { description: String::new(), root: None })
}

fn models(known: &[RecordedEvent]) -> Vec<String> {
    let mut models: Vec<String> = Vec::new();
    for recorded in known {
        if let TranscriptEvent::MessageAdded { model: Some(model), .. } = &recorded.event
            && !models.contains(model)
        {
            models.push(model.clone());
        }
    }
    models
}

/// The last ones: a restarted worker may have had others.
fn prompts(known: &[RecordedEvent]) -> Option<PromptVersion> {
    known.iter().rev().find_map(|recorded| match &recorded.event {
        TranscriptEvent::Instructed { prompts } => Some(prompts.clone()),
        _ => None,
    })
}

/// The commands in order, and how many are beyond the bound.
fn commands(known: &[RecordedEvent]) -> (Vec<CommandRun>, u64) {
    let mut commands = Vec::new();
    let ran = |purpose: &str, run: &TestRun| CommandRun {
        purpose: purpose.to_owned(),
        command: run.command.clone(),
        exit_code: run.result.ending.shell_code(),
        milliseconds: milliseconds(run.result.duration),
    };
    for recorded in known {
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
