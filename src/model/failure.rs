//! What a provider's refusal means: worth another attempt, too long a conversation, or final.

use std::time::Duration;

use serde::Deserialize;

use super::ModelError;
use super::retry::Failure;

/// Longest quotation of a provider's words in an error.
const QUOTE_CHARS_MAX: usize = 500;

/// Who is asked, for words in errors. Never holds the key.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Base address, without credentials.
    pub url: String,
    /// The model's name.
    pub model: String,
}

/// `{"error": {…}}` of both providers, in a body or in an event. Anthropic has no `code`; other
/// servers send text, or numbers for codes.
#[derive(Debug, Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ErrorDetail {
    Full {
        #[serde(default)]
        message: Option<String>,
        #[serde(default, rename = "type")]
        kind: Option<String>,
        #[serde(default)]
        code: Option<serde_json::Value>,
    },
    Text(String),
}

/// A provider's error as far as it could be read.
struct Words {
    message: String,
    kind: String,
    code: String,
}

impl Words {
    fn read(body: &str) -> Self {
        match serde_json::from_str::<ErrorBody>(body) {
            Ok(ErrorBody { error: ErrorDetail::Full { message, kind, code } }) => Self {
                message: quote(message.as_deref().unwrap_or(body)),
                kind: kind.unwrap_or_default(),
                code: code
                    .map(|code| code.as_str().map_or_else(|| code.to_string(), str::to_owned))
                    .unwrap_or_default(),
            },
            Ok(ErrorBody { error: ErrorDetail::Text(message) }) => {
                Self { message: quote(&message), kind: String::new(), code: String::new() }
            }
            Err(_) => Self { message: quote(body), kind: String::new(), code: String::new() },
        }
    }

    /// Both providers' words for a conversation that does not fit, and those of the usual servers
    /// that speak OpenAI's format.
    fn is_context_overflow(&self) -> bool {
        const SIGNS: [&str; 7] = [
            "prompt is too long",
            "exceed context limit",
            "maximum context length",
            "context window",
            "context length",
            "input tokens exceed",
            "exceeds the available context size",
        ];
        let message = self.message.to_lowercase();
        self.code == "context_length_exceeded"
            || self.kind == "exceed_context_size_error"
            || SIGNS.iter().any(|sign| message.contains(sign))
    }

    fn is_used_up(&self) -> bool {
        self.code == "insufficient_quota" || self.kind == "insufficient_quota"
    }
}

/// Whether a body is an error in either provider's shape.
pub(super) fn is_error(body: &str) -> bool {
    serde_json::from_str::<ErrorBody>(body).is_ok()
}

/// The beginning of `text` on one line, cut for an error.
pub(super) fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "(no words)".to_owned(),
        None => line,
    }
}

/// What an answer with an error status means.
pub(super) fn of_status(asked: &Asked, status: u16, retry_after: Option<Duration>, body: &str) -> Failure {
    let words = Words::read(body);
    if matches!(status, 400 | 413 | 422) && words.is_context_overflow() || words.kind == "request_too_large" {
        return Failure::Final(ModelError::ContextOverflow {
            model: asked.model.clone(),
            detail: words.message,
        });
    }
    // Something in between lost patience with an answer that may be made, and billed, all the same.
    if matches!(status, 504 | 524) {
        return Failure::broken(format!("status {status}: {}", words.message));
    }
    // 529 is Anthropic's "overloaded"; 520 to 523 come from the network in front of a provider.
    let passing = matches!(status, 408 | 429 | 500 | 502 | 503 | 520..=523 | 529);
    if passing && !words.is_used_up() {
        return Failure::Passing { detail: format!("status {status}: {}", words.message), retry_after };
    }
    let advice = advice(asked, status, &words);
    let detail = format!("{}{}{advice}", words.message, if advice.is_empty() { "" } else { " — " });
    Failure::Final(ModelError::Refused { url: asked.url.clone(), status, detail })
}

fn advice(asked: &Asked, status: u16, words: &Words) -> String {
    if words.is_used_up() {
        return "the account has no quota left; add credit, or configure another key".to_owned();
    }
    match status {
        401 => "check the API key configured for this model provider".to_owned(),
        403 => {
            format!("check that the configured API key may use the model {:?} from this network", asked.model)
        }
        404 => format!("check the configured model name {:?} and provider address", asked.model),
        300..=399 => {
            "the address redirects, and keys are not sent on; configure the final address".to_owned()
        }
        400 | 422 => {
            format!("check that the model {:?} supports tools and streaming at this address", asked.model)
        }
        _ => String::new(),
    }
}

/// What an error in the middle of a stream means. The status was 200 by then, so the words decide.
pub(super) fn of_event(asked: &Asked, data: &str) -> Failure {
    let words = Words::read(data);
    if words.is_context_overflow() {
        return Failure::Final(ModelError::ContextOverflow {
            model: asked.model.clone(),
            detail: words.message,
        });
    }
    let status = match words.kind.as_str() {
        "authentication_error" => 401,
        "permission_error" => 403,
        "not_found_error" => 404,
        "invalid_request_error" => 400,
        _ if words.is_used_up() => 429,
        // overloaded_error, api_error, rate_limit_error, timeout_error, server_error, and whatever
        // a proxy invents: the request was accepted, so another attempt may be too.
        _ => return Failure::passing(format!("error in the stream: {} {}", words.kind, words.message)),
    };
    let detail = format!("{} — {}", words.message, advice(asked, status, &words));
    Failure::Final(ModelError::Refused { url: asked.url.clone(), status, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { url: "https://provider.example".into(), model: "m-1".into() }
    }

    #[test]
    fn both_providers_words_for_too_long_a_conversation_are_known() {
        let bodies = [
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}"#,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 1 + 2 > 3"}}"#,
            r#"{"error":{"message":"Your input exceeds it","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens."}}"#,
        ];
        for body in bodies {
            let failure = of_status(&asked(), 400, None, body);
            assert!(matches!(failure, Failure::Final(ModelError::ContextOverflow { .. })), "{body}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_cannot_is_not() {
        let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        for status in [408, 429, 500, 502, 503, 522, 529] {
            let wait = Some(Duration::from_secs(9));
            match of_status(&asked(), status, wait, body) {
                Failure::Passing { retry_after, .. } => assert_eq!(retry_after, wait),
                other => panic!("{status}: {other:?}"),
            }
        }
        for status in [504, 524] {
            let failure = of_status(&asked(), status, None, "<html>Gateway time-out</html>");
            assert!(
                matches!(failure, Failure::Interrupted { usage: None, is_passing: true, .. }),
                "{status}"
            );
        }
        for status in [301, 400, 401, 403, 404, 409, 501] {
            let failure = of_status(&asked(), status, None, body);
            assert!(matches!(failure, Failure::Final(ModelError::Refused { .. })), "{status}");
        }
        let no_credit = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
        let Failure::Final(error) = of_status(&asked(), 429, None, no_credit) else { panic!("retried") };
        assert!(error.to_string().contains("add credit"), "{error}");
    }

    #[test]
    fn errors_in_the_stream_are_told_apart_by_their_type() {
        let event = |kind: &str| {
            of_event(
                &asked(),
                &format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"words"}}}}"#),
            )
        };
        for kind in ["overloaded_error", "api_error", "rate_limit_error", "something_new"] {
            assert!(matches!(event(kind), Failure::Passing { .. }), "{kind}");
        }
        assert!(matches!(
            event("authentication_error"),
            Failure::Final(ModelError::Refused { status: 401, .. })
        ));
    }

    #[test]
    fn long_bodies_are_cut_and_other_shapes_are_quoted_as_they_are() {
        let page = format!("<html>\n\n{}</html>", "x".repeat(10_000));
        let Failure::Final(error) = of_status(&asked(), 403, None, &page) else { panic!("retried") };
        let words = error.to_string();
        assert!(words.contains("<html> xxx") && words.contains("…"), "{words}");
        assert!(words.chars().count() < 750);
        let text = r#"{"error":"model 'm-1' not found"}"#;
        let Failure::Final(error) = of_status(&asked(), 404, None, text) else { panic!("retried") };
        assert!(error.to_string().contains("model 'm-1' not found — check the configured model name"));
    }
}
