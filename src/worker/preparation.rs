//! Everything before the agent's first turn: base, settings, sandbox, set-up, baseline.

use crate::config::{REPOSITORY_FILE, resolve};
use crate::domain::{
    EscalationReason, ExitStatus, JobSettings, RepositoryRef, Sha, TestRun, Transcript, TranscriptEvent,
};
use crate::github::{GitAccess, Repository};
use crate::sandbox::{SandboxError, SandboxSpec, Toolbox};
use crate::setup::{Environment, SetupFailure};
use crate::store::{Attempt, Journal};
use crate::testing::{SuiteError, run_suite};
use crate::workspace::{Workspace, WorkspaceError};

use super::admission::github_error;
use super::{JobError, JobPolicy, WorkerContext};
use crate::setup::SkippedSetup;
use crate::setup::{Permitted, permit};

/// What the agent starts from.
pub(super) struct Prepared {
    pub(super) environment: Environment,
    pub(super) toolbox: Toolbox,
    pub(super) baseline: TestRun,
}

/// The base commit and the settings read from it: as recorded, or found now and recorded.
pub(super) async fn base_and_settings(
    parts: &WorkerContext,
    journal: &Journal,
    transcript: Transcript<'_>,
    remote: &Repository,
) -> Result<Result<(Workspace, JobSettings), EscalationReason>, JobError> {
    let at = &journal.job().trigger.repository;
    if let Some(base) = transcript.base() {
        let workspace =
            parts.mirrors.reopen(at.id, base.commit.clone(), base.branch).await.map_err(workspace_error)?;
        return Ok(Ok((workspace, base.settings.clone())));
    }
    let fetch =
        |access: GitAccess| async move { parts.mirrors.fetch(at.id, &access, &remote.default_branch).await };
    let workspace = with_access(parts, at, fetch).await?.map_err(workspace_error)?;
    let settings = match resolve_settings(&parts.policy, &workspace).await.map_err(workspace_error)? {
        Ok(settings) => settings,
        Err(why) => return Ok(Err(EscalationReason::Environment { why })),
    };
    let event = TranscriptEvent::Prepared {
        base: workspace.base().clone(),
        base_branch: remote.default_branch.clone(),
        settings: Box::new(settings.clone()),
    };
    journal.append(&[event]).await?;
    Ok(Ok((workspace, settings)))
}

/// The settings of jobs on the workspace's base; the inner `Err` is why there are none.
///
/// # Errors
/// The base cannot be read.
pub async fn resolve_settings(
    policy: &JobPolicy,
    workspace: &Workspace,
) -> Result<Result<JobSettings, String>, WorkspaceError> {
    let file = workspace.base_file(REPOSITORY_FILE).await?;
    let file = file.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let root = workspace.base_listing().await?;
    let given = policy.settings_override.clone().unwrap_or_default();
    let resolved = resolve(&policy.budget, file.as_deref(), &root, given.test_command.as_deref());
    Ok(resolved.map(|settings| given.applied_to(settings)).map_err(|error| error.to_string()))
}

/// A sandbox at the last checkpoint (or the base), set up, and the baseline: as recorded, or run
/// now and recorded.
pub(super) async fn sandbox_and_baseline(
    parts: &WorkerContext,
    journal: &Journal,
    transcript: Transcript<'_>,
    workspace: Workspace,
    settings: JobSettings,
) -> Result<Result<Prepared, EscalationReason>, JobError> {
    let recorded = transcript.baseline().cloned();
    let tree = match transcript.last_checkpoint() {
        Some(tree) => tree.clone(),
        None => workspace.base_tree().await.map_err(workspace_error)?,
    };
    let spec = SandboxSpec { label: format!("job-{}", journal.job().id), ..parts.policy.sandbox.clone() };
    let permitted = match permit(&settings, &parts.policy.setup, &spec) {
        Ok(permitted) => permitted,
        Err(why) => return Ok(Err(EscalationReason::Environment { why })),
    };
    let notes: Vec<_> =
        permitted.notes.iter().map(|text| TranscriptEvent::Note { text: text.clone() }).collect();
    journal.append(&notes).await?;
    let Started { environment, toolbox, hint } =
        match start(parts, journal, workspace, &permitted, &tree).await? {
            Ok(started) => started,
            Err(why) => return Ok(Err(EscalationReason::Environment { why })),
        };
    let settings = environment.settings();
    let started = TranscriptEvent::SandboxStarted {
        purpose: "work".to_owned(),
        description: toolbox.description().to_owned(),
        root: Some(environment.root().digest.clone()),
    };
    journal.append(&[started]).await?;
    let baseline = match recorded {
        Some(run) => run,
        None => {
            let (run, note) = first_runs(&toolbox, settings).await?;
            let mut events = vec![TranscriptEvent::BaselineRun { run: run.clone() }];
            events.extend(note.map(|text| TranscriptEvent::Note { text }));
            journal.append(&events).await?;
            run
        }
    };
    let without = || crate::setup::says_nothing(&baseline).filter(|_| environment.skipped_setup().is_some());
    if let Some(why) = unusable(&baseline).or_else(without) {
        let why = [Some(why), hint].into_iter().flatten().collect::<Vec<_>>().join("\n");
        return Ok(Err(EscalationReason::Environment { why }));
    }
    Ok(Ok(Prepared { environment, toolbox, baseline }))
}

/// A sandbox that works.
struct Started {
    environment: Environment,
    toolbox: Toolbox,
    /// What is missed only if the suite cannot be run.
    hint: Option<String>,
}

/// Starts the first sandbox. A set-up that nobody wrote down and that fails is left out. `Err`: why
/// there is none.
async fn start(
    parts: &WorkerContext,
    journal: &Journal,
    workspace: Workspace,
    permitted: &Permitted,
    tree: &Sha,
) -> Result<Result<Started, String>, JobError> {
    let Permitted { settings, spec, hint, .. } = permitted;
    let environment = async |settings: &JobSettings| {
        let made = Environment::of(
            parts.sandbox.clone(),
            spec.clone(),
            workspace.clone(),
            settings.clone(),
            parts.policy.setup.clone(),
            journal.job().trigger.repository.id,
            parts.setup_locks.clone(),
        );
        made.await.map_err(suite_error)
    };
    let with_it = environment(settings).await?;
    let failure = match fresh(journal, &with_it, tree).await? {
        Ok(Ok(toolbox)) => return Ok(Ok(Started { environment: with_it, toolbox, hint: hint.clone() })),
        Ok(Err(failure)) if settings.setup_detected => failure,
        Ok(Err(failure)) => return Ok(Err(failure.describe())),
        Err(why) => return Ok(Err(why)),
    };
    let fallback = SkippedSetup { settings, failure: &failure };
    journal.append(&[TranscriptEvent::Note { text: fallback.note() }]).await?;
    let bare = JobSettings { setup_commands: Vec::new(), ..settings.clone() };
    let without_it = environment(&bare).await?.with_setup_skipped(fallback.remark());
    Ok(match fresh(journal, &without_it, tree).await? {
        Ok(Ok(toolbox)) => {
            Ok(Started { environment: without_it, toolbox, hint: Some(fallback.what_to_write()) })
        }
        Ok(Err(failure)) => Err(failure.describe()),
        Err(why) => Err(why),
    })
}

/// A sandbox with `tree`; `Err` is why the tree or the set-up does not fit into one, which it will not
/// the next time either.
async fn fresh(
    journal: &Journal,
    environment: &Environment,
    tree: &Sha,
) -> Result<Result<Result<Toolbox, SetupFailure>, String>, JobError> {
    let fresh = environment.fresh(tree, "work").await;
    journal.append(&environment.take_events()).await?;
    match fresh {
        Ok(started) => Ok(Ok(started)),
        Err(SuiteError::Sandbox(full @ SandboxError::DiskFull(_))) => Ok(Err(full.to_string())),
        Err(error) => Err(suite_error(error)),
    }
}

/// The baseline. A red one is run again: a suite that is red once and green once is flaky, not red,
/// and counts as green, so that a change must still bring its proof.
pub(super) async fn first_runs(
    toolbox: &Toolbox,
    settings: &JobSettings,
) -> Result<(TestRun, Option<String>), JobError> {
    let run = async || run_suite(toolbox, settings).await.map_err(|error| suite_error(error.into()));
    let first = run().await?;
    if first.is_green() || unusable(&first).is_some() {
        return Ok((first, None));
    }
    let second = run().await?;
    let names = |tests: Vec<String>| if tests.is_empty() { "not named".to_owned() } else { tests.join(", ") };
    if second.is_green() {
        let flaky = first.failed().iter().map(|test| test.0.clone()).collect();
        let note = format!("flaky at the base (failed once, passed once): {}", names(flaky));
        return Ok((second, Some(note)));
    }
    if second.may_miss_failed_tests() {
        // A test that is not named this time may have failed all the same.
        return Ok((second, None));
    }
    let second_failed = second.failed();
    let differs = |test: &&crate::domain::FailedTest| !second_failed.contains(test);
    let flaky: Vec<String> = first.failed().iter().filter(differs).map(|test| test.0.clone()).collect();
    let note = (!flaky.is_empty())
        .then(|| format!("flaky at the base (failed once, passed once): {}", names(flaky)));
    Ok((second, note))
}

/// Why a baseline run says nothing about the repository, if it does not.
pub(super) fn unusable(baseline: &TestRun) -> Option<String> {
    let command = &baseline.command;
    let advice = "Say in `.github/agent-fix.yml` how the tests are run (`test:`), what they need (`setup:`) \
                  and how long they take (`timeout_minutes:`).";
    match baseline.result.ending {
        ExitStatus::Exited { code: 126 | 127 } => Some(format!(
            "the test command `{command}` could not be started in the sandbox:\n{}\n{advice}",
            baseline.result.output.to_text()
        )),
        // pytest's own codes: 4 wrong usage, 5 no tests collected (docs.pytest.org, "Exit codes").
        ExitStatus::Exited { code: 4 | 5 } if command.contains("pytest") => Some(format!(
            "the test command `{command}` found no tests to run:\n{}\n{advice}",
            baseline.result.output.to_text()
        )),
        ExitStatus::Exited { .. } => None,
        ExitStatus::Signalled { .. }
        | ExitStatus::TimedOut
        | ExitStatus::OutOfMemory
        | ExitStatus::DiskFull { .. }
        | ExitStatus::ProcessLimit => Some(format!(
            "the test command `{command}` did not come to an end of its own at the base: {} {advice}",
            baseline.result.ending.explain()
        )),
    }
}

/// Works with git, and once more where it is refused: the token may have been revoked meanwhile, or the
/// repository renamed.
pub(super) async fn with_access<T, F>(
    parts: &WorkerContext,
    at: &RepositoryRef,
    work: impl Fn(GitAccess) -> F,
) -> Result<Result<T, WorkspaceError>, JobError>
where
    F: Future<Output = Result<T, WorkspaceError>>,
{
    let access = parts.github.git_access(at).await.map_err(github_error)?;
    match work(access).await {
        Err(WorkspaceError::Remote { worth_retrying: false, what, detail, .. }) => {
            tracing::info!(what, detail, "git was refused; asking for access anew");
            let access = parts.github.git_access(at).await.map_err(github_error)?;
            Ok(work(access).await)
        }
        done => Ok(done),
    }
}

pub(super) fn workspace_error(error: WorkspaceError) -> JobError {
    match error {
        WorkspaceError::Remote { worth_retrying: true, .. } => JobError::Later {
            why: error.to_string(),
            after: std::time::Duration::from_secs(15),
            attempt: Attempt::DoesNotCount,
        },
        WorkspaceError::Remote { .. }
        | WorkspaceError::BranchTaken { .. }
        | WorkspaceError::RefusedChange { .. }
        | WorkspaceError::Local { .. } => JobError::Broke(error.to_string()),
    }
}

pub(super) fn suite_error(error: SuiteError) -> JobError {
    match error {
        SuiteError::Sandbox(error) => sandbox_error(error),
        SuiteError::Workspace(error) => workspace_error(error),
    }
}

pub(super) fn sandbox_error(error: SandboxError) -> JobError {
    match error {
        // The machine may have been short of something for a moment. A sandbox that breaks the
        // protocol is not given a second chance.
        SandboxError::Gone(_) => JobError::Later {
            why: error.to_string(),
            after: std::time::Duration::from_secs(5),
            attempt: Attempt::Counts,
        },
        SandboxError::Unavailable { .. }
        | SandboxError::Protocol(_)
        | SandboxError::SnapshotFailed(_)
        | SandboxError::DiskFull(_) => JobError::Broke(error.to_string()),
    }
}
