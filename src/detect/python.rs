//! Python: pytest, tox, nox, Django or unittest; with uv, Poetry, PDM, Pipenv or pip.

use toml::{Table, Value};

use super::python_setup::PythonSetup;
use super::python_tests::is_test_path;
use super::requirements::{asks_for, at, has_section, in_requirement_file, ini_values, location_of};
use super::tools::python_tool;
use super::{Candidate, Detected, Plan, RootListing};

const LANGUAGE: &str = "Python";
const RUNNERS: &[&str] = &["pytest", "tox", "nox", "unittest", "manage.py test"];
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
            let candidate = candidate.tested_by(command, source);
            return Some(self.or_by_tox(self.set_up(candidate, Some("pytest"))));
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
        let candidate = candidate.tested_by(command, source);
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

    fn tox_runs_unittest(&self) -> bool {
        let commands = self.root.text("tox.ini").map(|text| ini_values(text, "testenv", "commands"));
        commands.is_some_and(|commands| commands.iter().any(|command| command.contains("unittest")))
    }

    /// tox or nox, if one of them runs something else than pytest, or nothing says what runs the tests.
    fn tox_or_nox(&self, candidate: Candidate) -> Option<Candidate> {
        let (test, setup) = self.tox().or_else(|| self.nox())?;
        let candidate = Candidate { test: Ok(test), ..candidate };
        Some(
            setup
                .into_iter()
                .fold(candidate, |candidate, command| candidate.set_up_by(command.value, command.source)),
        )
    }

    /// tox or nox, as the way to try if the tests do not run directly: they know what else the tests need.
    fn or_by_tox(&self, candidate: Candidate) -> Candidate {
        match self.tox().or_else(|| self.nox()) {
            Some((test, setup)) => candidate.or_planned(Plan { setup, test }),
            None => candidate,
        }
    }

    /// The test command, and the setup that creates tox's environments from the network.
    fn tox(&self) -> Option<(Detected<String>, Vec<Detected<String>>)> {
        let commands = ini_values(self.root.text("tox.ini")?, "testenv", "commands");
        if commands.is_empty() {
            return None;
        }
        // `py` is whatever Python there is; the list of environments contains linters and other versions.
        let setup = vec![
            Detected::new(python_tool("tox"), "tox.ini"),
            Detected::new("tox run -e py --notest", "tox.ini: creates the environment, and runs nothing"),
        ];
        Some((Detected::new("tox run -e py", "tox.ini"), setup))
    }

    /// The test command, and the setup that creates nox's environment.
    fn nox(&self) -> Option<(Detected<String>, Vec<Detected<String>>)> {
        let sessions = self.root.text("noxfile.py")?;
        let session = ["tests", "test", "unit"].into_iter().find(|name| {
            sessions.lines().any(|line| line.trim_start().starts_with(&format!("def {name}(")))
        })?;
        let source = format!("noxfile.py: the session {session}");
        let setup = vec![
            Detected::new(python_tool("nox"), "noxfile.py"),
            Detected::new(format!("nox --install-only -s {session}"), &*source),
        ];
        Some((Detected::new(format!("nox -R -s {session}"), source), setup))
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

    /// The prefix of the command that makes it work with and without the environment of the setup.
    fn prefix(&self) -> String {
        let path = if self.has_setup() { "PATH=\"$PWD/.venv/bin:$PATH\" " } else { "" };
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

    fn has_setup(&self) -> bool {
        self.pytest_sign().is_some() || !self.ways(None).is_empty()
    }

    fn ways(&self, runner: Option<&str>) -> Vec<Vec<Detected<String>>> {
        PythonSetup { root: self.root, sign: &self.sign, project: &self.project, runner }.ways()
    }

    /// Adds the ways to install the project's requirements, and `runner` if no requirement does.
    fn set_up(&self, candidate: Candidate, runner: Option<&str>) -> Candidate {
        let mut ways = self.ways(runner).into_iter();
        let candidate = Candidate { setup: ways.next().unwrap_or_default(), ..candidate };
        ways.fold(candidate, Candidate::or_set_up_by)
    }

    fn has_src_layout(&self) -> bool {
        let is_package = |path: &str| {
            let inside = path.strip_prefix("src/").filter(|rest| rest.ends_with(".py"));
            inside.is_some_and(|rest| !rest.contains('/') || rest.ends_with("/__init__.py"))
        };
        !self.root.has_file("src/__init__.py") && self.root.files().any(is_package)
    }
}

fn is_unittest(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    // unittest's own pattern.
    is_test_path(path) && name.starts_with("test")
}
