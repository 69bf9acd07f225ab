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
    /// A new plan: all steps, in order.
    steps: Option<Vec<Step>>,
    /// Instead of `steps`: the numbers of the steps, from 1, that are done now.
    done: Option<Vec<usize>>,
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
        let Arguments { steps, done } = parse_arguments(arguments)?;
        let plan = match (steps, done) {
            (Some(steps), None) => written(&steps),
            (None, Some(done)) => ticked(context.plan.as_deref().unwrap_or_default(), &done),
            (Some(_), Some(_)) | (None, None) => Err("Give either `steps` or `done`.".to_owned()),
        };
        let plan = plan.map_err(CallError::RespondToModel)?;
        context.plan = Some(plan.clone());
        context.events.push(TranscriptEvent::PlanUpdated { plan });
        Ok(ToolAnswer::Text("The plan is updated.".to_owned()))
    }
}

/// A new plan, in Markdown.
fn written(steps: &[Step]) -> Result<String, String> {
    if steps.is_empty() || steps.len() > STEPS_MAX {
        return Err(format!("A plan has 1 to {STEPS_MAX} steps."));
    }
    let line = |step: &Step| {
        let text: String = step.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text: String = text.chars().take(STEP_CHARS_MAX).collect();
        format!("- [{}] {text}\n", if step.done { 'x' } else { ' ' })
    };
    Ok(steps.iter().map(line).collect())
}

/// The plan with these steps done.
fn ticked(plan: &str, done: &[usize]) -> Result<String, String> {
    let total = plan.lines().count();
    if let Some(unknown) = done.iter().find(|number| **number == 0 || **number > total) {
        return Err(format!("There is no step {unknown}: the plan has {total} steps."));
    }
    let line = |(number, line): (usize, &str)| match done.contains(&number) {
        true => format!("{}\n", line.replacen("- [ ]", "- [x]", 1)),
        false => format!("{line}\n"),
    };
    Ok((1..).zip(plan.lines()).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_ticked_by_their_numbers() {
        let plan = "- [ ] read\n- [x] write\n- [ ] - [ ] odd\n";
        assert_eq!(ticked(plan, &[1, 2]).unwrap(), "- [x] read\n- [x] write\n- [ ] - [ ] odd\n");
        assert_eq!(ticked(plan, &[3]).unwrap(), "- [ ] read\n- [x] write\n- [x] - [ ] odd\n");
        assert_eq!(ticked(plan, &[4]).unwrap_err(), "There is no step 4: the plan has 3 steps.");
        assert_eq!(ticked("", &[1]).unwrap_err(), "There is no step 1: the plan has 0 steps.");
        assert_eq!(written(&[]).unwrap_err(), "A plan has 1 to 30 steps.");
    }
}
