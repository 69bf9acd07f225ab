//! The section `[model]`.

use super::values::{known_url, number, warn_of_plain_http, web_address};
use super::{ModelConfig, ModelPrice, ModelProvider};
use crate::config::given::{ConfigError, Given};
use crate::config::secret::secret;

/// What `brief_name` says where nobody is to write a brief.
const NO_BRIEF: &str = "none";

const OUTPUT_TOKENS_DEFAULT: u32 = 16_384;

pub(super) fn model(
    given: &Given,
    environment: &[(String, String)],
    warnings: &mut Vec<String>,
) -> Result<ModelConfig, ConfigError> {
    let found = given
        .get("model.provider")
        .ok_or_else(|| given.missing("model.provider", "write \"anthropic\" or \"openai\""))?;
    let (provider, url, variable) = match found.text()? {
        "anthropic" => (ModelProvider::Anthropic, "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
        "openai" => (ModelProvider::OpenAi, "https://api.openai.com/v1", "OPENAI_API_KEY"),
        _ => return Err(found.wrong("is no provider", "write \"anthropic\" or \"openai\"")),
    };
    let own_url = web_address(given, "model.url")?;
    let api_key = match secret(given, "model.api_key", "model.api_key_file")? {
        Some((key, _)) => Some(key),
        None => environment
            .iter()
            .find(|(name, value)| name == variable && !value.trim().is_empty())
            .map(|(_, value)| value.trim().into()),
    };
    if api_key.is_none() && own_url.is_none() {
        let remedy = format!("write the path of a file with the key; {variable} in the environment does too");
        return Err(given.missing("model.api_key_file", remedy));
    }
    let url = own_url.unwrap_or_else(|| known_url(url));
    if api_key.is_some() {
        warn_of_plain_http(&url, "model.url", warnings);
    }
    let name = required_name(given, "model.name")?
        .ok_or_else(|| given.missing("model.name", "write the model's name as the provider spells it"))?;
    Ok(ModelConfig {
        provider,
        url,
        api_key,
        name,
        brief_name: required_name(given, "model.brief_name")?.filter(|name| name != NO_BRIEF),
        context_tokens: number(given, "model.context_tokens", 4_000..=10_000_000)?,
        output_tokens_max: number(given, "model.output_tokens_max", 256..=1_000_000)?
            .unwrap_or(OUTPUT_TOKENS_DEFAULT),
        price: price(given)?,
    })
}

fn required_name(given: &Given, key: &'static str) -> Result<Option<String>, ConfigError> {
    let Some(found) = given.get(key) else { return Ok(None) };
    let name = found.text()?.trim();
    if name.is_empty() {
        return Err(found.wrong("is empty", "write the model's name as the provider spells it"));
    }
    Ok(Some(name.to_owned()))
}

fn price(given: &Given) -> Result<Option<ModelPrice>, ConfigError> {
    let amount = |key| number(given, key, 0.0..=100_000.0);
    let (input, output) = (amount("model.price.input")?, amount("model.price.output")?);
    let (cache_read, cache_write) = (amount("model.price.cache_read")?, amount("model.price.cache_write")?);
    let remedy = "write US dollars for a million tokens, or remove [model.price]";
    match (input, output) {
        (Some(input), Some(output)) => Ok(Some(ModelPrice {
            input,
            output,
            cache_read: cache_read.unwrap_or(input),
            cache_write: cache_write.unwrap_or(input * 1.25),
        })),
        (None, None) if cache_read.is_none() && cache_write.is_none() => Ok(None),
        (None, _) => Err(given.missing("model.price.input", remedy)),
        (Some(_), None) => Err(given.missing("model.price.output", remedy)),
    }
}
