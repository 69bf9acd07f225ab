//! Detects a model that goes in circles: the same call with the same result (repetition), a file that is
//! changed back again and again (thrashing), many turns of changes without a test run, or of nothing but
//! reading (drift), or without anything new (`stuck_detection`). The model gets one notice when it begins; if it goes on, each further time is charged as
//! tool calls of the budget. A pure function of the transcript's events.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::stuck_detection::StuckDetector;
use super::{ToolEffect, TranscriptEvent};
use crate::domain::{AssistantBlock, Message, ToolArguments, ToolCall, ToolResult};

/// Calls that are compared with a new one.
const CALLS_REMEMBERED: usize = 24;
/// The same call with the same result so often is a repetition. Twice happens in honest work.
const REPEATS_MIN: usize = 3;
/// A file that was changed back so often is thrashing. Once is an experiment.
const RETURNS_MIN: u32 = 2;
/// States remembered of one file, and files remembered.
const STATES_REMEMBERED: usize = 100;
/// Turns with changes after which a test run is due.
const CHANGING_TURNS_MAX: u32 = 8;
/// Turns of nothing but reading after which something else is due.
const READING_TURNS_MAX: u32 = 15;
/// Tool calls that each further time costs, in addition to its own.
pub const SURCHARGE_CALLS: u32 = 4;

/// What was detected so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoopDetector {
    /// The calls that wait for their results.
    pending: Vec<ToolCall>,
    calls: VecDeque<RememberedCall>,
    files: BTreeMap<String, FileHistory>,
    changing_turns: u32,
    reading_turns: u32,
    due: Vec<LoopNotice>,
    surcharge: u32,
    stuck: StuckDetector,
}

#[derive(Debug, Clone, PartialEq)]
struct RememberedCall {
    call: u64,
    result: u64,
    /// Whether the model got a notice about it.
    is_noticed: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct FileHistory {
    states: VecDeque<Option<String>>,
    returns: u32,
}

/// What the model must be told about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoopNotice {
    /// The same call with the same result.
    Repetition {
        /// The tool.
        tool: String,
        /// How often.
        times: usize,
    },
    /// A file was changed back to what it was.
    Thrashing {
        /// The file.
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
    /// Nothing that it did not know.
    NothingNew {
        /// For how many turns.
        turns: u32,
    },
}

impl LoopDetector {
    /// The notices that the model must get after the last results.
    pub fn due(&self) -> &[LoopNotice] {
        &self.due
    }

    /// Tool calls charged so far, in addition to those that were made.
    pub fn surcharge(&self) -> u32 {
        self.surcharge
    }

    /// For how many turns nothing has been new, if these are so many that the job ends.
    pub fn stuck_for(&self) -> Option<u32> {
        self.stuck.stuck_for()
    }

    /// Takes one more event into account.
    pub fn apply(&mut self, event: &TranscriptEvent) {
        self.stuck.apply(event);
        match event {
            TranscriptEvent::Checkpoint { paths, contents, .. } => {
                for (path, content) in paths.iter().zip(contents) {
                    self.add_file_state(path, content.clone());
                }
            }
            TranscriptEvent::MessageAdded { message, .. } => match message {
                Message::Assistant { blocks } => {
                    self.due.clear();
                    self.pending = blocks.iter().filter_map(call_in).cloned().collect();
                }
                Message::ToolResults { results } => {
                    let calls = std::mem::take(&mut self.pending);
                    self.add_results(&calls, results);
                    self.stuck.add_results(&calls, results);
                    self.due.extend(self.stuck.due().map(|turns| LoopNotice::NothingNew { turns }));
                }
                Message::User { .. } => self.pending.clear(),
            },
            // The conversation begins again: nothing of it waits for results.
            TranscriptEvent::Compacted { .. } => self.pending.clear(),
            _ => {}
        }
    }

    fn add_file_state(&mut self, path: &str, content: Option<String>) {
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
            self.due.push(LoopNotice::Thrashing { path: path.to_owned() });
        } else if history.returns > RETURNS_MIN {
            self.surcharge += SURCHARGE_CALLS;
        }
    }

    fn add_results(&mut self, calls: &[ToolCall], results: &[ToolResult]) {
        let (mut changed, mut tried) = (false, false);
        for (call, result) in calls.iter().zip(results) {
            match ToolEffect::of_call(call) {
                ToolEffect::Changes if !result.is_error => changed = true,
                ToolEffect::Tries => {
                    tried = true;
                    self.changing_turns = 0;
                }
                ToolEffect::Changes | ToolEffect::Reads | ToolEffect::Speaks => {}
            }
            self.remember(call, result);
        }
        if calls.is_empty() {
            return;
        }
        if changed && !tried {
            self.changing_turns += 1;
            self.count_turns(self.changing_turns, CHANGING_TURNS_MAX, |turns| LoopNotice::Untested { turns });
        }
        self.reading_turns = if changed || tried { 0 } else { self.reading_turns + 1 };
        self.count_turns(self.reading_turns, READING_TURNS_MAX, |turns| LoopNotice::OnlyReading { turns });
    }

    fn count_turns(&mut self, turns: u32, max: u32, notice: impl Fn(u32) -> LoopNotice) {
        if turns == max {
            self.due.push(notice(turns));
        } else if turns > max {
            self.surcharge += SURCHARGE_CALLS;
        }
    }

    fn remember(&mut self, call: &ToolCall, result: &ToolResult) {
        // Verdicts on the same tree have a limit of their own.
        if call.name == "finish" {
            return;
        }
        let (call_hash, result_hash) = (hash_of_call(call), hash_of_result(&result.text));
        let is_same = |other: &&RememberedCall| other.call == call_hash && other.result == result_hash;
        let times = self.calls.iter().filter(is_same).count() + 1;
        let is_noticed = self.calls.iter().filter(is_same).any(|other| other.is_noticed);
        if ToolEffect::of_call(call) == ToolEffect::Changes && !result.is_error && times == 1 {
            // After a change of files, the same call asks something new.
            self.calls.clear();
        }
        if is_noticed {
            self.surcharge += SURCHARGE_CALLS;
        } else if times >= REPEATS_MIN {
            self.due.push(LoopNotice::Repetition { tool: call.name.clone(), times });
        }
        let is_noticed = is_noticed || times >= REPEATS_MIN;
        self.calls.push_back(RememberedCall { call: call_hash, result: result_hash, is_noticed });
        if self.calls.len() > CALLS_REMEMBERED {
            self.calls.pop_front();
        }
    }
}

fn call_in(block: &AssistantBlock) -> Option<&ToolCall> {
    match block {
        AssistantBlock::ToolCall(call) => Some(call),
        AssistantBlock::Text { .. } | AssistantBlock::Opaque { .. } => None,
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

/// Ignores the digits of lines that tell how long a run took: the time makes no difference.
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

    /// A conversation, turn by turn, and the notices that it leads to.
    #[derive(Default)]
    struct TestConversation {
        detector: LoopDetector,
        notices: Vec<LoopNotice>,
    }

    impl TestConversation {
        fn turn(&mut self, calls: &[(&str, serde_json::Value, &str)]) {
            self.turn_with(calls, &[]);
        }

        fn turn_with(&mut self, calls: &[(&str, serde_json::Value, &str)], before: &[TranscriptEvent]) {
            let blocks = calls.iter().map(|(name, arguments, _)| {
                AssistantBlock::ToolCall(ToolCall {
                    id: "c".into(),
                    name: (*name).to_owned(),
                    arguments: ToolArguments::Json(arguments.clone()),
                })
            });
            let results = calls.iter().map(|(_, _, text)| ToolResult {
                call_id: "c".into(),
                text: (*text).to_owned(),
                is_error: false,
            });
            self.detector.apply(&message(Message::Assistant { blocks: blocks.collect() }));
            before.iter().for_each(|event| self.detector.apply(event));
            self.detector.apply(&message(Message::ToolResults { results: results.collect() }));
            self.notices.extend(self.detector.due().iter().cloned());
        }

        /// An edit after which `src/a.rs` holds `content`.
        fn edit(&mut self, number: usize, content: Option<&str>) {
            let checkpoint = TranscriptEvent::Checkpoint {
                tree: "1".repeat(40).parse().unwrap(),
                paths: vec!["src/a.rs".to_owned()],
                contents: vec![content.map(str::to_owned)],
            };
            self.turn_with(&[("edit_file", path(&number.to_string()), "done")], &[checkpoint]);
        }

        fn surcharge(&self) -> u32 {
            self.detector.surcharge()
        }
    }

    fn message(message: Message) -> TranscriptEvent {
        TranscriptEvent::MessageAdded { message, usage: None, usd: None, model: None, milliseconds: 0 }
    }

    fn path(path: &str) -> serde_json::Value {
        serde_json::json!({ "path": path })
    }

    #[test]
    fn third_identical_call_gives_a_notice_and_the_fourth_is_charged() {
        let mut conversation = TestConversation::default();
        for time in 1..=2 {
            let result = format!("`make`: exit code 2 after {time}.3 s.\nnot ok");
            conversation
                .turn(&[("read_file", path("a"), "text"), ("run_tests", serde_json::json!({}), &result)]);
        }
        assert_eq!(conversation.notices, []);
        conversation.turn(&[(
            "run_tests",
            serde_json::json!({}),
            "`make`: exit code 2 after 9.1 s.\nnot ok",
        )]);
        assert_eq!(conversation.notices, [LoopNotice::Repetition { tool: "run_tests".to_owned(), times: 3 }]);
        assert_eq!(conversation.surcharge(), 0);
        conversation.turn(&[(
            "run_tests",
            serde_json::json!({}),
            "`make`: exit code 2 after 1.1 s.\nnot ok",
        )]);
        assert_eq!((conversation.notices.len(), conversation.surcharge()), (1, SURCHARGE_CALLS));
        conversation.turn(&[("read_file", path("a"), "text")]);
        assert_eq!((conversation.notices.len(), conversation.surcharge()), (2, SURCHARGE_CALLS));
    }

    #[test]
    fn identical_call_after_a_change_or_with_another_result_gives_no_notice() {
        let mut conversation = TestConversation::default();
        for number in 0..10 {
            let edit = ("edit_file", path(&number.to_string()), "done");
            conversation.turn(&[edit, ("run_tests", path("x"), "red")]);
            conversation.turn(&[("search", path("x"), &"match ".repeat(number))]);
        }
        assert_eq!((conversation.notices.as_slice(), conversation.surcharge()), ([].as_slice(), 0));
    }

    #[test]
    fn file_changed_back_twice_gives_a_notice_and_a_third_time_is_charged() {
        let mut conversation = TestConversation::default();
        for (times, content) in [Some("1"), None, Some("2"), Some("1")].into_iter().enumerate() {
            assert_eq!(conversation.notices.len(), 0, "{times}");
            conversation.edit(times, content);
        }
        assert_eq!(conversation.notices, [LoopNotice::Thrashing { path: "src/a.rs".to_owned() }]);
        conversation.edit(9, Some("2"));
        assert_eq!((conversation.notices.len(), conversation.surcharge()), (1, SURCHARGE_CALLS));
    }

    #[test]
    fn changes_without_a_test_run_give_one_notice_and_a_test_run_resets_the_count() {
        let mut conversation = TestConversation::default();
        let change = |conversation: &mut TestConversation, number: u32| {
            conversation.turn(&[("edit_file", path(&number.to_string()), "done")]);
        };
        (1..CHANGING_TURNS_MAX).for_each(|number| change(&mut conversation, number));
        assert_eq!(conversation.notices, []);
        (0..2).for_each(|number| change(&mut conversation, 100 + number));
        assert_eq!(conversation.notices, [LoopNotice::Untested { turns: CHANGING_TURNS_MAX }]);
        assert_eq!(conversation.surcharge(), SURCHARGE_CALLS);
        conversation.turn(&[("run_command", serde_json::json!({}), "green")]);
        (1..CHANGING_TURNS_MAX).for_each(|number| change(&mut conversation, 200 + number));
        assert_eq!((conversation.notices.len(), conversation.surcharge()), (1, SURCHARGE_CALLS));
    }

    #[test]
    fn reading_only_gives_one_notice_and_is_then_charged() {
        let mut conversation = TestConversation::default();
        for number in 1..=READING_TURNS_MAX {
            assert_eq!(conversation.notices, []);
            conversation.turn(&[("read_file", path(&number.to_string()), &"x".repeat(number as usize))]);
        }
        assert_eq!(conversation.notices, [LoopNotice::OnlyReading { turns: READING_TURNS_MAX }]);
        assert_eq!(conversation.surcharge(), 0);
        conversation.turn(&[("read_file", path("more"), "more")]);
        assert_eq!((conversation.notices.len(), conversation.surcharge()), (1, SURCHARGE_CALLS));
    }
}
