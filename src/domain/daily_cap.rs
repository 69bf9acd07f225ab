//! What many jobs together may spend in 24 hours, and whether the next call still fits.
//!
//! A day is any 24 hours: twice the cap can never be spent around midnight, and no time zone is needed.

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorstCase;

/// How long a call counts.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What all jobs together may spend in any 24 hours.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DailyCaps {
    /// For one repository.
    pub repository: DailyCap,
    /// For one installation of the App: an account with all its repositories.
    pub installation: DailyCap,
}

/// One cap; `None`: unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DailyCap {
    /// US dollars. Counts only calls to models with a price.
    pub usd: Option<f64>,
    /// Tokens of every call, whether its model has a price or not.
    pub tokens: Option<u64>,
}

/// Whose calls are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Payer")]
pub enum BudgetScope {
    /// One repository's.
    Repository,
    /// One installation's.
    Installation,
}

/// A model call of the last 24 hours: its cost, or its worst case while it is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentCall {
    /// When it began.
    pub at: Timestamp,
    /// Millionths of a US dollar; 0 if the model has no price.
    pub micro_usd: u64,
    /// All its tokens.
    pub tokens: u64,
}

/// A cap that the next model call would exceed. Amounts are text with their unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[error(
    "{} in 24 hours; {used} are spent or reserved, and the next call may need {next}{}",
    allowance(*scope, max),
    room(*room_from)
)]
#[schemars(rename = "DayCapReached")]
pub struct DailyCapReached {
    /// Whose cap it is.
    #[serde(rename = "payer")]
    pub scope: BudgetScope,
    /// The key of the operator's configuration that sets it.
    pub setting: Box<str>,
    /// Spent, or reserved for calls in progress.
    pub used: Box<str>,
    /// The cap.
    pub max: Box<str>,
    /// The next call's worst case.
    pub next: Box<str>,
    /// When the call fits if nothing else is spent; `None`: never.
    #[schemars(with = "Option<String>")]
    pub room_from: Option<Timestamp>,
}

fn allowance(scope: BudgetScope, max: &str) -> String {
    match scope {
        BudgetScope::Repository => format!("all jobs of this repository together may use {max}"),
        BudgetScope::Installation => format!("all repositories of this account together may use {max}"),
    }
}

fn room(from: Option<Timestamp>) -> String {
    match from {
        Some(from) => format!("; there is room again from {}", from.strftime("%Y-%m-%d %H:%M UTC")),
        None => ", which is more than the whole cap".to_owned(),
    }
}

/// Millionths of a dollar, rounded up: the count is never less than the cost.
pub fn micro_usd(usd: f64) -> u64 {
    // A remainder below a billionth of a dollar is an error of binary fractions.
    (usd * 1e6 - 1e-3).ceil().max(0.0) as u64
}

impl DailyCap {
    /// Whether a call with this worst case may be made after `calls`, which are those of the 24
    /// hours before now.
    pub fn check(
        &self,
        scope: BudgetScope,
        calls: &[RecentCall],
        next: WorstCase,
    ) -> Result<(), DailyCapReached> {
        let name = match scope {
            BudgetScope::Repository => "repository",
            BudgetScope::Installation => "installation",
        };
        if let (Some(max), Some(usd)) = (self.usd, next.usd) {
            let dollars = |micro: u64| format!("${:.4}", micro as f64 / 1e6);
            // Rounded down, because what is spent is rounded up.
            let max = (max * 1e6 + 1e-3).floor() as u64;
            let over = Over::of(calls, |call| call.micro_usd, max, micro_usd(usd));
            over.map_or(Ok(()), |over| {
                Err(over.describe(scope, format!("budget.{name}_usd_per_day"), dollars))
            })?;
        }
        if let Some(max) = self.tokens {
            let over = Over::of(calls, |call| call.tokens, max, next.tokens());
            over.map_or(Ok(()), |over| {
                Err(over.describe(scope, format!("budget.{name}_tokens_per_day"), |tokens| {
                    format!("{tokens} tokens")
                }))
            })?;
        }
        Ok(())
    }
}

/// A sum that would exceed its cap.
struct Over {
    used: u64,
    max: u64,
    next: u64,
    room_from: Option<Timestamp>,
}

impl Over {
    fn of(calls: &[RecentCall], amount: impl Fn(&RecentCall) -> u64, max: u64, next: u64) -> Option<Self> {
        let sum = |calls: &[RecentCall]| calls.iter().map(&amount).fold(0, u64::saturating_add);
        let used = sum(calls);
        if used.saturating_add(next) <= max {
            return None;
        }
        let mut by_age = calls.to_vec();
        by_age.sort_by_key(|call| call.at);
        // The first call after whose expiry the rest is small enough.
        let last_blocking =
            (0..by_age.len()).find(|gone| sum(&by_age[gone + 1..]).saturating_add(next) <= max);
        let room_from = last_blocking.map(|gone| whole_minute(by_age[gone].at + DAY));
        Some(Self { used, max, next, room_from })
    }

    fn describe(self, scope: BudgetScope, setting: String, unit: impl Fn(u64) -> String) -> DailyCapReached {
        let [used, max, next] = [self.used, self.max, self.next].map(|amount| unit(amount).into());
        DailyCapReached { scope, setting: setting.into(), used, max, next, room_from: self.room_from }
    }
}

/// The first whole minute that is not before `at`, because people see minutes.
fn whole_minute(at: Timestamp) -> Timestamp {
    let up = TimestampRound::new().smallest(Unit::Minute).mode(RoundMode::Ceil);
    at.round(up).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        "2026-11-25T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
    }

    fn call(hour: i64, usd: f64) -> RecentCall {
        RecentCall { at: at(hour), micro_usd: micro_usd(usd), tokens: 1000 }
    }

    fn next(usd: Option<f64>) -> WorstCase {
        WorstCase { input_tokens: 900, output_tokens: 100, usd }
    }

    #[test]
    fn call_that_just_fits_is_allowed_and_a_millionth_more_is_not() {
        let cap = DailyCap { usd: Some(1.0), tokens: None };
        let calls = [call(1, 0.3), call(2, 0.6)];
        assert_eq!(cap.check(BudgetScope::Repository, &calls, next(Some(0.1))), Ok(()));
        assert!(cap.check(BudgetScope::Repository, &calls, next(Some(0.100_001))).is_err());
        assert_eq!(DailyCap::default().check(BudgetScope::Repository, &calls, next(Some(1e6))), Ok(()));
    }

    #[test]
    fn model_without_a_price_is_limited_by_tokens() {
        let cap = DailyCap { usd: Some(0.01), tokens: Some(2_999) };
        assert_eq!(cap.check(BudgetScope::Installation, &[call(1, 0.0)], next(None)), Ok(()));
        let over =
            cap.check(BudgetScope::Installation, &[call(1, 0.0), call(2, 0.0)], next(None)).unwrap_err();
        assert_eq!(&*over.setting, "budget.installation_tokens_per_day");
    }

    #[test]
    fn reached_cap_says_which_it_is_and_when_there_is_room() {
        let cap = DailyCap { usd: Some(1.0), tokens: Some(1_500) };
        // Out of order, and only the second one to expire makes enough room.
        let mut calls = [call(5, 0.5), call(1, 0.1), call(3, 0.4)];
        calls[2].at -= SignedDuration::from_secs(1);
        let dollars = cap.check(BudgetScope::Repository, &calls, next(Some(0.5))).unwrap_err();
        let never = cap.check(BudgetScope::Repository, &[], next(Some(1.5))).unwrap_err();
        let tokens = cap.check(BudgetScope::Installation, &calls[..1], next(None)).unwrap_err();
        insta::assert_snapshot!(format!("{dollars}\n{never}\n{tokens}"), @"
        all jobs of this repository together may use $1.0000 in 24 hours; $1.0000 are spent or reserved, and the next call may need $0.5000; there is room again from 2026-11-26 03:00 UTC
        all jobs of this repository together may use $1.0000 in 24 hours; $0.0000 are spent or reserved, and the next call may need $1.5000, which is more than the whole cap
        all repositories of this account together may use 1500 tokens in 24 hours; 1000 tokens are spent or reserved, and the next call may need 1000 tokens; there is room again from 2026-11-26 05:00 UTC
        ");
    }

    #[test]
    fn binary_fractions_neither_lose_nor_add_cents() {
        assert_eq!(
            [0.0, 0.1, 0.3, 0.1 + 0.2, 1e-6, 0.000_000_4].map(micro_usd),
            [0, 100_000, 300_000, 300_000, 1, 1]
        );
    }
}
