//! `run_command`: runs a command that the repository allows, without a shell. Only offered if the repository
//! allows any.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::super::test_summary::readable;
use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::{CommandPattern, ProcessOutput, RepoPath, ToolSpec};
use crate::sandbox::{CallError, CommandSpec};

const ARGUMENTS_MAX: usize = 200;
const ARGUMENTS_BYTES_MAX: usize = 32 << 10;
/// The command's output that is kept, as of a test run.
const OUTPUT_BYTES_MAX: usize = 512 << 10;
/// Paths named that a command changed.
const NAMED_MAX: usize = 20;

pub(super) const NAME: &str = "run_command";

pub(super) struct RunCommandTool {
    pub(super) allowed: Vec<CommandPattern>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The program and its arguments, each an element, as in ["cargo", "check", "--tests"].
    argv: Vec<String>,
}

#[async_trait]
impl Tool for RunCommandTool {
    fn spec(&self) -> ToolSpec {
        let mut spec = spec_of::<Arguments>(NAME, include_str!("../prompts/tools/run_command.md"));
        if !self.allowed.is_empty() {
            spec.description.push_str(&format!(" Allowed here: {}.", listed(&self.allowed)));
        }
        spec
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let Arguments { argv } = parse_arguments(arguments)?;
        if argv.is_empty() {
            return Err(CallError::RespondToModel(
                "`argv` is empty; name a program and its arguments.".to_owned(),
            ));
        }
        refuse_oversized(&argv)?;
        if !self.allowed.iter().any(|pattern| pattern.allows(&argv)) {
            return Err(CallError::RespondToModel(format!(
                "{argv:?} is not allowed, and was not run. Allowed are, with `*` for one argument and `**` for any \
                 further ones: {}.",
                listed(&self.allowed)
            )));
        }
        let spec = CommandSpec {
            argv: argv.clone(),
            env: Vec::new(),
            deadline: context.settings.test_timeout,
            output_bytes_max: OUTPUT_BYTES_MAX,
        };
        let result = context.toolbox.run(&spec).await?;
        let changed = context.externally_modified().await?;
        Ok(ToolAnswer::Text(describe(&argv.join(" "), &result, &changed)))
    }
}

/// Refuses arguments that no process can be given.
pub(super) fn refuse_oversized(argv: &[String]) -> Result<(), CallError> {
    let bytes: usize = argv.iter().map(String::len).sum();
    match argv.len() > ARGUMENTS_MAX || bytes > ARGUMENTS_BYTES_MAX || argv.iter().any(|a| a.contains('\0')) {
        true => Err(CallError::RespondToModel(format!(
            "A command has at most {ARGUMENTS_MAX} arguments and {ARGUMENTS_BYTES_MAX} bytes, and no NUL."
        ))),
        false => Ok(()),
    }
}

fn listed(allowed: &[CommandPattern]) -> String {
    allowed.iter().map(|pattern| format!("`{pattern}`")).collect::<Vec<_>>().join(", ")
}

/// How a command ended, and what it printed.
pub(super) fn describe(command: &str, result: &ProcessOutput, changed: &[RepoPath]) -> String {
    let seconds = result.duration.as_secs_f64();
    let mut text = format!("`{command}`: {} after {seconds:.1} s.\n", result.ending.describe());
    if let Some(advice) = result.ending.advice() {
        text.push_str(&format!("It was cut off, so it says nothing of what it checks. {advice}\n"));
    }
    if !changed.is_empty() {
        let named: Vec<&str> = changed.iter().take(NAMED_MAX).map(RepoPath::as_str).collect();
        let more = match changed.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        text.push_str(&format!(
            "Of the files you wrote, these are not as you wrote them any more: {}{more}. The proposal still holds \
             what you wrote; to propose what the command made of them, write it yourself.\n",
            named.join(", ")
        ));
    }
    if result.output.is_truncated() {
        let omitted = result.output.omitted_bytes;
        text.push_str(&format!("{omitted} bytes of its output, in the middle, were not kept.\n"));
    }
    let output = readable(&result.output.to_text(), false);
    match output.trim().is_empty() {
        true => text.push_str("It printed nothing."),
        false => text.push_str(&format!("Output:\n{output}")),
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{BoundedOutput, ExitStatus};

    fn result(ending: ExitStatus, output: BoundedOutput) -> ProcessOutput {
        ProcessOutput { ending, output, duration: Duration::from_millis(1500) }
    }

    #[test]
    fn command_result_names_exit_status_and_changed_files() {
        let cut = BoundedOutput { head: "a\n".into(), omitted_bytes: 70, tail: "z\n".into() };
        let text =
            describe("cargo fmt", &result(ExitStatus::TimedOut, cut), &["src/lib.rs".parse().unwrap()]);
        insta::assert_snapshot!(text, @r"
        `cargo fmt`: timed out after 1.5 s.
        It was cut off, so it says nothing of what it checks. Find out what hangs or is slow. If it needs longer, raise the repository's `timeout_minutes:`.
        Of the files you wrote, these are not as you wrote them any more: src/lib.rs. The proposal still holds what you wrote; to propose what the command made of them, write it yourself.
        70 bytes of its output, in the middle, were not kept.
        Output:
        a

        [… 70 bytes left out …]
        z
        ");
        let coloured =
            BoundedOutput { head: "\u{1b}[31mwrong\u{1b}[0m\n".into(), ..BoundedOutput::default() };
        let text = describe("cargo fmt", &result(ExitStatus::Exited { code: 1 }, coloured), &[]);
        assert!(text.ends_with("Output:\nwrong\n"), "{text}");
        let silent = result(ExitStatus::Exited { code: 0 }, BoundedOutput::default());
        insta::assert_snapshot!(describe("cargo fmt", &silent, &[]), @r"
        `cargo fmt`: exit code 0 after 1.5 s.
        It printed nothing.
        ");
    }
}
