use serde_json::json;

use super::compaction::{CompactionInput, cut, write};
use super::*;
use crate::domain::{ToolArguments, ToolCall};

/// The budget of these conversations, without the instructions: that of a small model.
const BESIDE_TOKENS: u64 = 15_000;

fn budget(beside_tokens: u64) -> ContextBudget {
    ContextBudget { input_tokens_max: instructions() + beside_tokens }
}

fn instructions() -> u64 {
    View::default().tokens()
}

fn call(turn: usize) -> Message {
    let arguments = ToolArguments::Json(json!({"path": format!("src/{turn}.rs")}));
    let call = ToolCall { id: format!("c{turn}"), name: "read_file".into(), arguments };
    Message::Assistant { blocks: vec![AssistantBlock::ToolCall(call)] }
}

fn thought(turn: usize) -> Message {
    let Message::Assistant { mut blocks } = call(turn) else { unreachable!("a call is the model's") };
    let block = json!({"type": "thinking", "thinking": "", "signature": "c2ln"});
    blocks.insert(0, AssistantBlock::Opaque { provider: "anthropic".into(), block });
    Message::Assistant { blocks }
}

fn results(turn: usize, bytes: usize) -> Message {
    let text = format!("src/{turn}.rs: lines 1-9 of 9\n{}", "x".repeat(bytes));
    Message::ToolResults { results: vec![ToolResult { call_id: format!("c{turn}"), text, is_error: false }] }
}

/// A conversation of `turns` turns, with results of 4,000 bytes (about 1,000 tokens).
fn view(turns: usize, spoken: fn(usize) -> Message) -> View {
    let mut view = View::default();
    view.push(Message::User { text: "the task".into() });
    for turn in 0..turns {
        view.push(spoken(turn));
        view.push(results(turn, 4_000));
    }
    view
}

fn elided(view: &View) -> Vec<u32> {
    let mut numbers = Vec::new();
    for (message, first) in view.messages.iter().zip(&view.first_results) {
        let Message::ToolResults { results } = message else { continue };
        for (number, result) in (*first..).zip(results) {
            if result.text.contains("read_result") {
                numbers.push(number);
            }
        }
    }
    numbers
}

#[test]
fn old_results_are_elided_in_chunks_and_the_latest_stay() {
    let (budget, chunk) = (budget(36_000), 9_000);
    let mut view = View::default();
    view.push(Message::User { text: "the task".into() });
    let mut times = Vec::new();
    for turn in 0..100 {
        view.push(call(turn));
        view.push(results(turn, 4_000));
        match view.due_reduction(budget) {
            Some(Reduction::Elide { first, last }) => {
                let before = view.tokens();
                view.elide(first, last);
                times.push(turn);
                assert!(before - view.tokens() >= chunk - 1, "{before} {}", view.tokens());
            }
            Some(Reduction::Compact) => panic!("summed up at turn {turn}"),
            None => {}
        }
        assert!(view.tokens() < instructions() + 36_000 * 80 / 100);
    }
    assert!((5..12).contains(&times.len()), "the cache would be lost too often: {times:?}");
    let elided = elided(&view);
    assert_eq!(elided, (1..=u32::try_from(elided.len()).unwrap()).collect::<Vec<_>>());
    assert!(!elided.contains(&98) && !elided.contains(&100));
}

#[test]
fn conversation_full_of_handles_is_compacted() {
    let mut view = View::default();
    view.push(Message::User { text: "the task".into() });
    let mut times = (0, 0);
    for turn in 0..800 {
        view.push(call(turn));
        view.push(results(turn, 4_000));
        match view.due_reduction(budget(BESIDE_TOKENS)) {
            Some(Reduction::Elide { first, last }) => {
                view.elide(first, last);
                times.0 += 1;
            }
            Some(Reduction::Compact) => {
                view.replace_all("all of it");
                times.1 += 1;
            }
            None => {}
        }
        assert!(view.tokens() < budget(BESIDE_TOKENS).input_tokens_max);
    }
    assert!(times.0 > times.1 && times.1 > 2, "{times:?}");
}

#[test]
fn handle_names_its_result_and_how_to_read_it() {
    let mut view = view(1, call);
    view.push(call(1));
    view.push(results(1, 10));
    view.elide(1, 2);
    let Message::ToolResults { results } = &view.messages[2] else { panic!("{view:?}") };
    insta::assert_snapshot!(results[0].text, @r#"
    [Result 1 is left out here to save room. It began: src/0.rs: lines 1-9 of 9
    To see it again: read_result {"result": 1}]
    "#);
    assert_eq!(elided(&view), [1], "what is short stays");
    let bytes: u64 = view.messages.iter().map(message_bytes).sum();
    assert_eq!(view.bytes, bytes);
}

#[test]
fn conversation_with_signed_reasoning_is_compacted_instead_of_elided() {
    let view = view(17, thought);
    assert!(view.tokens() >= instructions() + BESIDE_TOKENS * 80 / 100, "{}", view.tokens());
    assert_eq!(view.due_reduction(budget(BESIDE_TOKENS)), Some(Reduction::Compact));
    assert_eq!(view.forced_reduction(), Some(Reduction::Compact));
    // Once the model no longer reasons, later results may go.
    let mut view = self::view(4, thought);
    for turn in 4..17 {
        view.push(call(turn));
        view.push(results(turn, 4_000));
    }
    let Some(Reduction::Elide { first, .. }) = view.due_reduction(budget(BESIDE_TOKENS)) else {
        panic!("{:?}", view.due_reduction(budget(BESIDE_TOKENS)))
    };
    assert_eq!(first, 4);
}

#[test]
fn reasoning_signed_under_other_instructions_is_not_sent_again() {
    let mut reasoned = view(2, thought);
    reasoned.instructions_changed();
    assert_eq!(reasoned.due_reduction(budget(BESIDE_TOKENS)), Some(Reduction::Compact));
    reasoned.replace_all("all of it");
    assert_eq!(reasoned.due_reduction(budget(BESIDE_TOKENS)), None);
    let mut plain = view(2, call);
    plain.instructions_changed();
    assert_eq!(plain.due_reduction(budget(BESIDE_TOKENS)), None, "that costs the cache only");
}

#[test]
fn conversation_that_was_just_compacted_is_not_compacted_again() {
    let mut view = view(40, call);
    view.replace_all(&"x".repeat(200_000));
    assert_eq!(view.due_reduction(budget(BESIDE_TOKENS)), None);
    assert_eq!(view.forced_reduction(), None);
    assert_eq!(view.results_given(), 40);
    view.push(call(40));
    view.push(results(40, 4_000));
    assert_eq!(view.first_results.last(), Some(&41), "results are counted through");
}

#[test]
fn count_of_the_provider_replaces_the_estimate() {
    let mut view = view(10, call);
    let guessed = view.tokens();
    view.calibrate(&Usage { input_tokens: 100, cache_read_tokens: guessed * 2 - 100, ..Usage::default() });
    assert!(view.tokens().abs_diff(guessed * 2) <= 1);
    view.calibrate(&Usage { input_tokens: 1, ..Usage::default() });
    assert!(view.tokens() >= guessed / 2, "nonsense is not believed");
}

#[test]
fn compaction_message_has_task_plan_changes_tests_and_summary() {
    let known = CompactionInput {
        task: "# Issue #7\n\n> Slugs have several dashes\n",
        plan: Some("- [x] Read slug\n- [ ] Mend it\n"),
        diff: "--- a/src/lib.rs\n+++ b/src/lib.rs\n",
        last_run: Some("`cargo test`: exit code 101 after 1.2 s.\n".into()),
        summary: Some("slug pushes a dash for each separator (src/lib.rs:12)."),
        last_results: "Result 9:\nsrc/lib.rs: lines 1-20 of 20\n\n".into(),
        turns: 57,
        results: 9,
    };
    insta::assert_snapshot!(write(&known, budget(BESIDE_TOKENS)), @r#"
    # Issue #7

    > Slugs have several dashes


    # Where you stand

    The conversation became too long; this message stands for all of it. Files are as you left them. What your tools answered, results 1 to 9, can be had again with read_result.

    Turns so far: 57.

    ## Your plan

    - [x] Read slug
    - [ ] Mend it

    ## What was learned, as another model summed it up

    slug pushes a dash for each separator (src/lib.rs:12).

    ## Your changes so far

    --- a/src/lib.rs
    +++ b/src/lib.rs

    ## The last test run

    `cargo test`: exit code 101 after 1.2 s.

    ## The results of your last calls

    Result 9:
    src/lib.rs: lines 1-20 of 20

    Go on from here; do not begin again.
    "#);
}

#[test]
fn compaction_message_leaves_most_of_the_context_free() {
    let long = "äx\n".repeat(200_000);
    let known = CompactionInput {
        task: &long,
        plan: Some(&long),
        diff: &long,
        last_run: Some(long.clone()),
        summary: Some(&long),
        last_results: long.clone(),
        turns: 1,
        results: 1,
    };
    let text = write(&known, budget(BESIDE_TOKENS));
    let mut view = View::default();
    view.replace_all(&text);
    assert!(view.tokens() < instructions() + BESIDE_TOKENS * 60 / 100, "{}", view.tokens());
    assert!(text.contains("Go on from here") && text.matches("bytes left out").count() == 6);
    assert_eq!(cut("äöü", 4), "ä\n[… 2 bytes left out …]\nü");
}
