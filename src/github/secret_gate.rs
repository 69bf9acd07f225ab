//! The secret gate: every request to GitHub passes through it before it is sent. A request that
//! contains a known secret is not sent; text that only looks like a secret is redacted.

use serde_json::Value;

use super::error::GitHubError;
use super::request::ApiRequest;
use crate::secrets::{redact, scan_text};

/// The request with its texts redacted.
///
/// # Errors
/// [`GitHubError::ContainsSecret`] if the path or the body contains a known secret.
pub(super) fn without_secrets(request: &ApiRequest) -> Result<ApiRequest, GitHubError> {
    let mut findings = scan_text("the address", &request.path);
    let mut body = request.body.clone();
    if let Some(body) = &mut body {
        for_each_text(body, "the text", &mut |name, text| {
            findings.extend(scan_text(name, text));
            if !request.verbatim {
                *text = redact(text).into_owned();
            }
        });
    }
    match findings.is_empty() {
        true => Ok(ApiRequest { body, ..request.clone() }),
        false => Err(GitHubError::ContainsSecret { what: request.what.clone(), found: findings }),
    }
}

/// Visits every text in `value`, with the name of the field that contains it.
fn for_each_text(value: &mut Value, name: &str, visit: &mut impl FnMut(&str, &mut String)) {
    match value {
        Value::String(text) => visit(name, text),
        Value::Array(items) => items.iter_mut().for_each(|item| for_each_text(item, name, visit)),
        Value::Object(fields) => {
            fields
                .iter_mut()
                .for_each(|(name, field)| for_each_text(field, &format!("the field `{name}`"), visit));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use serde_json::json;

    use super::*;
    use crate::secrets::{SecretKind, register};

    #[test]
    fn request_with_a_known_secret_anywhere_is_blocked_and_the_error_hides_it() {
        let secret = "whk-4f9d2c7b1a8e6053";
        register(SecretKind::WebhookSecret, &SecretString::from(secret));
        let reversed: String = secret.chars().rev().collect();
        let requests = [
            ApiRequest::post("commenting", "/x", json!({"body": format!("a {secret} b")})),
            ApiRequest::post("commenting", "/x", json!({"output": {"annotations": [{"message": reversed}]}})),
            ApiRequest::patch("editing", "/x", json!({"title": hex::encode(secret)})),
            ApiRequest::get("looking", format!("/repos/o/r/git/ref/heads/{secret}")),
        ];
        for request in requests {
            let message = without_secrets(&request).unwrap_err().to_string();
            assert!(message.contains("the webhook secret") && !message.contains("4f9d"), "{message}");
        }
    }

    #[test]
    fn secret_lookalike_is_redacted_in_texts_and_kept_in_file_contents() {
        let token = ["ghp_", "16C7e42F292c6912E7710c838347Ae178B4a"].concat();
        let request = ApiRequest::post("commenting", "/x", json!({"body": format!("a {token} b"), "n": 1}));
        assert_eq!(without_secrets(&request).unwrap().body.unwrap(), json!({"body": "a *** b", "n": 1}));
        assert_eq!(without_secrets(&request.clone().verbatim()).unwrap().body, request.body);
    }
}
