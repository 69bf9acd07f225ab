//! GitHub Actions workflows: the job that runs the tests on a push or pull request. Uses `run:` steps that
//! install or test, on Ubuntu. Does not use what needs a secret, a service, another workflow, or an expression
//! other than simple matrix values.

use serde_json::{Map, Value};

use self::commands::split_script;
use super::shell_quoting::quoted;
use super::tools::{VIRTUAL_ENVIRONMENT, in_virtual_environment};
use super::{Detected, Plan, RootListing, SkippedSource};
use crate::config::yaml_options;
use crate::domain::is_image_reference;

mod commands;
mod expressions;

pub(super) use commands::{Purpose, purpose};

use expressions::Matrix;

/// The most workflows that are read.
const WORKFLOWS_MAX: usize = 20;
const JOBS_MAX: usize = 50;
const STEPS_MAX: usize = 50;
/// The most variables of one scope.
const VARIABLES_MAX: usize = 10;

/// What the workflows say.
#[derive(Debug, Default)]
pub(super) struct Ci {
    pub(super) job: Option<CiJob>,
    pub(super) passed_over: Vec<SkippedSource>,
    /// The test commands of all jobs that could be read.
    tested: Vec<String>,
}

/// A job that runs the tests.
#[derive(Debug, Clone)]
pub(super) struct CiJob {
    pub(super) test: Detected<String>,
    pub(super) setup: Vec<Detected<String>>,
    pub(super) image: Option<Detected<String>>,
    pub(super) notes: Vec<String>,
    /// How likely it is the main job.
    weight: u32,
}

impl CiJob {
    /// The job as a plan. What it installs with pip goes into a virtual environment.
    pub(super) fn plan(&self) -> Plan {
        let uses_python = |command: &Detected<String>| {
            let words = ["pip install", "python", "pytest", "tox", "nox"];
            words.iter().any(|word| command.value.contains(word))
        };
        let Self { setup, test, .. } = self;
        if !setup
            .iter()
            .any(|command| command.value.contains("pip install") || command.value.contains("pip3 install"))
        {
            return Plan { setup: setup.clone(), test: test.clone() };
        }
        let inside = |command: &Detected<String>| match uses_python(command) {
            true => Detected::new(in_virtual_environment(&command.value), &*command.source),
            false => command.clone(),
        };
        let environment =
            Detected::new(VIRTUAL_ENVIRONMENT, "a virtual environment, because pip installs packages");
        let setup = std::iter::once(environment).chain(setup.iter().map(inside)).collect();
        Plan { setup, test: inside(test) }
    }
}

impl Ci {
    /// Whether a job's test command contains one of `runners`.
    pub(super) fn runs_one_of(&self, runners: &[&str]) -> bool {
        self.tested.iter().any(|command| runners.iter().any(|runner| command.contains(runner)))
    }
}

/// Reads all workflows.
pub(super) fn detect(root: &RootListing) -> Ci {
    let mut ci = Ci::default();
    let workflows = root.files().filter(|path| path.starts_with(".github/workflows/"));
    let mut jobs: Vec<CiJob> = Vec::new();
    for file in workflows.take(WORKFLOWS_MAX) {
        let Some(text) = root.text(file) else { continue };
        match serde_saphyr::from_str_with_options::<Value>(text, yaml_options()) {
            Ok(Value::Object(workflow)) => ci.read(file, &workflow, &mut jobs),
            Ok(_) | Err(_) => {
                ci.passed_over.push(SkippedSource::new(file, "it cannot be read as a workflow"));
            }
        }
    }
    ci.tested = jobs.iter().map(|job| job.test.value.clone()).collect();
    // The first of those with the largest weight.
    ci.job = jobs.into_iter().reduce(|best, job| if job.weight > best.weight { job } else { best });
    ci
}

/// A command, and what sets its directory and its variables.
struct PlacedCommand {
    before: String,
    command: String,
}

impl PlacedCommand {
    /// As a whole script.
    fn alone(&self) -> String {
        format!("{}{}", self.before, self.command)
    }

    /// In a subshell if need be, so that the next command starts where this one did.
    fn in_subshell(&self) -> String {
        match self.before.is_empty() {
            true => self.command.clone(),
            false => format!("({})", self.alone()),
        }
    }
}

impl Ci {
    fn read(&mut self, file: &str, workflow: &Map<String, Value>, found: &mut Vec<CiJob>) {
        if !runs_on_changes(workflow.get("on")) {
            self.passed_over.push(SkippedSource::new(file, "it does not run on pushes and pull requests"));
            return;
        }
        let Some(jobs) = workflow.get("jobs").and_then(Value::as_object) else { return };
        for (name, job) in jobs.iter().take(JOBS_MAX) {
            let Some(job) = job.as_object() else { continue };
            match JobReader::of(file, name, workflow, job).and_then(|reader| reader.read()) {
                Ok(Some(job)) => found.push(job),
                Ok(None) => {}
                Err(why) => {
                    self.passed_over.push(SkippedSource::new(format!("the job {name} of {file}"), why));
                }
            }
        }
    }
}

/// Whether `on:` contains `push` or `pull_request`.
fn runs_on_changes(on: Option<&Value>) -> bool {
    let is_change = |name: &str| matches!(name, "push" | "pull_request" | "merge_group");
    match on {
        Some(Value::String(name)) => is_change(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is_change),
        Some(Value::Object(events)) => events.iter().any(|(name, event)| {
            // A push of tags only is a release.
            let tags_only = event.get("tags").is_some() && event.get("branches").is_none();
            is_change(name) && !tags_only
        }),
        Some(Value::Null | Value::Bool(_) | Value::Number(_)) | None => false,
    }
}

/// One job while it is read.
struct JobReader<'w> {
    file: &'w str,
    name: &'w str,
    job: &'w Map<String, Value>,
    matrix: Matrix,
    /// The workflow's and the job's own variables.
    variables: Vec<(String, String)>,
    directory: Option<String>,
}

impl<'w> JobReader<'w> {
    /// # Errors
    /// The reason why this job cannot be used.
    fn of(
        file: &'w str,
        name: &'w str,
        workflow: &Map<String, Value>,
        job: &'w Map<String, Value>,
    ) -> Result<Self, &'static str> {
        if job.contains_key("uses") {
            return Err("it calls another workflow, which is not followed");
        }
        let matrix = Matrix::of(job.get("strategy"));
        let runner = match job.get("runs-on") {
            Some(Value::String(runner)) => matrix.resolve(runner),
            Some(Value::Array(labels)) => {
                labels.iter().filter_map(Value::as_str).map(str::to_owned).reduce(|a, b| format!("{a} {b}"))
            }
            Some(_) | None => None,
        };
        let is_linux =
            |runner: &String| ["ubuntu", "linux"].iter().any(|word| runner.to_lowercase().contains(word));
        if !runner.as_ref().is_some_and(is_linux) && !job.contains_key("container") {
            return Err("it is not known to run on Ubuntu");
        }
        let mut variables = Vec::new();
        for scope in [workflow.get("env"), job.get("env")] {
            variables.extend(plain_variables(scope, &matrix));
        }
        let default = |scope: &Map<String, Value>| {
            let run = scope.get("defaults")?.get("run")?;
            run.get("working-directory")?.as_str().map(str::to_owned)
        };
        let directory = default(job).or_else(|| default(workflow));
        Ok(Self { file, name, job, matrix, variables, directory })
    }

    /// `Ok(None)`: the job does not run tests.
    fn read(&self) -> Result<Option<CiJob>, &'static str> {
        let mut setup = Vec::new();
        let mut builds: Vec<PlacedCommand> = Vec::new();
        let mut tests: Vec<PlacedCommand> = Vec::new();
        let mut unusable_reason = None;
        let mut notes = Vec::new();
        let steps = self.job.get("steps").and_then(Value::as_array);
        for step in steps.into_iter().flatten().take(STEPS_MAX) {
            if let Some(action) = step.get("uses").and_then(Value::as_str) {
                let name = action.split('@').next().unwrap_or(action);
                if name.rsplit('/').next().is_some_and(|name| name.starts_with("setup-")) {
                    notes.push(format!(
                        "{} installs its toolchain with {name}; the image or the host must have it",
                        self.file
                    ));
                }
                continue;
            }
            let Some(script) = step.get("run").and_then(Value::as_str) else { continue };
            let taken = split_script(script);
            if taken.installs.is_empty() && taken.builds.is_empty() && taken.test.is_none() {
                continue;
            }
            match self.usable(step, script) {
                Err(why) => {
                    if taken.test.is_some() {
                        unusable_reason = Some(why);
                    }
                }
                Ok(resolved) => {
                    let taken = split_script(&resolved);
                    notes.extend(self.unknown_variables(step));
                    let after_tests = !tests.is_empty();
                    let source = format!("a step of the job {} in {}", self.name, self.file);
                    if !after_tests {
                        setup.extend(
                            taken
                                .installs
                                .iter()
                                .map(|command| Detected::new(self.placed(step, command).alone(), &*source)),
                        );
                        builds.extend(taken.builds.iter().map(|command| self.placed(step, command)));
                    }
                    tests.extend(taken.test.map(|command| self.placed(step, &command)));
                }
            }
        }
        if tests.is_empty() {
            let is_named_test = self.name.to_lowercase().contains("test");
            let unusable_reason =
                unusable_reason.or(is_named_test.then_some("none of its steps is a known test command"));
            return unusable_reason.map_or(Ok(None), Err);
        }
        if self.job.get("services").and_then(Value::as_object).is_some_and(|services| !services.is_empty()) {
            return Err("it needs services (for example a database)");
        }
        let source = format!("the job {} in {}, which runs on changes", self.name, self.file);
        // The agent changes sources, so building is a part of the test command.
        let tests: Vec<PlacedCommand> = builds.into_iter().chain(tests).collect();
        let multi_line = tests.len() > 1 && tests.iter().any(|test| test.command.contains('\n'));
        let test = match tests.as_slice() {
            [first, ..] if multi_line || tests.len() == 1 => first.alone(),
            all => all.iter().map(PlacedCommand::in_subshell).collect::<Vec<_>>().join(" && "),
        };
        Ok(Some(CiJob {
            test: Detected::new(test, source),
            setup,
            image: self.image(),
            notes,
            weight: self.weight(),
        }))
    }

    /// The step's script with matrix values in place.
    ///
    /// # Errors
    /// The reason why it cannot be used.
    fn usable(&self, step: &Value, script: &str) -> Result<String, &'static str> {
        if step.to_string().contains("secrets.") {
            return Err("its test step needs a secret");
        }
        if step.get("continue-on-error").and_then(Value::as_bool) == Some(true) {
            return Err("its test step may fail");
        }
        if step.get("if").is_some() {
            return Err("its test step runs only under a condition");
        }
        let shell = step.get("shell").and_then(Value::as_str).unwrap_or("bash");
        if !["bash", "sh"].contains(&shell.split_whitespace().next().unwrap_or(shell)) {
            return Err("its test step is for another shell");
        }
        self.matrix.resolve(script).ok_or("its test step has expressions that only GitHub can evaluate")
    }

    /// Notes about variables of the step that only GitHub can evaluate.
    fn unknown_variables(&self, step: &Value) -> Vec<String> {
        let variables = step.get("env").and_then(Value::as_object).into_iter().flatten();
        let is_unknown =
            |value: &Value| value.as_str().is_some_and(|text| self.matrix.resolve(text).is_none());
        let unknown = variables.filter(|(_, value)| is_unknown(value)).take(VARIABLES_MAX);
        unknown
            .map(|(name, _)| format!("{} sets {name} from an expression; it is not set here", self.file))
            .collect()
    }

    /// The command, in the step's directory and with its variables.
    fn placed(&self, step: &Value, command: &str) -> PlacedCommand {
        let mut variables = self.variables.clone();
        variables.extend(plain_variables(step.get("env"), &self.matrix));
        let mut before = String::new();
        let directory = step.get("working-directory").and_then(Value::as_str).map(str::to_owned);
        let directory =
            directory.or_else(|| self.directory.clone()).and_then(|path| self.matrix.resolve(&path));
        let inside =
            directory.filter(|path| !path.starts_with('/') && !["", ".", "./"].contains(&path.as_str()));
        if !variables.is_empty() {
            let all: Vec<String> =
                variables.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
            before.push_str(&format!("export {}; ", all.join(" ")));
        }
        if let Some(path) = &inside {
            before.push_str(&format!("cd {} && ", quoted(path)));
        }
        PlacedCommand { before, command: command.to_owned() }
    }

    fn image(&self) -> Option<Detected<String>> {
        let container = self.job.get("container")?;
        let image = container.as_str().or_else(|| container.get("image")?.as_str())?;
        let image = self.matrix.resolve(image).filter(|image| is_image_reference(image))?;
        Some(Detected::new(image, format!("the container of the job {} in {}", self.name, self.file)))
    }

    fn weight(&self) -> u32 {
        let name = self.name.to_lowercase();
        let title = self.job.get("name").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let stem = self.file.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or_default();
        let is_special = [
            "bench",
            "coverage",
            "lint",
            "doc",
            "release",
            "nightly",
            "fuzz",
            "miri",
            "wasm",
            "e2e",
            "integration",
            "sanitizer",
            "asan",
            "ubsan",
            "tsan",
            "msan",
            "valgrind",
            "32bit",
            "macos",
            "windows",
        ]
        .iter()
        .any(|word| name.contains(word));
        let mut weight = 1;
        weight += if name.contains("test") || title.contains("test") { 4 } else { 0 };
        weight += if ["ci", "test", "tests", "build", "main"].contains(&stem.to_lowercase().as_str()) {
            2
        } else {
            0
        };
        if is_special { 0 } else { weight }
    }
}

/// Variables with plain values, without those that colour output or belong to the runner.
fn plain_variables(scope: Option<&Value>, matrix: &Matrix) -> Vec<(String, String)> {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let matters = |name: &str| {
        !name.contains("COLOR") && !name.starts_with("GITHUB_") && !name.contains("TOKEN") && name != "CI"
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let variables = scope.and_then(Value::as_object).into_iter().flatten();
    variables
        .filter(|(name, _)| is_name(name) && matters(name))
        .filter_map(|(name, value)| Some((name.clone(), matrix.resolve(&text(value)?)?)))
        .take(VARIABLES_MAX)
        .collect()
}
