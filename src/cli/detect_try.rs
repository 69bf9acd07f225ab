//! `mendwright detect --try`: tries the plans of a repository as a job does, and shows what comes of each.

use std::path::Path;

use super::clean_up;
use super::common_args::SandboxArguments;
use crate::detect::repository_file_of;
use crate::domain::{Budget, PlanResult, RepositoryId, TranscriptEvent, commands_in_words};
use crate::publish::console_line;
use crate::setup::SetupLocks;
use crate::telemetry;
use crate::worker::local::TestBench;
use crate::worker::{
    SettingsOverride, TrialProgress, UsablePlan, resolve_settings, usable_plan, with_local_submodules,
};
use crate::workspace::{LocalRepository, Mirrors};

/// What came of a trial.
pub(super) struct TrialResult {
    /// Each plan that was tried, in order.
    pub(super) tried: Vec<PlanResult>,
    /// The file to commit for the plan that would be used.
    pub(super) repository_file: Option<String>,
    /// Why no plan can be used, or why the best one is not good.
    pub(super) why: Option<String>,
}

/// Tries the plans of the repository's HEAD, with progress on standard error.
///
/// # Errors
/// It is no git repository, or there is no sandbox here.
pub(super) async fn try_repository(path: &Path, sandbox: &SandboxArguments) -> anyhow::Result<TrialResult> {
    telemetry::init(Some("warn"), telemetry::LogFormat::Human)?;
    let repository = LocalRepository::open(&std::path::absolute(path)?)?;
    let scope = repository.git_dir.display().to_string();
    let bench = TestBench {
        sandbox: sandbox.connect()?,
        policy: sandbox.policy(scope, Budget::default(), SettingsOverride::default()),
        setup_locks: SetupLocks::default(),
    };
    let scratch = tempfile::Builder::new().prefix("mendwright-detect-").tempdir()?;
    let mirrors = Mirrors::new(scratch.path());
    let id = RepositoryId::LOCAL;
    let workspace = mirrors.fetch(id, &repository.access()?, &repository.head).await?;
    let workspace = with_local_submodules(&mirrors, id, workspace, &repository).await?;
    let plans = resolve_settings(&bench.policy, &workspace).await?;
    let mut tried = Vec::new();
    let on_progress = |progress: TrialProgress<'_>| match progress {
        TrialProgress::Begins(plan) => {
            show(&format!("● trying {}", commands_in_words(&plan.setup_commands, &plan.test_command)));
        }
        TrialProgress::Event(TranscriptEvent::PlanTried { result }) => {
            show(&format!("  {}", result.describe_ending()));
            tried.push(result.clone());
        }
        TrialProgress::Event(event) => console_line(event).iter().for_each(|line| show(line)),
    };
    let usable = usable_plan(&bench, &workspace, plans, on_progress).await?;
    clean_up(bench.sandbox.as_ref()).await;
    Ok(match usable {
        Ok(UsablePlan { settings, result, .. }) => {
            if tried.is_empty() {
                show(&format!("  {}", result.describe_ending()));
                tried.push(result);
            }
            let best = tried.iter().max_by_key(|result| (result.good, result.passed));
            let why = best.filter(|best| !best.good).map(PlanResult::describe);
            TrialResult { tried, repository_file: Some(repository_file_of(&settings)), why }
        }
        Err(why) => TrialResult { tried, repository_file: None, why: Some(why) },
    })
}

/// Text without control characters: strangers wrote the repository's commands.
pub(super) fn without_control_characters(text: &str) -> String {
    let is_shown = |c: char| c == '\n' || !c.is_control();
    text.chars().map(|c| if is_shown(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

fn show(line: &str) {
    eprintln!("{}", without_control_characters(line));
}
