//! The linters, formatters and type checkers that a repository configures, and that its setup brought. They are run on
//! single files, as advice: no verdict depends on them.

use std::time::Duration;

use crate::domain::{JobSettings, ProcessOutput, RepoPath};
use crate::sandbox::{CallError, CommandSpec, Toolbox};

use super::script::{LOOK_UP_MAX, OWN_ENVIRONMENTS};

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
    /// A condition of a shell that holds where the repository configures it.
    configured: &'static str,
    /// A condition that holds where it can be run.
    present: &'static str,
    /// What it is called with. It changes no file.
    command: &'static str,
    /// The ends of the names of files that it reads.
    extensions: &'static [&'static str],
    /// Whether the files are put at the command's end.
    takes_files: bool,
}

const PYTHON: &[&str] = &["py", "pyi"];
const JAVASCRIPT: &[&str] = &["cjs", "cts", "js", "jsx", "mjs", "mts", "ts", "tsx"];

const ROWS: &[LinterRow] = &[
    LinterRow {
        name: "ruff",
        configured: "[ -f ruff.toml ] || [ -f .ruff.toml ] || grep -qs '^\\[tool\\.ruff' pyproject.toml",
        present: "command -v ruff",
        command: "ruff check --no-fix --quiet",
        extensions: PYTHON,
        takes_files: true,
    },
    LinterRow {
        name: "flake8",
        configured: "[ -f .flake8 ] || grep -qs '^\\[flake8\\]' setup.cfg tox.ini",
        present: "command -v flake8",
        command: "flake8",
        extensions: PYTHON,
        takes_files: true,
    },
    LinterRow {
        name: "mypy",
        configured: "[ -f mypy.ini ] || [ -f .mypy.ini ] || grep -qs '^\\[tool\\.mypy\\]' pyproject.toml || \
                     grep -qs '^\\[mypy\\]' setup.cfg",
        present: "command -v mypy",
        command: "mypy --no-error-summary --follow-imports=silent",
        extensions: PYTHON,
        takes_files: true,
    },
    LinterRow {
        name: "black",
        configured: "grep -qs '^\\[tool\\.black\\]' pyproject.toml",
        present: "command -v black",
        command: "black --check --diff --quiet",
        extensions: PYTHON,
        takes_files: true,
    },
    LinterRow {
        name: "eslint",
        configured: "ls .eslintrc* eslint.config.* || grep -qs '\"eslintConfig\"' package.json",
        present: "[ -x node_modules/.bin/eslint ]",
        command: "node_modules/.bin/eslint --no-color",
        extensions: JAVASCRIPT,
        takes_files: true,
    },
    LinterRow {
        name: "xo",
        configured: "grep -qs '\"xo\"' package.json",
        present: "[ -x node_modules/.bin/xo ]",
        command: "node_modules/.bin/xo",
        extensions: JAVASCRIPT,
        takes_files: true,
    },
    LinterRow {
        name: "prettier",
        configured: "ls .prettierrc* prettier.config.* || grep -qs '\"prettier\": *[{\"][^0-9~^]' package.json",
        present: "[ -x node_modules/.bin/prettier ]",
        command: "node_modules/.bin/prettier --check",
        extensions: JAVASCRIPT,
        takes_files: true,
    },
    LinterRow {
        name: "tsc",
        configured: "[ -f tsconfig.json ]",
        present: "[ -x node_modules/.bin/tsc ]",
        command: "node_modules/.bin/tsc --noEmit --pretty false",
        extensions: &["cts", "mts", "ts", "tsx"],
        takes_files: false,
    },
    LinterRow {
        name: "gofmt",
        configured: "[ -f go.mod ]",
        present: "command -v gofmt",
        command: "gofmt -d",
        extensions: &["go"],
        takes_files: true,
    },
    LinterRow {
        name: "cargo fmt",
        configured: "[ -f rustfmt.toml ] || [ -f .rustfmt.toml ] || grep -rqs 'cargo fmt' .github/workflows",
        present: "cargo fmt --version",
        command: "cargo fmt --all --check",
        extensions: &["rs"],
        takes_files: false,
    },
    LinterRow {
        name: "rubocop",
        configured: "[ -f .rubocop.yml ]",
        present: "command -v rubocop",
        command: "rubocop --format emacs --no-color",
        extensions: &["rb"],
        takes_files: true,
    },
    LinterRow {
        name: "phpstan",
        configured: "[ -f phpstan.neon ] || [ -f phpstan.neon.dist ]",
        present: "[ -x vendor/bin/phpstan ]",
        command: "vendor/bin/phpstan analyse --no-progress --error-format=raw",
        extensions: &["php"],
        takes_files: true,
    },
    LinterRow {
        name: "clang-format",
        configured: "[ -f .clang-format ]",
        present: "command -v clang-format",
        command: "clang-format --dry-run",
        extensions: &["c", "cc", "cpp", "cxx", "h", "hh", "hpp"],
        takes_files: true,
    },
    // It downloads what it runs, so it never works without network.
    LinterRow {
        name: "pre-commit",
        configured: "[ -f .pre-commit-config.yaml ]",
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
    /// Every linter that is known, whether it can be run or not.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(Self)
    }

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

/// Looks for the linters that a repository configures, in a sandbox with its tree.
///
/// # Errors
/// The sandbox is lost.
pub async fn find_linters(toolbox: &Toolbox) -> Result<Linters, CallError> {
    let mut look_up = format!("{OWN_ENVIRONMENTS}\n");
    for (at, LinterRow { configured, present, .. }) in ROWS.iter().enumerate() {
        look_up.push_str(&format!(
            "if {{ {configured}; }} >/dev/null 2>&1; then if {{ {present}; }} >/dev/null 2>&1; then echo {at} present; else \
             echo {at} missing; fi; fi\n"
        ));
    }
    let found = toolbox.run(&CommandSpec::shell(&look_up, LOOK_UP_MAX)).await?.output.to_text();
    let mut linters = Linters::default();
    for line in found.lines() {
        let Some((at, state)) = line.split_once(' ') else { continue };
        let Some(row) = at.parse::<usize>().ok().and_then(|at| ROWS.get(at)) else { continue };
        match state {
            "present" => linters.present.push(Linter(row)),
            _ => linters.missing.push(Linter(row)),
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
            let linter = Linter::all().find(|linter| linter.name() == name).unwrap();
            linter.files_of(&paths).iter().map(|path| path.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((files("ruff").as_str(), files("gofmt").as_str()), ("a.py src/c.py", "b.go"));
        assert_eq!(files("eslint"), "");
    }
}
