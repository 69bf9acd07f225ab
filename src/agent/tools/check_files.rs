//! `check_files`: runs the repository's linters, formatters and type checkers on the files that the model wrote. Offered
//! if the repository configures one that the sandbox has. It is advice: the verdict does not depend on it.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::run_command::describe;
use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::{ChangedContent, RepoPath, ToolSpec};
use crate::sandbox::CallError;
use crate::testing::{Linters, run_linter};

pub(super) const NAME: &str = "check_files";

pub(super) struct CheckFilesTool {
    pub(super) linters: Linters,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {}

#[async_trait]
impl Tool for CheckFilesTool {
    fn spec(&self) -> ToolSpec {
        let mut spec = spec_of::<Arguments>(NAME, include_str!("../prompts/tools/check_files.md"));
        if !self.linters.present.is_empty() {
            let names: Vec<&str> = self.linters.present.iter().map(|linter| linter.name()).collect();
            spec.description.push_str(&format!(" Here: {}.", names.join(", ")));
        }
        spec
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let Arguments {} = parse_arguments(arguments)?;
        let is_there = |content: &ChangedContent| matches!(content, ChangedContent::File { .. });
        let written: Vec<&RepoPath> =
            context.written.iter().filter(|(_, content)| is_there(content)).map(|(path, _)| path).collect();
        let mut answers = Vec::new();
        for linter in &self.linters.present {
            let files = linter.files_of(&written);
            if files.is_empty() {
                continue;
            }
            let result = run_linter(context.toolbox, context.settings, *linter, &files).await?;
            answers.push(match result.ending.is_success() && result.output.to_text().trim().is_empty() {
                true => format!("`{}`: no problem.", linter.name()),
                false => describe(linter.name(), &result, &[]),
            });
        }
        match answers.as_slice() {
            [] => Err(CallError::RespondToModel(
                "You have not written a file yet that one of them reads.".to_owned(),
            )),
            _ => Ok(ToolAnswer::Text(format!(
                "{}\n\nA problem in a line that you did not change may have been there before: leave it.",
                answers.join("\n\n")
            ))),
        }
    }
}
