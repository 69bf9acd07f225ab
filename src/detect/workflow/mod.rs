//! GitHub Actions workflows: the job that runs the tests on a push or pull request. Takes `run:`
//! steps that install or test, on Ubuntu; leaves alone what needs a secret, a service, another
//! workflow, or an expression beyond simple matrix values.

use serde_json::{Map, Value};

use self::commands::take_apart;
use super::python::quoted;
use super::{Found, PassedOver, RootListing};
use crate::domain::is_image_reference;
use crate::detect::yaml_options;

mod commands;
mod expressions;

use expressions::Matrix;

/// Workflows looked at.
const WORKFLOWS_MAX: usize = 20;
const JOBS_MAX: usize = 50;
const STEPS_MAX: usize = 50;
/// Variables of one scope.
const VARIABLES_MAX: usize = 10;

/// What the workflows say.
#[derive(Debug, Default)]
pub(super) struct Ci {
    pub(super) job: Option<CiJob>,
    pub(super) passed_over: Vec<PassedOver>,
    /// The test commands of all jobs that could be read.
    tested: Vec<String>,
}

/// A job that runs the tests.
#[derive(Debug, Clone)]
pub(super) struct CiJob {
    pub(super) test: Found<String>,
    pub(super) setup: Vec<Found<String>>,
    pub(super) image: Option<Found<String>>,
    pub(super) notes: Vec<String>,
    /// How surely it is the main one.
    weight: u32,
}

impl Ci {
    /// Whether a test command of some job holds one of `runners`.
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
            Ok(_) | Err(_) => ci.passed_over.push(PassedOver::new(file, "it cannot be read as a workflow")),
        }
    }
    ci.tested = jobs.iter().map(|job| job.test.value.clone()).collect();
    // The first of the weightiest.
    ci.job = jobs.into_iter().reduce(|best, job| if job.weight > best.weight { job } else { best });
    ci
}

impl Ci {
    fn read(&mut self, file: &str, workflow: &Map<String, Value>, found: &mut Vec<CiJob>) {
        if !runs_on_changes(workflow.get("on")) {
            self.passed_over.push(PassedOver::new(file, "it is not run on pushes and pull requests"));
            return;
        }
        let Some(jobs) = workflow.get("jobs").and_then(Value::as_object) else { return };
        for (name, job) in jobs.iter().take(JOBS_MAX) {
            let Some(job) = job.as_object() else { continue };
            match Reader::of(file, name, workflow, job).and_then(|reader| reader.read()) {
                Ok(Some(job)) => found.push(job),
                Ok(None) => {}
                Err(why) => self.passed_over.push(PassedOver::new(format!("the job {name} of {file}"), why)),
            }
        }
    }
}

/// Whether `on:` holds `push` or `pull_request`.
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
struct Reader<'w> {
    file: &'w str,
    name: &'w str,
    job: &'w Map<String, Value>,
    matrix: Matrix,
    /// The workflow's and the job's own variables.
    variables: Vec<(String, String)>,
    directory: Option<String>,
}

impl<'w> Reader<'w> {
    /// # Errors
    /// Why this job cannot be used, in words.
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

    /// `Ok(None)`: it does not test.
    fn read(&self) -> Result<Option<CiJob>, &'static str> {
        let mut setup = Vec::new();
        let mut tests: Vec<String> = Vec::new();
        let mut left_out = None;
        let mut notes = Vec::new();
        let steps = self.job.get("steps").and_then(Value::as_array);
        for step in steps.into_iter().flatten().take(STEPS_MAX) {
            if let Some(action) = step.get("uses").and_then(Value::as_str) {
                let name = action.split('@').next().unwrap_or(action);
                if name.rsplit('/').next().is_some_and(|name| name.starts_with("setup-")) {
                    notes.push(format!(
                        "{} has its toolchain from {name}; the image, or the worker, must have it",
                        self.file
                    ));
                }
                continue;
            }
            let Some(script) = step.get("run").and_then(Value::as_str) else { continue };
            let taken = take_apart(script);
            if taken.installs.is_empty() && taken.test.is_none() {
                continue;
            }
            match self.usable(step, script) {
                Err(why) => {
                    if taken.test.is_some() {
                        left_out = Some(why);
                    }
                }
                Ok(resolved) => {
                    let taken = take_apart(&resolved);
                    notes.extend(self.unknown_variables(step));
                    let after_tests = !tests.is_empty();
                    let source = format!("a step of the job {} in {}", self.name, self.file);
                    if !after_tests {
                        setup.extend(
                            taken
                                .installs
                                .iter()
                                .map(|command| Found::new(self.placed(step, command), &*source)),
                        );
                    }
                    tests.extend(taken.test.map(|command| self.placed(step, &command)));
                }
            }
        }
        if tests.is_empty() {
            let is_named_so = self.name.to_lowercase().contains("test");
            let left_out = left_out.or(is_named_so.then_some("none of its steps is known to test"));
            return left_out.map_or(Ok(None), Err);
        }
        if self.job.get("services").and_then(Value::as_object).is_some_and(|services| !services.is_empty()) {
            return Err("it needs services beside it (a database, for example)");
        }
        let source = format!("the job {} in {}, which is run on changes", self.name, self.file);
        let multi_line = tests.len() > 1 && tests.iter().any(|test| test.contains('\n'));
        let test = if multi_line { tests.swap_remove(0) } else { tests.join(" && ") };
        Ok(Some(CiJob {
            test: Found::new(test, source),
            setup,
            image: self.image(),
            notes,
            weight: self.weight(),
        }))
    }

    /// The step's script with matrix values in place.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    fn usable(&self, step: &Value, script: &str) -> Result<String, &'static str> {
        if step.to_string().contains("secrets.") {
            return Err("its test step needs a secret");
        }
        if step.get("continue-on-error").and_then(Value::as_bool) == Some(true) {
            return Err("its test step may fail");
        }
        if step.get("if").is_some() {
            return Err("its test step is run under a condition");
        }
        let shell = step.get("shell").and_then(Value::as_str).unwrap_or("bash");
        if !["bash", "sh"].contains(&shell.split_whitespace().next().unwrap_or(shell)) {
            return Err("its test step is for another shell");
        }
        self.matrix.resolve(script).ok_or("its test step holds expressions that only GitHub can fill in")
    }

    /// Variables of the step that only GitHub can fill in, in words.
    fn unknown_variables(&self, step: &Value) -> Vec<String> {
        let variables = step.get("env").and_then(Value::as_object).into_iter().flatten();
        let is_unknown =
            |value: &Value| value.as_str().is_some_and(|text| self.matrix.resolve(text).is_none());
        let unknown = variables.filter(|(_, value)| is_unknown(value)).take(VARIABLES_MAX);
        unknown
            .map(|(name, _)| format!("{} sets {name} from an expression; here it is not set", self.file))
            .collect()
    }

    /// The command with the step's directory and variables before it.
    fn placed(&self, step: &Value, command: &str) -> String {
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
        if before.is_empty() {
            return command.to_owned();
        }
        // A subshell, so that the next command starts where this one did.
        format!("({before}{command})")
    }

    fn image(&self) -> Option<Found<String>> {
        let container = self.job.get("container")?;
        let image = container.as_str().or_else(|| container.get("image")?.as_str())?;
        let image = self.matrix.resolve(image).filter(|image| is_image_reference(image))?;
        Some(Found::new(image, format!("the container of the job {} in {}", self.name, self.file)))
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

/// Variables with plain values. Those that colour output or belong to the runner are left out.
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
