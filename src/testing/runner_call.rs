//! The one place in a test command where its runner is called: there, arguments can be added, and the paths that it
//! names can be left out. All else of the command stays as it is written.

use std::ops::Range;

use super::invocation::Invocation;
use super::recognition::{of_words, recognise, test_script};
use super::runners::Runner;
use super::shell_words::{ShellLine, base_name, is_assignment};

/// Commands that set something for those after them.
const SETTING_COMMANDS: &[&str] = &[".", "cd", "export", "source"];
/// Programs that start another one in an environment.
const LAUNCHERS: &[&str] = &["bundle", "env", "hatch", "pdm", "pipenv", "poetry", "rye", "uv"];

/// A repository's test command.
#[derive(Debug, Clone, Copy)]
pub(super) struct TestCommand<'a> {
    pub(super) command: &'a str,
    /// What `npm test` runs is in there.
    pub(super) package_json: Option<&'a [u8]>,
}

/// A command that runs a part of the suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SelectedCommand {
    /// The command, with `"$@"` where the arguments belong.
    pub(super) command: String,
    pub(super) arguments: Vec<String>,
}

/// A call of a runner in a shell line.
pub(super) struct RunnerCall {
    pub(super) runner: Runner,
    pub(super) invocation: Invocation,
    /// The directory that a command before it changes to.
    pub(super) directory: Option<String>,
    /// The line: the test command, or the script of `package.json` that it runs.
    line: String,
    /// Where the runner's words are in the line.
    spans: Vec<Range<usize>>,
    /// How the script is called, if it is one.
    script: Option<ScriptCall>,
}

/// The call of a script of `package.json`.
struct ScriptCall {
    command: String,
    /// The variables that the command sets, as it is written.
    assignments: String,
    /// Whether arguments at the end of `command` reach the runner.
    takes_arguments: bool,
    separator: Option<&'static str>,
    /// Whether another script runs before it.
    has_pretest: bool,
}

impl RunnerCall {
    /// `None`: no known runner is called, or it is called several times, or in a way that is not understood here.
    pub(super) fn of(test: &TestCommand<'_>) -> Option<Self> {
        let found = recognise(test.command, test.package_json)?;
        if let Some(call) = Self::in_line(test.command, None) {
            return Some(call);
        }
        // The command calls a script.
        let script = test_script(test.package_json?)?;
        let has_pretest = serde_json::from_slice::<serde_json::Value>(test.package_json?)
            .is_ok_and(|package| package["scripts"].get("pretest").is_some());
        let line = ShellLine::read(test.command)?;
        let set = line.commands[0].iter().take_while(|word| is_assignment(word)).count();
        let assignments = match line.spans[0][..set] {
            [] => String::new(),
            [ref first, ..] => test.command[first.start..line.spans[0][set - 1].end].to_owned(),
        };
        let script_call = ScriptCall {
            command: test.command.to_owned(),
            assignments,
            takes_arguments: found.invocation.takes_arguments,
            separator: found.invocation.separator,
            has_pretest,
        };
        // Somewhere else than in the root, another package.json counts.
        let is_alone = line.commands.len() == 1;
        Self::in_line(&script, Some(script_call)).filter(|_| is_alone)
    }

    fn in_line(text: &str, script: Option<ScriptCall>) -> Option<Self> {
        let line = ShellLine::read(text)?;
        let mut calls =
            line.commands.iter().enumerate().filter_map(|(at, words)| Some((at, of_words(words, None)?)));
        let (at, found) = calls.next()?;
        if calls.next().is_some() {
            return None;
        }
        let directories = line.commands[..at].iter().filter_map(|words| match words.as_slice() {
            [cd, directory] if cd == "cd" => Some(directory.trim_end_matches('/').to_owned()),
            _ => None,
        });
        let directories: Vec<String> = directories.filter(|directory| directory != ".").collect();
        let is_plain =
            |directory: &String| !directory.is_empty() && !directory.contains(['$', '`', '~', '(', '*']);
        let is_below = |directory: &String| {
            !directory.starts_with('/') && !directory.split('/').any(|part| part == "..")
        };
        if !directories.iter().all(|directory| is_plain(directory) && is_below(directory)) {
            return None;
        }
        let directory = directories
            .iter()
            .map(|directory| directory.trim_start_matches("./"))
            .collect::<Vec<_>>()
            .join("/");
        let spans = &line.spans[at];
        let own = spans.len().checked_sub(found.invocation.words.len())?;
        // A word that a shell would expand is none that can be put elsewhere, and none that ends the command.
        let is_closed = !line.commands[at].iter().any(|word| word.contains(['(', ')', '{', '}', '<', '>']));
        is_closed.then(|| Self {
            runner: found.runner,
            invocation: found.invocation,
            directory: Some(directory).filter(|directory| !directory.is_empty()),
            line: text.to_owned(),
            spans: spans[own..].to_vec(),
            script,
        })
    }

    /// What the command does before it calls the runner and another program needs, too, as the beginning of a shell line:
    /// the directory, variables, and what starts programs in an environment (`poetry run`).
    pub(super) fn surroundings(&self) -> String {
        let set = self.script.as_ref().map(|script| script.assignments.as_str()).unwrap_or_default();
        let mut kept = if set.is_empty() { String::new() } else { format!("export {set}; ") };
        let Some(line) = ShellLine::read(&self.line) else { return String::new() };
        let text = |spans: &[Range<usize>]| match spans {
            [first, ..] => self.line[first.start..spans[spans.len() - 1].end].to_owned(),
            [] => String::new(),
        };
        let own = self.spans.first().map_or(0, |span| span.start);
        for (words, spans) in line.commands.iter().zip(&line.spans) {
            let before = spans.iter().take_while(|span| span.start < own).count();
            if before == spans.len() {
                let is_kept = words.first().is_some_and(|word| SETTING_COMMANDS.contains(&word.as_str()));
                if is_kept {
                    kept.push_str(&text(spans));
                    kept.push_str(" && ");
                }
                continue;
            }
            let set = words.iter().take_while(|word| is_assignment(word)).count().min(before);
            let launched = &words[set..before];
            let interpreter = launched.iter().position(|word| base_name(word).starts_with("python"));
            let is_launcher = launched.first().is_some_and(|word| LAUNCHERS.contains(&base_name(word)));
            let end = match is_launcher {
                true => set + interpreter.unwrap_or(launched.len()),
                false => set,
            };
            kept.push_str(&text(&spans[..end]));
            kept.push_str(if end == 0 { "" } else { " " });
            break;
        }
        kept
    }

    /// The command with these arguments. `replaces_paths`: they name a path, and the ones of the command are left out.
    pub(super) fn with_arguments(&self, mut arguments: Vec<String>, replaces_paths: bool) -> SelectedCommand {
        let words = &self.invocation.words;
        let paths = (self.runner.row().paths)(&self.invocation).filter(|_| replaces_paths);
        let removed = paths.map(|paths| paths.of(words)).unwrap_or_default();
        if let Some(script) =
            self.script.as_ref().filter(|script| script.takes_arguments && removed.is_empty())
        {
            arguments.splice(0..0, script.separator.map(str::to_owned));
            return SelectedCommand { command: format!("{} \"$@\"", script.command), arguments };
        }
        // What comes after `--` is the runner's own business.
        let at_end = words.iter().position(|word| word == "--").unwrap_or(words.len());
        let mut text = self.line[..self.spans[0].start].to_owned();
        for (at, span) in self.spans.iter().enumerate() {
            if at == at_end {
                text.push_str("\"$@\" ");
            }
            if !removed.contains(&at) {
                text.push_str(&self.line[span.clone()]);
                text.push(' ');
            }
        }
        text.push_str(if at_end == words.len() { "\"$@\"" } else { "" });
        let end = self.spans.last().map_or(self.line.len(), |span| span.end);
        text = format!("{}{}", text.trim_end(), &self.line[end..]);
        if let Some(script) = &self.script {
            let before = if script.has_pretest { "npm run pretest && " } else { "" };
            let set = &script.assignments;
            let set = if set.is_empty() { String::new() } else { format!("export {set}; ") };
            text = format!("{set}export PATH=\"$PWD/node_modules/.bin:$PATH\"; {before}{text}");
        }
        SelectedCommand { command: text, arguments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_sets_before_its_runner_is_kept_for_another_program() {
        let package_json = br#"{"scripts": {"test": "cd packages/a && jest"}}"#;
        let lines = [
            "pytest -q",
            "python3 -m pytest",
            ".venv/bin/python -m pytest tests",
            "PATH=\"$PWD/.venv/bin:$PATH\" PYTHONPATH=src python3 -m pytest -q",
            "cd backend && PATH=\"$PWD/.venv/bin:$PATH\" pytest",
            "export A=b; cd x && poetry run python -m pytest",
            "uv run --no-sync --group test pytest -q",
            "bundle exec rspec",
            "coverage run -m pytest",
            "npx jest",
            "cmake -S . -B build && cmake --build build && ctest --test-dir build",
            "TZ=UTC npm test",
            "npm test",
        ];
        let of = |command: &&str| {
            let call = RunnerCall::of(&TestCommand { command, package_json: Some(package_json) });
            let kept = call.map_or("not understood".to_owned(), |call| format!("[{}]", call.surroundings()));
            format!("{command}: {kept}")
        };
        insta::assert_snapshot!(lines.iter().map(of).collect::<Vec<_>>().join("\n"), @r#"
        pytest -q: []
        python3 -m pytest: []
        .venv/bin/python -m pytest tests: []
        PATH="$PWD/.venv/bin:$PATH" PYTHONPATH=src python3 -m pytest -q: [PATH="$PWD/.venv/bin:$PATH" PYTHONPATH=src ]
        cd backend && PATH="$PWD/.venv/bin:$PATH" pytest: [cd backend && PATH="$PWD/.venv/bin:$PATH" ]
        export A=b; cd x && poetry run python -m pytest: [export A=b && cd x && poetry run ]
        uv run --no-sync --group test pytest -q: not understood
        bundle exec rspec: [bundle exec ]
        coverage run -m pytest: []
        npx jest: []
        cmake -S . -B build && cmake --build build && ctest --test-dir build: []
        TZ=UTC npm test: [export TZ=UTC; cd packages/a && ]
        npm test: [cd packages/a && ]
        "#);
    }
}
