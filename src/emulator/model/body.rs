//! The body of an answer: sent in small chunks with arbitrary boundaries, as real streams are, and with the
//! fault that a conversation asks for.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::{StreamExt, stream};

use super::conversation::TurnFault;
use super::shared::Shared;

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
    fn chunks_are_complete_and_split_characters() {
        let text = "Größe 💥 ".repeat(300);
        let chunks = chunks(text.clone().into_bytes());
        assert_eq!(chunks.concat(), text.as_bytes());
        assert!(chunks.iter().any(|chunk| std::str::from_utf8(chunk).is_err()));
    }
}
