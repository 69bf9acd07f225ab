//! Connects to a configured model: checks the URL and the key, and builds the HTTP client.

use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::exchange::{Exchange, ExchangeLimits};
use super::failure::Target;
use super::providers::{OutputLimitParameter, wire_format};
use super::wire_format::ModelConnection;
use super::{Model, RetryPolicy, known_price};
use crate::domain::{Price, is_loopback};

pub use crate::domain::ModelProvider as Provider;

/// The configuration of one model.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Whose wire format.
    pub provider: Provider,
    /// The base URL; `None` for the provider's own. With OpenAI's format it usually ends in `/v1`.
    pub url: Option<Url>,
    /// The key. It may be empty only for a server at a configured URL that needs none.
    pub api_key: SecretString,
    /// The model's name at the provider.
    pub name: String,
    /// Its price; `None` for the price of the built-in table, if there is one.
    pub price: Option<Price>,
    /// With OpenAI's format: the parameter for the output limit.
    pub output_limit_parameter: OutputLimitParameter,
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// Bounds on one exchange.
    pub limits: ExchangeLimits,
}

impl ModelConfig {
    /// A configuration with defaults for the rest.
    pub fn new(provider: Provider, name: impl Into<String>, api_key: SecretString) -> Self {
        Self {
            provider,
            url: None,
            api_key,
            name: name.into(),
            price: None,
            output_limit_parameter: OutputLimitParameter::default(),
            retry: RetryPolicy::default(),
            limits: ExchangeLimits::default(),
        }
    }
}

/// A model configuration that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum InvalidModelConfig {
    /// No model name.
    #[error("no model name is configured for the provider {provider}; set the model's name")]
    NoName {
        /// Which provider.
        provider: &'static str,
    },
    /// No key, although the URL needs one.
    #[error(
        "no API key is configured for the model provider at {url}; set the model's API key (MENDWRIGHT_MODEL_API_KEY)"
    )]
    NoKey {
        /// Its address.
        url: String,
    },
    /// The key cannot be sent.
    #[error(
        "the API key for the model provider at {url} has characters that no key has (line breaks?); set it again"
    )]
    UnusableKey {
        /// Its address.
        url: String,
    },
    /// The URL cannot be used.
    #[error("the model provider's address {url} cannot be used: {why}")]
    UnusableUrl {
        /// The address, without credentials.
        url: String,
        /// What is wrong and what to do.
        why: &'static str,
    },
    /// The HTTP client could not be built.
    #[error("the HTTP client for the model provider at {url} cannot be set up: {why}")]
    Client {
        /// Its address.
        url: String,
        /// What went wrong.
        why: String,
    },
}

/// Checks the configuration and returns the model. Sends no request.
pub fn connect(config: ModelConfig) -> Result<Arc<dyn Model>, InvalidModelConfig> {
    let provider = config.provider;
    let name = config.name.trim().to_owned();
    if name.is_empty() {
        return Err(InvalidModelConfig::NoName { provider: provider.name() });
    }
    let (base, shown) = checked_url(config.url.as_ref(), provider)?;
    let key = config.api_key.expose_secret().trim();
    if key.is_empty() && config.url.is_none() {
        return Err(InvalidModelConfig::NoKey { url: shown });
    }
    let headers =
        headers(provider, key).ok_or_else(|| InvalidModelConfig::UnusableKey { url: shown.clone() })?;
    let client = http_client(&base, config.limits)
        .map_err(|error| InvalidModelConfig::Client { url: shown.clone(), why: error.to_string() })?;
    let exchange = Exchange {
        client,
        endpoint: endpoint(base, provider),
        headers,
        key: SecretString::from(key.to_owned()),
        target: Target { url: shown, model: name.clone() },
        limits: config.limits,
    };
    let price = config.price.or_else(|| known_price(&name));
    let wants_max_tokens = match config.output_limit_parameter {
        OutputLimitParameter::MaxTokens => true,
        OutputLimitParameter::MaxCompletionTokens => false,
    };
    let connection = ModelConnection { name, price, exchange, retry: config.retry, wants_max_tokens };
    Ok((wire_format(provider).connect)(connection))
}

/// The base URL, and the same URL without anything secret.
pub(super) fn checked_url(
    url: Option<&Url>,
    provider: Provider,
) -> Result<(Url, String), InvalidModelConfig> {
    let url = match url {
        Some(url) => url.clone(),
        None => provider.default_url().parse().expect("the built-in addresses are addresses"),
    };
    let mut shown = url.clone();
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    // Neither can fail for a URL with a host, and a URL without one is refused below.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    let shown = shown.as_str().trim_end_matches('/').to_owned();
    let why = if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        Some("it must begin with https:// or http:// and name a host")
    } else if has_credentials {
        Some("it carries a user name or password; configure the key as the API key instead")
    } else if url.query().is_some() || url.fragment().is_some() {
        Some("it has a query or a fragment; leave only the base path")
    } else {
        None
    };
    match why {
        Some(why) => Err(InvalidModelConfig::UnusableUrl { url: shown, why }),
        None => Ok((url, shown)),
    }
}

/// The address of the provider's endpoint below a base address.
fn endpoint(mut base: Url, provider: Provider) -> Url {
    let path = (wire_format(provider).endpoint)(base.path().trim_end_matches('/'));
    base.set_path(&path);
    base
}

/// The address of the provider's list of models below a base address.
pub(super) fn models_address(mut base: Url, provider: Provider) -> Url {
    let format = wire_format(provider);
    let path = (format.models_path)(base.path().trim_end_matches('/'));
    base.set_path(&path);
    base.set_query(format.models_query);
    base
}

/// The headers of every request; `None` if the key cannot be in a header.
pub(super) fn headers(provider: Provider, key: &str) -> Option<HeaderMap> {
    let format = wire_format(provider);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    for (name, value) in format.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if !key.is_empty() {
        let (name, value) = (format.key_header)(key);
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(name), value);
    }
    Some(headers)
}

/// Without redirects, which could send the key to another host; without compression, which delays events;
/// and without a proxy for a server on this machine.
pub(super) fn http_client(base: &Url, limits: ExchangeLimits) -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .gzip(false)
        .connect_timeout(limits.connect_time_max)
        .user_agent(concat!("mendwright/", env!("CARGO_PKG_VERSION")));
    if is_loopback(base) { builder.no_proxy().build() } else { builder.build() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(provider: Provider, url: &str, key: &str) -> ModelConfig {
        let url = (!url.is_empty()).then(|| url.parse().unwrap());
        ModelConfig { url, ..ModelConfig::new(provider, "m-1", SecretString::from(key)) }
    }

    #[test]
    fn urls_with_and_without_v1_have_the_same_endpoint() {
        let at = |url: &str, provider| endpoint(url.parse().unwrap(), provider).to_string();
        for base in
            ["https://p.example", "https://p.example/", "https://p.example/v1", "https://p.example/v1/"]
        {
            assert_eq!(at(base, Provider::Anthropic), "https://p.example/v1/messages");
        }
        assert_eq!(at("https://p.example/x", Provider::Anthropic), "https://p.example/x/v1/messages");
        assert_eq!(at("https://p.example/v1/", Provider::OpenAi), "https://p.example/v1/chat/completions");
    }

    #[test]
    fn invalid_configuration_is_rejected_without_showing_the_secret() {
        let error = |config| connect(config).err().expect("it was accepted").to_string();
        let messages = [
            error(ModelConfig::new(Provider::Anthropic, " ", SecretString::from("k"))),
            error(config(Provider::OpenAi, "", "")),
            error(config(Provider::OpenAi, "", "hidden\nkey")),
            error(config(Provider::OpenAi, "ftp://p.example/v1", "hidden-key")),
            error(config(Provider::OpenAi, "https://me:hidden@p.example/v1", "hidden-key")),
            error(config(Provider::OpenAi, "https://p.example/v1?key=hidden", "hidden-key")),
        ];
        for message in &messages {
            assert!(!message.contains("hidden"), "{message}");
        }
        insta::assert_snapshot!(messages.join("\n"), @r"
        no model name is configured for the provider anthropic; set the model's name
        no API key is configured for the model provider at https://api.openai.com/v1; set the model's API key (MENDWRIGHT_MODEL_API_KEY)
        the API key for the model provider at https://api.openai.com/v1 has characters that no key has (line breaks?); set it again
        the model provider's address ftp://p.example/v1 cannot be used: it must begin with https:// or http:// and name a host
        the model provider's address https://p.example/v1 cannot be used: it carries a user name or password; configure the key as the API key instead
        the model provider's address https://p.example/v1 cannot be used: it has a query or a fragment; leave only the base path
        ");
    }

    #[test]
    fn key_is_marked_sensitive_and_optional_for_a_configured_url() {
        for provider in [Provider::Anthropic, Provider::OpenAi] {
            assert!(!format!("{:?}", headers(provider, "hidden-key")).contains("hidden"));
            assert!(connect(config(provider, "http://127.0.0.1:11434/v1", "")).is_ok());
        }
    }

    #[test]
    fn configured_price_takes_precedence_over_the_table() {
        let own = Price::flat(1.0, 2.0, 0.5, 1.0);
        let named = |price| ModelConfig {
            name: "claude-opus-4-5".into(),
            price,
            ..config(Provider::Anthropic, "", "k")
        };
        assert_eq!(connect(named(Some(own))).unwrap().price(), Some(own));
        assert_eq!(connect(named(None)).unwrap().price(), known_price("claude-opus-4-5"));
        assert_eq!(connect(config(Provider::Anthropic, "", "k")).unwrap().price(), None);
    }
}
