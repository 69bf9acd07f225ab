//! What models cost. Owns the price table; never asks a provider.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::domain::Usage;

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
    /// What a call with a long prompt costs instead, where the provider asks more for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<LongPromptPrice>,
}

/// US dollars for a million tokens of a call whose prompt is longer than a bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LongPromptPrice {
    /// Input tokens, cached ones included, up to which the usual price holds.
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

    /// What one call with this `usage` costs, in US dollars.
    pub fn of(&self, usage: &Usage) -> f64 {
        let price = self.for_prompt(usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens);
        let cost = |tokens: u64, per_million: f64| tokens as f64 * per_million / 1e6;
        cost(usage.input_tokens, price.input)
            + cost(usage.output_tokens, price.output)
            + cost(usage.cache_read_tokens, price.cache_read)
            + cost(usage.cache_write_tokens, price.cache_write)
    }

    /// The most that a call can cost, in US dollars: the whole prompt at its dearest rate.
    pub fn at_most(&self, prompt_tokens: u64, output_tokens: u64) -> f64 {
        let price = self.for_prompt(prompt_tokens);
        let dearest = price.input.max(price.cache_write).max(price.cache_read);
        (prompt_tokens as f64 * dearest + output_tokens as f64 * price.output) / 1e6
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

#[derive(Deserialize)]
struct Table {
    price: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    model: String,
    #[serde(flatten)]
    price: Price,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    toml::from_str(include_str!("prices.toml")).expect("prices.toml is part of the program and tested")
});

/// The known price of a model: of its own name, or of the longest name that it is a dated or
/// `-latest` release of. `None` where nothing is known.
pub fn known_price(model: &str) -> Option<Price> {
    // Gateways put the maker before the name: "anthropic/claude-…".
    let name = model.rsplit('/').next().unwrap_or(model);
    TABLE
        .price
        .iter()
        .filter(|row| name.strip_prefix(row.model.as_str()).is_some_and(is_release_suffix))
        .max_by_key(|row| row.model.len())
        .map(|row| row.price)
}

/// Whether what follows a model's name only says which release of it is meant.
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

    #[test]
    fn every_row_of_the_table_is_sound_and_no_name_is_there_twice() {
        let mut names: Vec<_> = TABLE.price.iter().map(|row| row.model.as_str()).collect();
        assert!(names.len() > 30);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        for Row { model, price } in &TABLE.price {
            assert!(price.input > 0.0 && price.output >= price.input, "{model}");
            assert!(price.cache_read > 0.0 && price.cache_read <= price.input, "{model}");
            assert!(price.cache_write >= price.input, "{model}");
            assert!(price.long.is_none_or(|long| long.input > price.input), "{model}");
        }
    }

    #[test]
    fn releases_are_priced_as_their_model_and_siblings_are_not() {
        let same = |a, b| assert_eq!(known_price(a).unwrap(), known_price(b).unwrap(), "{a} {b}");
        same("claude-sonnet-4-5", "claude-sonnet-4-5-20250929");
        same("claude-3-5-haiku", "claude-3-5-haiku-latest");
        same("gpt-5", "gpt-5-2025-08-07");
        same("claude-opus-4-5", "anthropic/claude-opus-4-5");
        assert_ne!(known_price("gpt-5"), known_price("gpt-5-pro"));
        assert_ne!(known_price("claude-opus-4"), known_price("claude-opus-4-5"));
        for unknown in ["", "gpt-5-enormous", "gpt-5.9", "claude-opus-4-99", "my-own-model"] {
            assert_eq!(known_price(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_long_prompt_costs_its_own_price_and_cached_tokens_make_it_long() {
        let price = known_price("claude-haiku-5-5").unwrap();
        let usage = |cached| Usage {
            input_tokens: 50_000,
            cache_read_tokens: cached,
            output_tokens: 1_000,
            ..Usage::default()
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        close(price.of(&usage(50_000)), 0.005 + 0.0005 + 0.0005);
        close(price.of(&usage(50_001)), 0.025 + 50_001.0 * 0.05 / 1e6 + 0.0025);
    }
}
