//! The models: how they are reached, how large their context is, and what a missing price means.

use std::sync::Arc;

use anyhow::bail;
use secrecy::SecretString;
use tracing::{info, warn};

use crate::config::{self, ServerConfig};
use crate::model::{Model, ModelConfig, context_tokens};

/// The context window of the model that works: as configured, else as known.
pub(super) fn context_of_worker(model: &config::ModelConfig) -> u64 {
    model.context_tokens.unwrap_or_else(|| context_tokens(&model.name))
}

/// The context window of the model that summarises.
pub(super) fn context_of_summarizer(model: &config::ModelConfig) -> u64 {
    match model.planner_name.as_ref().filter(|name| **name != model.name) {
        Some(name) => context_tokens(name),
        None => context_of_worker(model),
    }
}

/// How the model `name` of the configured provider is reached.
pub fn model_config(model: &config::ModelConfig, name: &str) -> ModelConfig {
    let key = model.api_key.clone().unwrap_or_else(|| SecretString::from(String::new()));
    let mut connection = ModelConfig::new(model.provider, name.to_owned(), key);
    connection.url = Some(model.url.clone());
    connection.price = model.stated_price(name);
    connection
}

/// The model `name` of the configured provider, connected.
pub(super) fn model(config: &ServerConfig, name: &str) -> anyhow::Result<Arc<dyn Model>> {
    let model = crate::model::connect(model_config(&config.model, name))?;
    match model.price() {
        Some(price) => info!(
            model = model.name(),
            usd_per_million_input = price.input,
            usd_per_million_output = price.output,
            "model connected"
        ),
        None => check_without_price(config, model.name())?,
    }
    Ok(model)
}

/// A model whose price is not known: an error if a limit in dollars depends on it, else a warning.
fn check_without_price(config: &ServerConfig, model: &str) -> anyhow::Result<()> {
    let remedy = "state its price in [model.price] or in model.prices_file";
    if config.budget.require_price {
        bail!("budget.require_price: no price is known for {model}; {remedy}");
    }
    let caps = &config.budget.daily_caps;
    let caps = [("repository", caps.repository), ("installation", caps.installation)];
    for (scope, cap) in caps {
        if cap.usd.is_some() && cap.tokens.is_none() {
            bail!(
                "budget.{scope}_usd_per_day: no price is known for {model}, so this cap cannot be enforced; \
                 {remedy}, or cap tokens with budget.{scope}_tokens_per_day"
            );
        }
    }
    warn!(
        "no price is known for {model}: only tokens are counted, and limits in dollars have no effect; {remedy}"
    );
    Ok(())
}
