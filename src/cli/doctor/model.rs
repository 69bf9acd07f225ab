//! The model provider: whether it accepts the key and has the model, and what the model costs.

use super::report::{Check, Report};
use crate::app::model_config;
use crate::config::ModelConfig;
use crate::domain::Message;
use crate::model::{ModelRequest, ProviderAccess, check_access, connect, known_price};

pub(super) async fn check(config: &ModelConfig, really_call: bool, report: &mut Report) {
    let connection = model_config(config, &config.name);
    let (name, url) = (&config.name, &config.url);
    let key =
        "Set model.api_key_file (or MENDWRIGHT_MODEL_API_KEY) to a key that the provider has not revoked.";
    report.add(match check_access(&connection).await {
        Ok(ProviderAccess::Listed) => Check::ok("model", format!("{url} accepts the key and has {name}")),
        Ok(ProviderAccess::NoList) => {
            let what = format!("{url} has no list of models, so {name} could not be looked up");
            Check::warning("model", what, "Run this with --model-call to find out.")
        }
        Ok(ProviderAccess::NotListed { some }) => {
            let some = if some.is_empty() { "none".to_owned() } else { some.join(", ") };
            let what = format!("{url} accepts the key, but {name} is not in its list of models ({some})");
            Check::warning("model", what, "Check that model.name is spelled as the provider spells it.")
        }
        Ok(ProviderAccess::KeyRefused { status }) => {
            Check::failure("model", format!("{url} refuses the key (status {status})"), key)
        }
        Ok(ProviderAccess::Unreachable { why }) => {
            let remedy =
                "Check that this machine can reach it (name, proxy, firewall), and that model.url is right.";
            Check::failure("model", format!("{url} cannot be reached: {why}"), remedy)
        }
        Err(error) => {
            Check::failure("model", error.to_string(), "Correct this; the service does not start without it.")
        }
    });
    if really_call {
        report.add(call(config).await);
    }
    let names = [Some(name), config.planner_name.as_ref()].into_iter().flatten();
    for name in names {
        report.add(match config.stated_price(name).or_else(|| known_price(name)) {
            Some(price) => {
                let what = format!("{name}: ${} in, ${} out for a million tokens", price.input, price.output);
                Check::ok("price", what)
            }
            None => Check::warning(
                "price",
                format!("no price is known for {name}, so budget.usd has no effect"),
                "State its price in [model.price]; the limits of tokens, turns and minutes hold without it.",
            ),
        });
    }
}

/// Asks the model for one word.
async fn call(config: &ModelConfig) -> Check {
    const OUTPUT_TOKENS_MAX: u32 = 64;
    let model = match connect(model_config(config, &config.name)) {
        Ok(model) => model,
        Err(error) => return Check::failure("model call", error.to_string(), "Correct this."),
    };
    let request = ModelRequest {
        anchor: None,
        system: "You answer with one word.".to_owned(),
        messages: vec![Message::User { text: "Say: ready".to_owned() }],
        tools: [].into(),
        output_tokens_max: OUTPUT_TOKENS_MAX,
    };
    match model.complete(&request).await {
        Ok(reply) => {
            let tokens = reply.usage.input_tokens + reply.usage.output_tokens;
            let usd = model.price().map(|price| format!(", ${:.4}", price.of(&reply.usage)));
            let what = format!("{} answered ({tokens} tokens{})", reply.model, usd.unwrap_or_default());
            Check::ok("model call", what)
        }
        Err(error) => {
            let remedy = "Read the provider's message: it may be the key, the credit, the model's name, or a limit of the account.";
            Check::failure("model call", error.to_string(), remedy)
        }
    }
}
