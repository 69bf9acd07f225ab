//! Writes each REST exchange as one line of JSON, for the contract's judges. Never a secret.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::call::Answer;
use super::dispatch::Incoming;

/// Fields of answers that open doors.
const SECRET_FIELDS: [&str; 4] = ["token", "pem", "client_secret", "webhook_secret"];

/// The record, if one is kept.
pub(super) struct Recorder(Option<Mutex<File>>);

impl Recorder {
    pub(super) fn new(path: Option<&Path>) -> std::io::Result<Self> {
        let file = path.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        Ok(Self(file.map(Mutex::new)))
    }

    /// Appends an exchange. A record that cannot be written is worth a warning, not an outage.
    pub(super) fn write(&self, request: &Incoming, answer: &Answer) {
        let Some(file) = &self.0 else { return };
        let line = format!("{}\n", exchange(request, answer));
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "the record of the exchanges cannot be written");
        }
    }
}

fn exchange(request: &Incoming, answer: &Answer) -> Value {
    let path = match &request.query {
        Some(query) => format!("{}?{query}", request.path),
        None => request.path.clone(),
    };
    let mut request_headers = request.headers.clone();
    if let Some(authorization) = request_headers.get_mut("authorization") {
        let scheme = authorization.split(' ').next().unwrap_or_default();
        *authorization = format!("{scheme} ***");
    }
    let response_headers: serde_json::Map<String, Value> =
        answer.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut response_body = answer.body.clone();
    redact(&mut response_body);
    let mut request_body = match request.body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&request.body)
            .unwrap_or_else(|_| json!(String::from_utf8_lossy(&request.body))),
    };
    redact(&mut request_body);
    json!({
        "at": jiff::Timestamp::now().to_string(),
        "method": request.method,
        "path": path,
        "request_headers": request_headers,
        "request_body": request_body,
        "status": answer.status,
        "response_headers": response_headers,
        "response_body": response_body,
    })
}

fn redact(body: &mut Value) {
    for field in SECRET_FIELDS {
        if let Some(Value::String(text)) = body.get_mut(field) {
            let kept = if text.starts_with("ghs_") { "ghs_" } else { "" };
            *text = format!("{kept}***");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn neither_the_header_nor_the_body_of_a_recorded_exchange_holds_a_secret() {
        let request = Incoming {
            method: "POST".into(),
            path: "/app/installations/1/access_tokens".into(),
            query: None,
            headers: BTreeMap::from([("authorization".into(), "Bearer eyJ.a.b".into())]),
            body: Vec::new(),
        };
        let answer = Answer::new(201, json!({"token": "ghs_secret", "expires_at": "2026-01-01T00:00:00Z"}));
        let line = exchange(&request, &answer).to_string();
        assert!(!line.contains("eyJ") && !line.contains("ghs_secret"), "{line}");
        assert!(line.contains("Bearer ***") && line.contains("ghs_***"), "{line}");
    }
}
