//! Runs and verdicts on a tree that exists already: baseline and verdict as in a job, in fresh sandboxes,
//! and nothing else of a job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use async_trait::async_trait;
use parking_lot::Mutex;

use super::context::JobPolicy;
use super::plans::{EventRecorder, PlanTrial, ReadyPlan, TrialError, try_plans};
use crate::domain::{JobSettings, PlanResult, RepositoryId, Sha, TestRun, TranscriptEvent};
use crate::sandbox::{ResolvedRoot, Sandbox};
use crate::setup::SetupLocks;
use crate::store::StoreError;
use crate::testing::run_suite_of_tree;
use crate::verdict::{Verdict, Verifier};
use crate::workspace::Workspace;

/// A part of the sandboxes' names.
const LABEL: &str = "again";

/// What suites are run with.
#[derive(Clone)]
pub struct TestBench {
    /// Starts the sandboxes.
    pub sandbox: Arc<dyn Sandbox>,
    /// The policy of the person at the keyboard.
    pub policy: JobPolicy,
    /// The setups that are being run in this process.
    pub setup_locks: SetupLocks,
}

/// A repeated verdict.
#[derive(Debug)]
pub struct Reverification {
    /// The suite before the change.
    pub baseline: TestRun,
    /// The verdict.
    pub verdict: Verdict,
    /// The root file system of its sandboxes.
    pub root: ResolvedRoot,
    /// What the repository asks for and did not get here.
    pub notes: Vec<String>,
}

/// Verifies `tree` against the base of `workspace`.
///
/// # Errors
/// This machine cannot give a verdict: there is no sandbox, the setup fails, the suite does not run at the
/// base, or the tree cannot be a proposal.
pub async fn reverify(
    sandbox: Arc<dyn Sandbox>,
    policy: &JobPolicy,
    workspace: Workspace,
    settings: &JobSettings,
    tree: &Sha,
) -> anyhow::Result<Reverification> {
    let changes = workspace.changes_in(tree).await?;
    let bench = TestBench { sandbox, policy: policy.clone(), setup_locks: SetupLocks::default() };
    let mut notes = Vec::new();
    let on_progress = |progress: TrialProgress<'_>| {
        if let TrialProgress::Event(TranscriptEvent::Note { text }) = progress {
            notes.push(text.clone());
        }
    };
    let ready = first_usable(&bench, &workspace, vec![settings.clone()], on_progress).await?;
    let ReadyPlan { environment, toolbox, baseline, .. } = ready.map_err(|why| anyhow!(why))?;
    toolbox.shut_down().await;
    let verifier = Verifier::new(&environment, &baseline);
    let verdict = verifier.judge(&changes, None).await?;
    let root = environment.root().clone();
    Ok(Reverification { baseline, verdict, root, notes })
}

/// What happens while plans are tried.
#[derive(Debug, Clone, Copy)]
pub enum TrialProgress<'p> {
    /// A plan is tried now.
    Begins(&'p JobSettings),
    /// Something that a job would record.
    Event(&'p TranscriptEvent),
}

/// A plan that was tried and can be used.
#[derive(Debug)]
pub struct UsablePlan {
    /// Its settings.
    pub settings: JobSettings,
    /// What it was, and what it showed.
    pub result: PlanResult,
    /// The suite at the base.
    pub baseline: TestRun,
}

/// Tries the plans of the workspace's base commit as a job does. The inner `Err` says why none can be used.
///
/// # Errors
/// This machine cannot try them: there is no sandbox.
pub async fn usable_plan(
    bench: &TestBench,
    workspace: &Workspace,
    plans: Vec<JobSettings>,
    on_progress: impl FnMut(TrialProgress<'_>) + Send,
) -> anyhow::Result<Result<UsablePlan, String>> {
    let ready = first_usable(bench, workspace, plans, on_progress).await?;
    let Ok(ReadyPlan { toolbox, baseline, plan, result, .. }) = ready else {
        return Ok(Err(ready.err().unwrap_or_default()));
    };
    toolbox.shut_down().await;
    Ok(Ok(UsablePlan { settings: plan, result, baseline }))
}

async fn first_usable(
    bench: &TestBench,
    workspace: &Workspace,
    plans: Vec<JobSettings>,
    on_progress: impl FnMut(TrialProgress<'_>) + Send,
) -> anyhow::Result<Result<ReadyPlan, String>> {
    let trial = PlanTrial {
        sandbox: &bench.sandbox,
        policy: &bench.policy,
        setup_locks: &bench.setup_locks,
        workspace,
        repository: RepositoryId::LOCAL,
        label: LABEL.to_owned(),
        // An audit does not rest on what a job left.
        uses_kept_builds: false,
    };
    match Box::pin(try_plans(&trial, plans, &Observer(Mutex::new(on_progress)))).await {
        Ok(ready) => Ok(Ok(ready)),
        Err(TrialError::NoneUsable { why, .. }) => Ok(Err(why)),
        Err(TrialError::Suite(error)) => Err(error.into()),
        Err(TrialError::Record(error)) => Err(error.into()),
    }
}

/// Passes the events of a trial on.
struct Observer<F>(Mutex<F>);

#[async_trait]
impl<F: FnMut(TrialProgress<'_>) + Send> EventRecorder for Observer<F> {
    async fn record(&self, events: Vec<TranscriptEvent>) -> Result<(), StoreError> {
        let mut on_progress = self.0.lock();
        events.iter().for_each(|event| on_progress(TrialProgress::Event(event)));
        Ok(())
    }

    fn begin(&self, plan: &JobSettings) {
        (self.0.lock())(TrialProgress::Begins(plan));
    }
}

/// A run of the suite.
#[derive(Debug)]
pub struct Rerun {
    /// The run.
    pub run: TestRun,
    /// How long it took to start the sandbox, setup included.
    pub setup: Duration,
}

/// Runs the suite at `tree` in a fresh sandbox.
///
/// # Errors
/// There is no sandbox, or the setup fails.
pub async fn rerun(
    bench: &TestBench,
    workspace: Workspace,
    settings: &JobSettings,
    tree: &Sha,
) -> anyhow::Result<Rerun> {
    let started = Instant::now();
    let TestBench { sandbox, policy, setup_locks } = bench;
    let trial = PlanTrial {
        sandbox,
        policy,
        setup_locks,
        workspace: &workspace,
        repository: RepositoryId::LOCAL,
        label: LABEL.to_owned(),
        // An audit does not rest on what a job left.
        uses_kept_builds: false,
    };
    let permitted = trial.permit(settings).map_err(|why| anyhow!(why))?;
    let environment = trial.environment(&permitted).await?;
    let toolbox = match environment.fresh(tree, "run").await? {
        Ok(toolbox) => toolbox,
        Err(failure) => return Err(anyhow!(failure.describe())),
    };
    let setup = started.elapsed();
    let run = run_suite_of_tree(&toolbox, environment.settings()).await;
    toolbox.shut_down().await;
    Ok(Rerun { run: run?, setup })
}
