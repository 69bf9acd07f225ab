//! Runs the instances, several at a time: a job each, then its own tests on the proposal, in a fresh
//! sandbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::state::Subject;
use super::{Instance, InstanceResult, InstanceVerdict, State, judge_run};
use crate::domain::{IssueNumber, IssueSnapshot, JobOutcome, Sha, TestRun, Transcript};
use crate::worker::local::{LocalContext, LocalJob, LocalResult, LocalTask};
use crate::worker::rerun;
use crate::workspace::{LocalRepository, Workspace};

/// The name of the base branch in a job's own repository.
const BASE: &str = "base";

/// An evaluation.
pub struct Evaluation {
    /// The issues.
    pub instances: Vec<Instance>,
    /// Their repositories, by the instances' `repo`. Only read.
    pub repositories: HashMap<String, LocalRepository>,
    /// The context of their jobs.
    pub parts: LocalContext,
    /// How many run at a time.
    pub jobs: usize,
}

impl Evaluation {
    /// Identifies what the results belong to.
    pub fn subject(&self, model: &str) -> Subject {
        let mut hash = Sha256::new();
        for instance in &self.instances {
            hash.update(serde_json::to_string(instance).expect("an instance has only string keys"));
            hash.update("\n");
        }
        Subject { model: model.to_owned(), instances: hex::encode(hash.finalize()) }
    }
}

/// Works on every instance without a result in `state`, and returns all results in the instances' order.
/// `on_result` is called with each new result. `None`: `stop` was cancelled; finished results are recorded,
/// and unfinished jobs continue next time.
///
/// # Errors
/// A result cannot be recorded.
pub async fn evaluate(
    evaluation: Evaluation,
    state: Arc<State>,
    stop: &CancellationToken,
    mut on_result: impl FnMut(&InstanceResult),
) -> anyhow::Result<Option<Vec<InstanceResult>>> {
    let places = Arc::new(Semaphore::new(evaluation.jobs.max(1)));
    let mut running = JoinSet::new();
    let mut results: HashMap<String, InstanceResult> = HashMap::new();
    let order: Vec<String> =
        evaluation.instances.iter().map(|instance| instance.instance_id.clone()).collect();
    for instance in evaluation.instances {
        if let Some(done) = state.done(&instance.instance_id) {
            results.insert(instance.instance_id.clone(), done.clone());
            continue;
        }
        let repository = evaluation.repositories.get(&instance.repo).cloned();
        let repository = repository.ok_or_else(|| anyhow!("no repository for {}", instance.repo))?;
        let (places, state, stop) = (places.clone(), state.clone(), stop.clone());
        let parts = evaluation.parts.clone();
        running.spawn(async move {
            let _place = places.acquire_owned().await?;
            if stop.is_cancelled() {
                return Ok(None);
            }
            evaluate_instance(&instance, &repository, &parts, &state, &stop).await
        });
    }
    let mut stopped = false;
    while let Some(ended) = running.join_next().await {
        match ended.map_err(|error| anyhow!(error))?? {
            Some(result) => {
                state.record(&result)?;
                on_result(&result);
                results.insert(result.instance_id.clone(), result);
            }
            None => stopped = true,
        }
    }
    Ok((!stopped).then(|| order.iter().filter_map(|id| results.remove(id)).collect()))
}

/// Works on one instance, from where it was left. An error of the instance is its result.
async fn evaluate_instance(
    instance: &Instance,
    repository: &LocalRepository,
    parts: &LocalContext,
    state: &State,
    stop: &CancellationToken,
) -> anyhow::Result<Option<InstanceResult>> {
    let directory = state.job_directory(&instance.instance_id)?;
    let own = directory.join("remote.git");
    let clone_sharing_objects =
        LocalRepository::clone_sharing_objects(&repository.git_dir, &own, BASE, &instance.base_commit)?;
    let work = LocalTask {
        issue: issue(instance)?,
        name: "local/repository".parse()?,
        repository: clone_sharing_objects,
        base: BASE.to_owned(),
    };
    let local = LocalJob::open(&directory, work).await?;
    let mut parts = parts.clone();
    // The setup cache is shared by all instances of a repository.
    parts.bench.policy.setup.repository = Some(repository.git_dir.display().to_string());
    let Some(end) = local.run(&parts, stop, |_| {}).await? else { return Ok(None) };
    let judging = Instant::now();
    let mut result = job_result(instance, &end);
    if let Some(JobOutcome::Proposed { head, .. }) = &end.job.outcome {
        let workspace = local.workspace(&instance.base_commit).await?;
        match judged(instance, &workspace, head, Transcript::new(&end.transcript), &parts).await {
            Ok((patch, judged)) => {
                result.resolved = judged.is_solved();
                result.judged = Some(judged);
                result.model_patch = patch;
            }
            Err(error) => {
                result.outcome = "failed".to_owned();
                result.reason = Some(format!("the proposal could not be judged: {error:#}"));
            }
        }
    }
    result.seconds += judging.elapsed().as_secs_f64();
    result.seconds = (result.seconds * 1e3).round() / 1e3;
    Ok(Some(result))
}

fn issue(instance: &Instance) -> anyhow::Result<IssueSnapshot> {
    let text = instance.problem_statement.trim();
    let (title, body) = text.split_once('\n').unwrap_or((text, ""));
    Ok(IssueSnapshot {
        number: IssueNumber::LOCAL,
        title: title.trim_start_matches('#').trim().to_owned(),
        body: body.trim().to_owned(),
        author: "local".parse()?,
        labels: vec!["agent-fix".into()],
    })
}

/// The part of the result that the job determines.
fn job_result(instance: &Instance, end: &LocalResult) -> InstanceResult {
    let spend = Transcript::new(&end.transcript).spend();
    let (outcome, reason) = match &end.job.outcome {
        Some(JobOutcome::Proposed { .. }) => ("proposed", None),
        // A local job never awaits approval.
        Some(JobOutcome::Held { .. }) => ("failed", Some("the change is held back".to_owned())),
        Some(JobOutcome::Escalated { reason }) => ("escalated", Some(reason.name().to_owned())),
        Some(JobOutcome::Cancelled { why }) => ("cancelled", Some(why.clone())),
        Some(JobOutcome::Failed { why }) => ("failed", Some(why.clone())),
        None => ("failed", Some("the job has no outcome".to_owned())),
    };
    let took: SignedDuration = end.job.updated_at.duration_since(end.job.created_at);
    InstanceResult {
        instance_id: instance.instance_id.clone(),
        outcome: outcome.to_owned(),
        reason,
        resolved: false,
        judged: None,
        turns: spend.turns,
        tool_calls: spend.tool_calls,
        tokens: spend.usage.total(),
        cost_usd: spend.usd.map(|usd| (usd * 1e6).round() / 1e6),
        seconds: took.as_secs_f64(),
        model_patch: String::new(),
    }
}

/// The proposal as a diff, and the verdict of the instance's tests.
async fn judged(
    instance: &Instance,
    workspace: &Workspace,
    head: &Sha,
    transcript: Transcript<'_>,
    parts: &LocalContext,
) -> anyhow::Result<(String, InstanceVerdict)> {
    let commit = workspace.find_commit(head).await?.ok_or_else(|| anyhow!("the commit {head} is gone"))?;
    let patch = workspace.full_patch(&commit.tree).await?;
    let tree = with_tests(instance, workspace, &commit.tree).await?;
    let run = run_at(workspace, transcript, parts, &tree).await?;
    Ok((patch, judge_run(instance, &run)))
}

/// The proposal with the instance's tests: the proposal's changes to files that the test patch touches do
/// not count.
async fn with_tests(instance: &Instance, workspace: &Workspace, proposed: &Sha) -> anyhow::Result<Sha> {
    let base = workspace.base_tree().await?;
    let tests = workspace.apply_patch(&base, &instance.test_patch).await?;
    let tests = workspace.changes_in(&tests).await?;
    let mut changes = workspace.changes_in(proposed).await?;
    changes.retain(|change| tests.iter().all(|test| test.path != change.path));
    changes.extend(tests);
    Ok(workspace.propose(changes).await?.tree)
}

/// Runs the suite at a tree with the job's settings.
async fn run_at(
    workspace: &Workspace,
    transcript: Transcript<'_>,
    parts: &LocalContext,
    tree: &Sha,
) -> anyhow::Result<TestRun> {
    let base = transcript.base().ok_or_else(|| anyhow!("the job has no settings"))?;
    rerun(&parts.bench, workspace.clone(), base.settings, tree).await.map(|ran| ran.run)
}
