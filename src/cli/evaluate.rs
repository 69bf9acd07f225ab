//! `mendwright evaluate`: measures the success rate, on known issues or on a repository's own past fixes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::common_args::{ModelArguments, SandboxArguments, SuiteArguments};
use super::exit_code;
use crate::evaluate::{
    Evaluation, Instance, InstanceResult, Report, RepositorySources, State, check_history, evaluate,
    history_report, read_instances,
};
use crate::setup::SetupLocks;
use crate::telemetry;
use crate::worker::local::TestBench;
use crate::workspace::LocalRepository;

/// Measure the success rate, on known issues or on a repository's own past fixes
///
/// Lets the model work on issues whose tests are known, and judges its proposals with tests that it never
/// saw; or shows what to expect in a repository, from its own past fixes. Publishes nothing. Results are saved as
/// they come: the same command continues after any interruption.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    mendwright evaluate --instances swe.jsonl --repos checkouts --predictions out.jsonl --report out.md --jobs 4\n  \
    mendwright evaluate --history . --last 10 --report expect.md\n  \
    mendwright evaluate --history . --last 10 --solve --model claude-sonnet-4-5 --max-usd 1\n\n\
    --report OUT.md also writes OUT.json. The predictions are in SWE-bench's format.")]
pub struct EvaluateArguments {
    /// Issues with the fields of SWE-bench, one JSON object a line
    #[arg(long, value_name = "FILE.jsonl", required_unless_present = "history")]
    instances: Option<PathBuf>,
    /// A repository whose own past fixes are used, if they brought tests
    #[arg(long, value_name = "DIR", conflicts_with = "instances")]
    history: Option<PathBuf>,
    /// The number of past fixes to try
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    last: u16,
    /// Also let the model work on the usable fixes of --history
    #[arg(long, requires = "history")]
    solve: bool,
    /// Write the usable fixes of --history as instances
    #[arg(long, value_name = "FILE.jsonl", requires = "history")]
    write: Option<PathBuf>,
    /// The directory with the instances' repositories, as owner/name, owner__name or name
    #[arg(long, value_name = "DIR")]
    repos: Option<PathBuf>,
    /// The address from which missing repositories are cloned
    #[arg(long, value_name = "URL")]
    clone_from: Option<Url>,
    /// Write predictions: instance_id, model_name_or_path and model_patch, one JSON object a line
    #[arg(long, value_name = "OUT.jsonl")]
    predictions: Option<PathBuf>,
    /// Write the report in Markdown, and next to it in JSON
    #[arg(long, value_name = "OUT.md")]
    report: Option<PathBuf>,
    /// The number of instances at the same time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// The directory for results [default: the name of the instances' file or repository, with .state]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    suite: SuiteArguments,
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    sandbox: SandboxArguments,
}

/// Run the command. Returns the exit code.
pub(super) async fn run(arguments: EvaluateArguments) -> anyhow::Result<i32> {
    telemetry::init(Some("warn"), telemetry::LogFormat::Human)?;
    match (&arguments.instances, &arguments.history) {
        (Some(file), _) => on_instances(&arguments, file).await,
        (None, Some(repository)) => on_history(&arguments, repository).await,
        (None, None) => bail!("name --instances or --history"),
    }
}

async fn on_instances(arguments: &EvaluateArguments, file: &Path) -> anyhow::Result<i32> {
    let instances = read_instances(file)?;
    let state_directory = arguments.state_directory(file);
    let places = RepositorySources {
        directory: arguments.repos.clone(),
        clone_from: arguments.clone_from.clone(),
        clones: state_directory.join("clones"),
    };
    let repositories = places.find(&instances).await.map_err(|mistakes| {
        anyhow::anyhow!(
            "{}: correct these mistakes first; nothing was run:\n  {}",
            file.display(),
            mistakes.join("\n  ")
        )
    })?;
    let parts = arguments.model.with(arguments.bench(String::new())?)?;
    let evaluation = Evaluation { instances, repositories, parts, jobs: usize::from(arguments.jobs) };
    let Some(results) = arguments.work(evaluation, &state_directory).await? else {
        return Ok(exit_code::INTERRUPTED);
    };
    let report = Report::new(&arguments.model.model, results);
    arguments.write_predictions(&report.results)?;
    arguments.write_report(&report.markdown(), &serde_json::to_value(&report)?)?;
    Ok(0)
}

async fn on_history(arguments: &EvaluateArguments, path: &Path) -> anyhow::Result<i32> {
    let path = std::path::absolute(path)?;
    let repository = LocalRepository::open(&path)?;
    let bench = arguments.bench(repository.git_dir.display().to_string())?;
    let scratch = tempfile::Builder::new().prefix("mendwright-history-").tempdir()?;
    let report_progress = |candidate: &crate::evaluate::Candidate| {
        let result = match &candidate.instance {
            Ok(instance) => format!("usable, {} tests", instance.fail_to_pass.len()),
            Err(why) => format!("not usable: {}", why.lines().next().unwrap_or_default()),
        };
        eprintln!("  {} {result}: {}", candidate.commit.short(), candidate.subject);
    };
    let (last, jobs) = (usize::from(arguments.last), usize::from(arguments.jobs));
    let check = check_history(&repository, last, &bench, jobs, scratch.path(), report_progress).await?;
    let usable: Vec<Instance> =
        check.candidates.iter().filter_map(|candidate| candidate.instance.clone().ok()).collect();
    if let Some(file) = &arguments.write {
        let lines = usable.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        write(file, &lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    }
    let mut solved = None;
    if arguments.solve && !usable.is_empty() {
        let parts = arguments.model.with(bench)?;
        let repositories =
            usable.iter().map(|instance| (instance.repo.clone(), repository.clone())).collect();
        let evaluation = Evaluation { instances: usable, repositories, parts, jobs };
        let Some(results) = arguments.work(evaluation, &arguments.state_directory(&path)).await? else {
            return Ok(exit_code::INTERRUPTED);
        };
        arguments.write_predictions(&results)?;
        solved = Some(Report::new(&arguments.model.model, results));
    }
    let (text, value) =
        history_report(&check, &arguments.model.budget(), arguments.model.price(), solved.as_ref());
    arguments.write_report(&text, &value)?;
    Ok(0)
}

impl EvaluateArguments {
    fn state_directory(&self, subject: &Path) -> PathBuf {
        self.state.clone().unwrap_or_else(|| {
            let mut name = subject.as_os_str().to_owned();
            name.push(".state");
            PathBuf::from(name)
        })
    }

    fn bench(&self, cache_scope: String) -> anyhow::Result<TestBench> {
        let settings = self.suite.settings()?;
        Ok(TestBench {
            sandbox: self.sandbox.connect()?,
            policy: self.sandbox.policy(cache_scope, self.model.budget(), settings),
            setup_locks: SetupLocks::default(),
        })
    }

    /// All results; `None`: a person stopped the evaluation.
    async fn work(
        &self,
        evaluation: Evaluation,
        state: &Path,
    ) -> anyhow::Result<Option<Vec<InstanceResult>>> {
        let all = evaluation.instances.len();
        let state = State::open(state, &evaluation.subject(&self.model.model))?;
        let before = evaluation.instances.iter().filter(|one| state.done(&one.instance_id).is_some()).count();
        eprintln!("{all} instances, {before} of them already done");
        let mut done = before;
        let report_progress = |result: &InstanceResult| {
            done += 1;
            let solved = if result.resolved { "solved" } else { "not solved" };
            eprintln!(
                "  {done}/{all} {}: {}, {solved}, {:.1} s",
                result.instance_id, result.outcome, result.seconds
            );
        };
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = CancellationToken::new();
        let working = evaluate(evaluation, Arc::new(state), &stop, report_progress);
        tokio::pin!(working);
        tokio::select! {
            ended = &mut working => return ended,
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        // The sandboxes end; the jobs continue at the next run.
        stop.cancel();
        working.await?;
        eprintln!("interrupted; run the same command to continue");
        Ok(None)
    }

    fn write_predictions(&self, results: &[InstanceResult]) -> anyhow::Result<()> {
        let Some(file) = &self.predictions else { return Ok(()) };
        let prediction = |result: &InstanceResult| {
            let prediction = json!({
                "instance_id": result.instance_id,
                "model_name_or_path": self.model.model,
                "model_patch": result.model_patch,
            });
            format!("{prediction}\n")
        };
        write(file, &results.iter().map(prediction).collect::<String>())
    }

    fn write_report(&self, text: &str, value: &serde_json::Value) -> anyhow::Result<()> {
        print!("{text}");
        let Some(file) = &self.report else { return Ok(()) };
        write(file, text)?;
        write(&file.with_extension("json"), &(serde_json::to_string_pretty(value)? + "\n"))
    }
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}
