//! Prices of models, and tables of prices. Knows no model by name and never asks a provider.

use serde::{Deserialize, Serialize};

use super::Usage;

/// US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Input.
    pub input: f64,
    /// Output.
    pub output: f64,
    /// Input read from the cache.
    pub cache_read: f64,
    /// Input written to the cache.
    pub cache_write: f64,
    /// The price of calls with a long prompt, if the provider charges more for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<LongPromptPrice>,
}

/// US dollars for a million tokens of a call with a prompt beyond a bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LongPromptPrice {
    /// Input tokens, cached ones included, up to which the usual price applies.
    pub above_tokens: u64,
    /// Input.
    pub input: f64,
    /// Output.
    pub output: f64,
    /// Input read from the cache.
    pub cache_read: f64,
    /// Input written to the cache.
    pub cache_write: f64,
}

impl Price {
    /// A price that does not depend on the prompt's length.
    pub fn flat(input: f64, output: f64, cache_read: f64, cache_write: f64) -> Self {
        Self { input, output, cache_read, cache_write, long: None }
    }

    /// An invalid rate, with its name.
    fn unusable_amount(&self) -> Option<(&'static str, f64)> {
        let rates = |input, output, read, write| {
            [("input", input), ("output", output), ("cache_read", read), ("cache_write", write)]
        };
        let long = self.long.map(|long| rates(long.input, long.output, long.cache_read, long.cache_write));
        rates(self.input, self.output, self.cache_read, self.cache_write)
            .into_iter()
            .chain(long.into_iter().flatten())
            .find(|(_, amount)| !amount.is_finite() || *amount < 0.0)
    }

    /// What one call with this `usage` costs, in US dollars.
    pub fn of(&self, usage: &Usage) -> f64 {
        let price = self.for_prompt(usage.prompt());
        let cost = |tokens: u64, per_million: f64| tokens as f64 * per_million / 1e6;
        cost(usage.input_tokens, price.input)
            + cost(usage.output_tokens, price.output)
            + cost(usage.cache_read_tokens, price.cache_read)
            + cost(usage.cache_write_tokens, price.cache_write)
    }

    /// The most that a call can cost, in US dollars: the whole prompt at its highest rate.
    pub fn worst_case(&self, prompt_tokens: u64, output_tokens: u64) -> f64 {
        let price = self.for_prompt(prompt_tokens);
        let highest = price.input.max(price.cache_write).max(price.cache_read);
        (prompt_tokens as f64 * highest + output_tokens as f64 * price.output) / 1e6
    }

    fn for_prompt(&self, prompt_tokens: u64) -> Self {
        match self.long {
            Some(long) if prompt_tokens > long.above_tokens => {
                Self::flat(long.input, long.output, long.cache_read, long.cache_write)
            }
            Some(_) | None => *self,
        }
    }
}

/// Prices of models by their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PriceTable {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct RawTable {
    price: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Row {
    model: String,
    #[serde(flatten)]
    price: Price,
}

/// An invalid price table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrices {
    /// It is not in the format.
    #[error("line {line}: {why}")]
    Format {
        /// From 1.
        line: usize,
        /// The parser's message.
        why: String,
    },
    /// It lists a model twice.
    #[error("the model {0} is listed twice")]
    Twice(String),
    /// An invalid amount.
    #[error(
        "the model {model} has the price {amount} for {what}; it is US dollars for a million tokens, 0 or more"
    )]
    Amount {
        /// The model.
        model: String,
        /// The rate.
        what: &'static str,
        /// The amount as it was written.
        amount: String,
    },
}

impl PriceTable {
    /// Reads a table in TOML: `[[price]]` with `model`, `input`, `output`, `cache_read`,
    /// `cache_write`, and `long` if long prompts cost more.
    pub fn parse(text: &str) -> Result<Self, InvalidPrices> {
        let format = |error: toml::de::Error| {
            let before = error.span().map_or(0, |span| text[..span.start].matches('\n').count());
            InvalidPrices::Format { line: before + 1, why: error.message().to_owned() }
        };
        let RawTable { price: rows } = toml::from_str(text).map_err(format)?;
        for (index, Row { model, price }) in rows.iter().enumerate() {
            if model.is_empty() || rows[..index].iter().any(|other| other.model == *model) {
                return Err(InvalidPrices::Twice(model.clone()));
            }
            if let Some((what, amount)) = price.unusable_amount() {
                return Err(InvalidPrices::Amount { model: model.clone(), what, amount: amount.to_string() });
            }
        }
        Ok(Self { rows })
    }

    /// The price of a model: of its own name, or of the longest name of which it is a dated or `-latest` release. `None` if
    /// the table does not list it.
    pub fn price_of(&self, model: &str) -> Option<Price> {
        // Gateways put the maker before the name: "anthropic/claude-…".
        let name = model.rsplit('/').next().unwrap_or(model);
        let is_meant = |row: &&Row| {
            row.model == model || name.strip_prefix(row.model.as_str()).is_some_and(is_release_suffix)
        };
        self.rows.iter().filter(is_meant).max_by_key(|row| row.model.len()).map(|row| row.price)
    }
}

/// Whether the rest of a model's name only says which release it is.
fn is_release_suffix(rest: &str) -> bool {
    if rest.is_empty() {
        return true;
    }
    let Some(release) = rest.strip_prefix(['-', '@']) else { return false };
    let digits = release.chars().filter(char::is_ascii_digit).count();
    let dashes = release.matches('-').count();
    release == "latest"
        || (digits == 8 && digits + dashes == release.len() && matches!(dashes, 0 | 2))
        || (digits == 4 && release.len() == 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        [[price]]
        model = "big-4"
        input = 3
        output = 15.0
        cache_read = 0.3
        cache_write = 3.75
        [[price]]
        model = "big-4-mini"
        input = 1.0
        output = 5.0
        cache_read = 0.1
        cache_write = 1.25
        [[price]]
        model = "house/own"
        input = 0
        output = 0
        cache_read = 0
        cache_write = 0
        long = { above_tokens = 1000, input = 1, output = 2, cache_read = 0.5, cache_write = 1 }
    "#;

    #[test]
    fn row_applies_to_a_model_and_its_releases_only() {
        let table = PriceTable::parse(TABLE).unwrap();
        let input = |model| table.price_of(model).map(|price| price.input);
        for same in ["big-4", "big-4-20260101", "big-4-2026-01-01", "big-4-latest", "maker/big-4@20260101"] {
            assert_eq!(input(same), Some(3.0), "{same}");
        }
        assert_eq!(input("big-4-mini-latest"), Some(1.0));
        assert_eq!(input("house/own"), Some(0.0), "a name with a slash is taken as it stands, too");
        for other in ["", "big", "big-4-turbo", "big-4.1", "big-4-mini-high"] {
            assert_eq!(input(other), None, "{other}");
        }
    }

    #[test]
    fn invalid_table_is_rejected_with_the_reason() {
        let wrong = [
            TABLE.replace("big-4-mini", "big-4"),
            TABLE.replace("input = 3", "input = -3"),
            TABLE.replace("output = 15.0", "output = nan"),
            TABLE.replace("cache_read = 0.3", ""),
            "price = 3".to_owned(),
        ];
        let words = wrong.map(|text| PriceTable::parse(&text).unwrap_err().to_string());
        insta::assert_snapshot!(words.join("\n"), @"
        the model big-4 is listed twice
        the model big-4 has the price -3 for input; it is US dollars for a million tokens, 0 or more
        the model big-4 has the price NaN for output; it is US dollars for a million tokens, 0 or more
        line 2: missing field `cache_read`
        line 1: invalid type: integer `3`, expected a sequence
        ");
    }

    #[test]
    fn long_prompt_has_its_own_price_and_cached_tokens_count() {
        let price = PriceTable::parse(TABLE).unwrap().price_of("house/own").unwrap();
        let usage = |cached| Usage {
            input_tokens: 500,
            cache_read_tokens: cached,
            output_tokens: 100,
            ..Usage::default()
        };
        assert_eq!(price.of(&usage(500)), 0.0);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(price.of(&usage(501)), (500.0 + 501.0 * 0.5 + 100.0 * 2.0) / 1e6);
        close(price.worst_case(1_001, 100), (1_001.0 + 200.0) / 1e6);
    }
}
