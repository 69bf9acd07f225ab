//! The built-in price table. Its figures are in `prices.toml`; the operator's configuration takes
//! precedence.

use std::sync::LazyLock;

use crate::domain::{Price, PriceTable};

static TABLE: LazyLock<PriceTable> = LazyLock::new(|| {
    PriceTable::parse(include_str!("prices.toml")).expect("prices.toml is part of the program and tested")
});

/// The price of a model that the built-in table knows.
pub fn known_price(model: &str) -> Option<Price> {
    TABLE.price_of(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_plausible() {
        let names: Vec<_> = include_str!("prices.toml")
            .lines()
            .filter_map(|line| line.strip_prefix("model = \"")?.strip_suffix('"'))
            .collect();
        assert!(names.len() > 30);
        for model in names {
            let price = known_price(model).unwrap();
            assert!(price.input > 0.0 && price.output >= price.input, "{model}");
            assert!(price.cache_read > 0.0 && price.cache_read <= price.input, "{model}");
            assert!(price.cache_write >= price.input, "{model}");
            assert!(price.long.is_none_or(|long| long.input > price.input), "{model}");
        }
    }

    #[test]
    fn dated_release_has_the_price_of_its_model_and_other_models_do_not() {
        let same = |a, b| assert_eq!(known_price(a).unwrap(), known_price(b).unwrap(), "{a} {b}");
        same("claude-sonnet-4-5", "claude-sonnet-4-5-20250929");
        same("gpt-5", "gpt-5-2025-08-07");
        same("claude-opus-4-5", "anthropic/claude-opus-4-5");
        assert_ne!(known_price("gpt-5"), known_price("gpt-5-pro"));
        assert_ne!(known_price("claude-opus-4"), known_price("claude-opus-4-5"));
        for unknown in ["gpt-5-enormous", "gpt-5.9", "claude-opus-4-99", "my-own-model"] {
            assert_eq!(known_price(unknown), None, "{unknown}");
        }
    }
}
