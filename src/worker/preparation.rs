//! Everything before the agent's first turn: base commit, settings, sandbox, setup, baseline run.

use super::baseline::{first_runs, reason_unusable};
use super::context::{JobPolicy, WorkerContext};
use super::git_access::fetch;
use super::stop::Stop;
use crate::detect::settings_with_file;
use crate::domain::{JobSettings, RecordedEvent, Sha, TestRun, Transcript, TranscriptEvent};
use crate::github::Repository;
use crate::sandbox::{SandboxError, SandboxSpec, Toolbox};
use crate::setup::{Environment, Permitted, SetupFailure, SkippedSetup, inconclusive_baseline, permit};
use crate::store::Journal;
use crate::testing::SuiteError;
use crate::workspace::{Workspace, WorkspaceError};

/// What the agent starts from.
pub(super) struct Prepared {
    pub(super) environment: Environment,
    pub(super) toolbox: Toolbox,
    pub(super) baseline: TestRun,
}

/// The base commit and branch that were recorded last.
pub(super) fn recorded_base(transcript: &[RecordedEvent]) -> Option<(&Sha, &str)> {
    Transcript::new(transcript).base().map(|base| (base.commit, base.branch))
}

/// The base commit and the settings at it: as recorded, or read now and recorded.
pub(super) async fn base_and_settings(
    context: &WorkerContext,
    journal: &Journal,
    transcript: &[RecordedEvent],
    repository: &Repository,
) -> Result<(Workspace, JobSettings), Stop> {
    let at = &journal.job().trigger.repository;
    if let Some(base) = Transcript::new(transcript).base() {
        let workspace = context.mirrors.reopen(at.id, base.commit.clone(), base.branch).await?;
        return Ok((workspace, base.settings.clone()));
    }
    let workspace = fetch(context, at, &repository.default_branch).await?;
    let settings = resolve_settings(&context.policy, &workspace).await?;
    let event = TranscriptEvent::Prepared {
        base: workspace.base().clone(),
        base_branch: repository.default_branch.clone(),
        settings: Box::new(settings.clone()),
    };
    let mut events = vec![event];
    let warnings = workspace.repository_files().await?.warnings();
    events.extend(warnings.into_iter().map(|text| TranscriptEvent::Note { text }));
    let missing = workspace.checkout_gaps().await?.describe();
    events.extend((!missing.is_empty()).then_some(TranscriptEvent::CheckoutIncomplete { missing }));
    journal.append(&events).await?;
    Ok((workspace, settings))
}

/// Why a base commit has no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The base commit cannot be read.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The repository's file is not valid, or no test command is known. The text is published.
    #[error("{0}")]
    Invalid(String),
}

impl From<SettingsError> for Stop {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Workspace(error) => error.into(),
            SettingsError::Invalid(why) => Self::environment(why),
        }
    }
}

/// The settings of jobs on the workspace's base commit.
///
/// # Errors
/// There are none, or they cannot be read.
pub async fn resolve_settings(
    policy: &JobPolicy,
    workspace: &Workspace,
) -> Result<JobSettings, SettingsError> {
    let invalid = |error: &dyn std::fmt::Display| SettingsError::Invalid(error.to_string());
    let file = workspace.repository_files().await?.parse().map_err(|error| invalid(&error))?;
    let root = workspace.base_listing().await?;
    let overrides = policy.settings_override.clone().unwrap_or_default();
    let given = overrides.test_command.as_deref();
    let resolved = settings_with_file(&policy.budget, file.unwrap_or_default(), &root, given);
    resolved.map(|settings| overrides.applied_to(settings)).map_err(|error| invalid(&error))
}

/// A sandbox at the last checkpoint (or the base), with its setup, and the baseline run: as recorded, or
/// run now and recorded.
pub(super) async fn sandbox_and_baseline(
    context: &WorkerContext,
    journal: &Journal,
    transcript: &[RecordedEvent],
    workspace: Workspace,
    settings: JobSettings,
) -> Result<Prepared, Stop> {
    let recorded_baseline = Transcript::new(transcript).baseline().cloned();
    let tree = match Transcript::new(transcript).last_checkpoint() {
        Some(tree) => tree.clone(),
        None => workspace.base_tree().await?,
    };
    let label = format!("job-{}", journal.job().id);
    let spec = SandboxSpec { label, ..context.policy.sandbox.clone() };
    let permitted = permit(&settings, &context.policy.setup, &spec).map_err(Stop::environment)?;
    let notes: Vec<_> =
        permitted.notes.iter().map(|text| TranscriptEvent::Note { text: text.clone() }).collect();
    journal.append(&notes).await?;
    let Started { environment, toolbox, hint } =
        start(context, journal, workspace, &permitted, &tree).await?;
    let started = TranscriptEvent::SandboxStarted {
        purpose: "work".to_owned(),
        description: toolbox.description().to_owned(),
        root: Some(environment.root().digest.clone()),
    };
    journal.append(&[started]).await?;
    let baseline = match recorded_baseline {
        Some(run) => run,
        None => {
            let (run, note) = first_runs(&toolbox, environment.settings()).await?;
            let mut events = vec![TranscriptEvent::BaselineRun { run: run.clone() }];
            events.extend(note.map(|text| TranscriptEvent::Note { text }));
            journal.append(&events).await?;
            run
        }
    };
    let may_lack_setup =
        || inconclusive_baseline(&baseline).filter(|_| environment.skipped_setup().is_some());
    if let Some(why) = reason_unusable(&baseline).or_else(may_lack_setup) {
        let why = [Some(why), hint].into_iter().flatten().collect::<Vec<_>>().join("\n");
        return Err(Stop::environment(why));
    }
    Ok(Prepared { environment, toolbox, baseline })
}

/// A sandbox that was started.
struct Started {
    environment: Environment,
    toolbox: Toolbox,
    /// What the issue says in addition if the suite cannot be run.
    hint: Option<String>,
}

/// Starts the first sandbox. A setup that was only detected, and fails, is skipped.
async fn start(
    context: &WorkerContext,
    journal: &Journal,
    workspace: Workspace,
    permitted: &Permitted,
    tree: &Sha,
) -> Result<Started, Stop> {
    let Permitted { settings, spec, hint, .. } = permitted;
    let environment = async |settings: &JobSettings| {
        Environment::of(
            context.sandbox.clone(),
            spec.clone(),
            workspace.clone(),
            settings.clone(),
            context.policy.setup.clone(),
            journal.job().trigger.repository.id,
            context.setup_locks.clone(),
        )
        .await
    };
    let with_setup = environment(settings).await?;
    let failure = match start_fresh(journal, &with_setup, tree).await {
        Ok(toolbox) => return Ok(Started { environment: with_setup, toolbox, hint: hint.clone() }),
        Err(StartError::Setup(failure)) if settings.setup_detected => failure,
        Err(error) => return Err(error.into()),
    };
    let skipped = SkippedSetup { settings, failure: &failure };
    journal.append(&[TranscriptEvent::Note { text: skipped.note() }]).await?;
    let bare = JobSettings { setup_commands: Vec::new(), ..settings.clone() };
    let without_setup = environment(&bare).await?.with_setup_skipped(skipped.remark());
    let toolbox = start_fresh(journal, &without_setup, tree).await?;
    Ok(Started { environment: without_setup, toolbox, hint: Some(skipped.advice()) })
}

/// Why a sandbox was not started.
enum StartError {
    Setup(SetupFailure),
    Other(Stop),
}

impl From<StartError> for Stop {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Setup(failure) => Self::environment(failure.describe()),
            StartError::Other(stop) => stop,
        }
    }
}

/// Starts a sandbox with `tree`.
async fn start_fresh(
    journal: &Journal,
    environment: &Environment,
    tree: &Sha,
) -> Result<Toolbox, StartError> {
    let started = environment.fresh(tree, "work").await;
    let recorded = journal.append(&environment.take_events()).await;
    recorded.map_err(|error| StartError::Other(error.into()))?;
    match started {
        Ok(Ok(toolbox)) => Ok(toolbox),
        Ok(Err(failure)) => Err(StartError::Setup(failure)),
        // Tree or setup are too large for a sandbox, and will be the next time, too.
        Err(SuiteError::Sandbox(full @ SandboxError::DiskFull(_))) => {
            Err(StartError::Other(Stop::environment(full.to_string())))
        }
        Err(error) => Err(StartError::Other(error.into())),
    }
}
