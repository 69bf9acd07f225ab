//! Everything before the agent's first turn: base commit, settings, sandbox, setup, baseline run.

use sha2::{Digest, Sha256};

use super::context::{JobPolicy, WorkerContext};
use super::git_access::fetch;
use super::plans::{PlanTrial, ReadyPlan, TrialError, is_too_large, try_plans};
use super::setup_agent::{SetupSearch, SetupSearchResult, searchable, with_recipe};
use super::stop::Stop;
use super::submodules::with_submodules;
use crate::detect::{SettingsError as NoSettings, settings_with_file};
use crate::domain::{
    Budget, EscalationReason, JobSettings, OperatorNote, RecordedEvent, RepositoryId, SetupRecipe, Sha,
    TestRun, Transcript, TranscriptEvent,
};
use crate::github::Repository;
use crate::sandbox::Toolbox;
use crate::setup::Environment;
use crate::store::{Journal, RememberedPlan};
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

/// The base commit, and the settings at it, one for each plan that may be tried: as recorded, or read now and
/// recorded.
pub(super) async fn base_and_plans(
    context: &WorkerContext,
    journal: &Journal,
    transcript: &[RecordedEvent],
    repository: &Repository,
) -> Result<(Workspace, Vec<JobSettings>), Stop> {
    let at = &journal.job().trigger.repository;
    let recorded_events = transcript;
    let transcript = Transcript::new(recorded_events);
    if let Some(base) = transcript.base() {
        let workspace = context.mirrors.reopen(at.id, base.commit.clone(), base.branch).await?;
        let workspace = with_submodules(context, journal, recorded_events, workspace).await?;
        let recorded = vec![base.settings.clone()];
        if transcript.baseline().is_some() {
            return Ok((workspace, recorded));
        }
        // The worker was ended while it tried them. Settings that were recorded under other rules are kept.
        let plans = resolve_settings(&context.policy, &workspace).await.unwrap_or_default();
        let mut plans = with_recipe(plans, SetupRecipe::of_plan(base.settings).as_ref());
        let Some(at_work) = plans.iter().position(|plan| plan == base.settings) else {
            return Ok((workspace, recorded));
        };
        plans[..=at_work].rotate_right(1);
        return Ok((workspace, plans));
    }
    let workspace = fetch(context, at, &repository.default_branch).await?;
    let plans = plans_to_try(context, at.id, &workspace).await?;
    let mut events: Vec<_> = plans.first().map(|first| prepared(&workspace, first)).into_iter().collect();
    let warnings = workspace.repository_files().await?.warnings();
    events.extend(warnings.into_iter().map(|text| TranscriptEvent::Note { text }));
    journal.append(&events).await?;
    Ok((with_submodules(context, journal, recorded_events, workspace).await?, plans))
}

/// The event that records the base of `workspace` and the settings at it.
pub(super) fn prepared(workspace: &Workspace, settings: &JobSettings) -> TranscriptEvent {
    TranscriptEvent::Prepared {
        base: workspace.base().clone(),
        base_branch: workspace.base_branch().to_owned(),
        settings: Box::new(settings.clone()),
    }
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

/// The settings of jobs on the workspace's base commit, one for each plan that may be tried, most likely first; at
/// least one. If nothing names a test command and the setup agent may look for one, that of the only plan is empty,
/// and its source says why.
///
/// # Errors
/// There are none, or they cannot be read.
pub async fn resolve_settings(
    policy: &JobPolicy,
    workspace: &Workspace,
) -> Result<Vec<JobSettings>, SettingsError> {
    let invalid = |error: &dyn std::fmt::Display| SettingsError::Invalid(error.to_string());
    let file = workspace.repository_files().await?.parse().map_err(|error| invalid(&error))?;
    let root = workspace.base_listing().await?;
    let overrides = policy.settings_override.clone().unwrap_or_default();
    let given = overrides.test_command.as_deref();
    let settings = |given: Option<&str>| {
        settings_with_file(&policy.budget, file.clone().unwrap_or_default(), &root, given)
    };
    let mut plans = match settings(given) {
        // The setup agent may find a test command.
        Err(NoSettings::NoTestCommand(why)) if policy.setup.lets_agent_search() => {
            let any = settings(Some("true")).map_err(|error| invalid(&error))?;
            let none = |plan: JobSettings| JobSettings {
                test_command: String::new(),
                test_command_source: why.to_string(),
                test_command_detected: true,
                ..plan
            };
            any.into_iter().take(1).map(none).collect()
        }
        settings => settings.map_err(|error| invalid(&error))?,
    };
    plans = plans.into_iter().map(|settings| overrides.applied_to(settings)).collect();
    plans.dedup();
    Ok(plans)
}

/// A sandbox at the last checkpoint (or the base), with its setup, and the baseline run: as recorded, or
/// run now and recorded.
pub(super) async fn sandbox_and_baseline(
    context: &WorkerContext,
    journal: &Journal,
    transcript: &[RecordedEvent],
    workspace: Workspace,
    mut plans: Vec<JobSettings>,
) -> Result<Prepared, Stop> {
    let transcript = Transcript::new(transcript);
    let recorded_budget = plans.first().map(|plan| plan.budget.clone()).unwrap_or_default();
    for plan in &mut plans {
        plan.budget = transcript.budget(&plan.budget);
    }
    let trial = PlanTrial {
        sandbox: &context.sandbox,
        policy: &context.policy,
        setup_locks: &context.setup_locks,
        workspace: &workspace,
        repository: journal.job().trigger.repository.id,
        label: format!("job-{}", journal.job().id),
        uses_kept_builds: true,
    };
    let ready = match (transcript.baseline(), plans.first()) {
        (Some(baseline), Some(settings)) => {
            let permitted = trial.permit(settings).map_err(Stop::environment)?;
            let environment = trial.environment(&permitted).await?;
            Started { environment, toolbox: None, baseline: baseline.clone(), is_new: false }
        }
        _ => first_sandbox(context, journal, &trial, plans, recorded_budget).await?,
    };
    let Started { environment, toolbox, baseline, is_new } = ready;
    let base_tree = workspace.base_tree().await?;
    let tree = transcript.last_checkpoint().unwrap_or(&base_tree);
    let toolbox = match toolbox {
        Some(toolbox) if *tree == base_tree => toolbox,
        other => {
            if let Some(toolbox) = other {
                toolbox.shut_down().await;
            }
            start_fresh(journal, &environment, tree).await?
        }
    };
    let mut events = vec![TranscriptEvent::SandboxStarted {
        purpose: "work".to_owned(),
        description: toolbox.description().to_owned(),
        root: Some(environment.root().digest.clone()),
    }];
    events.extend(is_new.then(|| TranscriptEvent::BaselineRun { run: baseline.clone() }));
    journal.append(&events).await?;
    Ok(Prepared { environment, toolbox, baseline })
}

/// What was started before the agent.
struct Started {
    environment: Environment,
    toolbox: Option<Toolbox>,
    baseline: TestRun,
    /// Whether the baseline is not recorded yet.
    is_new: bool,
}

/// Tries the plans, and records which one is used.
async fn first_sandbox(
    context: &WorkerContext,
    journal: &Journal,
    trial: &PlanTrial<'_>,
    plans: Vec<JobSettings>,
    recorded_budget: Budget,
) -> Result<Started, Stop> {
    let recorded = journal.transcript().await?;
    let transcript = Transcript::new(&recorded);
    if transcript.setup_agent_is_at_work() {
        let why = Some("the worker was ended".to_owned());
        journal.append(&[TranscriptEvent::SetupAgentEnded { recipe: None, why }]).await?;
    }
    // The worker was ended after the setup agent found it.
    let plans = with_recipe(plans, transcript.current_round().setup_recipe());
    let (with_test, without): (Vec<_>, Vec<_>) =
        plans.iter().cloned().partition(|plan| !plan.test_command.is_empty());
    let tried = match Box::pin(try_plans(trial, with_test, journal)).await {
        Ok(ready) => Ok(ready),
        Err(TrialError::NoneUsable { why, operator }) => {
            let nothing = without.into_iter().map(|plan| plan.test_command_source);
            let whys: Vec<String> = nothing.chain([why]).filter(|why| !why.is_empty()).collect();
            Err((whys.join("\n\n"), operator))
        }
        Err(TrialError::Suite(error)) => return Err(stop_of(error)),
        Err(TrialError::Record(error)) => return Err(error.into()),
    };
    let ready = match tried {
        Ok(ready) if ready.result.passed > 0 || ready.result.good => ready,
        before => Box::pin(search_setup(context, journal, trial, &plans, before)).await?,
    };
    let ReadyPlan { environment, toolbox, baseline, plan, .. } = ready;
    let base_tree = trial.workspace.base_tree().await?;
    environment.keep_build(&toolbox, &base_tree).await?;
    journal.append(&environment.take_events()).await?;
    remember(context, trial.repository, environment.settings()).await?;
    let plan = JobSettings { budget: recorded_budget, ..plan };
    if transcript.base().is_none_or(|base| *base.settings != plan) {
        journal.append(&[prepared(trial.workspace, &plan)]).await?;
    }
    Ok(Started { environment, toolbox: Some(toolbox), baseline, is_new: true })
}

/// Lets the setup agent look for a plan if it may, and uses what it finds, or else what there was before.
async fn search_setup(
    context: &WorkerContext,
    journal: &Journal,
    trial: &PlanTrial<'_>,
    plans: &[JobSettings],
    before: Result<ReadyPlan, (String, Option<OperatorNote>)>,
) -> Result<ReadyPlan, Stop> {
    let Some(detected) = searchable(context, plans) else {
        return before.map_err(|(why, operator)| Stop::environment_for_operator(why, operator));
    };
    let tried = match &before {
        Ok(ready) => format!("`{}`: {}", ready.result.test, ready.result.why.as_deref().unwrap_or_default()),
        Err((why, _)) => why.clone(),
    };
    let search = SetupSearch { context, journal, trial, detected, plans, tried: &tried };
    match (Box::pin(search.run()).await?, before) {
        (SetupSearchResult::Found(ready), before) => {
            if let Ok(other) = before {
                other.toolbox.shut_down().await;
            }
            Ok(*ready)
        }
        (SetupSearchResult::Nothing { .. }, Ok(ready)) => Ok(ready),
        (SetupSearchResult::Nothing { daily_cap: Some(limit), .. }, Err(_)) => {
            Err(Stop::Escalate(EscalationReason::Budget { limit }))
        }
        (SetupSearchResult::Nothing { why, operator, .. }, Err((tried, other))) => {
            let why = format!("{tried}\n\nThe setup agent looked for another way, and found none: {why}");
            Err(Stop::environment_for_operator(why, operator.or(other)))
        }
    }
}

/// The plans of the workspace's base commit. The one that was used last for the repository comes first.
pub(super) async fn plans_to_try(
    context: &WorkerContext,
    repository: RepositoryId,
    workspace: &Workspace,
) -> Result<Vec<JobSettings>, Stop> {
    let plans = resolve_settings(&context.policy, workspace).await?;
    let Some(last) = context.store.remembered_plan(repository).await? else { return Ok(plans) };
    let recipe = last.recipe.as_ref().filter(|_| context.policy.setup.lets_agent_search());
    let mut plans = with_recipe(plans, recipe);
    if let Some(last) = plans.iter().position(|plan| identity(plan) == last.identity) {
        plans[..=last].rotate_right(1);
    }
    Ok(plans)
}

/// Remembers the plan that is used, so that the next job of the repository begins with it. One that left a setup out is
/// not remembered: what was in the way of the setup may be gone then.
async fn remember(context: &WorkerContext, repository: RepositoryId, used: &JobSettings) -> Result<(), Stop> {
    if used.setup_left_out.is_none() {
        let plan = RememberedPlan { identity: identity(used), recipe: SetupRecipe::of_plan(used) };
        context.store.remember_plan(repository, &plan, (context.clock)()).await?;
    }
    Ok(())
}

/// Stands for a plan from one commit to the next: its test command, and where its commands come from. The setup's own
/// words are left out, since some name versions or the commit's time.
fn identity(plan: &JobSettings) -> String {
    let mut hash = Sha256::new();
    for part in [&plan.test_command, &plan.test_command_source, &plan.setup_source] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// Starts a sandbox with `tree`.
async fn start_fresh(journal: &Journal, environment: &Environment, tree: &Sha) -> Result<Toolbox, Stop> {
    let started = environment.fresh(tree, "work").await;
    journal.append(&environment.take_events()).await?;
    match started {
        Ok(Ok(toolbox)) => Ok(toolbox),
        Ok(Err(failure)) => Err(Stop::environment_for_operator(failure.describe(), failure.operator_note())),
        Err(error) => Err(stop_of(error)),
    }
}

fn stop_of(error: SuiteError) -> Stop {
    match is_too_large(&error) {
        true => Stop::environment(error.to_string()),
        false => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{RootEntry, RootListing};

    #[test]
    fn plan_is_known_again_at_the_next_commit() {
        let plans = |seconds: i64| {
            let project =
                RootEntry::File { content: Some("[project]\ndependencies=['pytest']\n".to_owned()) };
            let root = RootListing {
                entries: [("pyproject.toml".to_owned(), project)].into(),
                committed_at: jiff::Timestamp::from_second(seconds).ok(),
            };
            settings_with_file(&Budget::default(), Default::default(), &root, None).unwrap()
        };
        let (before, after) = (plans(1_700_000_000), plans(1_800_000_000));
        assert!(before.iter().zip(&after).any(|(one, other)| one.setup_commands != other.setup_commands));
        let identities = |plans: &[JobSettings]| plans.iter().map(identity).collect::<Vec<_>>();
        assert_eq!(identities(&before), identities(&after));
        let different: std::collections::HashSet<_> = identities(&before).into_iter().collect();
        assert_eq!(different.len(), before.len(), "each plan has an identity of its own");
    }
}
