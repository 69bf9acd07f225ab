//! `run_script`: runs a script in a sandbox of its own, with the work so far and without network. Nothing that it writes
//! reaches the work tree or the proposal. Offered if the operator allows it.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::run_command::describe;
use super::{Tool, ToolAnswer, ToolContext, changes_of, parse_arguments, spec_of};
use crate::domain::ToolSpec;
use crate::sandbox::{CallError, SandboxError};
use crate::testing::{SCRIPT_BYTES_MAX, ScriptLanguage, SuiteError, run_script};

pub(super) const NAME: &str = "run_script";

/// What scripts a job's model can run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scripts {
    /// The languages that can be run. Empty: there is no such tool.
    pub languages: Vec<ScriptLanguage>,
    /// The first code block of the issue in one of them.
    pub example: Option<(ScriptLanguage, String)>,
}

pub(super) struct RunScriptTool {
    pub(super) scripts: Scripts,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    language: String,
    #[serde(default)]
    script: Option<String>,
}

#[async_trait]
impl Tool for RunScriptTool {
    fn spec(&self) -> ToolSpec {
        let mut spec = spec_of::<Arguments>(NAME, include_str!("../prompts/tools/run_script.md"));
        let names: Vec<&str> = self.scripts.languages.iter().map(|language| language.name()).collect();
        spec.input_schema["properties"]["language"] = json!({ "enum": names });
        match &self.scripts.example {
            Some((language, _)) => spec.description.push_str(&format!(
                " Without `script`, the issue's first code block in {} is run.",
                language.name()
            )),
            None => spec.input_schema["required"] = json!(["language", "script"]),
        }
        spec
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let Arguments { language: name, script } = parse_arguments(arguments)?;
        let refuse = |why: String| Err(CallError::RespondToModel(why));
        let offered = &self.scripts.languages;
        let Some(language) = ScriptLanguage::named(&name).filter(|language| offered.contains(language))
        else {
            let names: Vec<&str> = offered.iter().map(|language| language.name()).collect();
            return refuse(format!("{name:?} cannot be run here. The languages are: {}.", names.join(", ")));
        };
        let example = self.scripts.example.as_ref().filter(|(of, _)| *of == language);
        let script = script.filter(|script| !script.trim().is_empty());
        let Some(script) = script.or_else(|| example.map(|(_, text)| text.clone())) else {
            return refuse("`script` is empty; give the text of a program.".to_owned());
        };
        if script.len() > SCRIPT_BYTES_MAX {
            return refuse(format!("A script has at most {SCRIPT_BYTES_MAX} bytes; give a shorter one."));
        }
        let Some(environment) = context.scripts else {
            return refuse("Scripts cannot be run here.".to_owned());
        };
        let toolbox = match environment.for_script(changes_of(&context.written)).await {
            Ok(Ok(toolbox)) => toolbox,
            // The agent's own sandbox works, and the job goes on without scripts.
            Err(SuiteError::Sandbox(error)) if !matches!(error, SandboxError::Protocol(_)) => {
                tracing::warn!(%error, "sandbox for a script could not be started");
                return refuse("A sandbox for scripts cannot be started now. Go on without.".to_owned());
            }
            Err(error) => return Err(fatal(error)),
            Ok(Err(failure)) => {
                return refuse(format!(
                    "The sandbox for the script could not be set up: {}",
                    failure.describe()
                ));
            }
        };
        let result = run_script(&toolbox, context.settings, language, &script).await;
        toolbox.shut_down().await;
        match result {
            Ok(result) => Ok(ToolAnswer::Text(describe(language.name(), &result, &[]))),
            // It was the script's sandbox, not the agent's.
            Err(CallError::Fatal(SandboxError::Gone(why) | SandboxError::DiskFull(why))) => {
                refuse(format!("The script's sandbox was lost: {why}."))
            }
            Err(error) => Err(error),
        }
    }
}

/// A sandbox that breaks the protocol ends the run, and so does a store of objects that fails.
fn fatal(error: SuiteError) -> CallError {
    CallError::Fatal(match error {
        SuiteError::Sandbox(error) => error,
        SuiteError::Workspace(error) => SandboxError::Gone(error.to_string()),
    })
}
