//! Runs and verdicts on a tree that exists already: baseline and verdict as in a job, in fresh sandboxes,
//! and nothing else of a job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::baseline::{first_runs, reason_unusable};
use super::context::JobPolicy;
use crate::domain::{JobSettings, RepositoryId, Sha, TestRun};
use crate::sandbox::{ResolvedRoot, Sandbox, SandboxSpec, Toolbox};
use crate::setup::{Environment, Permitted, SetupLocks, permit};
use crate::testing::run_suite_of_tree;
use crate::verdict::{Verdict, Verifier};
use crate::workspace::Workspace;

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
    let base_tree = workspace.base_tree().await?;
    let bench = TestBench { sandbox, policy: policy.clone(), setup_locks: SetupLocks::default() };
    let (environment, mut notes) = environment(&bench, workspace, settings).await?;
    let toolbox = start_fresh(&environment, &base_tree, "work").await?;
    let (baseline, note) = first_runs(&toolbox, environment.settings()).await?;
    toolbox.shut_down().await;
    notes.extend(note);
    if let Some(why) = reason_unusable(&baseline) {
        return Err(anyhow!(why));
    }
    let verifier = Verifier::new(&environment, &baseline);
    let verdict = verifier.judge(&changes, None).await?;
    let root = environment.root().clone();
    Ok(Reverification { baseline, verdict, root, notes })
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
    let (environment, _) = environment(bench, workspace, settings).await?;
    let toolbox = start_fresh(&environment, tree, "run").await?;
    let setup = started.elapsed();
    let run = run_suite_of_tree(&toolbox, environment.settings()).await;
    toolbox.shut_down().await;
    Ok(Rerun { run: run?, setup })
}

/// The environment that the policy permits, with notes on what it does not permit.
async fn environment(
    bench: &TestBench,
    workspace: Workspace,
    settings: &JobSettings,
) -> anyhow::Result<(Environment, Vec<String>)> {
    let TestBench { sandbox, policy, setup_locks } = bench;
    let spec = SandboxSpec { label: "again".to_owned(), ..policy.sandbox.clone() };
    let Permitted { settings, spec, mut notes, hint } =
        permit(settings, &policy.setup, &spec).map_err(|why| anyhow!(why))?;
    notes.extend(hint);
    let environment = Environment::of(
        sandbox.clone(),
        spec,
        workspace,
        settings,
        policy.setup.clone(),
        RepositoryId(0),
        setup_locks.clone(),
    );
    Ok((environment.await?, notes))
}

async fn start_fresh(environment: &Environment, tree: &Sha, purpose: &str) -> anyhow::Result<Toolbox> {
    match environment.fresh(tree, purpose).await? {
        Ok(toolbox) => Ok(toolbox),
        Err(failure) => Err(anyhow!(failure.describe())),
    }
}
