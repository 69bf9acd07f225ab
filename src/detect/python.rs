//! Python: pytest, tox, nox, Django or unittest; with uv, Poetry, PDM, Pipenv or pip.

use toml::{Table, Value};

use super::python_tests::is_test_path;
use super::requirements::{
    RequirementLocation, asks_for, at, has_section, in_requirement_file, ini_values, location_of,
};
use super::shell_quoting::quoted;
use super::{Candidate, RootListing};

const LANGUAGE: &str = "Python";
const RUNNERS: &[&str] = &["pytest", "tox", "nox", "unittest", "manage.py test"];
/// Requirement files for tests, in the order in which one is chosen.
const TEST_REQUIREMENTS: &[&str] = &[
    "requirements-test.txt",
    "requirements-tests.txt",
    "test-requirements.txt",
    "requirements_test.txt",
    "requirements-dev.txt",
    "dev-requirements.txt",
    "requirements_dev.txt",
    "requirements/test.txt",
    "requirements/tests.txt",
    "requirements/dev.txt",
];

/// A Python package whose extension is built from Rust. Its tests are Python's, although it has a
/// Cargo.toml.
pub(super) fn extension(root: &RootListing) -> Option<Candidate> {
    let project: Table = root.text("pyproject.toml")?.parse().ok()?;
    let requires = at(&project, &["build-system", "requires"]).and_then(Value::as_array)?;
    let builds = |one: &Value| {
        one.as_str().is_some_and(|one| asks_for(one, "maturin") || asks_for(one, "setuptools-rust"))
    };
    if !root.has_file("Cargo.toml") || !requires.iter().any(builds) {
        return None;
    }
    Python::of(root)?.candidate()
}

/// Any other Python project.
pub(super) fn detect(root: &RootListing) -> Option<Candidate> {
    if extension(root).is_some() {
        return None;
    }
    Python::of(root)?.candidate()
}

/// What is known about a Python project.
struct Python<'r> {
    root: &'r RootListing,
    sign: String,
    project: Table,
}

impl<'r> Python<'r> {
    fn of(root: &'r RootListing) -> Option<Self> {
        let project: Table =
            root.text("pyproject.toml").and_then(|text| text.parse().ok()).unwrap_or_default();
        // Many projects of other kinds have a pyproject.toml only for a formatter.
        let tools = project.get("tool").and_then(Value::as_table);
        let is_project =
            ["project", "build-system", "dependency-groups"].iter().any(|key| project.contains_key(*key))
                || tools.is_some_and(|tools| {
                    ["poetry", "pytest", "pdm", "hatch"].iter().any(|key| tools.contains_key(*key))
                });
        let manifest = if is_project { Some("pyproject.toml") } else { None };
        let configured = root.first(&[
            "setup.py",
            "setup.cfg",
            "pytest.ini",
            "tox.ini",
            "noxfile.py",
            "Pipfile",
            "manage.py",
        ]);
        let test = root.files().find(|path| is_test_path(path) && !root.is_in_project_below(path));
        let requirements = root.first(&["requirements.txt"]);
        let sign = manifest.or(configured).or(test).or(requirements)?.to_owned();
        Some(Self { root, sign, project })
    }

    fn candidate(self) -> Option<Candidate> {
        let mut candidate = Candidate::new(LANGUAGE, &self.sign, RUNNERS);
        candidate.is_guess = is_test_path(&self.sign) && self.pytest_sign().is_none();
        if let Some(why) = self.pytest_sign() {
            let command = format!("{}python3 -m pytest -q", self.prefix());
            let source = format!("{}; pytest because of {why}{}", self.sign, self.prefix_explanation());
            let candidate = self.passing_over_tox(candidate.tested_by(command, source));
            return Some(self.set_up(candidate, Some("pytest")));
        }
        let place = self.unittest_place();
        if !(self.tox_runs_unittest() && place.is_some())
            && let Some(candidate) = self.tox_or_nox(candidate.clone())
        {
            return Some(candidate);
        }
        if self.root.has_file("manage.py") {
            let command = format!("{}python3 manage.py test", self.prefix());
            let candidate = candidate
                .tested_by(command, "manage.py; Django's test command, because nothing mentions pytest");
            return Some(self.set_up(candidate, None));
        }
        let unittest = |directory: Option<&str>| {
            let place = directory.map(|directory| format!(" -s {directory}")).unwrap_or_default();
            let command = format!("{}python3 -m unittest discover{place}", self.prefix());
            let source = format!(
                "{}; unittest because nothing mentions pytest{}",
                self.sign,
                self.prefix_explanation()
            );
            (command, source)
        };
        let Some(place) = place else {
            let example = format!("{}python3 -m pytest", self.prefix());
            let why = "there are no test files in the usual places, and nothing mentions pytest, tox or nox";
            return Some(self.set_up(candidate.untested(why, example), None));
        };
        let (command, source) = unittest(place.as_deref());
        let candidate = self.passing_over_tox(candidate.tested_by(command, source));
        Some(self.set_up(candidate, None))
    }

    /// Where pytest is configured, required or imported.
    fn pytest_sign(&self) -> Option<String> {
        let root = self.root;
        let own_file = |path: &&str| path.rsplit('/').next() == Some("conftest.py") && is_test_path(path);
        if let Some(path) = root.first(&["pytest.ini", ".pytest.ini"]).or_else(|| root.files().find(own_file))
        {
            return Some(path.to_owned());
        }
        if at(&self.project, &["tool", "pytest"]).is_some() {
            return Some("its section in pyproject.toml".to_owned());
        }
        if location_of(&self.project, "pytest").is_some() {
            return Some("its mention in pyproject.toml".to_owned());
        }
        let ini = [("setup.cfg", "tool:pytest"), ("tox.ini", "pytest")];
        if let Some((name, section)) = ini
            .into_iter()
            .find(|(name, section)| root.text(name).is_some_and(|text| has_section(text, section)))
        {
            return Some(format!("the section [{section}] in {name}"));
        }
        // Requirements and commands are on lines of their own in each of these files.
        let mentions = |name: &str| {
            root.text(name).is_some_and(|text| {
                in_requirement_file(text).any(|line| {
                    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "pytest")
                })
            })
        };
        let mentioning = ["setup.cfg", "tox.ini", "noxfile.py", "setup.py", "Pipfile"];
        let files = root.files().filter(|path| path.ends_with(".txt") && path.contains("requirements"));
        if let Some(name) = mentioning.into_iter().chain(files).find(|name| mentions(name)) {
            return Some(format!("its mention in {name}"));
        }
        let imports = |text: &str| {
            text.lines()
                .map(str::trim_start)
                .any(|line| line.starts_with("import pytest") || line.starts_with("from pytest"))
        };
        let importing =
            root.files().find(|path| is_test_path(path) && root.text(path).is_some_and(imports))?;
        Some(format!("its import in {importing}"))
    }

    fn passing_over_tox(&self, candidate: Candidate) -> Candidate {
        match self.root.first(&["tox.ini", "noxfile.py"]) {
            Some(name) => {
                let tool = if name == "tox.ini" { "tox" } else { "nox" };
                candidate.passing_over(
                    format!("{tool} ({name})"),
                    "it creates its environments from the network; the tests run directly instead",
                )
            }
            None => candidate,
        }
    }

    fn tox_runs_unittest(&self) -> bool {
        let commands = self.root.text("tox.ini").map(|text| ini_values(text, "testenv", "commands"));
        commands.is_some_and(|commands| commands.iter().any(|command| command.contains("unittest")))
    }

    fn tox_or_nox(&self, candidate: Candidate) -> Option<Candidate> {
        if self.root.text("tox.ini").is_some_and(|text| !ini_values(text, "testenv", "commands").is_empty()) {
            return Some(
                candidate
                    .tested_by("python3 -m tox", "tox.ini; its commands are not pytest")
                    .set_up_by(pip("tox"), "tox.ini")
                    .set_up_by(
                        "python3 -m tox --notest",
                        "tox.ini: creates the environments, and runs nothing",
                    ),
            );
        }
        let sessions = self.root.text("noxfile.py")?;
        let session = ["tests", "test", "unit"].into_iter().find(|name| {
            sessions.lines().any(|line| line.trim_start().starts_with(&format!("def {name}(")))
        })?;
        let source = format!("noxfile.py: the session {session}");
        Some(
            candidate
                .tested_by(format!("python3 -m nox -R -s {session}"), &source)
                .set_up_by(pip("nox"), "noxfile.py")
                .set_up_by(format!("python3 -m nox --install-only -s {session}"), source),
        )
    }

    /// Where unittest finds tests: `Some(None)` from the root, `Some(Some(directory))` only if the directory
    /// is given, because it is not a package.
    fn unittest_place(&self) -> Option<Option<String>> {
        let tests: Vec<&str> = self.root.files().filter(|path| is_unittest(path)).collect();
        let directory = |path: &str| path.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
        let apart = |directory: &&String| {
            !directory.is_empty() && !self.root.has_file(&format!("{directory}/__init__.py"))
        };
        let directories: Vec<String> = tests.iter().map(|path| directory(path)).collect();
        let first = directories.first()?;
        Some(if apart(&first) { Some(first.clone()) } else { None })
    }

    /// The prefix of the command that makes it work with and without an environment of the setup.
    fn prefix(&self) -> String {
        let path = if self.manager().is_some() { "PATH=\"$PWD/.venv/bin:$PATH\" " } else { "" };
        let source = if self.has_src_layout() { "PYTHONPATH=src " } else { "" };
        format!("{path}{source}")
    }

    fn prefix_explanation(&self) -> &'static str {
        if self.has_src_layout() {
            "; the package is in src/, and PYTHONPATH makes it importable"
        } else {
            ""
        }
    }

    fn has_src_layout(&self) -> bool {
        let is_package = |path: &str| {
            let inside = path.strip_prefix("src/").filter(|rest| rest.ends_with(".py"));
            inside.is_some_and(|rest| !rest.contains('/') || rest.ends_with("/__init__.py"))
        };
        !self.root.has_file("src/__init__.py") && self.root.files().any(is_package)
    }

    fn is_installable(&self) -> bool {
        let tools =
            ["poetry", "pdm", "hatch"].iter().any(|tool| at(&self.project, &["tool", tool]).is_some());
        let legacy = self.root.has_file("setup.py")
            || self.root.text("setup.cfg").is_some_and(|text| has_section(text, "metadata"));
        self.project.contains_key("project") || self.project.contains_key("build-system") || tools || legacy
    }

    /// The lock file and its manager, if the manager creates `.venv`.
    fn manager(&self) -> Option<(&'static str, &'static str)> {
        [("uv.lock", "uv"), ("poetry.lock", "Poetry"), ("pdm.lock", "PDM"), ("Pipfile.lock", "Pipenv")]
            .into_iter()
            .find(|(lock, _)| self.root.has_file(lock))
    }

    /// Adds the commands that install the project's requirements, and `runner` if no requirement does.
    fn set_up(&self, candidate: Candidate, runner: Option<&str>) -> Candidate {
        let place = runner.and_then(|runner| location_of(&self.project, runner));
        if let Some((lock, manager)) = self.manager() {
            let command = match (manager, &place) {
                ("uv", Some(RequirementLocation::Extra(extra))) => {
                    format!("uv sync --frozen --extra {}", quoted(extra))
                }
                ("uv", Some(RequirementLocation::Group(group, _))) => {
                    format!("uv sync --frozen --group {}", quoted(group))
                }
                ("uv", _) => "uv sync --frozen".to_owned(),
                ("Poetry", place) => {
                    let more = match place {
                        Some(RequirementLocation::Extra(extra)) => format!(" --extras {}", quoted(extra)),
                        Some(RequirementLocation::Group(group, _)) => format!(" --with {}", quoted(group)),
                        Some(RequirementLocation::Always | RequirementLocation::Tool(_)) | None => {
                            String::new()
                        }
                    };
                    format!("POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction{more}")
                }
                ("PDM", _) => "pdm sync".to_owned(),
                (_, _) => "PIPENV_VENV_IN_PROJECT=1 pipenv sync --dev".to_owned(),
            };
            let candidate = candidate.set_up_by(command, format!("{lock}: {manager} creates .venv from it"));
            return candidate;
        }
        let (arguments, sources) = self.pip_arguments(runner, place);
        if arguments.is_empty() {
            return candidate;
        }
        candidate.set_up_by(pip(&arguments.join(" ")), sources.join(", "))
    }

    /// The arguments for pip, and the files that they come from.
    fn pip_arguments(
        &self,
        runner: Option<&str>,
        place: Option<RequirementLocation>,
    ) -> (Vec<String>, Vec<String>) {
        let (mut arguments, mut sources) = (Vec::new(), Vec::new());
        let mut brings_runner = runner.is_none();
        let mut extra = String::new();
        let mut more = Vec::new();
        match place {
            Some(RequirementLocation::Always) => brings_runner = true,
            Some(RequirementLocation::Extra(name)) => {
                extra = format!("[{name}]");
                brings_runner = true;
            }
            Some(RequirementLocation::Group(group, requirements)) if !requirements.is_empty() => {
                sources.push(format!("the group {group} in pyproject.toml"));
                more = requirements;
                brings_runner = true;
            }
            Some(RequirementLocation::Group(_, _) | RequirementLocation::Tool(_)) | None => {}
        }
        if self.is_installable() {
            // Editable, so that the tests see the proposal and not a copy of the base.
            arguments.push(format!("-e {}", quoted(&format!(".{extra}"))));
            sources.insert(0, self.sign.clone());
        }
        let requirement_files = ["requirements.txt"].into_iter().filter(|name| self.root.has_file(name));
        let test_file = if brings_runner { None } else { self.root.first(TEST_REQUIREMENTS) };
        for name in requirement_files.chain(test_file) {
            arguments.push(format!("-r {name}"));
            sources.push(name.to_owned());
            let requirements = self.root.text(name).map(in_requirement_file);
            let brings = |runner| requirements.is_some_and(|mut all| all.any(|one| asks_for(one, runner)));
            brings_runner = brings_runner || runner.is_some_and(brings);
        }
        if let (false, Some(text)) = (brings_runner, self.root.text("tox.ini")) {
            let plain = |line: &&str| !line.contains(['{', '}', ':', '$']) && !line.starts_with("-c");
            let deps: Vec<&str> = ini_values(text, "testenv", "deps").into_iter().filter(plain).collect();
            brings_runner = runner.is_some_and(|runner| deps.iter().any(|dep| asks_for(dep, runner)));
            if !deps.is_empty() {
                sources.push("tox.ini".to_owned());
            }
            more.extend(deps.into_iter().map(str::to_owned));
        }
        for requirement in more {
            match requirement.split_once(' ') {
                Some((flag @ ("-r" | "-e"), rest)) => {
                    arguments.push(format!("{flag} {}", quoted(rest.trim())));
                }
                _ if requirement.starts_with("-r") => {
                    arguments.push(format!("-r {}", quoted(&requirement[2..])));
                }
                _ if requirement.starts_with('-') => {}
                _ => arguments.push(quoted(&requirement)),
            }
        }
        if let (false, Some(runner)) = (brings_runner, runner) {
            arguments.push(runner.to_owned());
            sources.push(format!("{runner}, which no file requires"));
        }
        arguments.dedup();
        (arguments, sources)
    }
}

/// A call of pip that works in an image, in a virtual environment, and on a distribution that protects its own
/// Python.
fn pip(arguments: &str) -> String {
    format!("PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install {arguments}")
}

fn is_unittest(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    // unittest's own pattern.
    is_test_path(path) && name.starts_with("test")
}
