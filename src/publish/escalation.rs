//! The escalation: an honest account for the person who goes on. One comment, or several where the
//! transcript is long; nothing is cut inside a fence or a quotation.

use super::escape::{code_span, cut, fenced, inline, quoted};
use super::evidence::Evidence;
use super::marker::MarkerKind;
use super::pages::pages_of;
use super::patch_words::patch;
use super::words::{output_tail, plural, run_in_cell, spend, test_list, time};
use crate::domain::{BudgetExhausted, COMMAND_PREFIX, EscalationReason, SecretLocation};

/// Longest quotation of a reason.
const REASON_CHARS_MAX: usize = 6_000;
/// Longest plan.
const PLAN_CHARS_MAX: usize = 6_000;

/// The comments, in order; each begins with its marker.
pub fn render(evidence: &Evidence, reason: &EscalationReason) -> Vec<String> {
    let mut blocks = vec![opening(evidence, reason)];
    let shows_nothing = matches!(reason, EscalationReason::Secret { .. });
    if !shows_nothing {
        blocks.push(tried(evidence));
        blocks.extend(last_failing_run(evidence));
        blocks.extend(patch(evidence, "The partial patch", "It is **not verified**."));
    }
    let sections = if shows_nothing { Vec::new() } else { evidence.story.sections() };
    if !sections.is_empty() {
        blocks.push("### Transcript\n".to_owned());
        blocks.extend(sections);
    }
    let page = evidence
        .job_page
        .as_deref()
        .map_or_else(String::new, |page| format!(" The [job's page]({page}) has all of it."));
    pages_of(evidence, MarkerKind::Escalation, blocks, |count| {
        format!(
            "… {} left out: they would not fit.{page}\n",
            plural(count as u64, "section is", "sections are")
        )
    })
}

fn opening(evidence: &Evidence, reason: &EscalationReason) -> String {
    let (heading, why) = words(reason);
    let next: Vec<String> = next_steps(evidence, reason).iter().map(|step| format!("- {step}")).collect();
    let left = match evidence.pull_request {
        Some(_) => "The pull request stays as it is.",
        None => "No pull request was opened.",
    };
    let mut text = format!(
        "### {heading}\n\n{left} {why}\n\n**What you can do**\n\n{}\n\n\
         **Spent:** {} in {}.\n",
        next.join("\n"),
        spend(&evidence.spend),
        time(evidence.duration),
    );
    if matches!(reason, EscalationReason::Secret { .. }) {
        return text;
    }
    if let Some(base) = &evidence.base {
        text += &format!("**Base:** `{}` of {}.\n", base.sha, code_span(&base.branch));
    }
    if let Some(setup) = evidence.surroundings.setup() {
        text += &format!("**Set-up:** {setup}.\n");
    }
    if let Some(network) = evidence.surroundings.network() {
        text += &format!("**Network:** {network}.\n");
    }
    if let Some(tree) = &evidence.checkpoint {
        text += &format!("**Last kept tree:** `{tree}`.\n");
    }
    text
}

/// What happened: a heading, and the reason in words.
fn words(reason: &EscalationReason) -> (&'static str, String) {
    let quotation = |text: &str| format!("\n\n{}", quoted(&cut(text, REASON_CHARS_MAX)));
    match reason {
        EscalationReason::Budget { limit } => (
            "Stopped: the budget is used up",
            format!("The next step did not fit any more: {}.", inline(&limit.to_string())),
        ),
        EscalationReason::Question { question } => {
            ("A question only a person can answer", format!("The agent asks:{}", quotation(question)))
        }
        EscalationReason::NotVerified { why } => (
            "Not verified",
            format!("The agent said that it was done, and the verdict said otherwise:{}", quotation(why)),
        ),
        EscalationReason::Refused { why } => (
            "Refused: the proposal does what none may do",
            format!("It was not published, whatever its tests say:{}", quotation(why)),
        ),
        EscalationReason::Environment { why } => (
            "The test suite cannot be run",
            format!("Without a run there is nothing to go by:{}", quotation(why)),
        ),
        EscalationReason::Model { why } => {
            ("The language model could not be used", format!("The provider's words:{}", quotation(why)))
        }
        EscalationReason::Secret { found } => {
            let lines: Vec<String> = found
                .iter()
                .map(|found| format!("- {}, in {}", found.what, secret_place(&found.place)))
                .collect();
            (
                "Kept back: what was to be published holds a secret",
                format!(
                    "Nothing of it left, and neither the change nor the transcript is shown here. \
                     Found:\n\n{}",
                    lines.join("\n")
                ),
            )
        }
    }
}

fn next_steps(evidence: &Evidence, reason: &EscalationReason) -> Vec<String> {
    let label = code_span(&evidence.label);
    let again = format!("take {label} off this issue and put it on again");
    let go_on = code_span(&format!("{COMMAND_PREFIX} continue"));
    let budget = "`budget` in `.github/agent-fix.yml` on the default branch";
    match reason {
        EscalationReason::Budget { limit: BudgetExhausted::Day(reached) } => {
            let when = match reached.room_from {
                Some(from) => {
                    format!("Wait until there is room again ({}), then {again}.", from.strftime("%Y-%m-%d %H:%M UTC"))
                }
                None => "Waiting does not help: one call may need more than the whole cap.".to_owned(),
            };
            vec![
                when,
                format!("Or have the operator raise {} in the service's configuration, then {again}.", code_span(&reached.setting)),
            ]
        }
        EscalationReason::Budget { .. } => vec![
            "Look at what was tried and at the partial patch below: is it on the right way?".to_owned(),
            format!(
                "If it is, say {go_on} in a comment: it goes on with as much again (`+$2`, `+20 turns`: with that \
                 much). For more in every job, raise {budget} (up to the operator's limit)."
            ),
            format!("If it is not, say in the issue where to look or what to expect, then {again}."),
        ],
        EscalationReason::Question { .. } => {
            vec![
                format!("Answer in a comment that says {go_on} on a line of its own: the agent reads it and goes on."),
                format!("Or put it into the issue's text, then {again}: it begins anew."),
            ]
        }
        EscalationReason::NotVerified { .. } => vec![
            "Look at what the verdict says above, and at the failing tests below if there are any: are they right, \
             and do they have to do with this issue?"
                .to_owned(),
            format!(
                "Say what is missing in a comment that says {go_on} on a line of its own; or take the partial patch \
                 and go on by hand."
            ),
        ],
        EscalationReason::Refused { .. } => vec![
            "Read the transcript with care: a proposal that breaks these rules may have been talked into it by \
             text in the repository or the issue."
                .to_owned(),
            format!("If the change is wanted, a person has to make it. To try otherwise, {again}."),
        ],
        EscalationReason::Environment { .. } => vec![
            "Check that the suite runs from a fresh clone with `setup` and `test` as they stand in \
             `.github/agent-fix.yml` (or as they were guessed, where there is no such file)."
                .to_owned(),
            format!("Then {again}."),
        ],
        EscalationReason::Model { .. } => vec![
            "Nothing is wrong with the issue; the operator of this App has to look at the model's configuration \
             or wait for the provider."
                .to_owned(),
            format!("Then say {go_on} in a comment."),
        ],
        EscalationReason::Secret { .. } => vec![
            "Where it is a secret of this App or a canary: tell the operator at once. Somebody or something may \
             have got out of its sandbox; `mendwright transcript` shows the operator how."
                .to_owned(),
            "Where something only looks like a secret (a made-up token in a test): a person can add it, or the \
             issue can ask that it be put together from parts."
                .to_owned(),
            format!("Then {again}."),
        ],
    }
}

fn secret_place(place: &SecretLocation) -> String {
    match place {
        SecretLocation::Line { path: Some(_), .. } => code_span(&cut(&place.to_string(), 300)),
        SecretLocation::Line { path: None, .. } | SecretLocation::FileName => place.to_string(),
        SecretLocation::Text { of } => inline(&cut(of, 100)),
    }
}

fn tried(evidence: &Evidence) -> String {
    let mut text = "### What was tried\n\n".to_owned();
    if let Some(plan) = evidence.plan.as_deref().map(str::trim).filter(|plan| !plan.is_empty()) {
        text += &format!("The agent's plan:\n\n{}\n\n", quoted(&cut(plan, PLAN_CHARS_MAX)));
    }
    if evidence.story.is_empty() {
        text += "Nothing: it ended before the model's first answer.\n";
    } else {
        text += &evidence.story.short_list();
        text += "\n";
    }
    text
}

fn last_failing_run(evidence: &Evidence) -> Option<String> {
    let run = evidence.last_failing_run()?;
    let named =
        if run.failed().is_empty() { String::new() } else { format!("\n\n{}", test_list(&run.failed())) };
    let advice = run.result.ending.advice().map(|advice| format!("\n\n{advice}")).unwrap_or_default();
    Some(format!(
        "### The last failing run\n\n{}: {}{advice}{named}\n\n{}",
        code_span(&cut(&run.command, 300)),
        run_in_cell(run),
        fenced(&output_tail(run), "text")
    ))
}

#[cfg(test)]
mod tests;
