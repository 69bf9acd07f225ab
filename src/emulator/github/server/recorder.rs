//! Writes each REST exchange as one line of JSON, for the contract tests. Never a secret.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::github::rest::{ApiRequest, ApiResponse};

/// Fields of bodies that hold secrets.
const SECRET_FIELDS: [&str; 4] = ["token", "pem", "client_secret", "webhook_secret"];

/// Writes the record, if there is one.
pub(crate) struct Recorder(Option<Mutex<File>>);

impl Recorder {
    pub(crate) fn new(path: Option<&Path>) -> std::io::Result<Self> {
        let file = path.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        Ok(Self(file.map(Mutex::new)))
    }

    /// Appends an exchange. A record that cannot be written causes a warning, not a failed request.
    pub(crate) fn write(&self, request: &ApiRequest, response: &ApiResponse) {
        let Some(file) = &self.0 else { return };
        let line = format!("{}\n", exchange(request, response));
        let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "could not write the record of exchanges");
        }
    }
}

fn exchange(request: &ApiRequest, response: &ApiResponse) -> Value {
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
        response.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut response_body = response.body.clone();
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
        "status": response.status,
        "response_headers": response_headers,
        "response_body": response_body,
    })
}

fn redact(body: &mut Value) {
    for field in SECRET_FIELDS {
        if let Some(Value::String(text)) = body.get_mut(field) {
            let prefix = if text.starts_with("ghs_") { "ghs_" } else { "" };
            *text = format!("{prefix}***");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn recorded_exchange_holds_no_secret_in_headers_or_body() {
        let request = ApiRequest {
            method: "POST".into(),
            path: "/app/installations/1/access_tokens".into(),
            query: None,
            headers: BTreeMap::from([("authorization".into(), "Bearer eyJ.a.b".into())]),
            body: Vec::new(),
        };
        let response =
            ApiResponse::new(201, json!({"token": "ghs_secret", "expires_at": "2026-01-01T00:00:00Z"}));
        let line = exchange(&request, &response).to_string();
        assert!(!line.contains("eyJ") && !line.contains("ghs_secret"), "{line}");
        assert!(line.contains("Bearer ***") && line.contains("ghs_***"), "{line}");
    }
}
