//! The tools, a file each. A tool's failure is either an answer to the model (`CallError::RespondToModel`)
//! or ends the run (`CallError::Fatal`); the type says which. Schemas come from the argument types.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::Instrument;

use crate::domain::{CommandPattern, FailedTest, JobSettings, RepoPath, ToolArguments, ToolCall, ToolSpec};
use crate::sandbox::CallError;

mod ask_human;
mod context;
mod delete_file;
mod edit_file;
mod find_symbol;
mod finish;
mod list_files;
mod move_file;
mod read_file;
mod read_result;
mod repo_map;
mod run_command;
mod run_tests;
mod search;
mod show_diff;
mod syntax_errors;
mod update_plan;
mod write_file;

pub use context::{ToolContext, changes_of};
pub use run_tests::describe_run;

/// A tool the model may call.
#[async_trait]
pub trait Tool: Send + Sync {
    /// Its name, description and argument schema.
    fn spec(&self) -> ToolSpec;

    /// Carries out a call.
    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError>;
}

/// The outcome of a tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolAnswer {
    /// A result for the model. The caller cuts it to what the model can be shown.
    Text(String),
    /// A result of which the tool shows a part; that part says how `read_result` gives the rest.
    Part {
        /// The part that the model is shown.
        shown: String,
        /// All of it.
        full: String,
    },
    /// The model asks for the verdict.
    Finish {
        /// Its summary for the reviewer.
        summary: String,
    },
    /// The model asks a person.
    AskHuman {
        /// Its question.
        question: String,
    },
}

/// The tools of a job.
pub struct Registry {
    tools: Vec<Box<dyn Tool>>,
    /// The specification of each tool, in the same order. Schemas are derived once.
    specs: Arc<[ToolSpec]>,
}

impl Registry {
    /// The tools of a job. They stay the same until the job ends.
    pub fn of(settings: &JobSettings) -> Self {
        let mut tools = all(settings.commands.clone());
        if settings.commands.is_empty() {
            tools.retain(|tool| tool.spec().name != run_command::NAME);
        }
        Self::new(tools)
    }

    /// Every tool that a job may have, without a repository's own commands.
    pub fn standard() -> Self {
        Self::new(all(Vec::new()))
    }

    fn new(tools: Vec<Box<dyn Tool>>) -> Self {
        let specs = tools.iter().map(|tool| tool.spec()).collect();
        Self { tools, specs }
    }

    /// The specifications that the model is sent.
    pub fn specs(&self) -> Arc<[ToolSpec]> {
        self.specs.clone()
    }

    /// Carries out one call. Unknown tools and arguments that are not JSON are answered to the model.
    pub async fn call(
        &self,
        call: &ToolCall,
        context: &mut ToolContext<'_>,
    ) -> Result<ToolAnswer, CallError> {
        let at = self.specs.iter().position(|spec| spec.name == call.name).ok_or_else(|| {
            let known: Vec<&str> = self.specs.iter().map(|spec| spec.name.as_str()).collect();
            CallError::RespondToModel(format!(
                "There is no tool {:?}. The tools are: {}.",
                call.name,
                known.join(", ")
            ))
        })?;
        let arguments = match &call.arguments {
            ToolArguments::Json(value) => value.clone(),
            ToolArguments::Malformed(text) => {
                let error = serde_json::from_str::<Value>(text)
                    .map_or_else(|error| error.to_string(), |_| "it is not an object".to_owned());
                return Err(CallError::RespondToModel(format!(
                    "The arguments of {} are not valid JSON ({error}). Send them again as one JSON object.",
                    call.name
                )));
            }
        };
        let span = tracing::info_span!("tool_call", tool = self.specs[at].name.as_str());
        self.tools[at].call(arguments, context).instrument(span).await
    }
}

/// In the order in which the model sees them.
fn all(commands: Vec<CommandPattern>) -> Vec<Box<dyn Tool>> {
    vec![
        Box::new(read_file::ReadFileTool),
        Box::new(list_files::ListFilesTool),
        Box::new(search::SearchTool),
        Box::new(repo_map::RepoMapTool),
        Box::new(find_symbol::FindSymbolTool),
        Box::new(edit_file::EditFileTool),
        Box::new(write_file::WriteFileTool),
        Box::new(delete_file::DeleteFileTool),
        Box::new(move_file::MoveFileTool),
        Box::new(show_diff::ShowDiffTool),
        Box::new(run_tests::RunTestsTool),
        Box::new(run_command::RunCommandTool { allowed: commands }),
        Box::new(read_result::ReadResultTool),
        Box::new(update_plan::UpdatePlanTool),
        Box::new(finish::FinishTool),
        Box::new(ask_human::AskHumanTool),
    ]
}

/// The tool's spec: its text from the file of its name under `prompts/tools/`, with the schema of
/// `Arguments`.
fn spec_of<Arguments: JsonSchema>(name: &str, description: &str) -> ToolSpec {
    let mut schema = schemars::schema_for!(Arguments).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        object.remove("title");
        object.remove("description");
    }
    ToolSpec { name: name.to_owned(), description: description.trim().to_owned(), input_schema: schema }
}

/// Parses the arguments. A mismatch is answered to the model with its reason.
fn parse_arguments<Arguments: DeserializeOwned>(arguments: Value) -> Result<Arguments, CallError> {
    serde_json::from_value(arguments).map_err(|error| {
        CallError::RespondToModel(format!("The arguments do not fit the tool's schema: {error}."))
    })
}

/// Parses a path that a proposal may hold. The rule that it breaks is answered to the model.
fn repo_path(path: &str) -> Result<RepoPath, CallError> {
    path.strip_prefix("./")
        .unwrap_or(path)
        .parse()
        .map_err(|error| CallError::RespondToModel(format!("{error}.")))
}

fn names(tests: &[FailedTest]) -> String {
    const NAMED_MAX: usize = 30;
    let mut lines: String = tests.iter().take(NAMED_MAX).map(|test| format!("- {}\n", test.0)).collect();
    if tests.len() > NAMED_MAX {
        lines.push_str(&format!("- and {} more\n", tests.len() - NAMED_MAX));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_name_all_providers_take_and_an_object_schema_without_references() {
        for spec in Registry::standard().specs().iter() {
            assert!(spec.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", spec.name);
            assert_eq!(spec.input_schema["type"], "object", "{}", spec.name);
            assert_eq!(spec.input_schema["additionalProperties"], false, "{}", spec.name);
            assert!(spec.description.len() > 40, "{}", spec.name);
        }
    }
}
