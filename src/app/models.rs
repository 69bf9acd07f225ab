//! The models: how they are reached, what they hold, and what it means that one has no price.

use std::sync::Arc;

use anyhow::bail;
use secrecy::SecretString;
use tracing::{info, warn};

use crate::config::{self, ModelProvider, ServerConfig};
use crate::model::{Model, ModelConfig, Provider, context_tokens};

/// What the model that works can hold: as stated, else as known.
pub(super) fn context_of_worker(model: &config::ModelConfig) -> u64 {
    model.context_tokens.unwrap_or_else(|| context_tokens(&model.name))
}

/// What the model that sums up can hold.
pub(super) fn context_of_summarizer(model: &config::ModelConfig) -> u64 {
    match model.brief_name.as_ref().filter(|name| **name != model.name) {
        Some(name) => context_tokens(name),
        None => context_of_worker(model),
    }
}

/// How a model of the configured provider is reached.
pub fn model_config(model: &config::ModelConfig, name: &str) -> ModelConfig {
    let provider = match model.provider {
        ModelProvider::Anthropic => Provider::Anthropic,
        ModelProvider::OpenAi => Provider::OpenAi,
    };
    let key = model.api_key.clone().unwrap_or_else(|| SecretString::from(String::new()));
    let mut wanted = ModelConfig::new(provider, name.to_owned(), key);
    wanted.url = Some(model.url.clone());
    wanted.price = model.stated_price(name);
    wanted
}

/// A model of the configured provider.
pub(super) fn model(config: &ServerConfig, name: &str) -> anyhow::Result<Arc<dyn Model>> {
    let model = crate::model::connect(model_config(&config.model, name))?;
    match model.price() {
        Some(price) => info!(
            model = model.name(),
            input = price.input,
            output = price.output,
            "US dollars for a million tokens"
        ),
        None => unpriced(config, model.name())?,
    }
    Ok(model)
}

/// What it means that nobody knows what the model costs: a warning where only tokens are to be
/// counted, an error where dollars are to be held.
fn unpriced(config: &ServerConfig, model: &str) -> anyhow::Result<()> {
    let remedy = "state its price in [model.price] or in model.prices_file";
    if config.require_price {
        bail!("budget.require_price: no price is known for {model}; {remedy}");
    }
    let caps = [("repository", config.caps.repository), ("installation", config.caps.installation)];
    for (payer, cap) in caps {
        if cap.usd.is_some() && cap.tokens.is_none() {
            bail!(
                "budget.{payer}_usd_per_day: no price is known for {model}, so that it cannot be held; {remedy}, \
                 or cap tokens with budget.{payer}_tokens_per_day"
            );
        }
    }
    warn!("no price is known for {model}: tokens only are counted, and no limit in dollars holds; {remedy}");
    Ok(())
}
