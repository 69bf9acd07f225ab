//! The gate before GitHub: every request is looked through before it is sent, whatever it is for.
//! One that holds a known secret is not sent; what only looks like a secret is taken out of its
//! texts.

use serde_json::Value;

use super::GitHubError;
use super::transport::Call;
use crate::secrets::{redact, scan_text};

/// The call, as it may be sent.
///
/// # Errors
/// [`GitHubError::ContainsSecret`]: its path or its body holds a secret.
pub(super) fn cleared(call: &Call) -> Result<Call, GitHubError> {
    let mut found = scan_text("the address", &call.path);
    let mut body = call.body.clone();
    if let Some(body) = &mut body {
        each_text(body, "the text", &mut |name, text| {
            found.extend(scan_text(name, text));
            if !call.verbatim {
                *text = redact(text).into_owned();
            }
        });
    }
    match found.is_empty() {
        true => Ok(Call { body, ..call.clone() }),
        false => Err(GitHubError::ContainsSecret { what: call.what.clone(), found }),
    }
}

/// Every text in `value`, with the name of the field that it stands in.
fn each_text(value: &mut Value, name: &str, look: &mut impl FnMut(&str, &mut String)) {
    match value {
        Value::String(text) => look(name, text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, name, look)),
        Value::Object(fields) => {
            fields
                .iter_mut()
                .for_each(|(name, field)| each_text(field, &format!("the field `{name}`"), look));
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
    fn a_request_with_a_secret_anywhere_is_not_made_and_the_error_does_not_tell_it() {
        let secret = "whk-4f9d2c7b1a8e6053";
        register(SecretKind::WebhookSecret, &SecretString::from(secret));
        let reversed: String = secret.chars().rev().collect();
        let calls = [
            Call::post("commenting", "/x", json!({"body": format!("a {secret} b")})),
            Call::post("commenting", "/x", json!({"output": {"annotations": [{"message": reversed}]}})),
            Call::patch("editing", "/x", json!({"title": hex::encode(secret)})),
            Call::get("looking", format!("/repos/o/r/git/ref/heads/{secret}")),
        ];
        for call in calls {
            let error = cleared(&call).unwrap_err();
            let words = error.to_string();
            assert!(words.contains("the webhook secret") && !words.contains("4f9d"), "{words}");
        }
    }

    #[test]
    fn what_looks_like_a_secret_is_taken_out_of_texts_and_left_in_contents() {
        let token = ["ghp_", "16C7e42F292c6912E7710c838347Ae178B4a"].concat();
        let call = Call::post("commenting", "/x", json!({"body": format!("a {token} b"), "n": 1}));
        assert_eq!(cleared(&call).unwrap().body.unwrap(), json!({"body": "a *** b", "n": 1}));
        assert_eq!(cleared(&call.clone().verbatim()).unwrap().body, call.body);
    }
}
