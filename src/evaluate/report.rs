//! The report of an evaluation, for people and for programs.

use serde::Serialize;
use serde_json::{Value, json};

use super::{HistoryCheck, InstanceResult, Interval, wilson};
use crate::domain::{Budget, Price, Usage};
use crate::publish::escape::{cell, code_cell, code_span, cut};

/// Longest reason in a table.
const REASON_CHARS_MAX: usize = 200;
/// Longest commit subject in a table.
const SUBJECT_CHARS_MAX: usize = 80;

/// The sums over all instances.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The model's name.
    pub model: String,
    /// How many instances.
    pub instances: usize,
    /// How many of them are solved, by their own tests.
    pub resolved: usize,
    /// The rate, with its 95 % interval.
    pub resolve_rate: Option<Interval>,
    /// How many have a proposal.
    pub proposed: usize,
    /// How many of the proposals are correct.
    pub precision: Option<Interval>,
    /// US dollars; null if the model has no known price.
    pub cost_usd: Option<f64>,
    /// The results.
    pub results: Vec<InstanceResult>,
}

impl Report {
    /// Sums up the results.
    pub fn new(model: &str, results: Vec<InstanceResult>) -> Self {
        let resolved = results.iter().filter(|result| result.resolved).count();
        let proposed = results.iter().filter(|result| result.outcome == "proposed").count();
        let cost = results.iter().map(|result| result.cost_usd).sum::<Option<f64>>();
        Self {
            model: model.to_owned(),
            instances: results.len(),
            resolved,
            resolve_rate: wilson(resolved, results.len()),
            proposed,
            precision: wilson(resolved, proposed),
            cost_usd: cost.map(|usd| (usd * 1e6).round() / 1e6),
            results,
        }
    }

    /// The report in Markdown.
    pub fn markdown(&self) -> String {
        let mut rows = vec![
            ("Instances", self.instances.to_string()),
            ("Solved", counted(self.resolved, self.instances, self.resolve_rate)),
            ("Proposals", self.proposed.to_string()),
            ("Right proposals", counted(self.resolved, self.proposed, self.precision)),
            (
                "Cost",
                match self.cost_usd {
                    Some(usd) => format!("${usd:.4}"),
                    None => "unknown: the model has no known price".to_owned(),
                },
            ),
        ];
        rows.extend(spread(self.results.iter().filter_map(|result| result.cost_usd)).map(
            |[low, middle, high]| ("Cost of one", format!("${low:.4} to ${high:.4}, median ${middle:.4}")),
        ));
        rows.extend(spread(self.results.iter().map(|result| f64::from(result.turns))).map(
            |[low, middle, high]| ("Turns of one", format!("{low:.0} to {high:.0}, median {middle:.0}")),
        ));
        rows.extend(spread(self.results.iter().map(|result| result.seconds)).map(|[low, middle, high]| {
            ("Seconds of one", format!("{low:.1} to {high:.1}, median {middle:.1}"))
        }));
        let summary: String = rows.iter().map(|(name, words)| format!("| {name} | {words} |\n")).collect();
        let results: String = self.results.iter().map(result_row).collect();
        format!(
            "# Evaluation of {}\n\n| | |\n|---|---|\n{summary}\n\
             Solved means: with what was proposed, and the instance's tests, which the model never saw, FAIL_TO_PASS \
             pass and PASS_TO_PASS still do. Intervals are Wilson's, at 95 %.\n\n\
             | Instance | Ended | Solved | Turns | Cost | Seconds | Why not |\n|---|---|---|--:|--:|--:|---|\n{results}",
            code_span(&self.model)
        )
    }
}

fn counted(part: usize, of: usize, interval: Option<Interval>) -> String {
    match interval {
        None => "none".to_owned(),
        Some(Interval { rate, low, high }) => format!(
            "{part} of {of}: {:.1} % (95 % interval: {:.1} % to {:.1} %)",
            rate * 100.0,
            low * 100.0,
            high * 100.0
        ),
    }
}

/// Minimum, median and maximum; `None` without values.
fn spread(values: impl Iterator<Item = f64>) -> Option<[f64; 3]> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = match (values.len() / 2, values.len() % 2) {
        (0, 0) => return None,
        (half, 0) => f64::midpoint(values[half - 1], values[half]),
        (half, _) => values[half],
    };
    Some([*values.first()?, middle, *values.last()?])
}

fn result_row(result: &InstanceResult) -> String {
    let why = match (&result.reason, &result.judged) {
        (Some(reason), _) => cell(&cut(reason, REASON_CHARS_MAX)),
        (None, Some(judged)) if !judged.is_solved() => format!(
            "{} still failing, {} newly failing ({})",
            judged.still_failing.len(),
            judged.newly_failing.len(),
            judged.ending
        ),
        (None, _) => String::new(),
    };
    format!(
        "| {} | {} | {} | {} | {} | {:.1} | {why} |\n",
        code_cell(&result.instance_id),
        result.outcome,
        if result.resolved { "yes" } else { "no" },
        result.turns,
        result.cost_usd.map_or_else(|| "?".to_owned(), |usd| format!("${usd:.4}")),
        result.seconds,
    )
}

/// What a maintainer may expect, from the repository's own history. `solved` is the evaluation, if a model
/// was run.
pub fn history_report(
    check: &HistoryCheck,
    budget: &Budget,
    price: Option<Price>,
    solved: Option<&Report>,
) -> (String, Value) {
    let usable = check.candidates.iter().filter(|candidate| candidate.instance.is_ok()).count();
    let setup = spread(check.candidates.iter().filter_map(|candidate| candidate.set_up_seconds));
    let suite = spread(check.candidates.iter().filter_map(|candidate| candidate.suite_seconds));
    let seconds = |spread: Option<[f64; 3]>| match spread {
        Some([_, middle, high]) => format!("{middle:.1} s (at most {high:.1} s)"),
        None => "not known: nothing was run".to_owned(),
    };
    let cost = price
        .map(|price| [FEW_TURNS, MANY_TURNS].map(|turns| expected_usd(price, turns).min(budget.usd_max)));
    let cost_words = match cost {
        Some([low, high]) => format!(
            "${low:.2} to ${high:.2} a job: an estimate for {FEW_TURNS} to {MANY_TURNS} turns, not measured; never \
             more than ${:.2}",
            budget.usd_max
        ),
        None => "not known: the model has no known price".to_owned(),
    };
    let rows: String = check
        .candidates
        .iter()
        .map(|candidate| {
            let verdict = match &candidate.instance {
                Ok(instance) => format!("usable, {} tests", instance.fail_to_pass.len()),
                Err(why) => format!("left out: {}", cell(&cut(why, REASON_CHARS_MAX))),
            };
            let subject = cell(&cut(&candidate.subject, SUBJECT_CHARS_MAX));
            format!("| `{}` | {subject} | {verdict} |\n", candidate.commit.short())
        })
        .collect();
    let mut text = format!(
        "# What to expect in this repository\n\n| | |\n|---|---|\n\
         | Commits looked at | {} |\n| Past fixes that brought tests | {} |\n| Usable: red without the fix, green with it | {usable} |\n\
         | A sandbox is ready, setup included, after | {} |\n| The suite takes | {} |\n| Expected cost | {cost_words} |\n\n\
         A job runs the suite at least three times: before any change, in the agent's hands, and for the verdict.\n\n\
         | Commit | Subject | |\n|---|---|---|\n{rows}",
        check.scanned,
        check.candidates.len(),
        seconds(setup),
        seconds(suite),
    );
    if let Some(solved) = solved {
        text += "\n";
        text += &solved.markdown();
    }
    let candidates: Vec<Value> = check
        .candidates
        .iter()
        .map(|candidate| {
            json!({
                "commit": candidate.commit,
                "subject": candidate.subject,
                "usable": candidate.instance.is_ok(),
                "why_not": candidate.instance.as_ref().err(),
                "set_up_seconds": candidate.set_up_seconds,
                "suite_seconds": candidate.suite_seconds,
            })
        })
        .collect();
    let value = json!({
        "scanned": check.scanned,
        "candidates": candidates,
        "usable": usable,
        "expected_usd": cost,
        "evaluation": solved,
    });
    (text, value)
}

/// Turns of a short job, and of a long one.
const FEW_TURNS: u64 = 6;
const MANY_TURNS: u64 = 30;

/// Estimates a job's cost: the brief and the tools are some 6,000 tokens, each turn adds 2,000 and answers
/// 500, and earlier messages are read from the cache.
fn expected_usd(price: Price, turns: u64) -> f64 {
    const BRIEF: u64 = 6_000;
    const TURN: u64 = 2_000;
    const REPORTED: u64 = 500;
    (0..turns)
        .map(|turn| {
            let usage = Usage {
                input_tokens: 0,
                output_tokens: REPORTED,
                cache_read_tokens: if turn == 0 { 0 } else { BRIEF + TURN * (turn - 1) },
                cache_write_tokens: if turn == 0 { BRIEF } else { TURN },
            };
            price.of(&usage)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::{Candidate, InstanceVerdict};
    use super::*;

    fn result(
        id: &str,
        outcome: &str,
        reason: Option<&str>,
        judged: Option<InstanceVerdict>,
    ) -> InstanceResult {
        InstanceResult {
            instance_id: id.into(),
            outcome: outcome.into(),
            reason: reason.map(str::to_owned),
            resolved: judged.as_ref().is_some_and(InstanceVerdict::is_solved),
            judged,
            turns: 7,
            tool_calls: 9,
            tokens: 12_000,
            cost_usd: Some(0.25),
            seconds: 12.345,
            model_patch: "diff\n".into(),
        }
    }

    fn report() -> Report {
        let wrong = InstanceVerdict {
            still_failing: vec!["a".into()],
            ending: "exit code 1".into(),
            ..InstanceVerdict::default()
        };
        let right = InstanceVerdict { ending: "exit code 0".into(), ..InstanceVerdict::default() };
        let results = vec![
            result("octo__widgets-1", "proposed", None, Some(right.clone())),
            result("octo__widgets-2", "proposed", None, Some(wrong)),
            result("octo__widgets-3", "escalated", Some("budget | @octocat"), None),
            result("octo__widgets-4", "proposed", None, Some(right)),
        ];
        Report::new("m-1", results)
    }

    #[test]
    fn report_has_rates_with_intervals_and_each_instance() {
        insta::assert_snapshot!(report().markdown(), @r"
        # Evaluation of `m-1`

        | | |
        |---|---|
        | Instances | 4 |
        | Solved | 2 of 4: 50.0 % (95 % interval: 15.0 % to 85.0 %) |
        | Proposals | 3 |
        | Right proposals | 2 of 3: 66.7 % (95 % interval: 20.8 % to 93.9 %) |
        | Cost | $1.0000 |
        | Cost of one | $0.2500 to $0.2500, median $0.2500 |
        | Turns of one | 7 to 7, median 7 |
        | Seconds of one | 12.3 to 12.3, median 12.3 |

        Solved means: with what was proposed, and the instance's tests, which the model never saw, FAIL_TO_PASS pass and PASS_TO_PASS still do. Intervals are Wilson's, at 95 %.

        | Instance | Ended | Solved | Turns | Cost | Seconds | Why not |
        |---|---|---|--:|--:|--:|---|
        | `octo__widgets-1` | proposed | yes | 7 | $0.2500 | 12.3 |  |
        | `octo__widgets-2` | proposed | no | 7 | $0.2500 | 12.3 | 1 still failing, 0 newly failing (exit code 1) |
        | `octo__widgets-3` | escalated | no | 7 | $0.2500 | 12.3 | budget \| ＠octocat |
        | `octo__widgets-4` | proposed | yes | 7 | $0.2500 | 12.3 |  |
        ");
    }

    #[test]
    fn history_report_says_what_to_expect() {
        let candidate = |commit: char, subject: &str, instance| Candidate {
            commit: commit.to_string().repeat(40).parse().unwrap(),
            subject: subject.into(),
            instance,
            set_up_seconds: Some(0.2),
            suite_seconds: Some(3.5),
        };
        let check = HistoryCheck {
            scanned: 120,
            candidates: vec![candidate(
                'a',
                "Fix | the @sum",
                Err("its tests pass without the fix, too".into()),
            )],
        };
        let price = Price::flat(3.0, 15.0, 0.3, 3.75);
        let (text, value) = history_report(&check, &Budget::default(), Some(price), None);
        insta::assert_snapshot!(text, @r"
        # What to expect in this repository

        | | |
        |---|---|
        | Commits looked at | 120 |
        | Past fixes that brought tests | 1 |
        | Usable: red without the fix, green with it | 0 |
        | A sandbox is ready, setup included, after | 0.2 s (at most 0.2 s) |
        | The suite takes | 3.5 s (at most 3.5 s) |
        | Expected cost | $0.12 to $0.76 a job: an estimate for 6 to 30 turns, not measured; never more than $5.00 |

        A job runs the suite at least three times: before any change, in the agent's hands, and for the verdict.

        | Commit | Subject | |
        |---|---|---|
        | `aaaaaaaaaa` | Fix \| the ＠sum | left out: its tests pass without the fix, too |
        ");
        assert_eq!((&value["usable"], &value["scanned"]), (&json!(0), &json!(120)));
    }
}
