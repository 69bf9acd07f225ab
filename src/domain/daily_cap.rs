//! What many jobs together may spend in a day: the caps, and whether the next call still fits.
//!
//! A day is any 24 hours: there is no midnight at which twice the cap can be spent, and no time zone
//! to ask about.

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorstCase;

/// How long a call counts.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What may be spent in any 24 hours, by all jobs together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DailyCaps {
    /// Of one repository.
    pub repository: DailyCap,
    /// Of one installation of the App: an account with all its repositories.
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

/// A model call of the last 24 hours: what it cost, or, while it is under way, the most that it can
/// cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentCall {
    /// When it was about to be made.
    pub at: Timestamp,
    /// Millionths of a US dollar; 0 where the model has no price.
    pub micro_usd: u64,
    /// All its tokens.
    pub tokens: u64,
}

/// A cap that the next model call would break. Amounts are text, with their unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[error(
    "{} in 24 hours; {used} are spent or set aside, and the next call may need {next}{}",
    allowance(*payer, max),
    room(*room_from)
)]
#[schemars(rename = "DayCapReached")]
pub struct DailyCapReached {
    /// Whose.
    pub payer: BudgetScope,
    /// The key of the operator's configuration that sets it.
    pub setting: Box<str>,
    /// Spent, or set aside for calls under way.
    pub used: Box<str>,
    /// The cap.
    pub max: Box<str>,
    /// The next call's worst case.
    pub next: Box<str>,
    /// From when on it fits if nothing else is spent; `None`: it never does.
    #[schemars(with = "Option<String>")]
    pub room_from: Option<Timestamp>,
}

fn allowance(payer: BudgetScope, max: &str) -> String {
    match payer {
        BudgetScope::Repository => format!("all jobs of this repository together may use {max}"),
        BudgetScope::Installation => format!("all repositories of this account together may use {max}"),
    }
}

fn room(from: Option<Timestamp>) -> String {
    match from {
        Some(from) => format!("; there is room again from {} on", from.strftime("%Y-%m-%d %H:%M UTC")),
        None => ", which is more than the whole".to_owned(),
    }
}

/// Millionths of a dollar, rounded up: what is counted is never less than what is paid.
pub fn micro_usd(usd: f64) -> u64 {
    // What is left after a billionth is the error of binary fractions, not money.
    (usd * 1e6 - 1e-3).ceil().max(0.0) as u64
}

impl DailyCap {
    /// Whether a call with this worst case may be made after `calls`, which are those of the 24
    /// hours before now.
    pub fn check(
        &self,
        payer: BudgetScope,
        calls: &[RecentCall],
        next: WorstCase,
    ) -> Result<(), DailyCapReached> {
        let name = match payer {
            BudgetScope::Repository => "repository",
            BudgetScope::Installation => "installation",
        };
        if let (Some(max), Some(usd)) = (self.usd, next.usd) {
            let dollars = |micro: u64| format!("${:.4}", micro as f64 / 1e6);
            // Rounded down, as what is spent is rounded up.
            let max = (max * 1e6 + 1e-3).floor() as u64;
            let over = Over::of(calls, |call| call.micro_usd, max, micro_usd(usd));
            over.map_or(Ok(()), |over| {
                Err(over.describe(payer, format!("budget.{name}_usd_per_day"), dollars))
            })?;
        }
        if let Some(max) = self.tokens {
            let over = Over::of(calls, |call| call.tokens, max, next.tokens());
            over.map_or(Ok(()), |over| {
                Err(over.describe(payer, format!("budget.{name}_tokens_per_day"), |tokens| {
                    format!("{tokens} tokens")
                }))
            })?;
        }
        Ok(())
    }
}

/// A sum that would be over its cap.
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
        // The first call whose end of day leaves little enough behind it.
        let last_in_the_way =
            (0..by_age.len()).find(|gone| sum(&by_age[gone + 1..]).saturating_add(next) <= max);
        let room_from = last_in_the_way.map(|gone| whole_minute(by_age[gone].at + DAY));
        Some(Self { used, max, next, room_from })
    }

    fn describe(self, payer: BudgetScope, setting: String, unit: impl Fn(u64) -> String) -> DailyCapReached {
        let [used, max, next] = [self.used, self.max, self.next].map(|amount| unit(amount).into());
        DailyCapReached { payer, setting: setting.into(), used, max, next, room_from: self.room_from }
    }
}

/// The first whole minute that is not before `at`: people are told minutes.
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
    fn a_call_that_just_fits_is_made_and_a_millionth_more_is_not() {
        let cap = DailyCap { usd: Some(1.0), tokens: None };
        let calls = [call(1, 0.3), call(2, 0.6)];
        assert_eq!(cap.check(BudgetScope::Repository, &calls, next(Some(0.1))), Ok(()));
        assert!(cap.check(BudgetScope::Repository, &calls, next(Some(0.100_001))).is_err());
        assert_eq!(DailyCap::default().check(BudgetScope::Repository, &calls, next(Some(1e6))), Ok(()));
    }

    #[test]
    fn a_model_without_a_price_is_held_by_tokens() {
        let cap = DailyCap { usd: Some(0.01), tokens: Some(2_999) };
        assert_eq!(cap.check(BudgetScope::Installation, &[call(1, 0.0)], next(None)), Ok(()));
        let over =
            cap.check(BudgetScope::Installation, &[call(1, 0.0), call(2, 0.0)], next(None)).unwrap_err();
        assert_eq!(&*over.setting, "budget.installation_tokens_per_day");
    }

    #[test]
    fn who_is_stopped_is_told_by_what_and_until_when() {
        let cap = DailyCap { usd: Some(1.0), tokens: Some(1_500) };
        // Out of order, and only the second one to go makes room enough.
        let mut calls = [call(5, 0.5), call(1, 0.1), call(3, 0.4)];
        calls[2].at -= SignedDuration::from_secs(1);
        let dollars = cap.check(BudgetScope::Repository, &calls, next(Some(0.5))).unwrap_err();
        let never = cap.check(BudgetScope::Repository, &[], next(Some(1.5))).unwrap_err();
        let tokens = cap.check(BudgetScope::Installation, &calls[..1], next(None)).unwrap_err();
        insta::assert_snapshot!(format!("{dollars}\n{never}\n{tokens}"), @"
        all jobs of this repository together may use $1.0000 in 24 hours; $1.0000 are spent or set aside, and the next call may need $0.5000; there is room again from 2026-11-26 03:00 UTC on
        all jobs of this repository together may use $1.0000 in 24 hours; $0.0000 are spent or set aside, and the next call may need $1.5000, which is more than the whole
        all repositories of this account together may use 1500 tokens in 24 hours; 1000 tokens are spent or set aside, and the next call may need 1000 tokens; there is room again from 2026-11-26 05:00 UTC on
        ");
    }

    #[test]
    fn cents_are_neither_lost_nor_made_by_binary_fractions() {
        assert_eq!(
            [0.0, 0.1, 0.3, 0.1 + 0.2, 1e-6, 0.000_000_4].map(micro_usd),
            [0, 100_000, 300_000, 300_000, 1, 1]
        );
    }
}
