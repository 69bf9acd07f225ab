//! Checks whether a provider can be reached and accepts the key, by requesting its list of models, which
//! is free.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Deserialize;

use super::connection::{InvalidModelConfig, ModelConfig, checked_url, headers, http_client, models_address};

/// For the whole exchange.
const TIME_MAX: Duration = Duration::from_secs(20);
/// A list of a thousand models is shorter.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The result of the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderAccess {
    /// The provider lists the model.
    Listed,
    /// The provider accepts the key and does not list the model; some servers list other names.
    NotListed {
        /// Some of the models that it lists.
        some: Vec<String>,
    },
    /// The provider accepts the key, or needs none, and has no such list.
    NoList,
    /// The provider refuses the key.
    KeyRefused {
        /// HTTP status.
        status: u16,
    },
    /// The provider cannot be reached, or fails.
    Unreachable {
        /// What went wrong.
        why: String,
    },
}

#[derive(Deserialize)]
struct List {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
}

/// Requests the list of models.
/// Sources: docs.anthropic.com, "List Models"; platform.openai.com, "List models".
pub async fn check_access(config: &ModelConfig) -> Result<ProviderAccess, InvalidModelConfig> {
    let (url, shown) = checked_url(config.url.as_ref(), config.provider)?;
    let key = config.api_key.expose_secret().trim();
    let headers = headers(config.provider, key)
        .ok_or_else(|| InvalidModelConfig::UnusableKey { url: shown.clone() })?;
    let client = http_client(&url, config.limits)
        .map_err(|error| InvalidModelConfig::Client { url: shown, why: error.to_string() })?;
    let url = models_address(url, config.provider);
    let unreachable = |error: reqwest::Error| ProviderAccess::Unreachable { why: describe(&error) };
    let mut answer = match client.get(url).headers(headers).timeout(TIME_MAX).send().await {
        Ok(answer) => answer,
        Err(error) => return Ok(unreachable(error)),
    };
    let status = answer.status().as_u16();
    match status {
        200 => {}
        401 | 403 => return Ok(ProviderAccess::KeyRefused { status }),
        404 | 405 | 501 => return Ok(ProviderAccess::NoList),
        _ => return Ok(ProviderAccess::Unreachable { why: format!("it answers with status {status}") }),
    }
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) if body.len() + piece.len() <= ANSWER_BYTES_MAX => body.extend_from_slice(&piece),
            Ok(Some(_)) => return Ok(ProviderAccess::NoList),
            Ok(None) => break,
            Err(error) => return Ok(unreachable(error)),
        }
    }
    let Ok(List { data }) = serde_json::from_slice(&body) else { return Ok(ProviderAccess::NoList) };
    if data.iter().any(|entry| entry.id == config.name) {
        return Ok(ProviderAccess::Listed);
    }
    const SHOWN_MAX: usize = 5;
    Ok(ProviderAccess::NotListed { some: data.into_iter().take(SHOWN_MAX).map(|entry| entry.id).collect() })
}

/// The innermost cause says most, and does not contain the URL.
fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
