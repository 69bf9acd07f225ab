//! One value as it was written, with its origin: reads it as what its key takes, and words the error
//! if it is something else.

use std::net::SocketAddr;

use url::Url;

use super::error::ConfigError;
use super::key::{ConfigKey, ValueType, quoted};

/// A value as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// A number or a truth value, as spelled.
    Bare(String),
    List(Vec<String>),
    /// A type that no key takes.
    Other(&'static str),
}

/// A value with its key and its origin.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) key: &'static ConfigKey,
    /// "mendwright.toml line 4", or "environment variable MENDWRIGHT_…".
    pub(super) origin: String,
    pub(super) from_environment: bool,
    value: Value,
    is_hidden: bool,
}

impl Setting {
    pub(super) fn new(key: &'static ConfigKey, origin: String, from_environment: bool, value: Value) -> Self {
        Self { key, origin, from_environment, value, is_hidden: key.is_secret() }
    }

    /// The error for a value that cannot be used.
    pub(super) fn invalid(&self, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        const VALUE_CHARS_MAX: usize = 80;
        let value = match &self.value {
            _ if self.is_hidden => "\"…\"".to_owned(),
            Value::Text(text) => format!("{text:?}"),
            Value::Bare(text) => text.clone(),
            Value::List(list) => format!("{list:?}"),
            Value::Other(kind) => format!("({kind})"),
        };
        ConfigError::Value {
            origin: self.origin.clone(),
            key: self.key.name.to_owned(),
            value: value.chars().take(VALUE_CHARS_MAX).collect(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    pub(super) fn text(&self) -> Result<&str, ConfigError> {
        match &self.value {
            Value::Text(text) => Ok(text),
            Value::Bare(_) | Value::List(_) | Value::Other(_) => {
                Err(self.invalid("is not text", "put it in quotes"))
            }
        }
    }

    /// A whole number in the key's range.
    pub(super) fn integer<T: TryFrom<u64>>(&self) -> Result<T, ConfigError> {
        let ValueType::Integer { min, max } = self.key.value else { return Err(self.mistyped_key()) };
        let number = self.bare().and_then(|text| text.parse::<u64>().ok());
        number
            .filter(|number| (min..=max).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.not_in_range(&min.to_string(), &max.to_string()))
    }

    /// A number in the key's range.
    pub(super) fn decimal(&self) -> Result<f64, ConfigError> {
        let ValueType::Decimal { min, max } = self.key.value else { return Err(self.mistyped_key()) };
        let number = self.bare().and_then(|text| text.parse::<f64>().ok());
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.not_in_range(&min.to_string(), &max.to_string()))
    }

    fn not_in_range(&self, min: &str, max: &str) -> ConfigError {
        let remedy = format!("write a number from {min} to {max}, without quotes");
        self.invalid("is not a number in range", remedy)
    }

    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        self.bare()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.invalid("is neither true nor false", "write true or false, without quotes"))
    }

    /// One of the words that the key takes.
    pub(super) fn choice(&self) -> Result<&'static str, ConfigError> {
        let ValueType::Choice(words) = self.key.value else { return Err(self.mistyped_key()) };
        let text = self.text()?;
        words
            .iter()
            .copied()
            .find(|word| *word == text)
            .ok_or_else(|| self.invalid("is not a known value", format!("write {}", quoted(words))))
    }

    /// A list of texts: an array in the file, separated by commas in the environment.
    pub(super) fn list(&self) -> Result<Vec<String>, ConfigError> {
        match &self.value {
            Value::List(list) => Ok(list.clone()),
            Value::Text(text) if self.from_environment => Ok(text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()),
            Value::Text(_) | Value::Bare(_) | Value::Other(_) => {
                Err(self.invalid("is not a list", "write it as [\"one\", \"two\"]"))
            }
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.value, Value::List(_))
    }

    pub(super) fn socket_address(&self) -> Result<SocketAddr, ConfigError> {
        let remedy = "write an address and a port, as \"127.0.0.1:8080\" or \"[::]:8080\"";
        self.text()?.parse().map_err(|_| self.invalid("is not an address and a port", remedy))
    }

    /// An `http` or `https` address without credentials, query or fragment.
    pub(super) fn url(&self) -> Result<Url, ConfigError> {
        let text = self.text()?;
        let is_usable = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        };
        text.parse().ok().filter(is_usable).ok_or_else(|| {
            // The text before an '@' may be a password.
            let shown = Self { is_hidden: self.is_hidden || text.contains('@'), ..self.clone() };
            let remedy = "write it as \"https://host/path\", without user name, query or fragment";
            shown.invalid("is not a web address", remedy)
        })
    }

    /// A number or a truth value: bare in the file, any text in the environment.
    fn bare(&self) -> Option<&str> {
        match &self.value {
            Value::Bare(text) => Some(text.trim()),
            Value::Text(text) if self.from_environment => Some(text.trim()),
            Value::Text(_) | Value::List(_) | Value::Other(_) => None,
        }
    }

    /// The reader asks for another type than the table of keys says. A test reads every key, so that
    /// nobody sees this.
    fn mistyped_key(&self) -> ConfigError {
        self.invalid("is read as another type than its key has", "report this as a bug in Mendwright")
    }
}
