//! An answer, before it is written in a wire format.

use super::conversation::{ScriptedCall, ScriptedStop, ScriptedTurn, TurnUsage};
use super::request::ParsedRequest;

/// An answer in a form that no wire format determines.
pub(super) struct ModelAnswer {
    pub model: String,
    /// The number of assistant messages before it.
    pub turn: usize,
    /// A fingerprint of the prompt.
    pub prompt_fingerprint: u64,
    pub think: Option<String>,
    pub text: String,
    /// Calls with ids that are unique within the conversation.
    pub calls: Vec<(String, ScriptedCall)>,
    pub stop: Option<ScriptedStop>,
    pub usage: TurnUsage,
}

impl ModelAnswer {
    pub(super) fn new(turn: &ScriptedTurn, number: usize, request: &ParsedRequest, usage: TurnUsage) -> Self {
        let calls = turn.calls.iter().enumerate();
        Self {
            model: request.model.clone(),
            turn: number,
            prompt_fingerprint: request.fingerprints().last().copied().unwrap_or_default(),
            think: turn.think.clone(),
            text: turn.say.clone(),
            calls: calls.map(|(index, call)| (format!("{number:03}_{index}"), call.clone())).collect(),
            stop: turn.stop,
            usage,
        }
    }
}

/// The wire format's word for why the answer ends.
pub(super) fn stop_reason(
    answer: &ModelAnswer,
    end: &'static str,
    calls: &'static str,
    name: impl Fn(ScriptedStop) -> &'static str,
) -> &'static str {
    match answer.stop {
        Some(stop) => name(stop),
        None if answer.calls.is_empty() => end,
        None => calls,
    }
}

/// Text in pieces of a few characters. Long text has longer pieces, so that a file does not become
/// thousands of events.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    const CHARS: [usize; 5] = [3, 1, 11, 6, 24];
    let scale = text.len() / 4000 + 1;
    let mut rest = text;
    let mut sizes = CHARS.iter().cycle();
    std::iter::from_fn(move || {
        let size = sizes.next().copied().unwrap_or(1) * scale;
        let end = rest.char_indices().nth(size).map_or(rest.len(), |(end, _)| end);
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_complete() {
        let text = "Größe 💥 ".repeat(300);
        assert_eq!(pieces(&text).collect::<String>(), text);
    }
}
