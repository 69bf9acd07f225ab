//! The comment on the issue that shows a job's progress: a checklist and the cost.

use super::escape::{code_span, cut, inline};
use super::evidence::Evidence;
use super::format::{run_in_cell, spend};
use super::marker::MarkerKind;
use crate::domain::{JobOutcome, JobState};

/// A stage of the checklist.
struct Stage {
    text: String,
    /// The state in which it runs.
    state: JobState,
}

/// The comment.
pub fn render(evidence: &Evidence) -> String {
    let marker = evidence.marker(MarkerKind::Progress);
    let mut parts = vec![format!("{marker}\n### {}", heading(evidence))];
    parts.push(checklist(evidence));
    if evidence.spend.turns > 0 {
        parts.push(format!("**Spent so far:** {}.", spend(&evidence.spend)));
    }
    if !evidence.state.is_final() {
        let label = code_span(&evidence.label);
        parts.push(format!("To stop it, remove the {label} label or close the issue."));
    }
    parts.push(evidence.footer());
    parts.join("\n\n") + "\n"
}

fn heading(evidence: &Evidence) -> String {
    match (evidence.state, &evidence.outcome) {
        (JobState::Queued, _) => "Mendwright has queued this issue".to_owned(),
        (JobState::Preparing | JobState::Working | JobState::Verifying | JobState::Publishing, _) => {
            "Mendwright is working on this".to_owned()
        }
        (JobState::Proposed, Some(JobOutcome::Proposed { pull_request: Some(number), .. })) => {
            format!("Draft pull request opened: #{number}")
        }
        (JobState::Proposed, _) => "Draft pull request opened".to_owned(),
        (JobState::Held, _) => "A verified change is waiting for approval; see the comment below".to_owned(),
        (JobState::Escalated, _) => "Mendwright needs help from a person; see the comment below".to_owned(),
        (JobState::Cancelled, Some(JobOutcome::Cancelled { why })) => {
            format!("Cancelled: {}", inline(&cut(why, 500)))
        }
        (JobState::Cancelled, _) => "Cancelled".to_owned(),
        (JobState::Failed, Some(JobOutcome::Failed { why })) => {
            format!("Mendwright itself failed: {}", inline(&cut(why, 500)))
        }
        (JobState::Failed, _) => "Mendwright itself failed".to_owned(),
    }
}

fn checklist(evidence: &Evidence) -> String {
    let baseline = evidence.baseline.as_ref().map(run_in_cell);
    let prepared = match (&evidence.base, baseline) {
        (Some(base), Some(run)) => {
            format!("Test suite at `{}` of {}: {run}", base.sha.short(), code_span(&base.branch))
        }
        (Some(base), None) => {
            format!("Run the test suite at `{}` of {}", base.sha.short(), code_span(&base.branch))
        }
        (None, _) => "Run the test suite before any change".to_owned(),
    };
    let reached = reached(evidence);
    let verdict = match &evidence.verdict {
        Some(_) if reached > 2 => "Verified in a fresh sandbox".to_owned(),
        Some(verdict) if !verdict.verified => {
            "Verify in a fresh sandbox (the last proposal was rejected)".to_owned()
        }
        Some(_) | None => "Verify in a fresh sandbox".to_owned(),
    };
    let stages = [
        Stage { text: prepared, state: JobState::Preparing },
        Stage { text: "Find and fix the cause".to_owned(), state: JobState::Working },
        Stage { text: verdict, state: JobState::Verifying },
        Stage { text: "Open a draft pull request or escalate".to_owned(), state: JobState::Publishing },
    ];
    let line = |(index, stage): (usize, &Stage)| {
        let (sign, now) = match (index < reached, stage.state == evidence.state) {
            (true, _) => ("x", ""),
            (false, true) => (" ", " ← now"),
            (false, false) => (" ", ""),
        };
        format!("- [{sign}] {}{now}", stage.text)
    };
    stages.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

/// How many stages are done.
fn reached(evidence: &Evidence) -> usize {
    let verified = evidence.verdict.as_ref().is_some_and(|verdict| verdict.verified);
    match evidence.state {
        JobState::Queued | JobState::Preparing => 0,
        JobState::Working => 1,
        JobState::Verifying => 2,
        JobState::Publishing if verified => 3,
        JobState::Held => 3,
        JobState::Proposed => 4,
        // It ended early, or is about to: only the baseline shows how far it came.
        JobState::Publishing | JobState::Escalated | JobState::Cancelled | JobState::Failed => {
            usize::from(evidence.baseline.is_some())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_evidence::fixed;
    use super::*;
    use crate::domain::{EscalationReason, PullRequestNumber, Sha, Transcript};

    fn at(state: JobState, outcome: Option<JobOutcome>) -> String {
        let (mut evidence, _) = fixed();
        evidence.state = state;
        evidence.outcome = outcome;
        render(&evidence)
    }

    #[test]
    fn queued_job_shows_only_the_steps_ahead() {
        let mut evidence = Evidence::from_transcript(fixed().0.job(), Transcript::default());
        evidence.state = JobState::Queued;
        insta::assert_snapshot!(render(&evidence), @r"
        <!-- mendwright:progress:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
        ### Mendwright has queued this issue

        - [ ] Run the test suite before any change
        - [ ] Find and fix the cause
        - [ ] Verify in a fresh sandbox
        - [ ] Open a draft pull request or escalate

        To stop it, remove the `agent-fix` label or close the issue.

        <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
        ");
    }

    #[test]
    fn running_job_shows_its_step_and_its_cost() {
        insta::assert_snapshot!(at(JobState::Working, None), @r"
        <!-- mendwright:progress:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
        ### Mendwright is working on this

        - [x] Test suite at `aaaaaaaaaa` of `main`: ❌ fails (exit code 1, 1.4 s, 1 failing test named)
        - [ ] Find and fix the cause ← now
        - [ ] Verify in a fresh sandbox
        - [ ] Open a draft pull request or escalate

        **Spent so far:** 3 turns, 4 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369.

        To stop it, remove the `agent-fix` label or close the issue.

        <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
        ");
    }

    #[test]
    fn every_outcome_has_a_heading() {
        let head: Sha = "c".repeat(40).parse().unwrap();
        let ends = [
            (
                JobState::Proposed,
                JobOutcome::Proposed {
                    pull_request: Some(PullRequestNumber(8)),
                    branch: "agent-fix/issue-7".into(),
                    head: head.clone(),
                },
            ),
            (JobState::Held, JobOutcome::Held { branch: "agent-fix/issue-7".into(), head: head.clone() }),
            (
                JobState::Escalated,
                JobOutcome::Escalated { reason: EscalationReason::Question { question: "?".into() } },
            ),
            (JobState::Cancelled, JobOutcome::Cancelled { why: "the label was removed by @grace".into() }),
            (JobState::Failed, JobOutcome::Failed { why: "<b>disk</b> full".into() }),
        ];
        let headings: Vec<_> = ends.into_iter().map(|(state, outcome)| at(state, Some(outcome))).collect();
        let headings: Vec<_> = headings.iter().filter_map(|text| text.lines().nth(1)).collect();
        insta::assert_snapshot!(headings.join("\n"), @r"
        ### Draft pull request opened: #8
        ### A verified change is waiting for approval; see the comment below
        ### Mendwright needs help from a person; see the comment below
        ### Cancelled: the label was removed by ＠grace
        ### Mendwright itself failed: &lt;b&gt;disk&lt;/b&gt; full
        ");
    }
}
