//! Finds a repository's test command when nobody wrote it down. Pure: decides from the names in
//! the root directory and the contents of a few small files. Says how it decided.

use std::collections::BTreeMap;

/// Contents of larger files are not looked at.
pub const DETECTION_BYTES_MAX: u64 = 256 * 1024;

/// A name in the root directory, or just below its `tests` directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootEntry {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// Its text, where [`RootListing::wants`] it and it is small enough and UTF-8.
        content: Option<String>,
    },
}

/// What detection looks at: the names in the root directory, and those in `tests` and `test` as
/// `tests/NAME`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootListing {
    /// By path.
    pub entries: BTreeMap<String, RootEntry>,
}

impl RootListing {
    /// Directories whose own names belong into the listing too.
    pub const LISTED_DIRECTORIES: [&'static str; 2] = ["tests", "test"];

    /// Whether the content of the file at `path` matters.
    pub fn wants(path: &str) -> bool {
        const NAMES: [&str; 10] = [
            "pyproject.toml",
            "setup.cfg",
            "setup.py",
            "tox.ini",
            "requirements.txt",
            "requirements-dev.txt",
            "package.json",
            "Makefile",
            "makefile",
            "GNUmakefile",
        ];
        NAMES.contains(&path) || is_python_test(path)
    }

    fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    fn file(&self, path: &str) -> Option<&str> {
        match self.entries.get(path)? {
            RootEntry::File { content } => content.as_deref(),
            RootEntry::Directory => None,
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

/// A test command and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// The shell command.
    pub command: String,
    /// How it was found, in words.
    pub source: String,
}

/// Nothing in the root directory says how to test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no telling how to run this repository's tests: none of Cargo.toml, pyproject.toml, \
     setup.py, package.json with a test script, go.mod or a Makefile with a test target is at its \
     root. Write the command into .github/agent-fix.yml on the default branch, for example:\n\n\
     test: ./run-tests.sh"
)]
pub struct NothingDetected;

type Detector = fn(&RootListing) -> Option<Detected>;

/// The test command. Where several kinds of project share the root, the first of Rust, Python,
/// JavaScript, Go and make counts, and the source says what else there was.
pub fn detect(root: &RootListing) -> Result<Detected, NothingDetected> {
    const DETECTORS: [Detector; 5] = [rust, python, javascript, go, make];
    let mut found = DETECTORS.iter().filter_map(|detector| detector(root));
    let mut first = found.next().ok_or(NothingDetected)?;
    let others: Vec<String> = found.map(|other| format!("`{}`", other.command)).collect();
    if !others.is_empty() {
        first.source = format!("{} (passed over: {})", first.source, others.join(", "));
    }
    Ok(first)
}

fn detected(command: &str, source: &str) -> Option<Detected> {
    Some(Detected { command: command.to_owned(), source: source.to_owned() })
}

fn rust(root: &RootListing) -> Option<Detected> {
    // Every failing test is wanted, not the first crate's; there is no network to fetch from.
    root.has("Cargo.toml").then(|| detected("cargo test --no-fail-fast", "Cargo.toml"))?
}

fn python(root: &RootListing) -> Option<Detected> {
    const PROJECT: [&str; 4] = ["pyproject.toml", "setup.py", "setup.cfg", "pytest.ini"];
    let project = PROJECT.into_iter().find(|name| root.has(name));
    let test = root.names().find(|path| is_python_test(path));
    let sign = project.or(test)?;
    if let Some(why) = pytest_sign(root) {
        return detected("python3 -m pytest -q", &format!("{sign}; pytest because of {why}"));
    }
    let source = format!("{sign}; unittest because nothing mentions pytest");
    // Discovery goes into a directory by itself only where it is a package.
    let apart = RootListing::LISTED_DIRECTORIES.into_iter().find(|directory| {
        let prefix = format!("{directory}/");
        !root.has(&format!("{prefix}__init__.py"))
            && root.names().any(|path| path.starts_with(&prefix) && is_python_test(path))
    });
    match apart {
        Some(directory) => detected(&format!("python3 -m unittest discover -s {directory}"), &source),
        None => detected("python3 -m unittest discover", &source),
    }
}

fn is_python_test(path: &str) -> bool {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let listed = directory.is_empty() || RootListing::LISTED_DIRECTORIES.contains(&directory);
    let stem = name.strip_suffix(".py");
    listed
        && stem.is_some_and(|stem| stem.starts_with("test") || stem.ends_with("_test") || stem == "conftest")
}

/// Where pytest is configured, asked for or imported.
fn pytest_sign(root: &RootListing) -> Option<String> {
    for name in ["pytest.ini", "conftest.py", "tests/conftest.py", "test/conftest.py"] {
        if root.has(name) {
            return Some(name.to_owned());
        }
    }
    const MENTIONS: [&str; 6] =
        ["pyproject.toml", "setup.cfg", "tox.ini", "setup.py", "requirements.txt", "requirements-dev.txt"];
    let mentions = |name: &&str| root.file(name).is_some_and(|text| text.contains("pytest"));
    if let Some(name) = MENTIONS.into_iter().find(mentions) {
        return Some(format!("its mention in {name}"));
    }
    let imports = |text: &str| {
        text.lines()
            .map(str::trim_start)
            .any(|line| line.starts_with("import pytest") || line.starts_with("from pytest"))
    };
    let importing = root.names().find(|path| is_python_test(path) && root.file(path).is_some_and(imports))?;
    Some(format!("its import in {importing}"))
}

fn javascript(root: &RootListing) -> Option<Detected> {
    /// What `npm init` writes where nobody knows better.
    const PLACEHOLDER: &str = "no test specified";
    let package: serde_json::Value = serde_json::from_str(root.file("package.json")?).ok()?;
    let script = package.get("scripts")?.get("test")?.as_str()?;
    if script.trim().is_empty() || script.contains(PLACEHOLDER) {
        return None;
    }
    detected("npm test", "the test script in package.json")
}

fn go(root: &RootListing) -> Option<Detected> {
    root.has("go.mod").then(|| detected("go test ./...", "go.mod"))?
}

fn make(root: &RootListing) -> Option<Detected> {
    // The order in which GNU make looks for them.
    let (name, text) = ["GNUmakefile", "makefile", "Makefile"]
        .into_iter()
        .find_map(|name| Some((name, root.file(name)?)))?;
    let target = ["test", "check"].into_iter().find(|target| has_target(text, target))?;
    detected(&format!("make {target}"), &format!("the target {target} in {name}"))
}

/// A line such as `test: deps` or `all test::`, but not `test := value`.
fn has_target(makefile: &str, target: &str) -> bool {
    makefile.lines().any(|line| {
        let Some((targets, rest)) = line.split_once(':') else { return false };
        let is_assignment = rest.trim_start_matches(':').starts_with('=');
        !line.starts_with(['\t', '#', ' '])
            && !is_assignment
            && targets.split_whitespace().any(|name| name == target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(entries: &[(&str, &str)]) -> RootListing {
        let entry = |(path, content): &(&str, &str)| {
            let entry = match path.strip_suffix('/') {
                Some(_) => RootEntry::Directory,
                None => {
                    let content = RootListing::wants(path).then(|| (*content).to_owned());
                    RootEntry::File { content }
                }
            };
            (path.trim_end_matches('/').to_owned(), entry)
        };
        RootListing { entries: entries.iter().map(entry).collect() }
    }
    fn found(entries: &[(&str, &str)]) -> String {
        match detect(&listing(entries)) {
            Ok(Detected { command, source }) => format!("{command} | {source}"),
            Err(NothingDetected) => "nothing".to_owned(),
        }
    }

    #[test]
    fn each_kind_of_project_is_known_by_its_own_signs() {
        let projects: &[&[(&str, &str)]] = &[
            &[("Cargo.toml", ""), ("src/", "")],
            &[("pyproject.toml", "[tool.pytest.ini_options]"), ("tests/", "")],
            &[("setup.cfg", "[tool:pytest]")],
            &[("pytest.ini", "")],
            &[("setup.py", ""), ("requirements-dev.txt", "pytest>=8\n")],
            &[("tests/", ""), ("tests/test_a.py", "import os\nimport pytest\n")],
            &[("tests/", ""), ("tests/test_a.py", "import unittest\n# pytest is not used\n")],
            &[("tests/", ""), ("tests/__init__.py", ""), ("tests/test_a.py", "import unittest\n")],
            &[("test_a.py", "import unittest")],
            &[("calc.py", ""), ("calc_test.py", "from pytest import raises")],
            &[("package.json", r#"{"scripts": {"test": "jest"}}"#)],
            &[("go.mod", "module x")],
            &[("Makefile", "all: x\n\tcc\ncheck: all\n\t./check\n")],
            &[("Makefile", ".PHONY: all test\nall test: x\n")],
        ];
        let all: Vec<String> = projects.iter().map(|entries| found(entries)).collect();
        insta::assert_snapshot!(all.join("\n"), @r"
        cargo test --no-fail-fast | Cargo.toml
        python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
        python3 -m pytest -q | setup.cfg; pytest because of its mention in setup.cfg
        python3 -m pytest -q | pytest.ini; pytest because of pytest.ini
        python3 -m pytest -q | setup.py; pytest because of its mention in requirements-dev.txt
        python3 -m pytest -q | tests/test_a.py; pytest because of its import in tests/test_a.py
        python3 -m unittest discover -s tests | tests/test_a.py; unittest because nothing mentions pytest
        python3 -m unittest discover | tests/test_a.py; unittest because nothing mentions pytest
        python3 -m unittest discover | test_a.py; unittest because nothing mentions pytest
        python3 -m pytest -q | calc_test.py; pytest because of its import in calc_test.py
        npm test | the test script in package.json
        go test ./... | go.mod
        make check | the target check in Makefile
        make test | the target test in Makefile
        ");
    }

    #[test]
    fn what_only_looks_like_a_test_command_is_none() {
        let nothing: &[&[(&str, &str)]] = &[
            &[],
            &[("README.md", "")],
            &[("package.json", r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#)],
            &[("package.json", "{not json")],
            &[("Makefile", "test := x\n# test: no\n\ttest: recipe\nlatest: x\n")],
            &[("tests/", ""), ("tests/run.sh", "")],
        ];
        for entries in nothing {
            assert_eq!(found(entries), "nothing", "{entries:?}");
        }
    }

    #[test]
    fn of_several_projects_one_counts_and_the_others_are_named() {
        let both = found(&[("pyproject.toml", "pytest"), ("Cargo.toml", ""), ("Makefile", "test:\n")]);
        insta::assert_snapshot!(both, @"cargo test --no-fail-fast | Cargo.toml (passed over: `python3 -m pytest -q`, `make test`)");
    }

    #[test]
    fn where_nothing_is_found_the_error_says_what_to_write() {
        insta::assert_snapshot!(NothingDetected, @r"
        there is no telling how to run this repository's tests: none of Cargo.toml, pyproject.toml, setup.py, package.json with a test script, go.mod or a Makefile with a test target is at its root. Write the command into .github/agent-fix.yml on the default branch, for example:

        test: ./run-tests.sh
        ");
    }
}
