//! `run_tests`: the suite or a part of it, and what changed since its last run.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::super::test_summary::{Earlier, describe_run, describe_run_in_full, has_new_tests};
use super::{Tool, ToolAnswer, ToolContext, parse_arguments, repo_path, spec_of};
use crate::domain::{ChangedContent, RepoPath, TestRun, ToolSpec, TranscriptEvent};
use crate::sandbox::CallError;
use crate::testing::{Selectable, Selection, run_selected, run_suite};

/// Runs the suite. What may be selected is what its runner takes.
pub(super) struct RunTestsTool {
    pub(super) selectable: Selectable,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Run the tests of this file or directory only.
    #[serde(default)]
    path: Option<String>,
    /// Run the tests of this name only, as an earlier run named it.
    #[serde(default)]
    name: Option<String>,
}

#[async_trait]
impl Tool for RunTestsTool {
    fn spec(&self) -> ToolSpec {
        let Selectable { path, name } = self.selectable;
        let mut spec = spec_of::<Arguments>("run_tests", include_str!("../prompts/tools/run_tests.md"));
        if !path && !name {
            spec.description.push_str(" A part of this suite cannot be selected.");
        }
        if let Some(properties) = spec.input_schema["properties"].as_object_mut() {
            properties.retain(|key, _| (key == "path" && path) || (key == "name" && name));
        }
        spec
    }

    async fn call(&self, arguments: Value, context: &mut ToolContext<'_>) -> Result<ToolAnswer, CallError> {
        let Arguments { path, name } = parse_arguments(arguments)?;
        let path = path.filter(|path| !path.is_empty()).map(|path| repo_path(&path)).transpose()?;
        let name = name.filter(|name| !name.trim().is_empty());
        let run = match (&path, &name) {
            (None, None) => run_suite(context.toolbox, context.settings).await?,
            _ => run_selected(context.toolbox, context.settings, &Selection { path, name }).await?,
        };
        let earlier = Earlier { base: context.baseline.as_ref(), last: context.last_run.as_ref() };
        let warning = warning(&run, context.baseline.as_ref(), &context.written);
        let shown = describe_run(&run, earlier) + &warning;
        let full = describe_run_in_full(&run, earlier) + &warning;
        let answer = match shown == full {
            true => ToolAnswer::Text(shown),
            false => {
                let number = context.results.next_number();
                let how = format!("[All of it: read_result {{\"result\": {number}}}]");
                ToolAnswer::Part { shown: format!("{}\n{how}", shown.trim_end()), full }
            }
        };
        context.events.push(TranscriptEvent::AgentTestRun { run: run.clone() });
        if run.selection.is_none() {
            context.last_run = Some(run);
        }
        Ok(answer)
    }
}

/// Says that a test was written and the suite has none that it did not have: a wrong name, or a file that is not
/// collected. A run of a part of the suite need not have it.
fn warning(run: &TestRun, base: Option<&TestRun>, written: &BTreeMap<RepoPath, ChangedContent>) -> String {
    let is_test = |path: &RepoPath| {
        let words = path.as_str().split(|c: char| !c.is_ascii_alphanumeric());
        words
            .map(str::to_ascii_lowercase)
            .any(|word| matches!(word.as_str(), "test" | "tests" | "spec" | "t"))
    };
    let is_there = |content: &ChangedContent| matches!(content, ChangedContent::File { .. });
    let tests: Vec<&str> = written
        .iter()
        .filter(|(path, content)| is_test(path) && is_there(content))
        .map(|(path, _)| path.as_str())
        .collect();
    let has_new = base.filter(|_| run.selection.is_none()).and_then(|base| has_new_tests(run, base));
    match (tests.as_slice(), has_new) {
        ([_, ..], Some(false)) => format!(
            "\nNo test ran that the suite did not have before, although you wrote {}. If you added a test, it is not \
             collected: compare its name and place with those of tests that run.\n",
            tests.join(", ")
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_is_offered_only_what_the_suite_can_select() {
        let offered = |path: bool, name: bool| {
            let spec = RunTestsTool { selectable: Selectable { path, name } }.spec();
            let properties = spec.input_schema["properties"].as_object().cloned().unwrap_or_default();
            (
                properties.keys().cloned().collect::<Vec<_>>().join(" "),
                spec.description.contains("cannot be selected"),
            )
        };
        assert_eq!(offered(true, true), ("name path".to_owned(), false));
        assert_eq!(offered(false, true), ("name".to_owned(), false));
        assert_eq!(offered(true, false), ("path".to_owned(), false));
        assert_eq!(offered(false, false), (String::new(), true));
    }

    #[test]
    fn written_test_that_does_not_run_is_reported() {
        use crate::domain::{
            BoundedOutput, ExitStatus, FileMode, ProcessOutput, ReportBuilder, ReportFormat, ReportSource,
            TestCase, TestOutcome,
        };
        let run = |names: &[&str]| {
            let mut report = ReportBuilder::default();
            names.iter().for_each(|name| report.push(TestCase::new(*name, TestOutcome::Passed)));
            let counts = report.counted();
            TestRun {
                command: "pytest".to_owned(),
                selection: None,
                result: ProcessOutput {
                    ending: ExitStatus::Exited { code: 0 },
                    output: BoundedOutput::default(),
                    duration: std::time::Duration::ZERO,
                },
                report: report.finish(ReportSource::Output, ReportFormat::Pytest, Some(counts), true),
            }
        };
        let file = || ChangedContent::File { mode: FileMode::Regular, bytes: Vec::new() };
        let wrote = |path: &str, content: ChangedContent| BTreeMap::from([(path.parse().unwrap(), content)]);
        let (base, more) = (run(&["a"]), run(&["a", "b"]));
        let text = warning(&base, Some(&base), &wrote("tests/check_b.py", file()));
        assert!(text.contains("although you wrote tests/check_b.py"), "{text}");
        assert_eq!(warning(&more, Some(&base), &wrote("tests/test_b.py", file())), "");
        assert_eq!(warning(&base, Some(&base), &wrote("src/a.py", file())), "");
        assert_eq!(warning(&base, Some(&base), &wrote("tests/test_a.py", ChangedContent::Absent)), "");
        assert_eq!(warning(&base, None, &wrote("tests/test_b.py", file())), "");
        let mut part = run(&["a"]);
        part.selection = Some("tests/test_a.py".to_owned());
        assert_eq!(warning(&part, Some(&base), &wrote("tests/test_b.py", file())), "");
    }
}
