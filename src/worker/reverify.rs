//! A verdict given again, on a tree that is there already: baseline and judge as in a job, in fresh
//! sandboxes, and nothing else of a job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::local::TestBench;
use super::preparation::{first_runs, unusable};
use super::{JobError, JobPolicy};
use crate::domain::{JobSettings, RepositoryId, Sha, TestRun};
use crate::sandbox::{ResolvedRoot, Sandbox, SandboxSpec};
use crate::setup::{Environment, SetupLocks};
use crate::setup::{Permitted, permit};
use crate::testing::run_suite;
use crate::verdict::{Verdict, Verifier};
use crate::workspace::Workspace;

/// A verdict given again.
#[derive(Debug)]
pub struct Reverification {
    /// The suite before the change.
    pub baseline: TestRun,
    /// The verdict.
    pub verdict: Verdict,
    /// The root file system that it was given in.
    pub root: ResolvedRoot,
    /// Of what the repository asks for, what it did not get here.
    pub notes: Vec<String>,
}

/// Judges `tree` against the base of `workspace`.
///
/// # Errors
/// There is no verdict to be had on this machine: no sandbox, no set-up, a suite that does not run
/// at the base, a tree that no proposal can be.
pub async fn reverify(
    sandbox: Arc<dyn Sandbox>,
    policy: &JobPolicy,
    workspace: Workspace,
    settings: &JobSettings,
    tree: &Sha,
) -> anyhow::Result<Reverification> {
    let changes = workspace.changes_in(tree).await?;
    let base_tree = workspace.base_tree().await?;
    let spec = SandboxSpec { label: "again".to_owned(), ..policy.sandbox.clone() };
    let Permitted { settings, spec, mut notes, hint } =
        permit(settings, &policy.setup, &spec).map_err(|why| anyhow!(why))?;
    notes.extend(hint);
    let environment = Environment::of(
        sandbox,
        spec,
        workspace,
        settings.clone(),
        policy.setup.clone(),
        RepositoryId(0),
        SetupLocks::default(),
    )
    .await?;
    let toolbox = match environment.fresh(&base_tree, "work").await? {
        Ok(toolbox) => toolbox,
        Err(failure) => return Err(anyhow!(failure.describe())),
    };
    let (baseline, note) = first_runs(&toolbox, &settings).await.map_err(|error: JobError| anyhow!(error))?;
    toolbox.shut_down().await;
    notes.extend(note);
    if let Some(why) = unusable(&baseline) {
        return Err(anyhow!(why));
    }
    let judge = Verifier { environment: &environment, baseline: &baseline };
    let verdict = judge.judge(&changes, None).await?;
    let root = environment.root().clone();
    Ok(Reverification { baseline, verdict, root, notes })
}

/// A run of the suite.
#[derive(Debug)]
pub struct Rerun {
    /// The run.
    pub run: TestRun,
    /// How long the sandbox took to be there, set-up included.
    pub setup: Duration,
}

/// Runs the suite at `tree` in a fresh sandbox.
///
/// # Errors
/// There is no sandbox to be had, or the set-up fails.
pub async fn rerun(
    bench: &TestBench,
    workspace: Workspace,
    settings: &JobSettings,
    tree: &Sha,
) -> anyhow::Result<Rerun> {
    let policy = &bench.policy;
    let spec = SandboxSpec { label: "again".to_owned(), ..policy.sandbox.clone() };
    let Permitted { settings, spec, .. } =
        permit(settings, &policy.setup, &spec).map_err(|why| anyhow!(why))?;
    let started = Instant::now();
    let environment = Environment::of(
        bench.sandbox.clone(),
        spec,
        workspace,
        settings.clone(),
        policy.setup.clone(),
        RepositoryId(0),
        bench.setup_locks.clone(),
    )
    .await?;
    let toolbox = match environment.fresh(tree, "run").await? {
        Ok(toolbox) => toolbox,
        Err(failure) => return Err(anyhow!(failure.describe())),
    };
    let setup = started.elapsed();
    let run = run_suite(&toolbox, &settings).await;
    toolbox.shut_down().await;
    Ok(Rerun { run: run?, setup })
}
