//! The context sizes of models. Owns the table and never asks a provider: if the table is wrong, the
//! provider refuses a conversation that is too long, and the agent compacts it.

use std::sync::LazyLock;

use serde::Deserialize;

/// The context of an unknown model, in tokens. A smaller number costs an extra summary; a larger number
/// costs a refused call.
const DEFAULT_TOKENS: u64 = 64_000;

/// The most tokens of a context that are used unless the operator configures another number. Beyond it
/// models find less of what is in their context, each turn costs more, and several providers charge a
/// higher price.
const USEFUL_TOKENS_MAX: u64 = 200_000;

#[derive(Deserialize)]
struct Table {
    context: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    begins: String,
    tokens: u64,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    toml::from_str(include_str!("contexts.toml")).expect("contexts.toml is part of the program and tested")
});

/// The most tokens of a call to `model`, input and output together.
pub fn context_tokens(model: &str) -> u64 {
    // Gateways put the provider before the name: "anthropic/claude-…".
    let name = model.rsplit('/').next().unwrap_or(model);
    let rows = TABLE.context.iter().filter(|row| name.starts_with(&row.begins));
    let known = rows.max_by_key(|row| row.begins.len()).map(|row| row.tokens);
    known.unwrap_or(DEFAULT_TOKENS).min(USEFUL_TOKENS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_prefix_wins_and_unknown_models_get_the_default() {
        assert!(TABLE.context.iter().all(|row| (100_000..=2_000_000).contains(&row.tokens)));
        let row = |name: &str| TABLE.context.iter().find(|row| row.begins == name).unwrap().tokens;
        assert!(row("claude-opus-5") > row("claude-"));
        assert_eq!(context_tokens("claude-sonnet-4-5-20250929"), 200_000);
        assert_eq!(context_tokens("openai/gpt-4o-mini"), 128_000);
        assert_eq!(context_tokens("claude-opus-5-5"), USEFUL_TOKENS_MAX);
        assert_eq!(context_tokens("my-local-model"), DEFAULT_TOKENS);
    }
}
