//! The state of an agent's run, rebuilt from the transcript: messages, spend and changes. There is no other
//! copy, so a restarted worker continues exactly where the last one stopped.

use std::collections::BTreeMap;

use super::context::View;
use crate::domain::{
    AssistantBlock, ChangedContent, LoopDetector, Message, RecordedEvent, RepoPath, Sha, Spend, TestRun,
    ToolCall, TranscriptEvent, Usage, WorkBrief,
};

use super::results::Results;

/// The state of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// The messages that the model is sent.
    pub view: View,
    /// The first message: the task.
    pub task: String,
    /// The current plan, in Markdown.
    pub plan: Option<String>,
    /// The brief, if a model wrote one.
    pub brief: Option<WorkBrief>,
    /// What was wrong with each answer that was not a brief.
    pub brief_remarks: Vec<String>,
    /// How many of the model's last messages, in a row, called no tool.
    pub idle_turns: usize,
    /// The spend so far.
    pub spend: Spend,
    /// What the tools wrote, deleted and moved: the proposal. It is kept outside the sandbox, so that
    /// nothing a command does to a file becomes part of it. It is not replayed: after a restart it is loaded
    /// from the checkpoint's tree, see [`super::Agent::load`].
    pub written: BTreeMap<RepoPath, ChangedContent>,
    /// The tree kept last and the paths written to, to rebuild the sandbox from.
    pub checkpoint: Option<(Sha, Vec<RepoPath>)>,
    /// The suite's run at the base.
    pub baseline: Option<TestRun>,
    /// The agent's last run of the whole suite, or the baseline's.
    pub last_run: Option<TestRun>,
    /// The tool results, in full.
    pub results: Results,
    /// Detects whether the model repeats itself.
    pub loops: LoopDetector,
    /// Rejecting verdicts so far.
    pub red_verdicts: u32,
    /// Rejecting verdicts in a row on the same tree.
    pub red_verdicts_unchanged: u32,
    /// The tree of the last rejecting verdict.
    pub red_tree: Option<Sha>,
    /// Whether the setup agent is at work: what it says and is told is another conversation.
    is_of_setup_agent: bool,
    /// Whether the model is told when it repeats itself, and charged for going on.
    detects_loops: bool,
}

impl Conversation {
    /// The state after everything in `transcript`.
    pub fn replay(transcript: &[RecordedEvent]) -> Self {
        let mut state = Self { detects_loops: true, ..Self::after_spending(Spend::zero()) };
        for recorded in transcript {
            state.apply(&recorded.event);
        }
        state
    }

    /// The state of the setup agent's new conversation in a job that has spent `spend`.
    pub fn after_spending(spend: Spend) -> Self {
        Self {
            view: View::default(),
            task: String::new(),
            plan: None,
            brief: None,
            brief_remarks: Vec::new(),
            idle_turns: 0,
            spend,
            written: BTreeMap::new(),
            checkpoint: None,
            baseline: None,
            last_run: None,
            results: Results::default(),
            loops: LoopDetector::default(),
            red_verdicts: 0,
            red_verdicts_unchanged: 0,
            red_tree: None,
            is_of_setup_agent: false,
            detects_loops: false,
        }
    }

    /// Whether the model was given its task.
    pub fn has_started(&self) -> bool {
        !self.view.messages().is_empty()
    }

    /// Whether the setup agent is at work. Its messages are not part of this conversation.
    pub fn is_of_setup_agent(&self) -> bool {
        self.is_of_setup_agent
    }

    /// The state after one more event.
    pub fn apply(&mut self, event: &TranscriptEvent) {
        match event {
            TranscriptEvent::SetupAgentStarted { .. } => self.is_of_setup_agent = true,
            TranscriptEvent::SetupAgentEnded { .. }
            | TranscriptEvent::Ended { .. }
            | TranscriptEvent::Resumed { .. } => self.is_of_setup_agent = false,
            _ => {}
        }
        self.spend.add(event);
        if self.is_of_setup_agent {
            return;
        }
        if self.detects_loops {
            self.loops.apply(event);
            self.spend.surcharge = self.loops.surcharge();
        }
        match event {
            TranscriptEvent::MessageAdded { message, usage, .. } => {
                if let Message::ToolResults { results } = message {
                    results.iter().for_each(|result| self.results.give(&result.text));
                }
                self.show(message, usage.as_ref());
            }
            TranscriptEvent::BriefAnswered { brief: Some(brief), .. } => self.brief = Some(brief.clone()),
            TranscriptEvent::BriefAnswered { brief: None, remark, .. } => {
                self.brief_remarks.push(remark.clone().unwrap_or_default());
            }
            TranscriptEvent::Instructed { .. } => self.view.instructions_changed(),
            TranscriptEvent::ResultsElided { first, last } => self.view.elide(*first, *last),
            TranscriptEvent::Compacted { message, .. } => self.view.replace_all(message),
            TranscriptEvent::PlanUpdated { plan } => self.plan = Some(plan.clone()),
            TranscriptEvent::ResultKept { result, text } => self.results.keep(*result, text),
            // A partial run cannot be compared with the whole suite.
            TranscriptEvent::BaselineRun { run } | TranscriptEvent::AgentTestRun { run }
                if run.selection.is_none() =>
            {
                if let TranscriptEvent::BaselineRun { .. } = event {
                    self.baseline = Some(run.clone());
                }
                self.last_run = Some(run.clone());
            }
            TranscriptEvent::Checkpoint { tree, paths, .. } => {
                let paths = paths.iter().filter_map(|path| path.parse().ok()).collect();
                self.checkpoint = Some((tree.clone(), paths));
            }
            TranscriptEvent::VerdictReached { verified: false, tree, .. } => {
                self.red_verdicts += 1;
                let unchanged = self.red_tree.as_ref() == Some(tree);
                self.red_verdicts_unchanged = if unchanged { self.red_verdicts_unchanged + 1 } else { 1 };
                self.red_tree = Some(tree.clone());
            }
            TranscriptEvent::Resumed { .. } => {
                (self.idle_turns, self.red_verdicts, self.red_verdicts_unchanged) = (0, 0, 0);
            }
            _ => {}
        }
    }

    /// The tool calls of the last message that have no results yet. Empty when it is the model's
    /// turn.
    pub fn pending_calls(&self) -> Vec<ToolCall> {
        match self.view.messages().last() {
            Some(Message::Assistant { blocks }) => blocks
                .iter()
                .filter_map(|block| match block {
                    AssistantBlock::ToolCall(call) => Some(call.clone()),
                    AssistantBlock::Text { .. } | AssistantBlock::Opaque { .. } => None,
                })
                .collect(),
            Some(Message::User { .. } | Message::ToolResults { .. }) | None => Vec::new(),
        }
    }

    /// Adds a message.
    fn show(&mut self, message: &Message, usage: Option<&Usage>) {
        match message {
            Message::Assistant { blocks } => {
                let calls = blocks.iter().any(|block| matches!(block, AssistantBlock::ToolCall(_)));
                self.idle_turns = if calls { 0 } else { self.idle_turns + 1 };
                if let Some(usage) = usage {
                    self.view.calibrate(usage);
                }
            }
            Message::User { text } if self.view.messages().is_empty() => self.task.clone_from(text),
            Message::User { .. } | Message::ToolResults { .. } => {}
        }
        self.view.push(message.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{
        BoundedOutput, ExitStatus, ProcessOutput, TestReport, ToolArguments, ToolResult, Usage,
    };

    fn assistant(blocks: Vec<AssistantBlock>, usd: Option<f64>) -> TranscriptEvent {
        TranscriptEvent::MessageAdded {
            message: Message::Assistant { blocks },
            usage: Some(Usage { input_tokens: 100, output_tokens: 10, ..Usage::default() }),
            usd,
            model: Some("m".into()),
            milliseconds: 1500,
        }
    }

    fn call() -> AssistantBlock {
        AssistantBlock::ToolCall(ToolCall {
            id: "c1".into(),
            name: "search".into(),
            arguments: ToolArguments::Json(serde_json::json!({})),
        })
    }

    fn results() -> TranscriptEvent {
        TranscriptEvent::MessageAdded {
            message: Message::ToolResults {
                results: vec![ToolResult { call_id: "c1".into(), text: "found".into(), is_error: false }],
            },
            usage: None,
            usd: None,
            model: None,
            milliseconds: 500,
        }
    }

    fn replayed(events: Vec<TranscriptEvent>) -> Conversation {
        let recorded: Vec<RecordedEvent> = (1..)
            .zip(events)
            .map(|(sequence, event)| RecordedEvent { sequence, at: jiff::Timestamp::UNIX_EPOCH, event })
            .collect();
        Conversation::replay(&recorded)
    }

    #[test]
    fn spend_is_summed_and_a_call_without_price_makes_the_sum_unknown() {
        let spend = replayed(vec![assistant(vec![call()], Some(0.5)), results()]).spend;
        assert_eq!((spend.turns, spend.tool_calls, spend.usd), (1, 1, Some(0.5)));
        assert_eq!((spend.usage.total(), spend.time), (110, Duration::from_secs(2)));
        let unpriced =
            vec![assistant(vec![], Some(0.5)), assistant(vec![], None), assistant(vec![], Some(0.5))];
        assert_eq!(replayed(unpriced).spend.usd, None);
    }

    #[test]
    fn run_at_the_base_is_kept_beside_the_last_run_of_the_whole_suite() {
        let run = |failed: &str, selection: Option<&str>| TestRun {
            command: "make check".into(),
            selection: selection.map(str::to_owned),
            result: ProcessOutput {
                ending: ExitStatus::Exited { code: 1 },
                output: BoundedOutput::default(),
                duration: Duration::ZERO,
            },
            report: TestReport::naming_failed([failed]),
        };
        let state = replayed(vec![
            TranscriptEvent::BaselineRun { run: run("base", None) },
            TranscriptEvent::AgentTestRun { run: run("whole", None) },
            TranscriptEvent::AgentTestRun { run: run("part", Some("tests/a.py")) },
        ]);
        let failed = |run: Option<TestRun>| run.unwrap().failed()[0].0.clone();
        assert_eq!((failed(state.baseline), failed(state.last_run)), ("base".into(), "whole".into()));
    }

    #[test]
    fn crash_between_calls_and_results_leaves_the_calls_pending() {
        assert_eq!(replayed(vec![assistant(vec![call()], None)]).pending_calls().len(), 1);
        assert_eq!(replayed(vec![assistant(vec![call()], None), results()]).pending_calls(), []);
    }

    #[test]
    fn idle_turns_are_counted_until_the_last_tool_call() {
        let text = || assistant(vec![AssistantBlock::Text { text: "Done!".into() }], None);
        let events = vec![text(), assistant(vec![call()], None), results(), text(), text()];
        assert_eq!(replayed(events).idle_turns, 2);
    }
}
