//! The section `[model]`: which models work, how they are reached, and what they cost.

use secrecy::SecretString;
use url::Url;

use super::values::{known_url, warn_of_plain_http};
use crate::config::error::ConfigError;
use crate::config::key::{ConfigKey, ConfigSection, DefaultValue, ValueType};
use crate::config::raw::RawConfig;
use crate::config::secret::secret;
use crate::config::setting::Setting;
use crate::domain::{LongPromptPrice, ModelProvider, Price, PriceTable};

/// The value of `brief_name` that means: no brief.
const NO_BRIEF: &str = "none";

const RATE: ValueType = ValueType::Decimal { min: 0.0, max: 100_000.0 };

pub(super) const MODEL: ConfigSection = ConfigSection {
    name: "model",
    description: "Which models work, how they are reached, and what they cost. Prices are US dollars for a \
                  million tokens. A model that is neither in the built-in price table nor priced here has \
                  its tokens counted only.",
    keys: &[
        ConfigKey {
            name: "model.provider",
            value: ValueType::Choice(ModelProvider::NAMES),
            default: DefaultValue::Required,
            example: "\"anthropic\"",
            description: "Whose wire format the model's server speaks. Many servers of others speak \
                          `openai`, too.",
        },
        ConfigKey {
            name: "model.name",
            value: ValueType::Text,
            default: DefaultValue::Required,
            example: "\"claude-sonnet-4-5\"",
            description: "The model that works on issues, as its provider spells it.",
        },
        ConfigKey {
            name: "model.api_key_file",
            value: ValueType::Path,
            default: DefaultValue::Unset(
                "the provider's usual environment variable, such as `ANTHROPIC_API_KEY`",
            ),
            example: "\"/etc/mendwright/model-key\"",
            description: "A file with the provider's key. Everybody else must not be able to read it \
                          (`chmod 600`). A model at an address of your own (`model.url`) may do without a \
                          key.",
        },
        ConfigKey {
            name: "model.api_key",
            value: ValueType::Secret,
            default: DefaultValue::Unset("`model.api_key_file`"),
            example: "\"sk-…\"",
            description: "The key itself. Set it as an environment variable rather than in the file.",
        },
        ConfigKey {
            name: "model.url",
            value: ValueType::Url,
            default: DefaultValue::Unset("the provider's own address"),
            example: "\"https://models.example.org/v1\"",
            description: "The base address of the provider's API, for a gateway or a model of your own.",
        },
        ConfigKey {
            name: "model.brief_name",
            value: ValueType::Text,
            default: DefaultValue::Unset("no brief, and the model that works summarises long conversations"),
            example: "\"claude-haiku-4-5\"",
            description: "A cheaper model of the same provider. It writes a brief before the work begins, \
                          and summarises conversations that become too long. `none` turns it off.",
        },
        ConfigKey {
            name: "model.context_tokens",
            value: ValueType::Integer { min: 4_000, max: 10_000_000 },
            default: DefaultValue::Unset("known for known models, at most 200,000; 64,000 for all others"),
            example: "200_000",
            description: "The size of the context window of `model.name`, in tokens, its answer included.",
        },
        ConfigKey {
            name: "model.output_tokens_max",
            value: ValueType::Integer { min: 256, max: 1_000_000 },
            default: DefaultValue::Value("16_384"),
            example: "16_384",
            description: "The longest answer that the model may give in one turn, in tokens.",
        },
        ConfigKey {
            name: "model.price.input",
            value: RATE,
            default: DefaultValue::Unset("`model.prices_file`, then the built-in price table"),
            example: "3.0",
            description: "What input costs. It needs `model.price.output` too.",
        },
        ConfigKey {
            name: "model.price.output",
            value: RATE,
            default: DefaultValue::Unset("`model.prices_file`, then the built-in price table"),
            example: "15.0",
            description: "What output costs. It needs `model.price.input` too.",
        },
        ConfigKey {
            name: "model.price.cache_read",
            value: RATE,
            default: DefaultValue::Unset("`model.price.input`"),
            example: "0.3",
            description: "What input costs that is read from the provider's cache.",
        },
        ConfigKey {
            name: "model.price.cache_write",
            value: RATE,
            default: DefaultValue::Unset("`model.price.input` and a quarter more"),
            example: "3.75",
            description: "What input costs that is written to the provider's cache.",
        },
        ConfigKey {
            name: "model.price.long.above_tokens",
            value: ValueType::Integer { min: 1, max: 1_000_000_000 },
            default: DefaultValue::Unset("long prompts cost the same"),
            example: "200_000",
            description: "The length of a prompt, in tokens, above which the prices of `model.price.long` \
                          hold.",
        },
        ConfigKey {
            name: "model.price.long.input",
            value: RATE,
            default: DefaultValue::Unset("long prompts cost the same"),
            example: "6.0",
            description: "What input costs in a call with a long prompt.",
        },
        ConfigKey {
            name: "model.price.long.output",
            value: RATE,
            default: DefaultValue::Unset("long prompts cost the same"),
            example: "22.5",
            description: "What output costs in a call with a long prompt.",
        },
        ConfigKey {
            name: "model.price.long.cache_read",
            value: RATE,
            default: DefaultValue::Unset("`model.price.long.input`"),
            example: "0.6",
            description: "What a cache read costs in a call with a long prompt.",
        },
        ConfigKey {
            name: "model.price.long.cache_write",
            value: RATE,
            default: DefaultValue::Unset("`model.price.long.input` and a quarter more"),
            example: "7.5",
            description: "What a cache write costs in a call with a long prompt.",
        },
        ConfigKey {
            name: "model.prices_file",
            value: ValueType::Path,
            default: DefaultValue::Unset("the built-in price table only"),
            example: "\"prices.toml\"",
            description: "A file with `[[price]]` tables (`model`, `input`, `output`, `cache_read`, \
                          `cache_write`), as in `src/model/prices.toml`. It takes precedence over the \
                          built-in table.",
        },
    ],
};

/// The models.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// The wire format.
    pub provider: ModelProvider,
    /// The base address.
    pub url: Url,
    /// The key; `None`: the address needs none (a model of one's own).
    pub api_key: Option<SecretString>,
    /// The model that works.
    pub name: String,
    /// The cheaper model that writes the brief and summarises long conversations; `None`: there is no
    /// brief, and the model that works summarises.
    pub planner_name: Option<String>,
    /// The context window of `name`, in tokens, if the operator states it.
    pub context_tokens: Option<u64>,
    /// The longest answer, in tokens.
    pub output_tokens_max: u32,
    /// The price of `name`, if the operator states it.
    pub price: Option<Price>,
    /// The operator's own price table, which takes precedence over the built-in one.
    pub prices: PriceTable,
}

impl ModelConfig {
    /// The price of a model, if the operator states it.
    pub fn stated_price(&self, model: &str) -> Option<Price> {
        self.price.filter(|_| model == self.name).or_else(|| self.prices.price_of(model))
    }
}

const NAME_REMEDY: &str = "write the model's name as the provider spells it";
const RATES_REMEDY: &str = "write US dollars for a million tokens, or remove [model.price]";

pub(super) fn model(
    raw: &RawConfig,
    environment: &[(String, String)],
    warnings: &mut Vec<String>,
) -> Result<ModelConfig, ConfigError> {
    let remedy = format!("write \"{}\"", ModelProvider::NAMES.join("\" or \""));
    let setting = raw.require("model.provider", &remedy)?;
    let provider = ModelProvider::from_name(setting.choice()?)
        .ok_or_else(|| setting.invalid("is unknown", remedy.as_str()))?;
    let variable = provider.key_variable();
    let own_url = raw.url("model.url")?;
    let api_key = match secret(raw, "model.api_key", "model.api_key_file")? {
        Some((key, _)) => Some(key),
        None => environment
            .iter()
            .find(|(name, value)| name == variable && !value.trim().is_empty())
            .map(|(_, value)| value.trim().into()),
    };
    if api_key.is_none() && own_url.is_none() {
        let remedy = format!("write the path of a file with the key, or set {variable} in the environment");
        return Err(raw.missing("model.api_key_file", remedy));
    }
    let url = own_url.unwrap_or_else(|| known_url(provider.default_url()));
    if api_key.is_some() {
        warn_of_plain_http(&url, "model.url", warnings);
    }
    Ok(ModelConfig {
        provider,
        url,
        api_key,
        name: model_name(raw.require("model.name", NAME_REMEDY)?)?,
        planner_name: raw
            .get("model.brief_name")
            .map(model_name)
            .transpose()?
            .filter(|name| name != NO_BRIEF),
        context_tokens: raw.optional_integer("model.context_tokens")?,
        output_tokens_max: raw.integer("model.output_tokens_max")?,
        price: price(raw)?,
        prices: prices(raw)?,
    })
}

fn model_name(setting: &Setting) -> Result<String, ConfigError> {
    let name = setting.text()?.trim();
    if name.is_empty() {
        return Err(setting.invalid("is empty", NAME_REMEDY));
    }
    Ok(name.to_owned())
}

fn price(raw: &RawConfig) -> Result<Option<Price>, ConfigError> {
    let Some(rates) = rates(raw, "model.price")? else { return Ok(None) };
    let above = raw.optional_integer("model.price.long.above_tokens")?;
    let long = match (above, self::rates(raw, "model.price.long")?) {
        (Some(above_tokens), Some([input, output, cache_read, cache_write])) => {
            Some(LongPromptPrice { above_tokens, input, output, cache_read, cache_write })
        }
        (None, None) => None,
        (None, Some(_)) => {
            let remedy = "write the length of a prompt, in tokens, above which these prices hold";
            return Err(raw.missing("model.price.long.above_tokens", remedy));
        }
        (Some(_), None) => return Err(raw.missing("model.price.long.input", RATES_REMEDY)),
    };
    let [input, output, cache_read, cache_write] = rates;
    Ok(Some(Price { long, ..Price::flat(input, output, cache_read, cache_write) }))
}

/// Input, output, cache reads (the price of input if not stated) and cache writes (a quarter more than
/// input if not stated).
fn rates(raw: &RawConfig, section: &str) -> Result<Option<[f64; 4]>, ConfigError> {
    let amount = |rate: &str| raw.decimal(&format!("{section}.{rate}"));
    let (input, output) = (amount("input")?, amount("output")?);
    let (cache_read, cache_write) = (amount("cache_read")?, amount("cache_write")?);
    match (input, output) {
        (Some(input), Some(output)) => {
            Ok(Some([input, output, cache_read.unwrap_or(input), cache_write.unwrap_or(input * 1.25)]))
        }
        (None, None) if cache_read.is_none() && cache_write.is_none() => Ok(None),
        (None, _) => Err(raw.missing(&format!("{section}.input"), RATES_REMEDY)),
        (Some(_), None) => Err(raw.missing(&format!("{section}.output"), RATES_REMEDY)),
    }
}

/// The operator's own price table.
fn prices(raw: &RawConfig) -> Result<PriceTable, ConfigError> {
    const BYTES_MAX: u64 = 1 << 20;
    let Some(setting) = raw.get("model.prices_file") else { return Ok(PriceTable::default()) };
    let remedy = "write [[price]] tables with model, input, output, cache_read and cache_write in it";
    let path = raw.resolve(setting.text()?);
    let invalid = |problem: String| setting.invalid(problem, remedy);
    let bytes = std::fs::metadata(&path).map_err(|error| invalid(format!("cannot be read ({error})")))?.len();
    if bytes > BYTES_MAX {
        return Err(invalid(format!("has {bytes} bytes; at most {BYTES_MAX} are read")));
    }
    let text =
        std::fs::read_to_string(&path).map_err(|error| invalid(format!("cannot be read ({error})")))?;
    PriceTable::parse(&text).map_err(|error| invalid(format!("cannot be used ({error})")))
}
