//! Tries the plans of a repository in order, until one reaches passing tests: each is set up in a sandbox of its own,
//! and scored by the run of its suite at the base. If none is good, the best counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::baseline::{BaselineQuality, quality_of, repeated_if_red};
use super::context::JobPolicy;
use crate::config::REPOSITORY_FILE;
use crate::domain::{JobSettings, OperatorNote, PlanResult, RepositoryId, TestRun, TranscriptEvent};
use crate::sandbox::{Sandbox, SandboxError, SandboxSpec, Toolbox};
use crate::setup::{Environment, Permitted, SetupFailure, SetupLocks, permit};
use crate::store::{Journal, StoreError};
use crate::testing::{SuiteError, run_suite_of_tree};
use crate::workspace::Workspace;

/// After this many time limits of one command, no further plan is tried.
const TIME_LIMITS_MAX: u32 = 3;

/// Where the events of a trial go, as they happen.
#[async_trait]
pub(super) trait EventRecorder: Sync {
    /// Records events, all or none.
    async fn record(&self, events: Vec<TranscriptEvent>) -> Result<(), StoreError>;

    /// A plan is tried now.
    fn begin(&self, _plan: &JobSettings) {}
}

#[async_trait]
impl EventRecorder for Journal {
    async fn record(&self, events: Vec<TranscriptEvent>) -> Result<(), StoreError> {
        if events.is_empty() { Ok(()) } else { self.append(&events).await }
    }
}

/// What plans are tried with.
pub(super) struct PlanTrial<'t> {
    pub(super) sandbox: &'t Arc<dyn Sandbox>,
    pub(super) policy: &'t JobPolicy,
    pub(super) setup_locks: &'t SetupLocks,
    pub(super) workspace: &'t Workspace,
    pub(super) repository: RepositoryId,
    /// A part of the sandboxes' names.
    pub(super) label: String,
    /// Whether sandboxes may begin with what the base's build left.
    pub(super) uses_kept_builds: bool,
}

/// A plan that reached a run of its suite.
pub(super) struct ReadyPlan {
    /// Its sandboxes; they have its settings.
    pub(super) environment: Environment,
    /// The sandbox in which the suite ran.
    pub(super) toolbox: Toolbox,
    /// The run at the base.
    pub(super) baseline: TestRun,
    /// The plan as the repository has it, without the operator's rules.
    pub(super) plan: JobSettings,
    /// What it was, and what it showed.
    pub(super) result: PlanResult,
}

/// Why plans could not be tried.
pub(super) enum TrialError {
    /// No plan reaches a run that a change can be measured against.
    NoneUsable {
        /// Why, for people.
        why: String,
        /// What the operator has to do about it.
        operator: Option<OperatorNote>,
    },
    /// A sandbox or the workspace failed, or a tree is too large for one.
    Suite(SuiteError),
    /// What happened could not be recorded.
    Record(StoreError),
}

impl From<SuiteError> for TrialError {
    fn from(error: SuiteError) -> Self {
        Self::Suite(error)
    }
}

/// One plan that was tried.
struct Tried {
    permitted: Permitted,
    result: PlanResult,
    /// All that is known about why it is not good.
    why: String,
    /// If its setup failed: what verdicts say of the same test command without it.
    left_out: Option<String>,
    /// What the operator has to do about it.
    operator: Option<OperatorNote>,
}

impl Tried {
    fn of(permitted: Permitted, outcome: &Result<Reached, SetupFailure>, took: Duration) -> Self {
        let settings = &permitted.settings;
        let (failure, quality) = match outcome {
            Ok(reached) => (None, Some(&reached.quality)),
            Err(failure) => (Some(failure), None),
        };
        let why = failure.map(SetupFailure::describe).or_else(|| quality?.why_not_good().map(str::to_owned));
        let in_a_line = || why.as_deref().map(first_line);
        let result = PlanResult {
            test: settings.test_command.clone(),
            setup: settings.setup_commands.clone(),
            source: settings.test_command_source.clone(),
            good: why.is_none(),
            passed: quality.and_then(BaselineQuality::rank).map_or(0, |(_, passed)| passed),
            why: failure.map(SetupFailure::in_a_line).or_else(in_a_line),
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
        };
        let remark = |failure: &SetupFailure| {
            format!(
                "The setup that was detected from {} fails at `{}` and was left out: the suite ran without it.",
                settings.setup_source, failure.command
            )
        };
        let operator = permitted.operator_note.clone();
        Self {
            result,
            why: why.unwrap_or_default(),
            left_out: failure.map(remark),
            operator: operator.or_else(|| failure?.operator_note()),
            permitted,
        }
    }
}

/// Tries `plans` in order. `record` is given the events as they happen.
pub(super) async fn try_plans(
    trial: &PlanTrial<'_>,
    plans: Vec<JobSettings>,
    record: &dyn EventRecorder,
) -> Result<ReadyPlan, TrialError> {
    let started = Instant::now();
    let mut tried: Vec<Tried> = Vec::new();
    let mut best: Option<(Reached, JobSettings, PlanResult)> = None;
    for mut plan in plans {
        let is_first = tried.is_empty();
        if !is_first && started.elapsed() > plan.test_timeout.saturating_mul(TIME_LIMITS_MAX) {
            break;
        }
        if plan.setup_commands.is_empty() {
            let same_test = |other: &&Tried| other.result.test == plan.test_command;
            plan.setup_left_out = tried.iter().filter(same_test).find_map(|other| other.left_out.clone());
        }
        let setups = tried.iter().map(|other| (&other.permitted.settings, other.left_out.is_none()));
        let Some(plan) = with_working_setup(plan, setups) else { continue };
        let permitted = trial.permit(&plan).map_err(|why| TrialError::NoneUsable { why, operator: None })?;
        if tried.iter().any(|other| runs_the_same(&other.permitted.settings, &permitted.settings)) {
            continue;
        }
        if is_first {
            record.record(notes(&permitted)).await.map_err(TrialError::Record)?;
        }
        record.begin(&permitted.settings);
        let began = Instant::now();
        let outcome = trial.try_plan(&permitted, record).await?;
        let latest = Tried::of(permitted, &outcome, began.elapsed());
        let result = latest.result.clone();
        tried.push(latest);
        // A first plan that is good needs no record of its own: its setup and its baseline are recorded.
        if !(result.good && is_first) {
            let event = TranscriptEvent::PlanTried { result: result.clone() };
            record.record(vec![event]).await.map_err(TrialError::Record)?;
        }
        let Ok(reached) = outcome else { continue };
        let best_rank = best.as_ref().and_then(|(other, ..)| other.quality.rank());
        if reached.quality.rank() <= best_rank {
            reached.toolbox.shut_down().await;
            continue;
        }
        let is_good = result.good;
        if let Some((other, ..)) = best.replace((reached, plan, result)) {
            other.toolbox.shut_down().await;
        }
        if is_good {
            break;
        }
    }
    let Some((reached, plan, result)) = best else {
        let operator = tried.iter().find_map(|plan| plan.operator.clone());
        return Err(TrialError::NoneUsable { why: explain_failure(&tried), operator });
    };
    reached.ready(plan, result, record).await
}

/// A plan whose suite was run once.
struct Reached {
    environment: Environment,
    toolbox: Toolbox,
    baseline: TestRun,
    quality: BaselineQuality,
}

impl Reached {
    /// The plan that is used. Its suite runs again if it was red.
    async fn ready(
        self,
        plan: JobSettings,
        result: PlanResult,
        record: &dyn EventRecorder,
    ) -> Result<ReadyPlan, TrialError> {
        let Self { environment, toolbox, baseline, .. } = self;
        let (baseline, note) = repeated_if_red(baseline, &toolbox, environment.settings()).await?;
        let notes: Vec<_> = note.into_iter().map(|text| TranscriptEvent::Note { text }).collect();
        record.record(notes).await.map_err(TrialError::Record)?;
        Ok(ReadyPlan { environment, toolbox, baseline, plan, result })
    }
}

impl PlanTrial<'_> {
    /// Tries one plan, which counts only if it is good. `Err`: why it is not, and what the operator has to do about it.
    pub(super) async fn try_alone(
        &self,
        plan: JobSettings,
        record: &dyn EventRecorder,
    ) -> Result<Result<ReadyPlan, (String, Option<OperatorNote>)>, TrialError> {
        let permitted = self.permit(&plan).map_err(|why| TrialError::NoneUsable { why, operator: None })?;
        let began = Instant::now();
        let outcome = self.try_plan(&permitted, record).await?;
        let Tried { result, why, operator, .. } = Tried::of(permitted, &outcome, began.elapsed());
        let event = TranscriptEvent::PlanTried { result: result.clone() };
        record.record(vec![event]).await.map_err(TrialError::Record)?;
        match outcome {
            Ok(reached) if result.good => Ok(Ok(reached.ready(plan, result, record).await?)),
            Ok(reached) => {
                reached.toolbox.shut_down().await;
                Ok(Err((why, operator)))
            }
            Err(_) => Ok(Err((why, operator))),
        }
    }

    /// What the operator's rules leave of a plan.
    pub(super) fn permit(&self, plan: &JobSettings) -> Result<Permitted, String> {
        let spec = SandboxSpec { label: self.label.clone(), ..self.policy.sandbox.clone() };
        permit(plan, &self.policy.setup, &spec)
    }

    /// The sandboxes of a plan.
    ///
    /// # Errors
    /// The root file system or the workspace cannot be read.
    pub(super) async fn environment(&self, permitted: &Permitted) -> Result<Environment, SuiteError> {
        let Permitted { settings, spec, .. } = permitted;
        let environment = Environment::of(
            self.sandbox.clone(),
            spec.clone(),
            self.workspace.clone(),
            settings.clone(),
            self.policy.setup.clone(),
            self.repository,
            self.setup_locks.clone(),
        )
        .await?;
        Ok(if self.uses_kept_builds { environment } else { environment.without_kept_build() })
    }

    /// Sets one plan up, and runs its suite once.
    async fn try_plan(
        &self,
        permitted: &Permitted,
        record: &dyn EventRecorder,
    ) -> Result<Result<Reached, SetupFailure>, TrialError> {
        let environment = self.environment(permitted).await?;
        let base_tree = self.workspace.base_tree().await.map_err(SuiteError::from)?;
        let started = environment.fresh(&base_tree, "work").await;
        record.record(environment.take_events()).await.map_err(TrialError::Record)?;
        let toolbox = match started? {
            Ok(toolbox) => toolbox,
            Err(failure) => return Ok(Err(failure)),
        };
        let baseline = run_suite_of_tree(&toolbox, environment.settings()).await.map_err(SuiteError::from)?;
        let quality = quality_of(&baseline, environment.settings());
        Ok(Ok(Reached { environment, toolbox, baseline, quality }))
    }
}

/// The plan, unless its setup has failed already: then with the setup that worked last. `setups`: those that were tried,
/// and whether each worked. `None`: none worked.
fn with_working_setup<'s>(
    plan: JobSettings,
    setups: impl Iterator<Item = (&'s JobSettings, bool)> + Clone,
) -> Option<JobSettings> {
    let has_failed =
        setups.clone().any(|(tried, works)| !works && tried.setup_commands == plan.setup_commands);
    if !has_failed {
        return Some(plan);
    }
    let working = setups.filter(|(tried, works)| *works && !tried.setup_commands.is_empty()).last();
    working.map(|(other, _)| JobSettings {
        setup_commands: other.setup_commands.clone(),
        setup_source: other.setup_source.clone(),
        setup_detected: other.setup_detected,
        ..plan
    })
}

/// Whether both plans run the same commands.
fn runs_the_same(one: &JobSettings, other: &JobSettings) -> bool {
    one.test_command == other.test_command && one.setup_commands == other.setup_commands
}

fn notes(permitted: &Permitted) -> Vec<TranscriptEvent> {
    permitted.notes.iter().map(|text| TranscriptEvent::Note { text: text.clone() }).collect()
}

/// Why no plan can be used: what was denied, the first plan in full, and the others in a line each.
fn explain_failure(tried: &[Tried]) -> String {
    let mut parts: Vec<String> =
        tried.iter().find_map(|plan| plan.permitted.hint.clone()).into_iter().collect();
    let Some(first) = tried.first() else { return parts.concat() };
    parts.push(first.why.clone());
    // What a suite prints says more than why a setup fails.
    if first.left_out.is_some()
        && let Some(reached) = tried.iter().find(|other| other.left_out.is_none())
    {
        parts.push(reached.why.clone());
    }
    if tried.len() > 1 {
        let lines: Vec<String> = tried
            .iter()
            .enumerate()
            .map(|(n, tried)| format!("{}. {}", n + 1, tried.result.describe()))
            .collect();
        parts.push(format!("Tried, in this order:\n\n{}", lines.join("\n")));
    }
    if !first.permitted.settings.setup_commands.is_empty() {
        let quoted = |command: &str| serde_json::to_string(command).unwrap_or_default();
        let setup: String = first
            .permitted
            .settings
            .setup_commands
            .iter()
            .map(|command| format!("  - {}\n", quoted(command)))
            .collect();
        parts.push(format!(
            "Write commands that work into `{REPOSITORY_FILE}` on the default branch, in place of those that were \
             detected:\n\ntest: {}\nsetup:\n{setup}",
            quoted(&first.permitted.settings.test_command),
        ));
    }
    parts.join("\n\n").trim_end().to_owned()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches(':').to_owned()
}

/// Whether a tree or a setup is too large for a sandbox, and will be the next time, too.
pub(super) fn is_too_large(error: &SuiteError) -> bool {
    matches!(error, SuiteError::Sandbox(SandboxError::DiskFull(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setup_that_failed_is_not_run_again_but_replaced_by_one_that_works() {
        let plan = |setup: &str, test: &str| JobSettings {
            setup_commands: vec![setup.to_owned()],
            setup_source: setup.to_owned(),
            ..JobSettings::of_test_command(test)
        };
        let (install, dated) = (plan("npm install", "npm test"), plan("npm install --before D", "npm test"));
        let other = || plan("npm install", "npx ava");
        let result = |setups: &[(&JobSettings, bool)]| {
            with_working_setup(other(), setups.iter().copied())
                .map(|plan| (plan.setup_commands.concat(), plan.test_command))
        };
        let dated_ava = Some(("npm install --before D".to_owned(), "npx ava".to_owned()));
        assert_eq!(result(&[(&install, true)]), Some(("npm install".to_owned(), "npx ava".to_owned())));
        assert_eq!(result(&[(&install, false)]), None);
        assert_eq!(result(&[(&install, false), (&dated, true)]), dated_ava);
        let bare = JobSettings::of_test_command("npm test");
        assert_eq!(result(&[(&install, false), (&bare, true)]), None, "a plan without setup sets nothing up");
    }
}
