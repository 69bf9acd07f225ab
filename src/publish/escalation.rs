//! The escalation: an account for the person who takes over. One comment, or several if the transcript is long;
//! nothing is cut inside a fence or a quotation.

use super::comment_split::comments_of;
use super::draft_pr::summary;
use super::escape::{code_span, cut, fenced, inline, quoted};
use super::evidence::Evidence;
use super::format::{output_tail, plural, run_in_cell, spend, test_list, time};
use super::found_setup::found_setup;
use super::marker::MarkerKind;
use super::patch_blocks::{every_file, patch};
use crate::domain::{BudgetExhausted, COMMAND_PREFIX, EscalationReason, SecretLocation, Sha};

/// Longest quotation of a reason.
const REASON_CHARS_MAX: usize = 6_000;
/// Longest plan.
const PLAN_CHARS_MAX: usize = 6_000;
/// Longest sentence about something that the sandbox does not have.
const MISSING_CHARS_MAX: usize = 1_000;

/// The comments, in order; each begins with its marker.
pub fn render(evidence: &Evidence, reason: &EscalationReason) -> Vec<String> {
    let mut blocks = vec![opening(evidence, reason)];
    let shows_nothing = matches!(reason, EscalationReason::Secret { .. });
    if !shows_nothing {
        if is_verified(reason) {
            blocks.extend(verified(evidence));
            blocks.extend(patch(evidence, "The patch", "It is verified."));
        } else {
            blocks.push(tried(evidence));
            blocks.extend(last_failing_run(evidence));
            blocks.extend(patch(evidence, "The partial patch", "It is **not verified**."));
        }
    }
    blocks.extend(found_setup(evidence).filter(|_| !shows_nothing).map(|block| block + "\n"));
    let sections = if shows_nothing { Vec::new() } else { evidence.timeline.sections() };
    if !sections.is_empty() {
        blocks.push("### Transcript\n".to_owned());
        blocks.extend(sections);
    }
    comments_of(evidence, MarkerKind::Escalation, blocks, |count| {
        format!(
            "… {} left out because they do not fit.\n",
            plural(count as u64, "section is", "sections are")
        )
    })
}

/// Whether the change is verified, and only publishing it failed.
fn is_verified(reason: &EscalationReason) -> bool {
    match reason {
        EscalationReason::NotShown { .. } | EscalationReason::NotPublished { .. } => true,
        EscalationReason::Budget { .. }
        | EscalationReason::Question { .. }
        | EscalationReason::NotVerified { .. }
        | EscalationReason::Refused { .. }
        | EscalationReason::Environment { .. }
        | EscalationReason::Model { .. }
        | EscalationReason::Secret { .. } => false,
    }
}

/// What was verified, and every file that it changes.
fn verified(evidence: &Evidence) -> Vec<String> {
    let mut text = format!("{}\n\n### What was verified\n\n", summary(evidence, 1));
    if let Some(verdict) = &evidence.verdict {
        text += &format!("{}\n", quoted(&cut(&verdict.explanation, REASON_CHARS_MAX)));
        if let Some(run) = &verdict.run {
            text += &format!("\n{}: {}\n", code_span(&cut(&run.command, 300)), run_in_cell(run));
        }
    }
    let mut blocks = vec![text];
    blocks.extend(evidence.patch.iter().flat_map(every_file));
    blocks
}

fn opening(evidence: &Evidence, reason: &EscalationReason) -> String {
    let (heading, why) = explain(reason);
    let next: Vec<String> = next_steps(evidence, reason).iter().map(|step| format!("- {step}")).collect();
    let left = match evidence.pull_request {
        Some(_) => "The pull request is unchanged.",
        None => "No pull request was opened.",
    };
    let first = operator_first(reason);
    let mut text = format!(
        "### {heading}\n\n{first}{left} {why}\n\n**What you can do**\n\n{}\n\n\
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
    for (name, words) in evidence.environment.rows() {
        text += &format!("**{name}:** {words}.\n");
    }
    if let Some(tree) = &evidence.checkpoint {
        text += &format!("**Last saved tree:** `{tree}`.\n");
    }
    text
}

/// What the operator has to do, before everything else.
fn operator_first(reason: &EscalationReason) -> String {
    let EscalationReason::Environment { operator: Some(note), .. } = reason else { return String::new() };
    let text = format!("**For the operator:** {}", inline(&cut(&note.why, MISSING_CHARS_MAX)));
    match note.line() {
        Some(line) => format!(
            "{text} Write this into `mendwright.toml`{}:\n\n{}\n",
            if note.keeps_internal_hosts { ", and keep the internal hosts that are there" } else { "" },
            fenced(&format!("[sandbox]\n{line}"), "toml")
        ),
        None => format!("{text}\n\n"),
    }
}

/// A heading, and the reason.
fn explain(reason: &EscalationReason) -> (&'static str, String) {
    let quotation = |text: &str| format!("\n\n{}", quoted(&cut(text, REASON_CHARS_MAX)));
    match reason {
        EscalationReason::Budget { limit: BudgetExhausted::NothingNew { turns } } => (
            "Stopped: no progress",
            format!(
                "In the last {turns} turns the agent read nothing that it had not read, and no test failed or passed that \
                 had not before. Going on would only have spent more."
            ),
        ),
        EscalationReason::Budget { limit } => (
            "Stopped: budget exhausted",
            format!("The next step would exceed it: {}.", inline(&limit.to_string())),
        ),
        EscalationReason::Question { question } => {
            ("The agent has a question", format!("Only a person can answer it:{}", quotation(question)))
        }
        EscalationReason::NotVerified { why } => (
            "Not verified",
            format!("The agent reported that it was done, but the verification failed:{}", quotation(why)),
        ),
        EscalationReason::Refused { why } => (
            "Refused: the proposal breaks a protected rule",
            format!("It is not published, even if its tests pass:{}", quotation(why)),
        ),
        EscalationReason::Environment { why, .. } => (
            "The test suite cannot be run",
            format!("Without a test run nothing can be verified:{}", quotation(why)),
        ),
        EscalationReason::Model { why } => {
            ("The language model could not be used", format!("The provider reported:{}", quotation(why)))
        }
        EscalationReason::NotShown { why, .. } => (
            "A verified change cannot be shown for approval",
            format!(
                "Nothing was pushed. This repository, or the operator of this App, requires approval first \
                 (`publish: hold`), and only what a comment can show whole can be approved:{}",
                quotation(why)
            ),
        ),
        EscalationReason::NotPublished { why, .. } => (
            "A verified change could not be published",
            format!("The work is done and verified, but GitHub refused it:{}", quotation(why)),
        ),
        EscalationReason::Secret { found } => {
            let lines: Vec<String> = found
                .iter()
                .map(|found| format!("- {}, in {}", found.what, secret_place(&found.place)))
                .collect();
            (
                "Blocked: the content contains a secret",
                format!(
                    "Nothing was published, and neither the change nor the transcript is shown here. Found:\n\n{}",
                    lines.join("\n")
                ),
            )
        }
    }
}

fn next_steps(evidence: &Evidence, reason: &EscalationReason) -> Vec<String> {
    let label = code_span(&evidence.label);
    let start_over = format!("remove the {label} label from this issue and add it again");
    let resume = code_span(&format!("{COMMAND_PREFIX} continue"));
    let budget = "`budget` in `.github/agent-fix.yml` on the default branch";
    match reason {
        EscalationReason::Budget { limit: BudgetExhausted::Day(reached) } => {
            let when = match reached.room_from {
                Some(from) => format!(
                    "Wait until {}, when the daily cap has room again. Then {start_over}.",
                    from.strftime("%Y-%m-%d %H:%M UTC")
                ),
                None => "Waiting does not help: one call may need more than the whole cap.".to_owned(),
            };
            vec![
                when,
                format!(
                    "Or ask the operator to raise {} in the service's configuration, then {start_over}.",
                    code_span(&reached.setting)
                ),
            ]
        }
        EscalationReason::Budget { limit: BudgetExhausted::NothingNew { .. } } => vec![
            "Read the agent's plan and the failing tests below. Which assumption is wrong, or which file did it not \
             look at?"
                .to_owned(),
            format!("Say so in a comment with {resume} on a line of its own: the agent reads it and continues."),
            format!("Or say it in the issue, then {start_over}."),
        ],
        EscalationReason::Budget { .. } => vec![
            "Look at what was tried and at the partial patch below. Is it on the right track?".to_owned(),
            format!(
                "If it is, comment {resume}: the job resumes with a full new budget (or with `+$2`, `+20 turns`). To \
                 give every job more, raise {budget} (up to the operator's limit)."
            ),
            format!("If it is not, say in the issue where to look or what to expect, then {start_over}."),
        ],
        EscalationReason::Question { .. } => vec![
            format!("Answer in a comment with {resume} on a line of its own: the agent reads it and continues."),
            format!("Or add the answer to the issue's text, then {start_over}."),
        ],
        EscalationReason::NotVerified { .. } => vec![
            "Read the verdict above and the failing tests below, if there are any. Are the tests right, and do they \
             concern this issue?"
                .to_owned(),
            format!(
                "Say what is missing in a comment with {resume} on a line of its own, or take the partial patch and \
                 finish it by hand."
            ),
        ],
        EscalationReason::Refused { .. } => vec![
            "Read the transcript with care: text in the repository or the issue may have talked the agent into a \
             proposal that breaks these rules."
                .to_owned(),
            format!("If you want the change, a person has to make it. To try again, {start_over}."),
        ],
        EscalationReason::Environment { .. } => vec![
            "Check that the suite runs from a fresh clone with `setup` and `test` of `.github/agent-fix.yml`, or \
             with the detected commands if there is no such file."
                .to_owned(),
            format!("Then {start_over}."),
        ],
        EscalationReason::Model { .. } => vec![
            "Nothing is wrong with the issue. The operator of this App must check the model's configuration or \
             wait for the provider."
                .to_owned(),
            format!("Then comment {resume}."),
        ],
        EscalationReason::NotShown { commit, .. } => vec![
            format!(
                "Ask for a smaller change in a comment with {resume} on a line of its own: the agent reads it and \
                 continues."
            ),
            kept_commit(evidence, commit),
        ],
        EscalationReason::NotPublished { commit, branch: Some(branch), .. } => vec![
            format!(
                "The verified commit `{}` is on the branch {}: open a pull request from it, or use it as it is.",
                commit.short(),
                code_span(branch)
            ),
            format!("Or remove the cause and comment {resume}: publishing is tried again, and the model is not asked."),
        ],
        EscalationReason::NotPublished { commit, branch: None, .. } => vec![
            format!("Remove the cause and comment {resume}: publishing is tried again, and the model is not asked."),
            "Or apply the patch below by hand.".to_owned(),
            kept_commit(evidence, commit),
        ],
        EscalationReason::Secret { .. } => vec![
            "If it is a secret of this App or a canary, tell the operator immediately. Somebody or something may \
             have escaped from its sandbox; `mendwright transcript` shows the operator how."
                .to_owned(),
            "If it only looks like a secret (a made-up token in a test), a person can add it, or the issue can ask \
             for it to be assembled from parts."
                .to_owned(),
            format!("Then {start_over}."),
        ],
    }
}

/// Where the operator finds a commit that was not pushed.
fn kept_commit(evidence: &Evidence, commit: &Sha) -> String {
    format!(
        "The operator of this App has the whole change, in the service's data directory: \
         `git -C mirrors/{}.git show {commit}`.",
        evidence.job().trigger.repository.id
    )
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
    if evidence.timeline.is_empty() {
        text += "Nothing: the job ended before the model's first answer.\n";
    } else {
        text += &evidence.timeline.short_list();
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
