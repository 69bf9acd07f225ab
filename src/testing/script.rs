//! Runs a script that a model wrote, with the repository's own toolchain: where the test command calls its runner, and
//! with the variables that it sets. In a sandbox of its own, of which nothing but the output is kept.

use std::time::Duration;

use crate::domain::{JobSettings, ProcessOutput};
use crate::sandbox::protocol::WriteFile;
use crate::sandbox::{CallError, CommandSpec, Toolbox};

use super::runner_call::{RunnerCall, TestCommand};
use super::suite::{SuiteError, package_json};
use crate::workspace::Workspace;

/// The longest time of one script, what it compiles included.
const DEADLINE_MAX: Duration = Duration::from_secs(5 * 60);
/// The script's output that is kept.
const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// The longest script, in bytes.
pub const SCRIPT_BYTES_MAX: usize = 64 << 10;
/// The time in which a shell looks for a few programs.
pub(super) const LOOK_UP_MAX: Duration = Duration::from_secs(60);

/// A language in which a script can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptLanguage {
    /// Run by `python3`.
    Python,
    /// JavaScript, run by `node`.
    Node,
    /// Run by `ruby`.
    Ruby,
    /// Run by `perl`.
    Perl,
    /// Run by `php`.
    Php,
    /// A `package main` in the repository's own module.
    Go,
    /// An example of the package at the repository's root, with a `main`.
    Rust,
    /// Run by `sh`.
    Shell,
}

/// How a language is run.
struct LanguageRow {
    language: ScriptLanguage,
    /// Its name in the tool's schema.
    name: &'static str,
    /// What people write behind the fence of a code block, in small letters.
    fences: &'static [&'static str],
    /// The program that runs it.
    program: &'static str,
    /// A file at the base's root that it cannot do without, and a text in it.
    needs: Option<(&'static str, &'static str)>,
    /// A text without which a block of code is no whole program; empty: any is one.
    mark: &'static str,
    /// The path of the script, and the command that runs it.
    path: &'static str,
    command: &'static str,
}

const ROWS: &[LanguageRow] = &[
    LanguageRow {
        language: ScriptLanguage::Python,
        name: "python",
        fences: &["python", "py", "python3"],
        program: "python3",
        needs: None,
        mark: "",
        path: "mendwright_script.py",
        command: "python3 mendwright_script.py",
    },
    LanguageRow {
        language: ScriptLanguage::Node,
        name: "node",
        fences: &["javascript", "js", "node", "mjs", "cjs"],
        program: "node",
        needs: None,
        mark: "",
        path: "mendwright_script.cjs",
        command: "node mendwright_script.cjs",
    },
    LanguageRow {
        language: ScriptLanguage::Ruby,
        name: "ruby",
        fences: &["ruby", "rb"],
        program: "ruby",
        needs: None,
        mark: "",
        path: "mendwright_script.rb",
        command: "ruby -Ilib -I. mendwright_script.rb",
    },
    LanguageRow {
        language: ScriptLanguage::Perl,
        name: "perl",
        fences: &["perl", "pl"],
        program: "perl",
        needs: None,
        mark: "",
        path: "mendwright_script.pl",
        command: "perl -Iblib/lib -Iblib/arch -Ilib -I. mendwright_script.pl",
    },
    LanguageRow {
        language: ScriptLanguage::Php,
        name: "php",
        fences: &["php"],
        program: "php",
        needs: None,
        mark: "<?php",
        path: "mendwright_script.php",
        command: "php mendwright_script.php",
    },
    LanguageRow {
        language: ScriptLanguage::Go,
        name: "go",
        fences: &["go", "golang"],
        program: "go",
        needs: Some(("go.mod", "module ")),
        mark: "package main",
        path: "mendwright_script/main.go",
        command: "go run ./mendwright_script",
    },
    LanguageRow {
        language: ScriptLanguage::Rust,
        name: "rust",
        fences: &["rust", "rs"],
        program: "cargo",
        needs: Some(("Cargo.toml", "[package]")),
        mark: "fn main",
        path: "examples/mendwright_script.rs",
        command: "cargo run --quiet --offline --example mendwright_script",
    },
    LanguageRow {
        language: ScriptLanguage::Shell,
        name: "sh",
        fences: &["sh", "bash", "shell"],
        program: "sh",
        needs: None,
        mark: "",
        path: "mendwright_script.sh",
        command: "sh mendwright_script.sh",
    },
];

impl ScriptLanguage {
    /// Every language, in the order of the tool's schema.
    pub fn all() -> Vec<Self> {
        ROWS.iter().map(|row| row.language).collect()
    }

    fn row(self) -> &'static LanguageRow {
        ROWS.iter().find(|row| row.language == self).unwrap_or(&ROWS[0])
    }

    /// Its name, for the model.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The language of that name.
    pub fn named(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.language)
    }

    /// Whether a text is a whole program, as far as its words show, and not too long to be run.
    pub fn is_program(self, text: &str) -> bool {
        text.len() <= SCRIPT_BYTES_MAX && text.contains(self.row().mark)
    }

    /// The language that the fence of a code block names, as in `py`.
    pub fn of_fence(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        ROWS.iter().find(|row| row.fences.contains(&word.as_str())).map(|row| row.language)
    }
}

/// The languages that can be run in a sandbox with the repository's tree. What the model writes there changes nothing: a
/// job's tools stay the same.
///
/// # Errors
/// The sandbox is lost, or the base cannot be read.
pub async fn script_languages(
    toolbox: &Toolbox,
    workspace: &Workspace,
) -> Result<Vec<ScriptLanguage>, SuiteError> {
    let look_up: String = ROWS
        .iter()
        .map(|row| format!("if command -v {} >/dev/null 2>&1; then echo {}; fi\n", row.program, row.name))
        .collect();
    let spec = CommandSpec::shell(&format!("{OWN_ENVIRONMENTS}\n{look_up}"), LOOK_UP_MAX);
    let there = toolbox.run(&spec).await?.output.to_text();
    let mut found = Vec::new();
    for row in there.lines().filter_map(|name| ROWS.iter().find(|row| row.name == name)) {
        if let Some((file, text)) = row.needs {
            let content = workspace.base_file(file).await?.unwrap_or_default();
            if !String::from_utf8_lossy(&content).lines().any(|line| line.trim().starts_with(text)) {
                continue;
            }
        }
        found.push(row.language);
    }
    Ok(found)
}

/// Environments that a setup makes at the repository's root, and the places of sources that a script imports.
pub(super) const OWN_ENVIRONMENTS: &str = r#"export PATH="$PWD/.venv/bin:$PWD/venv/bin:$PATH" PYTHONPATH="$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}""#;

/// Runs a script in `toolbox`, which has the tree that it is about. Writes it there.
///
/// # Errors
/// [`CallError::RespondToModel`] if it cannot be written; otherwise the sandbox is lost.
pub async fn run_script(
    toolbox: &Toolbox,
    settings: &JobSettings,
    language: ScriptLanguage,
    script: &str,
) -> Result<ProcessOutput, CallError> {
    let command = &settings.test_command;
    let package_json = package_json(toolbox, command).await?;
    let call = RunnerCall::of(&TestCommand { command, package_json: package_json.as_deref() });
    let directory = call.as_ref().and_then(|call| call.directory.clone());
    let (path, program) = place(language, script);
    let path = directory.map_or(path.clone(), |directory| format!("{directory}/{path}"));
    let before = call.map(|call| call.surroundings()).unwrap_or_default();
    toolbox.write_file(&WriteFile { path, content: script.to_owned(), executable: None }).await?;
    let spec = CommandSpec {
        output_bytes_max: OUTPUT_BYTES_MAX,
        ..CommandSpec::shell(
            &format!("{OWN_ENVIRONMENTS}\n{before}{program}"),
            settings.test_timeout.min(DEADLINE_MAX),
        )
    };
    toolbox.run(&spec).await
}

/// Where a script is written, and what runs it there.
fn place(language: ScriptLanguage, script: &str) -> (String, String) {
    let LanguageRow { path, command, .. } = language.row();
    // Node takes `import` in modules only, and `require` elsewhere only.
    let is_module = |line: &str| line.starts_with("import ") || line.starts_with("export ");
    match language == ScriptLanguage::Node && script.lines().any(is_module) {
        true => (path.replace(".cjs", ".mjs"), command.replace(".cjs", ".mjs")),
        false => ((*path).to_owned(), (*command).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_known_by_name_and_by_fence() {
        for language in ScriptLanguage::all() {
            assert_eq!(ScriptLanguage::named(language.name()), Some(language));
            for fence in language.row().fences {
                assert_eq!(ScriptLanguage::of_fence(&fence.to_uppercase()), Some(language), "{fence}");
            }
        }
        assert!(
            ScriptLanguage::Php.is_program("<?php echo 1;") && !ScriptLanguage::Php.is_program("echo 1;")
        );
        assert!(!ScriptLanguage::Rust.is_program("let a = 1;") && ScriptLanguage::Python.is_program("a = 1"));
        assert!(!ScriptLanguage::Shell.is_program(&"#".repeat(SCRIPT_BYTES_MAX + 1)));
        assert_eq!(ScriptLanguage::of_fence("console"), None);
        assert_eq!(ScriptLanguage::named("cobol"), None);
    }

    #[test]
    fn node_reads_a_module_as_one() {
        let of = |script: &str| place(ScriptLanguage::Node, script).0;
        assert_eq!(of("import fs from 'fs';\n"), "mendwright_script.mjs");
        assert_eq!(of("const fs = require('fs');\n"), "mendwright_script.cjs");
        assert_eq!(place(ScriptLanguage::Python, "import os\n").1, "python3 mendwright_script.py");
    }
}
