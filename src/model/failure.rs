//! Reads a provider's errors: transient, a conversation that is too long, or permanent.

use std::time::Duration;

use serde::Deserialize;

use super::ModelError;
use super::retry::Failure;

/// The longest quotation of a provider's message in an error.
const QUOTE_CHARS_MAX: usize = 500;

/// The model that a request goes to, for error messages. Never contains the key.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The base URL, without credentials.
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

/// A provider's error, as far as it could be read.
struct ProviderError {
    message: String,
    kind: String,
    code: String,
}

impl ProviderError {
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

    /// Both providers' messages for a conversation that does not fit, and those of common servers with
    /// OpenAI's format.
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

    fn is_quota_exhausted(&self) -> bool {
        self.code == "insufficient_quota" || self.kind == "insufficient_quota"
    }
}

/// Whether a body is an error in either provider's shape.
pub(super) fn is_error(body: &str) -> bool {
    serde_json::from_str::<ErrorBody>(body).is_ok()
}

/// The beginning of `text` in one line, truncated for an error.
pub(super) fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "(empty)".to_owned(),
        None => line,
    }
}

/// The failure that a response with an error status means.
pub(super) fn failure_of_status(
    target: &Target,
    status: u16,
    retry_after: Option<Duration>,
    body: &str,
) -> Failure {
    let error = ProviderError::read(body);
    if matches!(status, 400 | 413 | 422) && error.is_context_overflow() || error.kind == "request_too_large" {
        return Failure::Permanent(ModelError::ContextOverflow {
            model: target.model.clone(),
            detail: error.message,
        });
    }
    // A gateway timed out. The provider may still complete and bill the response.
    if matches!(status, 504 | 524) {
        return Failure::interrupted(format!("status {status}: {}", error.message));
    }
    // 529 is Anthropic's "overloaded"; 520 to 523 come from the network in front of a provider.
    let is_transient = matches!(status, 408 | 429 | 500 | 502 | 503 | 520..=523 | 529);
    if is_transient && !error.is_quota_exhausted() {
        return Failure::Transient { detail: format!("status {status}: {}", error.message), retry_after };
    }
    let advice = advice(target, status, &error);
    let detail = format!("{}{}{advice}", error.message, if advice.is_empty() { "" } else { " — " });
    Failure::Permanent(ModelError::Refused { url: target.url.clone(), status, detail })
}

fn advice(target: &Target, status: u16, error: &ProviderError) -> String {
    if error.is_quota_exhausted() {
        return "the account has no quota left; add credit, or configure another key".to_owned();
    }
    match status {
        401 => "check the API key configured for this model provider".to_owned(),
        403 => {
            format!(
                "check that the configured API key may use the model {:?} from this network",
                target.model
            )
        }
        404 => format!("check the configured model name {:?} and provider address", target.model),
        300..=399 => {
            "the address redirects, and keys are not sent on; configure the final address".to_owned()
        }
        400 | 422 => {
            format!("check that the model {:?} supports tools and streaming at this address", target.model)
        }
        _ => String::new(),
    }
}

/// The failure that an error in a stream means. The status was 200, so the error's type decides.
pub(super) fn failure_of_event(target: &Target, data: &str) -> Failure {
    let error = ProviderError::read(data);
    if error.is_context_overflow() {
        return Failure::Permanent(ModelError::ContextOverflow {
            model: target.model.clone(),
            detail: error.message,
        });
    }
    let status = match error.kind.as_str() {
        "authentication_error" => 401,
        "permission_error" => 403,
        "not_found_error" => 404,
        "invalid_request_error" => 400,
        _ if error.is_quota_exhausted() => 429,
        // overloaded_error, api_error, rate_limit_error, timeout_error, server_error and the types of
        // proxies: the request was accepted, so another attempt may succeed.
        _ => return Failure::transient(format!("error in the stream: {} {}", error.kind, error.message)),
    };
    let detail = format!("{} — {}", error.message, advice(target, status, &error));
    Failure::Permanent(ModelError::Refused { url: target.url.clone(), status, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target { url: "https://provider.example".into(), model: "m-1".into() }
    }

    #[test]
    fn context_overflow_of_both_providers_is_recognised() {
        let bodies = [
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}"#,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 1 + 2 > 3"}}"#,
            r#"{"error":{"message":"Your input exceeds it","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens."}}"#,
        ];
        for body in bodies {
            let failure = failure_of_status(&target(), 400, None, body);
            assert!(matches!(failure, Failure::Permanent(ModelError::ContextOverflow { .. })), "{body}");
        }
    }

    #[test]
    fn only_transient_statuses_are_retried() {
        let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        for status in [408, 429, 500, 502, 503, 522, 529] {
            let wait = Some(Duration::from_secs(9));
            match failure_of_status(&target(), status, wait, body) {
                Failure::Transient { retry_after, .. } => assert_eq!(retry_after, wait),
                other => panic!("{status}: {other:?}"),
            }
        }
        for status in [504, 524] {
            let failure = failure_of_status(&target(), status, None, "<html>Gateway time-out</html>");
            assert!(
                matches!(failure, Failure::Interrupted { usage: None, is_transient: true, .. }),
                "{status}"
            );
        }
        for status in [301, 400, 401, 403, 404, 409, 501] {
            let failure = failure_of_status(&target(), status, None, body);
            assert!(matches!(failure, Failure::Permanent(ModelError::Refused { .. })), "{status}");
        }
        let no_credit = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
        let Failure::Permanent(error) = failure_of_status(&target(), 429, None, no_credit) else {
            panic!("retried")
        };
        assert!(error.to_string().contains("add credit"), "{error}");
    }

    #[test]
    fn stream_errors_are_distinguished_by_type() {
        let event = |kind: &str| {
            failure_of_event(
                &target(),
                &format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"words"}}}}"#),
            )
        };
        for kind in ["overloaded_error", "api_error", "rate_limit_error", "something_new"] {
            assert!(matches!(event(kind), Failure::Transient { .. }), "{kind}");
        }
        assert!(matches!(
            event("authentication_error"),
            Failure::Permanent(ModelError::Refused { status: 401, .. })
        ));
    }

    #[test]
    fn long_body_is_truncated_and_unknown_json_is_quoted() {
        let page = format!("<html>\n\n{}</html>", "x".repeat(10_000));
        let Failure::Permanent(error) = failure_of_status(&target(), 403, None, &page) else {
            panic!("retried")
        };
        let words = error.to_string();
        assert!(words.contains("<html> xxx") && words.contains("…"), "{words}");
        assert!(words.chars().count() < 750);
        let text = r#"{"error":"model 'm-1' not found"}"#;
        let Failure::Permanent(error) = failure_of_status(&target(), 404, None, text) else {
            panic!("retried")
        };
        assert!(error.to_string().contains("model 'm-1' not found — check the configured model name"));
    }
}
