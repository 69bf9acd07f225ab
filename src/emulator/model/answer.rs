//! An answer and its body: sent in small chunks with arbitrary boundaries, as real streams are.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::{StreamExt, stream};

use super::conversation::{ScriptedCall, ScriptedStop, ScriptedTurn, TurnFault, TurnUsage};
use super::request::ParsedRequest;
use super::shared::Shared;

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

/// Bytes in chunks that split lines, JSON strings and characters of several bytes.
fn chunks(bytes: Vec<u8>) -> Vec<Bytes> {
    const SIZES: [usize; 7] = [7, 64, 1, 200, 33, 2, 128];
    let scale = bytes.len() / 20_000 + 1;
    let mut rest = Bytes::from(bytes);
    let mut chunks = Vec::new();
    for size in SIZES.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        chunks.push(rest.split_to((size * scale).min(rest.len())));
    }
    chunks
}

/// The body of an answer: all events, or the part that the fault lets through.
pub(super) fn body(
    shared: &Arc<Shared>,
    events: &[String],
    fault: Option<&TurnFault>,
    error: fn(&str) -> String,
) -> Body {
    let whole = events.concat().into_bytes();
    let half = || events[..events.len() / 2].concat().into_bytes();
    let (bytes, ending) = match fault {
        Some(TurnFault::Cut { cut_after_bytes, cleanly, .. }) => {
            let ending = if *cleanly { BodyEnd::Clean } else { BodyEnd::Reset };
            (whole[..whole.len().min(*cut_after_bytes)].to_vec(), ending)
        }
        Some(TurnFault::Stall { .. }) => (half(), BodyEnd::Silence),
        Some(TurnFault::StreamError { stream_error, .. }) => {
            ([half(), error(stream_error).into_bytes()].concat(), BodyEnd::Clean)
        }
        Some(TurnFault::Status { .. } | TurnFault::ContentType { .. } | TurnFault::Hold { .. }) | None => {
            (whole, BodyEnd::Clean)
        }
    };
    let stop = shared.stop.clone();
    let ending = stream::once(async move {
        match ending {
            BodyEnd::Clean => None,
            BodyEnd::Reset => Some(Err(io::Error::from(io::ErrorKind::ConnectionReset))),
            BodyEnd::Silence => {
                stop.cancelled().await;
                Some(Err(io::Error::from(io::ErrorKind::ConnectionAborted)))
            }
        }
    });
    let is_held = matches!(fault, Some(TurnFault::Hold { .. }));
    let held = shared.clone();
    let gate = stream::once(async move {
        if is_held {
            tokio::select! {
                () = held.gate.opened() => {}
                () = held.stop.cancelled() => {}
            }
        }
        Ok(Bytes::new())
    });
    let chunks = stream::iter(chunks(bytes)).then(async |chunk| {
        // Lets the connection send what it has, so that chunks arrive with these boundaries.
        tokio::task::yield_now().await;
        Ok(chunk)
    });
    Body::from_stream(gate.chain(chunks).chain(ending.filter_map(std::future::ready)))
}

enum BodyEnd {
    Clean,
    Reset,
    Silence,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_chunks_are_complete_and_chunks_split_characters() {
        let text = "Größe 💥 ".repeat(300);
        assert_eq!(pieces(&text).collect::<String>(), text);
        let chunks = chunks(text.clone().into_bytes());
        assert_eq!(chunks.concat(), text.as_bytes());
        assert!(chunks.iter().any(|chunk| std::str::from_utf8(chunk).is_err()));
    }
}
