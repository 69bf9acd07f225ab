//! The tools, a file each. A tool's failure is either an answer to the model (`CallError::RespondToModel`)
//! or ends the run (`CallError::Fatal`); the type says which. Schemas come from the argument types.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::Instrument;

use crate::domain::{CommandPattern, JobSettings, RepoPath, SetupRecipe, ToolArguments, ToolCall, ToolSpec};
use crate::sandbox::CallError;
use crate::testing::{Linters, ScriptLanguage, Selectable};

mod ask_human;
mod check_files;
mod context;
mod delete_file;
mod edit_file;
mod find_symbol;
mod finish;
mod give_up;
mod list_files;
mod move_file;
mod propose_setup;
mod read_file;
mod read_result;
mod repo_map;
mod run_command;
mod run_script;
mod run_shell;
mod run_tests;
mod search;
mod show_diff;
mod syntax_errors;
mod update_plan;
mod write_file;

pub use context::{ToolContext, changes_of};
pub use run_script::Scripts;

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
    /// The setup agent proposes how to set the repository up.
    ProposeSetup {
        /// Its commands.
        recipe: SetupRecipe,
    },
    /// The model asks a person.
    AskHuman {
        /// Its question.
        question: String,
    },
}

/// What the tools of a job can do in its sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// What the suite can run a part of.
    pub selectable: Selectable,
    /// What can be run as a script.
    pub scripts: Scripts,
    /// What files can be checked with.
    pub linters: Linters,
}

/// The tools of a job.
pub struct Registry {
    tools: Vec<Box<dyn Tool>>,
    /// The specification of each tool, in the same order. Schemas are derived once.
    specs: Arc<[ToolSpec]>,
}

impl Registry {
    /// The tools of a job. They stay the same until the job ends.
    pub fn of(settings: &JobSettings, abilities: Abilities) -> Self {
        let has_commands = !settings.commands.is_empty();
        let has_scripts = !abilities.scripts.languages.is_empty();
        let has_linters = !abilities.linters.present.is_empty();
        let mut tools = all(settings.commands.clone(), abilities);
        tools.retain(|tool| match tool.spec().name.as_str() {
            run_command::NAME => has_commands,
            run_script::NAME => has_scripts,
            check_files::NAME => has_linters,
            _ => true,
        });
        Self::new(tools)
    }

    /// Every tool that a job may have, without a repository's own commands.
    pub fn standard() -> Self {
        let abilities = Abilities {
            selectable: Selectable { path: true, name: true },
            scripts: Scripts { languages: ScriptLanguage::all(), example: None },
            linters: Linters::default(),
        };
        Self::new(all(Vec::new(), abilities))
    }

    /// The tools of the setup agent. `variables` are those of setup commands.
    pub fn for_setup(variables: Vec<(String, String)>) -> Self {
        Self::new(vec![
            Box::new(read_file::ReadFileTool),
            Box::new(list_files::ListFilesTool),
            Box::new(search::SearchTool),
            Box::new(run_shell::RunShellTool { variables }),
            Box::new(read_result::ReadResultTool),
            Box::new(propose_setup::ProposeSetupTool),
            Box::new(give_up::GiveUpTool),
        ])
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
fn all(commands: Vec<CommandPattern>, abilities: Abilities) -> Vec<Box<dyn Tool>> {
    let Abilities { selectable, scripts, linters } = abilities;
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
        Box::new(run_tests::RunTestsTool { selectable }),
        Box::new(run_script::RunScriptTool { scripts }),
        Box::new(run_command::RunCommandTool { allowed: commands }),
        Box::new(check_files::CheckFilesTool { linters }),
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
    shorten(&mut schema);
    ToolSpec { name: name.to_owned(), description: description.trim().to_owned(), input_schema: schema }
}

/// Leaves out of a schema what tells a model nothing: every turn pays for it. A field that is not required may be left
/// out, so `null` need not be offered.
fn shorten(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            for noise in ["format", "minimum", "default"] {
                object.retain(|key, value| key != noise || value.is_object());
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            object.values_mut().for_each(shorten);
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ToolEffect;

    #[test]
    fn every_tool_has_a_name_all_providers_take_and_an_object_schema_without_references() {
        let (standard, setup) = (Registry::standard().specs(), Registry::for_setup(Vec::new()).specs());
        for spec in standard.iter().chain(setup.iter()) {
            assert!(spec.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", spec.name);
            assert_eq!(spec.input_schema["type"], "object", "{}", spec.name);
            assert_eq!(spec.input_schema["additionalProperties"], false, "{}", spec.name);
            assert!(spec.description.len() > 40, "{}", spec.name);
        }
    }

    /// Otherwise the loop detector would take a tool that changes files for one that reads.
    #[test]
    fn loop_detector_knows_what_every_tool_does() {
        let (standard, setup) = (Registry::standard().specs(), Registry::for_setup(Vec::new()).specs());
        for spec in standard.iter().chain(setup.iter()) {
            let effect = ToolEffect::of(&spec.name);
            assert!(effect.is_some(), "{} has no row in domain/transcript/tool_effect.rs", spec.name);
        }
    }
}
