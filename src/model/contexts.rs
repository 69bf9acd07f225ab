//! How much a model can read. Owns the table; never asks a provider: what a table gets wrong, the
//! provider's refusal of too long a conversation puts right.

use std::sync::LazyLock;

use serde::Deserialize;

/// What a model of which nothing is known is taken to hold, in tokens. Too little costs a summary
/// more; too much costs a refused call.
const UNKNOWN_TOKENS: u64 = 64_000;

/// The most of a context that is used, in tokens, unless the operator says otherwise: beyond it a
/// model finds less of what it was told, each turn costs more to read again, and several providers
/// ask a higher price.
const WORTH_USING_TOKENS: u64 = 200_000;

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

/// How many tokens a call to `model` may hold, input and output together, as far as it is worth
/// using them.
pub fn context_tokens(model: &str) -> u64 {
    // Gateways put the maker before the name: "anthropic/claude-…".
    let name = model.rsplit('/').next().unwrap_or(model);
    let rows = TABLE.context.iter().filter(|row| name.starts_with(&row.begins));
    let known = rows.max_by_key(|row| row.begins.len()).map(|row| row.tokens);
    known.unwrap_or(UNKNOWN_TOKENS).min(WORTH_USING_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_wins_and_the_unknown_hold_little() {
        assert!(TABLE.context.iter().all(|row| (100_000..=2_000_000).contains(&row.tokens)));
        let row = |name: &str| TABLE.context.iter().find(|row| row.begins == name).unwrap().tokens;
        assert!(row("claude-opus-5") > row("claude-"));
        assert_eq!(context_tokens("claude-sonnet-4-5-20250929"), 200_000);
        assert_eq!(context_tokens("openai/gpt-4o-mini"), 128_000);
        assert_eq!(context_tokens("claude-opus-5-5"), WORTH_USING_TOKENS);
        assert_eq!(context_tokens("my-local-model"), UNKNOWN_TOKENS);
    }
}
