//! Going in circles, noticed: the same call with the same result (repetition), a file brought back
//! again and again to what it was (thrashing), many turns of changes without a test run or of nothing
//! but reading (drift). Each is told once, when it begins; if it goes on, each further time costs tool
//! calls of the budget. A pure function of the transcript's events, rebuilt by replay.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::domain::{Message, ToolArguments, ToolCall, ToolResult, TranscriptEvent};

/// Calls looked back on.
const CALLS_REMEMBERED: usize = 24;
/// The same call with the same result so often is a repetition. Twice happens in honest work.
const REPEATS_MIN: usize = 3;
/// A file that was brought back so often to what it had been thrashes. Once is an experiment.
const RETURNS_MIN: u32 = 2;
/// States remembered of one file, and files remembered.
const STATES_REMEMBERED: usize = 100;
/// Turns with changes after which a test run is due.
const CHANGING_TURNS_MAX: u32 = 8;
/// Turns of nothing but reading after which something else is due.
const READING_TURNS_MAX: u32 = 15;
/// Tool calls that each further time costs, on top of its own.
pub const SURCHARGE_CALLS: u32 = 4;

/// What was noticed so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Habits {
    calls: VecDeque<Remembered>,
    files: BTreeMap<String, FileHistory>,
    changing_turns: u32,
    reading_turns: u32,
    /// To be told now.
    due: Vec<Notice>,
    /// Tool calls charged so far.
    surcharge: u32,
}

#[derive(Debug, Clone, PartialEq)]
struct Remembered {
    call: u64,
    result: u64,
    told: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct FileHistory {
    states: VecDeque<Option<String>>,
    returns: u32,
}

/// Something to tell the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The same call, the same result.
    Repetition {
        /// The tool.
        tool: String,
        /// How often.
        times: usize,
    },
    /// A file is brought back to what it was.
    Thrashing {
        /// Which.
        path: String,
    },
    /// Changes without a test run.
    Untested {
        /// In how many turns.
        turns: u32,
    },
    /// Nothing but reading.
    OnlyReading {
        /// For how many turns.
        turns: u32,
    },
}

impl Notice {
    /// The words for the model.
    pub fn describe(&self) -> String {
        let what = match self {
            Self::Repetition { tool, times } => format!(
                "You have called {tool} {times} times with the same arguments, and the result was the same each time. \
                 Calling it again will tell you nothing new. Say what you expected to be different, then look \
                 somewhere else or try something else; if only a person can help, ask_human."
            ),
            Self::Thrashing { path } => format!(
                "You have brought {path} back to what it was before for the second time. Changing it to and fro will \
                 not settle it. Name the root cause in your plan, and what each of the two versions got wrong, \
                 before you change it again."
            ),
            Self::Untested { turns } => format!(
                "You have changed files in {turns} turns without a test run. Run the tests now, so that you know \
                 which of these changes helped."
            ),
            Self::OnlyReading { turns } => format!(
                "For {turns} turns you have only read. You may know enough: write down the likely cause in your plan, \
                 and test it with a change or a test run; if you cannot go on, ask_human."
            ),
        };
        format!(
            "Notice: {what} (If this goes on, each further time counts as {} tool calls.)",
            1 + SURCHARGE_CALLS
        )
    }
}

impl Habits {
    /// What is to be told after the last results.
    pub fn due(&self) -> &[Notice] {
        &self.due
    }

    /// Tool calls charged so far, on top of those made.
    pub fn surcharge(&self) -> u32 {
        self.surcharge
    }

    /// One more event; `calls` are those that wait for results.
    pub fn apply(&mut self, event: &TranscriptEvent, calls: &[ToolCall]) {
        match event {
            TranscriptEvent::Checkpoint { paths, contents, .. } => {
                for (path, content) in paths.iter().zip(contents) {
                    self.holds(path, content.clone());
                }
            }
            TranscriptEvent::MessageAdded { message: Message::ToolResults { results }, .. } => {
                self.answered(calls, results);
            }
            TranscriptEvent::MessageAdded { message: Message::Assistant { .. }, .. } => self.due.clear(),
            TranscriptEvent::MessageAdded { message: Message::User { .. }, .. }
            | TranscriptEvent::StateChanged { .. }
            | TranscriptEvent::Resumed { .. }
            | TranscriptEvent::BranchFound { .. }
            | TranscriptEvent::Prepared { .. }
            | TranscriptEvent::SandboxStarted { .. }
            | TranscriptEvent::SetUp { .. }
            | TranscriptEvent::Egress { .. }
            | TranscriptEvent::BaselineRun { .. }
            | TranscriptEvent::CommentsRead { .. }
            | TranscriptEvent::Instructed { .. }
            | TranscriptEvent::BriefAnswered { .. }
            | TranscriptEvent::ResultsElided { .. }
            | TranscriptEvent::Compacted { .. }
            | TranscriptEvent::CallWasted { .. }
            | TranscriptEvent::ResultKept { .. }
            | TranscriptEvent::AgentTestRun { .. }
            | TranscriptEvent::PlanUpdated { .. }
            | TranscriptEvent::VerdictReached { .. }
            | TranscriptEvent::Published { .. }
            | TranscriptEvent::Released { .. }
            | TranscriptEvent::EscalationDecided { .. }
            | TranscriptEvent::Note { .. }
            | TranscriptEvent::Ended { .. } => {}
        }
    }

    fn holds(&mut self, path: &str, content: Option<String>) {
        if self.files.len() >= STATES_REMEMBERED && !self.files.contains_key(path) {
            return;
        }
        let history = self.files.entry(path.to_owned()).or_default();
        if history.states.is_empty() {
            history.states.push_back(None);
        }
        if history.states.back() == Some(&content) {
            return;
        }
        let returns = history.states.contains(&content);
        history.states.push_back(content);
        if history.states.len() > STATES_REMEMBERED {
            history.states.pop_front();
        }
        if !returns {
            return;
        }
        history.returns += 1;
        if history.returns == RETURNS_MIN {
            self.due.push(Notice::Thrashing { path: path.to_owned() });
        } else if history.returns > RETURNS_MIN {
            self.surcharge += SURCHARGE_CALLS;
        }
    }

    fn answered(&mut self, calls: &[ToolCall], results: &[ToolResult]) {
        let (mut changed, mut tried) = (false, false);
        for (call, result) in calls.iter().zip(results) {
            match kind_of(&call.name) {
                Kind::Changes if !result.is_error => changed = true,
                Kind::Tries => {
                    tried = true;
                    self.changing_turns = 0;
                }
                Kind::Changes | Kind::Reads | Kind::Speaks => {}
            }
            self.remember(call, result);
        }
        if calls.is_empty() {
            return;
        }
        if changed && !tried {
            self.changing_turns += 1;
            self.count(self.changing_turns, CHANGING_TURNS_MAX, |turns| Notice::Untested { turns });
        }
        self.reading_turns = if changed || tried { 0 } else { self.reading_turns + 1 };
        self.count(self.reading_turns, READING_TURNS_MAX, |turns| Notice::OnlyReading { turns });
    }

    fn count(&mut self, turns: u32, max: u32, notice: impl Fn(u32) -> Notice) {
        if turns == max {
            self.due.push(notice(turns));
        } else if turns > max {
            self.surcharge += SURCHARGE_CALLS;
        }
    }

    fn remember(&mut self, call: &ToolCall, result: &ToolResult) {
        // A verdict on the same tree has limits of its own.
        if call.name == "finish" {
            return;
        }
        let this = Remembered { call: hash_of_call(call), result: hash_of_result(&result.text), told: false };
        let same = |other: &&Remembered| other.call == this.call && other.result == this.result;
        let times = self.calls.iter().filter(same).count() + 1;
        let told = self.calls.iter().filter(same).any(|other| other.told);
        if kind_of(&call.name) == Kind::Changes && !result.is_error && times == 1 {
            // With other files, the same call is another question.
            self.calls.clear();
        }
        if told {
            self.surcharge += SURCHARGE_CALLS;
        } else if times >= REPEATS_MIN {
            self.due.push(Notice::Repetition { tool: call.name.clone(), times });
        }
        self.calls.push_back(Remembered { told: told || times >= REPEATS_MIN, ..this });
        if self.calls.len() > CALLS_REMEMBERED {
            self.calls.pop_front();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Changes,
    Tries,
    Reads,
    Speaks,
}

fn kind_of(tool: &str) -> Kind {
    match tool {
        "edit_file" | "write_file" | "delete_file" | "move_file" => Kind::Changes,
        "run_tests" | "run_command" | "finish" => Kind::Tries,
        "update_plan" | "ask_human" => Kind::Speaks,
        _ => Kind::Reads,
    }
}

fn hash_of_call(call: &ToolCall) -> u64 {
    let mut hasher = DefaultHasher::new();
    call.name.hash(&mut hasher);
    match &call.arguments {
        ToolArguments::Json(value) => value.to_string().hash(&mut hasher),
        ToolArguments::Malformed(text) => text.hash(&mut hasher),
    }
    hasher.finish()
}

/// Without the digits: how long a run took makes no difference, and what differs in nothing but
/// numbers has mostly not changed.
fn hash_of_result(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    for line in text.lines() {
        match line.contains(" after ") || line.contains("finished in") {
            true => line.chars().filter(|c| !c.is_ascii_digit()).for_each(|c| c.hash(&mut hasher)),
            false => line.hash(&mut hasher),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AssistantBlock;

    /// A conversation, turn by turn, as the transcript tells it.
    #[derive(Default)]
    struct Told {
        habits: Habits,
        notices: Vec<String>,
    }

    impl Told {
        fn turn(&mut self, calls: &[(&str, serde_json::Value, &str)]) {
            self.turn_with(calls, &[]);
        }

        fn turn_with(&mut self, calls: &[(&str, serde_json::Value, &str)], before: &[TranscriptEvent]) {
            let calls: Vec<(ToolCall, ToolResult)> = calls
                .iter()
                .map(|(name, arguments, text)| {
                    let call = ToolCall {
                        id: "c".into(),
                        name: (*name).to_owned(),
                        arguments: ToolArguments::Json(arguments.clone()),
                    };
                    (call, ToolResult { call_id: "c".into(), text: (*text).to_owned(), is_error: false })
                })
                .collect();
            let (calls, results): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
            let blocks = calls.iter().cloned().map(AssistantBlock::ToolCall).collect();
            self.event(&message(Message::Assistant { blocks }), &[]);
            before.iter().for_each(|event| self.event(event, &calls));
            self.event(&message(Message::ToolResults { results }), &calls);
            self.notices.extend(self.habits.due().iter().map(Notice::describe));
        }

        fn event(&mut self, event: &TranscriptEvent, calls: &[ToolCall]) {
            self.habits.apply(event, calls);
        }

        /// An edit after which `src/a.rs` holds this.
        fn edit(&mut self, number: usize, content: Option<&str>) {
            let checkpoint = TranscriptEvent::Checkpoint {
                tree: "1".repeat(40).parse().unwrap(),
                paths: vec!["src/a.rs".to_owned()],
                contents: vec![content.map(str::to_owned)],
            };
            self.turn_with(&[("edit_file", path(&number.to_string()), "done")], &[checkpoint]);
        }
    }

    fn message(message: Message) -> TranscriptEvent {
        TranscriptEvent::MessageAdded { message, usage: None, usd: None, model: None, milliseconds: 0 }
    }

    fn path(path: &str) -> serde_json::Value {
        serde_json::json!({ "path": path })
    }

    #[test]
    fn the_third_same_call_with_the_same_result_is_told_and_the_fourth_costs() {
        let mut told = Told::default();
        for time in 1..=2 {
            let result = format!("`make`: exit code 2 after {time}.3 s.\nnot ok");
            told.turn(&[("read_file", path("a"), "text"), ("run_tests", serde_json::json!({}), &result)]);
        }
        assert_eq!(told.notices, [""; 0]);
        told.turn(&[("run_tests", serde_json::json!({}), "`make`: exit code 2 after 9.1 s.\nnot ok")]);
        insta::assert_snapshot!(told.notices.join("\n"), @"Notice: You have called run_tests 3 times with the same arguments, and the result was the same each time. Calling it again will tell you nothing new. Say what you expected to be different, then look somewhere else or try something else; if only a person can help, ask_human. (If this goes on, each further time counts as 5 tool calls.)");
        assert_eq!(told.habits.surcharge(), 0);
        told.turn(&[("run_tests", serde_json::json!({}), "`make`: exit code 2 after 1.1 s.\nnot ok")]);
        assert_eq!((told.notices.len(), told.habits.surcharge()), (1, SURCHARGE_CALLS));
        told.turn(&[("read_file", path("a"), "text")]);
        assert_eq!((told.notices.len(), told.habits.surcharge()), (2, SURCHARGE_CALLS));
    }

    #[test]
    fn the_same_call_is_another_question_after_a_change_and_another_result_is_news() {
        let mut told = Told::default();
        for number in 0..10 {
            told.turn(&[("edit_file", path(&number.to_string()), "done"), ("run_tests", path("x"), "red")]);
            told.turn(&[("search", path("x"), &"match ".repeat(number))]);
        }
        assert_eq!((told.notices.len(), told.habits.surcharge()), (0, 0), "{:?}", told.notices);
    }

    #[test]
    fn a_file_brought_back_twice_is_told_and_more_costs() {
        let mut told = Told::default();
        let to_and_fro = [Some("1"), None, Some("2"), Some("1")];
        for (times, content) in to_and_fro.into_iter().enumerate() {
            assert_eq!(told.notices.len(), 0, "{times}");
            told.edit(times, content);
        }
        insta::assert_snapshot!(told.notices.join("\n"), @"Notice: You have brought src/a.rs back to what it was before for the second time. Changing it to and fro will not settle it. Name the root cause in your plan, and what each of the two versions got wrong, before you change it again. (If this goes on, each further time counts as 5 tool calls.)");
        told.edit(9, Some("2"));
        assert_eq!((told.notices.len(), told.habits.surcharge()), (1, SURCHARGE_CALLS));
    }

    #[test]
    fn changes_without_a_test_run_are_told_once_and_a_test_run_makes_good() {
        let mut told = Told::default();
        let change = |told: &mut Told, number: u32| {
            told.turn(&[("edit_file", path(&number.to_string()), "done")]);
        };
        (1..CHANGING_TURNS_MAX).for_each(|number| change(&mut told, number));
        assert_eq!(told.notices, [""; 0]);
        (0..2).for_each(|number| change(&mut told, 100 + number));
        insta::assert_snapshot!(told.notices.join("\n"), @"Notice: You have changed files in 8 turns without a test run. Run the tests now, so that you know which of these changes helped. (If this goes on, each further time counts as 5 tool calls.)");
        assert_eq!(told.habits.surcharge(), SURCHARGE_CALLS);
        told.turn(&[("run_tests", serde_json::json!({}), "green")]);
        (1..CHANGING_TURNS_MAX).for_each(|number| change(&mut told, 200 + number));
        assert_eq!((told.notices.len(), told.habits.surcharge()), (1, SURCHARGE_CALLS));
    }

    #[test]
    fn reading_without_end_is_told_once() {
        let mut told = Told::default();
        for number in 1..=READING_TURNS_MAX {
            assert_eq!(told.notices, [""; 0]);
            told.turn(&[("read_file", path(&number.to_string()), &"x".repeat(number as usize))]);
        }
        insta::assert_snapshot!(told.notices.join("\n"), @"Notice: For 15 turns you have only read. You may know enough: write down the likely cause in your plan, and test it with a change or a test run; if you cannot go on, ask_human. (If this goes on, each further time counts as 5 tool calls.)");
        assert_eq!(told.habits.surcharge(), 0);
        told.turn(&[("read_file", path("more"), "more")]);
        assert_eq!((told.notices.len(), told.habits.surcharge()), (1, SURCHARGE_CALLS));
    }
}
