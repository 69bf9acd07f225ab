//! The tools, a file each. A tool's failure is either told to the model (`CallError::Told`) or
//! ends the run (`CallError::Lost`); the type says which. Schemas come from the argument types.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::results::Results;
use crate::domain::{
    Change, ChangedContent, FailedTest, FileMode, JobSettings, RepoPath, TestRun, ToolArguments, ToolCall,
    ToolSpec, TranscriptEvent,
};
use crate::sandbox::protocol::WriteFile;
use crate::sandbox::{CallError, SandboxError, Toolbox};
use crate::workspace::{Workspace, WorkspaceError};

mod ask_human;
mod edit_file;
mod faults;
mod find_symbol;
mod finish;
mod list_files;
mod read_file;
mod read_result;
mod repo_map;
mod run_tests;
mod search;
mod update_plan;
mod write_file;

pub use run_tests::describe_run;

/// A tool the model may call.
#[async_trait]
pub trait Tool: Send + Sync {
    /// Its name, description and argument schema.
    fn spec(&self) -> ToolSpec;

    /// Carries out a call.
    async fn call(&self, arguments: Value, hands: &mut Hands<'_>) -> Result<Answer, CallError>;
}

/// What tools work with, and what they leave behind for the transcript.
pub struct Hands<'a> {
    /// The sandbox.
    pub toolbox: &'a Toolbox,
    /// The base, and our own object store.
    pub workspace: &'a Workspace,
    /// The job's rules.
    pub settings: &'a JobSettings,
    /// The last test run, to tell what changed since.
    pub last_run: Option<TestRun>,
    /// What the tools answered so far, in full. The call being carried out is its next one.
    pub results: Results,
    /// What was written so far, as it was written.
    pub written: BTreeMap<RepoPath, Vec<u8>>,
    /// Events to record with the results.
    pub events: Vec<TranscriptEvent>,
}

impl Hands<'_> {
    /// Before an edit: the file is brought back to what the base and the tools made of it, should a
    /// command have changed it since. Only what the tools write may become part of a proposal.
    async fn settle(&self, path: &RepoPath) -> Result<(), CallError> {
        let expected = match self.written.get(path) {
            Some(bytes) => Some(bytes.clone()),
            None => {
                let tree = self.workspace.base_tree().await.map_err(unreachable_base)?;
                self.workspace.content(&tree, path).await.map_err(unreachable_base)?
            }
        };
        let Some(expected) = expected else {
            return match self.found(path).await? {
                None => Ok(()),
                Some(_) => Err(CallError::Told(format!(
                    "{path} is not part of the repository; a command made it. To propose it, write it with \
                     write_file."
                ))),
            };
        };
        if self.found(path).await?.as_ref() == Some(&expected) {
            return Ok(());
        }
        let content = String::from_utf8(expected)
            .map_err(|_| CallError::Told(format!("{path} is not text and was changed by a command.")))?;
        self.toolbox.write_file(&WriteFile { path: path.to_string(), content }).await?;
        Ok(())
    }

    /// After a write: what now stands there is held on our side. A path that no proposal can hold
    /// is told.
    async fn hold(&mut self, path: RepoPath) -> Result<(), CallError> {
        let Some(bytes) = self.found(&path).await? else {
            return Err(CallError::Told(format!("{path} was written and is gone again.")));
        };
        let content = ChangedContent::File { mode: FileMode::Regular, bytes: bytes.clone() };
        match self.workspace.propose(vec![Change { path: path.clone(), content }]).await {
            Ok(_) => {}
            Err(error @ WorkspaceError::RefusedChange { .. }) => {
                return Err(CallError::Told(format!("This cannot be part of a proposal: {error}.")));
            }
            Err(error) => return Err(unreachable_base(error)),
        }
        self.written.insert(path, bytes);
        Ok(())
    }

    async fn found(&self, path: &RepoPath) -> Result<Option<Vec<u8>>, CallError> {
        let collected = self.toolbox.collect(std::slice::from_ref(path)).await?;
        Ok(collected.into_iter().find_map(|change| match change.content {
            ChangedContent::File { bytes, .. } => Some(bytes),
            ChangedContent::Absent => None,
        }))
    }
}

/// Our own object store failing ends the run, as a lost sandbox does.
fn unreachable_base(error: WorkspaceError) -> CallError {
    CallError::Lost(SandboxError::Gone(error.to_string()))
}

/// What a tool call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A result for the model. Whoever records it cuts it to what the model can be shown.
    Text(String),
    /// A result of which the tool itself shows a part; that part says how `read_result` gives the
    /// rest.
    Part {
        /// What the model is shown.
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
    Ask {
        /// Its question.
        question: String,
    },
}

/// The tools of a job.
pub struct Registry {
    tools: Vec<Box<dyn Tool>>,
}

impl Registry {
    /// All tools, in the order in which the model is told of them.
    pub fn standard() -> Self {
        Self {
            tools: vec![
                Box::new(read_file::ReadFileTool),
                Box::new(list_files::ListFilesTool),
                Box::new(search::SearchTool),
                Box::new(repo_map::RepoMapTool),
                Box::new(find_symbol::FindSymbolTool),
                Box::new(edit_file::EditFileTool),
                Box::new(write_file::WriteFileTool),
                Box::new(run_tests::RunTestsTool),
                Box::new(read_result::ReadResultTool),
                Box::new(update_plan::UpdatePlanTool),
                Box::new(finish::FinishTool),
                Box::new(ask_human::AskHumanTool),
            ],
        }
    }

    /// What the model is told.
    pub fn specs(&self) -> Vec<ToolSpec> {
        self.tools.iter().map(|tool| tool.spec()).collect()
    }

    /// Carries out one call. Unknown tools and arguments that are not JSON are told to the model.
    pub async fn call(&self, call: &ToolCall, hands: &mut Hands<'_>) -> Result<Answer, CallError> {
        let tool = self.tools.iter().find(|tool| tool.spec().name == call.name).ok_or_else(|| {
            let known: Vec<String> = self.specs().into_iter().map(|spec| spec.name).collect();
            CallError::Told(format!("There is no tool {:?}. The tools are: {}.", call.name, known.join(", ")))
        })?;
        let arguments = match &call.arguments {
            ToolArguments::Json(value) => value.clone(),
            ToolArguments::Malformed(text) => {
                let error = serde_json::from_str::<Value>(text)
                    .map_or_else(|error| error.to_string(), |_| "it is not an object".to_owned());
                return Err(CallError::Told(format!(
                    "The arguments of {} are not valid JSON ({error}). Send them again as one JSON object.",
                    call.name
                )));
            }
        };
        tool.call(arguments, hands).await
    }
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

/// The arguments as their type; a mismatch is told with the reason.
fn parsed<Arguments: DeserializeOwned>(arguments: Value) -> Result<Arguments, CallError> {
    serde_json::from_value(arguments)
        .map_err(|error| CallError::Told(format!("The arguments do not fit the tool's schema: {error}.")))
}

/// A path that a proposal may hold; the rule it breaks is told.
fn repo_path(path: &str) -> Result<RepoPath, CallError> {
    path.strip_prefix("./").unwrap_or(path).parse().map_err(|error| CallError::Told(format!("{error}.")))
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
        for spec in Registry::standard().specs() {
            assert!(spec.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", spec.name);
            assert_eq!(spec.input_schema["type"], "object", "{}", spec.name);
            assert_eq!(spec.input_schema["additionalProperties"], false, "{}", spec.name);
            assert!(spec.description.len() > 40, "{}", spec.name);
        }
    }
}
