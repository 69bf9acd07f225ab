//! The section `[budget]`: what a job may spend, and what all jobs together may spend in a day.

use std::time::Duration;

use crate::config::error::ConfigError;
use crate::config::key::{ConfigKey, ConfigSection, DefaultValue, ValueType};
use crate::config::raw::RawConfig;
use crate::domain::{Budget, DailyCap, DailyCaps};

pub(super) const BUDGET: ConfigSection = ConfigSection {
    name: "budget",
    description: "The limits of each job, which a repository can only lower, and the daily caps of all jobs \
                  together. Each is checked before every model call, against the most that the call can \
                  cost.",
    keys: &[
        ConfigKey {
            name: "budget.usd",
            value: ValueType::Decimal { min: 0.01, max: 10_000.0 },
            default: DefaultValue::Value("5.0"),
            example: "5.0",
            description: "US dollars that one job may spend. It has no effect if the model has no known \
                          price.",
        },
        ConfigKey {
            name: "budget.setup_usd",
            value: ValueType::Decimal { min: 0.0, max: 10_000.0 },
            default: DefaultValue::Value("1.0"),
            example: "1.0",
            description: "US dollars of `budget.usd` that the setup agent may spend where no way that is found in \
                          a repository's files reaches passing tests. 0 turns the setup agent off. It runs \
                          only where `sandbox.allowed_hosts` names a host. If the model has no known price, \
                          its turns, tokens and minutes are limited all the same.",
        },
        ConfigKey {
            name: "budget.turns",
            value: ValueType::Integer { min: 1, max: 10_000 },
            default: DefaultValue::Value("60"),
            example: "60",
            description: "Most model calls of one job. One call, with its retries, may take 15 minutes; then it \
                          fails, and counts as what it can have cost at most.",
        },
        ConfigKey {
            name: "budget.tool_calls",
            value: ValueType::Integer { min: 1, max: 100_000 },
            default: DefaultValue::Value("200"),
            example: "200",
            description: "Tool calls of one job, whether they succeed or not.",
        },
        ConfigKey {
            name: "budget.tokens",
            value: ValueType::Integer { min: 1_000, max: 10_000_000_000 },
            default: DefaultValue::Value("4_000_000"),
            example: "4_000_000",
            description: "Tokens of one job, input and output together.",
        },
        ConfigKey {
            name: "budget.minutes",
            value: ValueType::Integer { min: 1, max: 1_440 },
            default: DefaultValue::Value("45"),
            example: "45",
            description: "Most minutes that the agent of one job may work.",
        },
        ConfigKey {
            name: "budget.repository_usd_per_day",
            value: ValueType::Decimal { min: 0.01, max: 1_000_000.0 },
            default: DefaultValue::Unset("no cap"),
            example: "20.0",
            description: "US dollars that all jobs of one repository may spend in any 24 hours. If the \
                          model has no known price, the service starts only if a cap in tokens is set too.",
        },
        ConfigKey {
            name: "budget.repository_tokens_per_day",
            value: ValueType::Integer { min: 1_000, max: 1_000_000_000_000 },
            default: DefaultValue::Unset("no cap"),
            example: "20_000_000",
            description: "Tokens that all jobs of one repository may use in any 24 hours.",
        },
        ConfigKey {
            name: "budget.installation_usd_per_day",
            value: ValueType::Decimal { min: 0.01, max: 1_000_000.0 },
            default: DefaultValue::Unset("no cap"),
            example: "100.0",
            description: "US dollars that all jobs of one installation (an account with all its \
                          repositories) may spend in any 24 hours.",
        },
        ConfigKey {
            name: "budget.installation_tokens_per_day",
            value: ValueType::Integer { min: 1_000, max: 1_000_000_000_000 },
            default: DefaultValue::Unset("no cap"),
            example: "100_000_000",
            description: "Tokens that all jobs of one installation may use in any 24 hours.",
        },
        ConfigKey {
            name: "budget.require_price",
            value: ValueType::Flag,
            default: DefaultValue::Value("false"),
            example: "false",
            description: "Whether the service refuses to start with a model whose price is not known, \
                          instead of counting its tokens only.",
        },
    ],
};

/// What jobs may spend.
#[derive(Debug, Clone)]
pub struct BudgetConfig {
    /// One job.
    pub job: Budget,
    /// All jobs together, in a day.
    pub daily_caps: DailyCaps,
    /// Whether a model without a price is refused.
    pub require_price: bool,
}

pub(super) fn budget(raw: &RawConfig) -> Result<BudgetConfig, ConfigError> {
    let minutes: u64 = raw.integer("budget.minutes")?;
    Ok(BudgetConfig {
        job: Budget {
            turns_max: raw.integer("budget.turns")?,
            tool_calls_max: raw.integer("budget.tool_calls")?,
            tokens_max: raw.integer("budget.tokens")?,
            usd_max: raw.setting("budget.usd")?.decimal()?,
            time_max: Duration::from_secs(minutes * 60),
        },
        daily_caps: DailyCaps {
            repository: DailyCap {
                usd: raw.decimal("budget.repository_usd_per_day")?,
                tokens: raw.optional_integer("budget.repository_tokens_per_day")?,
            },
            installation: DailyCap {
                usd: raw.decimal("budget.installation_usd_per_day")?,
                tokens: raw.optional_integer("budget.installation_tokens_per_day")?,
            },
        },
        require_price: raw.flag("budget.require_price")?,
    })
}
