//! What a job may spend, what it has spent, and whether the next call still fits.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BudgetExtension, DailyCapReached, Usage, WorstCase};

/// The limits of one job. Each is checked before every model call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// Model calls.
    pub turns_max: u32,
    /// Tool calls, whatever their result.
    pub tool_calls_max: u32,
    /// Input and output tokens together.
    pub tokens_max: u64,
    /// US dollars. Applies only if the model has a price.
    pub usd_max: f64,
    /// Wall time of the agent phase.
    pub time_max: Duration,
}

impl Default for Budget {
    /// Enough for a usual bug, and small enough that a runaway job stays cheap.
    fn default() -> Self {
        Self {
            turns_max: 60,
            tool_calls_max: 200,
            tokens_max: 4_000_000,
            usd_max: 5.0,
            time_max: Duration::from_secs(45 * 60),
        }
    }
}

/// What a job has spent so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spend {
    /// Model calls answered.
    pub turns: u32,
    /// Tool calls carried out.
    pub tool_calls: u32,
    /// Tool calls charged in addition, because the model went on in circles after a notice.
    #[serde(default)]
    pub surcharge: u32,
    /// Tokens.
    pub usage: Usage,
    /// US dollars; `None` when a call was made to a model without a price.
    pub usd: Option<f64>,
    /// Wall time of the agent phase.
    pub time: Duration,
}

impl Spend {
    /// Nothing spent yet.
    pub fn zero() -> Self {
        Self { usd: Some(0.0), ..Self::default() }
    }
}

/// The limit that the next model call would exceed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetExhausted {
    /// No turns left.
    #[error("all {max} turns are used")]
    Turns {
        /// The limit.
        max: u32,
    },
    /// No tool calls left.
    #[error("all {max} tool calls are used{}", charged(*surcharge))]
    ToolCalls {
        /// The limit.
        max: u32,
        /// How many of them were charged because the model went in circles.
        #[serde(default)]
        surcharge: u32,
    },
    /// The call's worst case exceeds the remaining tokens.
    #[error("{used} of {max} tokens are used and the next call may need {next}")]
    Tokens {
        /// Spent so far.
        used: u64,
        /// The limit.
        max: u64,
        /// The next call's worst case.
        next: u64,
    },
    /// The call's worst case exceeds the remaining dollars. Amounts are text so that they can be compared.
    #[error("${used} of ${max} are spent and the next call may cost ${next}")]
    Dollars {
        /// Spent so far.
        used: String,
        /// The limit.
        max: String,
        /// The next call's worst case.
        next: String,
    },
    /// No time left.
    #[error("the {minutes} minutes for this job are over")]
    Time {
        /// The limit, in whole minutes rounded up.
        minutes: u64,
    },
    /// The model learns nothing any more: going on would only spend.
    #[error("the last {turns} turns brought nothing new")]
    NothingNew {
        /// How many turns.
        turns: u32,
    },
    /// A cap over many jobs is reached.
    #[error(transparent)]
    Day(#[from] DailyCapReached),
}

fn charged(surcharge: u32) -> String {
    match surcharge {
        0 => String::new(),
        calls => format!(
            "; {calls} of them are a surcharge, because the model kept going in circles after a notice"
        ),
    }
}

impl Budget {
    /// The limits of a round that begins after `spent`: this budget once more, or less if `grant` says so.
    pub fn extended_by(&self, spent: &Spend, grant: &BudgetExtension) -> Self {
        let turns = grant.turns.unwrap_or(u32::MAX).min(self.turns_max);
        let usd = grant.cents.map_or(f64::MAX, |cents| f64::from(cents) / 100.0).min(self.usd_max);
        let calls = spent.tool_calls.saturating_add(spent.surcharge);
        Self {
            turns_max: spent.turns.saturating_add(turns),
            tool_calls_max: calls.saturating_add(self.tool_calls_max),
            tokens_max: spent.usage.total().saturating_add(self.tokens_max),
            usd_max: spent.usd.unwrap_or_default() + usd,
            time_max: spent.time.saturating_add(self.time_max),
        }
    }

    /// Whether a call with this worst case may be made after `spend`.
    pub fn check(&self, spend: &Spend, next: WorstCase) -> Result<(), BudgetExhausted> {
        if spend.turns >= self.turns_max {
            return Err(BudgetExhausted::Turns { max: self.turns_max });
        }
        if spend.tool_calls.saturating_add(spend.surcharge) >= self.tool_calls_max {
            let surcharge = spend.surcharge;
            return Err(BudgetExhausted::ToolCalls { max: self.tool_calls_max, surcharge });
        }
        if spend.time >= self.time_max {
            return Err(BudgetExhausted::Time { minutes: self.time_max.as_secs().div_ceil(60) });
        }
        let used = spend.usage.total();
        if used.saturating_add(next.tokens()) > self.tokens_max {
            return Err(BudgetExhausted::Tokens { used, max: self.tokens_max, next: next.tokens() });
        }
        if let (Some(used), Some(next)) = (spend.usd, next.usd)
            && used + next > self.usd_max
        {
            let dollars = |amount: f64| format!("{amount:.4}");
            return Err(BudgetExhausted::Dollars {
                used: dollars(used),
                max: dollars(self.usd_max),
                next: dollars(next),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Budget {
        Budget {
            turns_max: 3,
            tool_calls_max: 5,
            tokens_max: 1000,
            usd_max: 1.0,
            time_max: Duration::from_secs(61),
        }
    }
    const NOTHING: WorstCase = WorstCase { input_tokens: 0, output_tokens: 0, usd: Some(0.0) };

    #[test]
    fn call_that_just_fits_is_allowed_and_one_token_more_is_not() {
        let mut spend = Spend::zero();
        spend.usage.input_tokens = 400;
        let next = |input_tokens| WorstCase { input_tokens, output_tokens: 100, usd: None };
        assert_eq!(small().check(&spend, next(500)), Ok(()));
        assert!(matches!(
            small().check(&spend, next(501)),
            Err(BudgetExhausted::Tokens { used: 400, max: 1000, next: 601 })
        ));
    }

    #[test]
    fn extended_budget_is_what_was_granted_and_at_most_a_new_job_s() {
        let mut spent = Spend::zero();
        (spent.turns, spent.tool_calls, spent.usd) = (3, 7, Some(1.5));
        (spent.usage.input_tokens, spent.time) = (900, Duration::from_secs(60));
        let round = small().extended_by(&spent, &BudgetExtension { turns: Some(2), cents: Some(25) });
        assert_eq!((round.turns_max, round.tool_calls_max, round.tokens_max), (5, 12, 1900));
        assert_eq!((round.usd_max, round.time_max), (1.75, Duration::from_secs(121)));
        let whole =
            small().extended_by(&spent, &BudgetExtension { turns: Some(1000), cents: Some(1_000_000) });
        assert_eq!(whole, small().extended_by(&spent, &BudgetExtension::default()));
        assert_eq!((whole.turns_max, whole.usd_max), (6, 2.5));
    }

    #[test]
    fn every_limit_is_checked() {
        let over = |change: fn(&mut Spend)| {
            let mut spend = Spend::zero();
            change(&mut spend);
            small().check(&spend, NOTHING).unwrap_err()
        };
        assert_eq!(over(|s| s.turns = 3), BudgetExhausted::Turns { max: 3 });
        assert_eq!(over(|s| s.tool_calls = 5), BudgetExhausted::ToolCalls { max: 5, surcharge: 0 });
        let circles = over(|s| (s.tool_calls, s.surcharge) = (2, 3));
        insta::assert_snapshot!(circles, @"all 5 tool calls are used; 3 of them are a surcharge, because the model kept going in circles after a notice");
        assert_eq!(over(|s| s.time = Duration::from_secs(61)), BudgetExhausted::Time { minutes: 2 });
        let next = WorstCase { input_tokens: 1, output_tokens: 0, usd: Some(0.2) };
        let spend = Spend { usd: Some(0.9), ..Spend::zero() };
        assert!(matches!(small().check(&spend, next), Err(BudgetExhausted::Dollars { .. })));
    }
}
