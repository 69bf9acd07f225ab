//! How a Python project's requirements are installed: by the manager of its lock file, or with pip into a virtual
//! environment. Never into the packages of the root file system.

use std::collections::BTreeSet;

use jiff::Timestamp;
use toml::{Table, Value};

use super::requirements::{
    RequirementLocation, all_groups, asks_for, at, has_section, in_requirement_file, ini_values, location_of,
};
use super::shell_quoting::quoted;
use super::tools::{VIRTUAL_ENVIRONMENT, python_tool};
use super::{Detected, RootListing};

/// Words in the name of a requirement file for tests, the likeliest first.
const TEST_WORDS: [&str; 5] = ["test", "tests", "testing", "dev", "ci"];
/// Extras and groups that are installed if the one for tests does not suffice.
const LIKELY_GROUPS: [&str; 9] =
    ["test", "tests", "testing", "dev", "develop", "development", "all", "ci", "typing"];

/// Runners that are named without a version if nothing requires them.
const PLAIN_RUNNERS: [&str; 1] = ["pytest"];

/// What is to be installed.
pub(super) struct PythonSetup<'r> {
    pub(super) root: &'r RootListing,
    /// The file that shows the project.
    pub(super) sign: &'r str,
    /// `pyproject.toml`; empty if there is none.
    pub(super) project: &'r Table,
    /// The test runner, unless it comes with Python.
    pub(super) runner: Option<&'r str>,
}

type Commands = Vec<Detected<String>>;

impl PythonSetup<'_> {
    /// Every way, most likely first: the lock file's manager, pip with what the tests need, pip with everything that
    /// is declared.
    pub(super) fn ways(&self) -> Vec<Commands> {
        let mut ways = Vec::new();
        ways.extend(self.by_manager());
        let needed = self.needed();
        let everything = self.everything();
        let adds_nothing = everything.is_within(&needed);
        let widest = if adds_nothing { &needed } else { &everything };
        let dated = self.root.committed_at.and_then(|at| widest.commands_at(at));
        let unbuilt = self.without_project(widest.clone()).commands();
        ways.extend(needed.commands());
        ways.extend(if adds_nothing { None } else { everything.commands() });
        ways.extend(dated);
        ways.extend(unbuilt);
        ways
    }

    fn is_installable(&self) -> bool {
        let tools = ["poetry", "pdm", "hatch"].iter().any(|tool| at(self.project, &["tool", tool]).is_some());
        let legacy = self.root.has_file("setup.py")
            || self.root.text("setup.cfg").is_some_and(|text| has_section(text, "metadata"));
        self.project.contains_key("project") || self.project.contains_key("build-system") || tools || legacy
    }

    /// The commands of the manager that wrote the lock file. Each creates `.venv`.
    fn by_manager(&self) -> Option<Commands> {
        let managers =
            [("uv.lock", "uv"), ("poetry.lock", "poetry"), ("pdm.lock", "pdm"), ("Pipfile.lock", "pipenv")];
        let (lock, manager) = managers.into_iter().find(|(lock, _)| self.root.has_file(lock))?;
        let place = self.runner.and_then(|runner| location_of(self.project, runner));
        let command = match (manager, &place) {
            ("uv", Some(RequirementLocation::Extra(extra))) => {
                format!("uv sync --frozen --extra {}", quoted(extra))
            }
            ("uv", Some(RequirementLocation::Group(group, _))) => {
                format!("uv sync --frozen --group {}", quoted(group))
            }
            ("uv", _) => "uv sync --frozen".to_owned(),
            ("poetry", place) => {
                let more = match place {
                    Some(RequirementLocation::Extra(extra)) => format!(" --extras {}", quoted(extra)),
                    Some(RequirementLocation::Group(group, _)) => format!(" --with {}", quoted(group)),
                    Some(RequirementLocation::Always | RequirementLocation::Tool(_)) | None => String::new(),
                };
                format!("POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction{more}")
            }
            ("pdm", _) => "pdm sync --dev".to_owned(),
            (_, _) => "PIPENV_VENV_IN_PROJECT=1 pipenv sync --dev".to_owned(),
        };
        let source = format!("{lock}: {manager} creates .venv from it");
        // uv loads the pinned version of Python from a host of its own, if it is not there.
        let command = match manager {
            "uv" => format!("{command} || {command} --python python3"),
            _ => command,
        };
        let mut commands =
            vec![Detected::new(python_tool(manager), &*source), Detected::new(command, source)];
        if let (Some(runner), None) = (self.runner, place)
            && !self.root.text(lock).is_some_and(|text| text.contains(&format!("\"{runner}\"")))
        {
            let install = match manager {
                "uv" => format!("uv pip install {runner}"),
                _ => format!(".venv/bin/python -m pip install {runner}"),
            };
            commands.push(Detected::new(install, format!("{runner}, which {lock} does not have")));
        }
        Some(commands)
    }

    /// The extra, group or requirement file that brings the runner.
    fn needed(&self) -> Install {
        let place = self.runner.and_then(|runner| location_of(self.project, runner));
        let mut install = Install::default();
        let mut brings_runner = self.runner.is_none();
        let mut extra = String::new();
        match place {
            Some(RequirementLocation::Always) => brings_runner = true,
            Some(RequirementLocation::Extra(name)) => {
                extra = format!("[{name}]");
                install.extras.push(name);
                brings_runner = true;
            }
            Some(RequirementLocation::Group(group, requirements)) if !requirements.is_empty() => {
                install.sources.push(format!("the group {group} in pyproject.toml"));
                install.requirements = requirements;
                brings_runner = true;
            }
            Some(RequirementLocation::Group(_, _) | RequirementLocation::Tool(_)) | None => {}
        }
        if self.is_installable() {
            install.project(&extra, self.sign);
        }
        if self.root.has_file("requirements.txt") {
            install.file("requirements.txt");
            brings_runner = brings_runner || self.file_brings_runner("requirements.txt");
        }
        if !brings_runner && let Some(name) = self.test_requirement_files().first() {
            install.file(name);
            brings_runner = self.file_brings_runner(name);
        }
        if let (false, Some(text)) = (brings_runner, self.root.text("tox.ini")) {
            let plain = |line: &&str| !line.contains(['{', '}', ':', '$']) && !line.starts_with("-c");
            let deps: Vec<&str> = ini_values(text, "testenv", "deps").into_iter().filter(plain).collect();
            brings_runner = self.runner.is_some_and(|runner| deps.iter().any(|dep| asks_for(dep, runner)));
            if !deps.is_empty() {
                install.sources.push("tox.ini".to_owned());
            }
            install.requirements.extend(deps.into_iter().map(str::to_owned));
        }
        if let (false, Some(runner)) = (brings_runner, self.runner) {
            install.requirements.push(runner.to_owned());
            install.sources.push(format!("{runner}, which no file requires"));
        }
        install.requirements.extend(self.plugins(&install.requirements));
        install
    }

    /// Every likely extra and group, and every requirement file for tests: a suite may need more than what brings its
    /// runner.
    fn everything(&self) -> Install {
        let mut install = Install::default();
        let extras = at(self.project, &["project", "optional-dependencies"]).and_then(Value::as_table);
        let likely = |name: &str| LIKELY_GROUPS.contains(&name.to_lowercase().as_str());
        let extras: Vec<&str> = extras
            .into_iter()
            .flat_map(|extras| extras.keys().map(String::as_str).filter(|name| likely(name)))
            .collect();
        if self.is_installable() {
            let extra = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
            install.project(&extra, self.sign);
        }
        install.extras = extras.iter().map(|extra| (*extra).to_owned()).collect();
        for (group, requirements) in all_groups(self.project) {
            if likely(&group) {
                install.sources.push(format!("the group {group} in pyproject.toml"));
                install.requirements.extend(requirements);
            }
        }
        let general = self.root.first(&["requirements.txt"]).map(str::to_owned);
        for name in general.into_iter().chain(self.test_requirement_files()) {
            install.file(&name);
        }
        if let Some(runner) = self.runner
            && !install.requirements.iter().any(|one| asks_for(one, runner))
        {
            install.requirements.push(runner.to_owned());
        }
        install.requirements.extend(self.plugins(&install.requirements));
        install
    }

    /// As `all`, with what the project declares in place of the project: it may not be buildable here.
    fn without_project(&self, all: Install) -> Install {
        let declared = |keys: &[&str]| {
            let listed = at(self.project, keys).and_then(Value::as_array).into_iter().flatten();
            listed.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let mut install = all;
        let before = install.arguments.len();
        install.arguments.retain(|argument| !argument.starts_with("-e "));
        if install.arguments.len() == before {
            return Install::default();
        }
        install.sources.push("without the project itself".to_owned());
        install.requirements.extend(declared(&["project", "dependencies"]));
        for extra in &install.extras {
            install.requirements.extend(declared(&["project", "optional-dependencies", extra]));
        }
        install
    }

    fn file_brings_runner(&self, name: &str) -> bool {
        let requirements = self.root.text(name).map(in_requirement_file);
        self.runner.is_some_and(|runner| {
            requirements.is_some_and(|mut requirements| requirements.any(|one| asks_for(one, runner)))
        })
    }

    /// Requirement files for tests, the likeliest first: `requirements-dev.txt`, `test_requirements.txt`,
    /// `requirements/test.txt`, `reqs/dev.txt`.
    fn test_requirement_files(&self) -> Vec<String> {
        let rank = |path: &str| {
            let stem = path.strip_suffix(".txt").or_else(|| path.strip_suffix(".pip"))?;
            let words: Vec<&str> = stem.split(|c: char| !c.is_ascii_alphanumeric()).collect();
            let is_requirements =
                words.iter().any(|word| matches!(*word, "requirements" | "requirement" | "reqs" | "deps"));
            let rank = TEST_WORDS.iter().position(|word| words.contains(word))?;
            (is_requirements && path.matches('/').count() <= 1).then_some(rank)
        };
        let mut files: Vec<(usize, String)> =
            self.root.files().filter_map(|path| Some((rank(path)?, path.to_owned()))).collect();
        files.sort();
        files.into_iter().map(|(_, path)| path).collect()
    }

    /// Plugins whose options the configuration passes to pytest in every run (`addopts`): without them pytest refuses
    /// to start.
    fn plugins(&self, required: &[String]) -> Vec<String> {
        if self.runner != Some("pytest") {
            return Vec::new();
        }
        let in_project = at(self.project, &["tool", "pytest", "ini_options", "addopts"]);
        let mut options: Vec<String> = match in_project {
            Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(_) | None => Vec::new(),
        };
        for (file, section) in [("pytest.ini", "pytest"), ("setup.cfg", "tool:pytest"), ("tox.ini", "pytest")]
        {
            let values = self.root.text(file).map(|text| ini_values(text, section, "addopts"));
            let words = values.into_iter().flatten().flat_map(str::split_whitespace);
            options.extend(words.map(str::to_owned));
        }
        // The option that a plugin adds, and the plugin: pytest-cov, pytest-xdist and so on document them.
        const PLUGINS: [(&str, &str); 7] = [
            ("--cov", "pytest-cov"),
            ("--numprocesses", "pytest-xdist"),
            ("-n", "pytest-xdist"),
            ("--benchmark", "pytest-benchmark"),
            ("--timeout", "pytest-timeout"),
            ("--mypy", "pytest-mypy"),
            ("--asyncio-mode", "pytest-asyncio"),
        ];
        let is_given =
            |option: &str, flag: &str| option == flag || (flag.starts_with("--") && option.starts_with(flag));
        let wanted = |(flag, plugin): &(&str, &str)| {
            options.iter().any(|option| is_given(option, flag))
                && !required.iter().any(|one| asks_for(one, plugin))
        };
        let wanted: BTreeSet<&str> =
            PLUGINS.iter().filter(|row| wanted(row)).map(|(_, plugin)| *plugin).collect();
        wanted.into_iter().map(str::to_owned).collect()
    }
}

/// One call of pip.
#[derive(Clone, Default)]
struct Install {
    arguments: Vec<String>,
    /// The extras of the project.
    extras: Vec<String>,
    requirements: Vec<String>,
    sources: Vec<String>,
}

impl Install {
    /// The project itself. Editable, so that the tests see the proposal and not a copy of the base.
    fn project(&mut self, extra: &str, sign: &str) {
        self.arguments.push(format!("-e {}", quoted(&format!(".{extra}"))));
        self.sources.insert(0, sign.to_owned());
    }

    fn file(&mut self, name: &str) {
        self.arguments.push(format!("-r {}", quoted(name)));
        self.sources.push(name.to_owned());
    }

    /// Whether `other` installs all of it.
    fn is_within(&self, other: &Self) -> bool {
        self.arguments.iter().all(|one| other.arguments.contains(one))
            && self.requirements.iter().all(|one| {
                other.requirements.contains(one)
                    || (PLAIN_RUNNERS.contains(&one.as_str()) && !other.is_empty())
            })
    }

    fn is_empty(&self) -> bool {
        self.arguments.is_empty() && self.requirements.is_empty()
    }

    /// The commands; `None`: there is nothing to install.
    fn commands(&self) -> Option<Commands> {
        let install = format!(".venv/bin/python -m pip install {}", self.words()?);
        Some(vec![
            Detected::new(
                VIRTUAL_ENVIRONMENT,
                "a virtual environment, so that no package of the system counts",
            ),
            Detected::new(install, self.sources.join(", ")),
        ])
    }

    /// The commands that install no version that is newer than the commit: newer ones may break what is not pinned. pip
    /// itself learnt that in version 26 only.
    fn commands_at(&self, committed_at: Timestamp) -> Option<Commands> {
        let day = committed_at.strftime("%Y-%m-%dT%H:%M:%SZ");
        let source = format!("{}; no newer versions than the commit", self.sources.join(", "));
        Some(vec![
            Detected::new(python_tool("uv"), &*source),
            Detected::new(
                VIRTUAL_ENVIRONMENT,
                "a virtual environment, so that no package of the system counts",
            ),
            Detected::new(format!("uv pip install --exclude-newer {day} {}", self.words()?), source),
        ])
    }

    /// The arguments of pip and uv; `None`: there are none.
    fn words(&self) -> Option<String> {
        let mut arguments = self.arguments.clone();
        for requirement in &self.requirements {
            match requirement.split_once(' ') {
                Some((flag @ ("-r" | "-e"), rest)) => {
                    arguments.push(format!("{flag} {}", quoted(rest.trim())));
                }
                _ if requirement.starts_with("-r") => {
                    arguments.push(format!("-r {}", quoted(&requirement[2..])));
                }
                _ if requirement.starts_with('-') => {}
                _ => arguments.push(quoted(requirement)),
            }
        }
        let mut seen = BTreeSet::new();
        arguments.retain(|argument| seen.insert(argument.clone()));
        (!arguments.is_empty()).then(|| arguments.join(" "))
    }
}
