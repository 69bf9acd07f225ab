//! What the model is told when it goes in circles.

use crate::domain::{LoopNotice, NOTHING_NEW, SURCHARGE_CALLS};

/// The text for the model.
pub(super) fn notice_text(notice: &LoopNotice) -> String {
    let what = match notice {
        LoopNotice::Repetition { tool, times } => format!(
            "You have called {tool} {times} times with the same arguments, and the result was the same each time. \
             Calling it again will tell you nothing new. Say what you expected to be different, then look \
             somewhere else or try something else; if only a person can help, ask_human."
        ),
        LoopNotice::Thrashing { path } => format!(
            "You have brought {path} back to what it was before for the second time. Changing it back and forth will \
             not solve the problem. Name the root cause in your plan, and what each of the two versions got wrong, \
             before you change it again."
        ),
        LoopNotice::Untested { turns } => format!(
            "You have changed files in {turns} turns without a test run. Run the tests now, so that you know \
             which of these changes helped."
        ),
        LoopNotice::OnlyReading { turns } => format!(
            "For {turns} turns you have only read. You may know enough: write down the likely cause in your plan, \
             and test it with a change or a test run; if you cannot go on, ask_human."
        ),
        LoopNotice::NothingNew { turns } => {
            return format!(
                "Notice: For {turns} turns {NOTHING_NEW}: no text that you had not read, and no result that you had \
                 not seen. If this goes on for some turns, the job ends, and people read where it stands. Write \
                 into your plan what you know, what you ruled out, and the most likely cause; then look at \
                 something that you have not looked at, or ask_human."
            );
        }
    };
    format!(
        "Notice: {what} (If this goes on, each further time counts as {} tool calls.)",
        1 + SURCHARGE_CALLS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice_says_what_was_seen_and_what_to_do() {
        let notices = [
            LoopNotice::Repetition { tool: "run_tests".into(), times: 3 },
            LoopNotice::Thrashing { path: "src/a.rs".into() },
            LoopNotice::Untested { turns: 8 },
            LoopNotice::OnlyReading { turns: 15 },
            LoopNotice::NothingNew { turns: 10 },
        ];
        let texts: Vec<String> = notices.iter().map(notice_text).collect();
        insta::assert_snapshot!(texts.join("\n"), @"
        Notice: You have called run_tests 3 times with the same arguments, and the result was the same each time. Calling it again will tell you nothing new. Say what you expected to be different, then look somewhere else or try something else; if only a person can help, ask_human. (If this goes on, each further time counts as 5 tool calls.)
        Notice: You have brought src/a.rs back to what it was before for the second time. Changing it back and forth will not solve the problem. Name the root cause in your plan, and what each of the two versions got wrong, before you change it again. (If this goes on, each further time counts as 5 tool calls.)
        Notice: You have changed files in 8 turns without a test run. Run the tests now, so that you know which of these changes helped. (If this goes on, each further time counts as 5 tool calls.)
        Notice: For 15 turns you have only read. You may know enough: write down the likely cause in your plan, and test it with a change or a test run; if you cannot go on, ask_human. (If this goes on, each further time counts as 5 tool calls.)
        Notice: For 10 turns nothing has been new: no text that you had not read, and no result that you had not seen. If this goes on for some turns, the job ends, and people read where it stands. Write into your plan what you know, what you ruled out, and the most likely cause; then look at something that you have not looked at, or ask_human.
        ");
    }
}
