//! `update_plan`: the plan, for reviewers and for the model itself.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolAnswer, ToolContext, parse_arguments, spec_of};
use crate::domain::{ToolSpec, TranscriptEvent};
use crate::sandbox::CallError;

const STEPS_MAX: usize = 30;
const STEP_CHARS_MAX: usize = 500;

pub(super) struct UpdatePlanTool;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// All steps, in order; the whole plan each time.
    steps: Vec<Step>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Step {
    /// One sentence.
    text: String,
    /// Whether it is done.
    done: bool,
}

#[async_trait]
impl Tool for UpdatePlanTool {
    fn spec(&self) -> ToolSpec {
        spec_of::<Arguments>("update_plan", include_str!("../prompts/tools/update_plan.md"))
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        if arguments.steps.is_empty() || arguments.steps.len() > STEPS_MAX {
            return Err(CallError::RespondToModel(format!("A plan has 1 to {STEPS_MAX} steps.")));
        }
        let line = |step: &Step| {
            let text: String = step.text.split_whitespace().collect::<Vec<_>>().join(" ");
            let text: String = text.chars().take(STEP_CHARS_MAX).collect();
            format!("- [{}] {text}\n", if step.done { 'x' } else { ' ' })
        };
        let plan: String = arguments.steps.iter().map(line).collect();
        context.events.push(TranscriptEvent::PlanUpdated { plan });
        Ok(ToolAnswer::Text("The plan is updated.".to_owned()))
    }
}
