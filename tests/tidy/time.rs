//! Tests depend on no wall time: they wait for a state, and a busy machine changes no result.

use std::collections::BTreeSet;

use crate::assert_none;
use crate::sources::{Source, Token, sources};

/// Where a test may look at the clock or wait for it, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("tests/it/support/wait.rs", "sleep", "the one place that polls for a state"),
    ("tests/it/model/third_party.rs", "sleep", "a server of others says nothing when it listens"),
    ("tests/it/sandbox_attacks/prober/fake_toolbox.rs", "sleep", "a program in the sandbox that must hang"),
    ("tests/it/sandbox_attacks/prober/proxy.rs", "sleep", "a program in the sandbox that must be slow"),
];

/// What measures the wall time or waits for it. To know the date is neither.
fn clocks<'a>(tokens: &[Token<'a>]) -> Vec<(usize, &'a str)> {
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text);
    let mut clocks = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map_or("", text);
        let is_call = text(index + 1) == "(";
        let is_clock = match token.text {
            "sleep" => is_call && before != "fn",
            "elapsed" => is_call && before == ".",
            // A time that is passed on as data is not compared.
            "Instant" => {
                let ends = [text(index + 3), text(index + 4)];
                text(index + 2) == "now" && ends == ["(", ")"] && matches!(text(index + 5), "<" | ">" | "-")
            }
            _ => false,
        };
        if is_clock {
            clocks.push((token.line, token.text));
        }
    }
    clocks
}

#[test]
fn tests_measure_no_wall_time() {
    let mut broken = Vec::new();
    let mut needed = BTreeSet::new();
    // Benches measure, and a paused clock costs no time.
    let is_free = |source: &&Source| {
        source.path.starts_with("tests/benches/") || source.text.contains("start_paused = true")
    };
    for source in sources().iter().filter(|source| !is_free(source)) {
        for (line, clock) in clocks(&source.test_tokens()) {
            match EXCEPTIONS.iter().find(|(path, word, _)| *path == source.path && *word == clock) {
                Some((path, word, _)) => drop(needed.insert((*path, *word))),
                None => broken.push(format!("{}:{line}: {clock}", source.path)),
            }
        }
    }
    assert_none(&broken, "a test measures no wall time and does not sleep");
    let unneeded: Vec<String> = EXCEPTIONS
        .iter()
        .filter(|(path, word, _)| !needed.contains(&(*path, *word)))
        .map(|(path, word, _)| format!("{path}: {word}"))
        .collect();
    assert_none(&unneeded, "an exception that nothing needs is taken out of EXCEPTIONS");
}
