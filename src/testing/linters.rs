//! The linters, formatters and type checkers that a repository configures, and that its setup brought. They are run on
//! the files that were written, or on the project where they know no files, as advice: no verdict depends on them.

use std::time::Duration;

use crate::domain::{JobSettings, ProcessOutput, RepoPath};
use crate::sandbox::{CallError, CommandSpec, Toolbox};

use super::script::{LOOK_UP_MAX, OWN_ENVIRONMENTS};
use super::suite::SuiteError;
use crate::workspace::Workspace;

/// The longest time of one linter.
const DEADLINE_MAX: Duration = Duration::from_secs(2 * 60);
/// A linter's output that is kept.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Files that one linter is given.
const FILES_MAX: usize = 50;

/// How a linter is known and run.
#[derive(Debug)]
struct LinterRow {
    name: &'static str,
    /// What the base has where the repository configures it: one of these.
    marks: &'static [Mark],
    /// A condition of a shell that holds where it can be run.
    present: &'static str,
    /// What it is called with. It changes no file.
    command: &'static str,
    /// The ends of the names of files that it reads.
    extensions: &'static [&'static str],
    /// Whether the files are put at the command's end.
    takes_files: bool,
}

/// What shows that a repository configures a linter.
#[derive(Debug)]
enum Mark {
    /// A file at the root.
    File(&'static str),
    /// A file at the root whose name begins so.
    Prefix(&'static str),
    /// A text in a file at the root.
    Text(&'static str, &'static str),
    /// A text in a CI workflow.
    Workflow(&'static str),
}
use Mark::{File, Prefix, Text, Workflow};

/// Where GitHub looks for workflows, and how many of them are read.
const WORKFLOWS: &str = ".github/workflows";
const WORKFLOWS_MAX: usize = 20;

impl Mark {
    /// Whether the base has it. `names` are those at its root.
    async fn is_in(&self, workspace: &Workspace, names: &[String]) -> Result<bool, SuiteError> {
        match self {
            File(name) => Ok(names.iter().any(|one| one == name)),
            Prefix(start) => Ok(names.iter().any(|one| one.starts_with(start))),
            Text(file, text) => has_text(workspace, file, text).await,
            Workflow(text) => {
                let files = workspace.base_directory(WORKFLOWS).await?;
                for file in files.iter().take(WORKFLOWS_MAX) {
                    if has_text(workspace, &format!("{WORKFLOWS}/{file}"), text).await? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

async fn has_text(workspace: &Workspace, file: &str, text: &str) -> Result<bool, SuiteError> {
    let content = workspace.base_file(file).await?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&content).contains(text))
}

const PYTHON: &[&str] = &["py", "pyi"];
const JAVASCRIPT: &[&str] = &["cjs", "cts", "js", "jsx", "mjs", "mts", "ts", "tsx"];

const ROWS: &[LinterRow] = &[
    LinterRow {
        name: "ruff",
        marks: &[File("ruff.toml"), File(".ruff.toml"), Text("pyproject.toml", "[tool.ruff")],
        present: "command -v ruff",
        command: "ruff check --no-fix --quiet",
        extensions: PYTHON,
        takes_files: true,
    },
    LinterRow {
        name: "flake8",
        marks: &[File(".flake8"), Text("setup.cfg", "[flake8]"), Text("tox.ini", "[flake8]")],
        present: "command -v flake8",
        command: "flake8",
        extensions: PYTHON,
        takes_files: true,
    },
    LinterRow {
        name: "mypy",
        marks: &[
            File("mypy.ini"),
            File(".mypy.ini"),
            Text("pyproject.toml", "[tool.mypy]"),
            Text("setup.cfg", "[mypy]"),
        ],
        present: "command -v mypy",
        command: "mypy --no-error-summary --follow-imports=silent",
        extensions: PYTHON,
        takes_files: true,
    },
    LinterRow {
        name: "black",
        marks: &[Text("pyproject.toml", "[tool.black]")],
        present: "command -v black",
        command: "black --check --diff --quiet",
        extensions: PYTHON,
        takes_files: true,
    },
    LinterRow {
        name: "eslint",
        marks: &[Prefix(".eslintrc"), Prefix("eslint.config."), Text("package.json", "\"eslintConfig\"")],
        present: "[ -x node_modules/.bin/eslint ]",
        command: "node_modules/.bin/eslint --no-color",
        extensions: JAVASCRIPT,
        takes_files: true,
    },
    LinterRow {
        name: "xo",
        marks: &[Text("package.json", "\"xo\"")],
        present: "[ -x node_modules/.bin/xo ]",
        command: "node_modules/.bin/xo",
        extensions: JAVASCRIPT,
        takes_files: true,
    },
    LinterRow {
        name: "prettier",
        marks: &[Prefix(".prettierrc"), Prefix("prettier.config."), Text("package.json", "\"prettier\": {")],
        present: "[ -x node_modules/.bin/prettier ]",
        command: "node_modules/.bin/prettier --check",
        extensions: JAVASCRIPT,
        takes_files: true,
    },
    LinterRow {
        name: "tsc",
        marks: &[File("tsconfig.json")],
        present: "[ -x node_modules/.bin/tsc ]",
        command: "node_modules/.bin/tsc --noEmit --pretty false",
        extensions: &["cts", "mts", "ts", "tsx"],
        takes_files: false,
    },
    LinterRow {
        name: "gofmt",
        marks: &[File("go.mod")],
        present: "command -v gofmt",
        command: "gofmt -d",
        extensions: &["go"],
        takes_files: true,
    },
    LinterRow {
        name: "cargo fmt",
        marks: &[File("rustfmt.toml"), File(".rustfmt.toml"), Workflow("cargo fmt")],
        present: "cargo fmt --version",
        command: "cargo fmt --all --check",
        extensions: &["rs"],
        takes_files: false,
    },
    LinterRow {
        name: "rubocop",
        marks: &[File(".rubocop.yml")],
        present: "command -v rubocop",
        command: "rubocop --format emacs --no-color",
        extensions: &["rb"],
        takes_files: true,
    },
    LinterRow {
        name: "phpstan",
        marks: &[File("phpstan.neon"), File("phpstan.neon.dist")],
        present: "[ -x vendor/bin/phpstan ]",
        command: "vendor/bin/phpstan analyse --no-progress --error-format=raw",
        extensions: &["php"],
        takes_files: true,
    },
    LinterRow {
        name: "clang-format",
        marks: &[File(".clang-format")],
        present: "command -v clang-format",
        command: "clang-format --dry-run",
        extensions: &["c", "cc", "cpp", "cxx", "h", "hh", "hpp"],
        takes_files: true,
    },
    // It downloads what it runs, so it never works without network.
    LinterRow {
        name: "pre-commit",
        marks: &[File(".pre-commit-config.yaml")],
        present: "false",
        command: "pre-commit run --files",
        extensions: &[],
        takes_files: true,
    },
];

/// A linter of a repository.
#[derive(Debug, Clone, Copy)]
pub struct Linter(&'static LinterRow);

impl PartialEq for Linter {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Linter {}

impl Linter {
    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Those of `files` that it reads, at most fifty.
    pub fn files_of<'f>(self, files: &[&'f RepoPath]) -> Vec<&'f RepoPath> {
        let is_read = |path: &&&RepoPath| {
            let extension = path.as_str().rsplit_once('.').map_or("", |(_, extension)| extension);
            self.0.extensions.contains(&extension)
        };
        files.iter().filter(is_read).take(FILES_MAX).copied().collect()
    }
}

/// The linters that a repository configures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Linters {
    /// Those that can be run.
    pub present: Vec<Linter>,
    /// Those that the sandbox does not have.
    pub missing: Vec<Linter>,
}

/// Looks for the linters that a repository configures at its base, in a sandbox with its tree. What the model writes
/// changes nothing: a job's tools stay the same.
///
/// # Errors
/// The sandbox is lost, or the base cannot be read.
pub async fn find_linters(toolbox: &Toolbox, workspace: &Workspace) -> Result<Linters, SuiteError> {
    let names = workspace.base_directory("").await?;
    let mut configured = Vec::new();
    for row in ROWS {
        for mark in row.marks {
            if mark.is_in(workspace, &names).await? {
                configured.push(row);
                break;
            }
        }
    }
    let mut look_up = format!("{OWN_ENVIRONMENTS}\n");
    for (at, row) in configured.iter().enumerate() {
        look_up.push_str(&format!("if {{ {}; }} >/dev/null 2>&1; then echo {at}; fi\n", row.present));
    }
    let mut linters = Linters::default();
    if configured.is_empty() {
        return Ok(linters);
    }
    let there = toolbox.run(&CommandSpec::shell(&look_up, LOOK_UP_MAX)).await?.output.to_text();
    for (at, row) in configured.into_iter().enumerate() {
        match there.lines().any(|line| line == at.to_string()) {
            true => linters.present.push(Linter(row)),
            false => linters.missing.push(Linter(row)),
        }
    }
    Ok(linters)
}

/// Runs a linter on files.
///
/// # Errors
/// The sandbox is lost.
pub async fn run_linter(
    toolbox: &Toolbox,
    settings: &JobSettings,
    linter: Linter,
    files: &[&RepoPath],
) -> Result<ProcessOutput, CallError> {
    let command = match linter.0.takes_files {
        true => format!("{OWN_ENVIRONMENTS}\n{} \"$@\"", linter.0.command),
        false => format!("{OWN_ENVIRONMENTS}\n{}", linter.0.command),
    };
    let mut argv = ["/bin/sh", "-c", &command, "sh"].map(str::to_owned).to_vec();
    // A path that begins with a dash is no option.
    argv.extend(files.iter().map(|path| format!("./{path}")));
    let spec = CommandSpec {
        argv,
        env: Vec::new(),
        deadline: settings.test_timeout.min(DEADLINE_MAX),
        output_bytes_max: OUTPUT_BYTES_MAX,
    };
    toolbox.run(&spec).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linter_is_given_the_files_that_it_reads() {
        let paths: Vec<RepoPath> =
            ["a.py", "b.go", "src/c.py", "Makefile"].iter().map(|path| path.parse().unwrap()).collect();
        let paths: Vec<&RepoPath> = paths.iter().collect();
        let files = |name: &str| {
            let linter = Linter(ROWS.iter().find(|row| row.name == name).unwrap());
            linter.files_of(&paths).iter().map(|path| path.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((files("ruff").as_str(), files("gofmt").as_str()), ("a.py src/c.py", "b.go"));
        assert_eq!(files("eslint"), "");
    }
}
