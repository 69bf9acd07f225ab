//! What reviewers read of a round: one comment on the pull request, brought up to date when it ends, and
//! an answer in each thread.

use super::escape::{code_span, cut, inline, quoted};
use super::evidence::Evidence;
use super::marker::MarkerKind;
use super::words::{plural, spend};
use crate::domain::{CommentId, Feedback, FeedbackLocation, JobOutcome, Sha};

/// Longest summary by the agent.
const SUMMARY_CHARS_MAX: usize = 12_000;

/// Checks that are named.
const CHECKS_MAX: usize = 10;

/// The comment about the round, as it stands.
pub fn render(evidence: &Evidence) -> String {
    let remarks = &evidence.feedback;
    let by: Vec<String> = remarks.iter().fold(Vec::new(), |mut known, remark| {
        let name = code_span(remark.by.as_str());
        if !known.contains(&name) {
            known.push(name);
        }
        known
    });
    let told = plural(remarks.len() as u64, "remark", "remarks");
    let checks: Vec<String> =
        evidence.failed_checks.iter().take(CHECKS_MAX).map(|name| code_span(&cut(name, 100))).collect();
    let asked = match (by.is_empty(), checks.is_empty()) {
        (false, _) => format!("{told} by {}", by.join(", ")),
        (true, false) => format!("failing checks ({})", checks.join(", ")),
        (true, true) => "what was left to do".to_owned(),
    };
    let words = match &evidence.outcome {
        None => format!("working on {asked}. `/agent-fix stop` ends it."),
        Some(JobOutcome::Proposed { head, .. }) => done(evidence, head, &asked),
        Some(JobOutcome::Held { .. }) => format!(
            "a verified change for {asked} is held back: it is shown on the issue, and `/agent-fix publish` lets it go \
             out."
        ),
        Some(JobOutcome::Escalated { .. }) => format!(
            "{asked}: this needs a person. See the comment below that says why; the pull request is as it was. \
             `/agent-fix continue` has me go on."
        ),
        Some(JobOutcome::Cancelled { why }) => format!("called off: {}.", inline(&cut(why, 500))),
        Some(JobOutcome::Failed { why }) => format!("Mendwright itself failed: {}.", inline(&cut(why, 500))),
    };
    format!("{}\n**Round {}:** {words}\n", evidence.marker(MarkerKind::Round), evidence.round)
}

fn done(evidence: &Evidence, head: &Sha, asked: &str) -> String {
    let mut text = match evidence.branch_head.as_ref() == Some(head) {
        true => format!("{asked}. Nothing had to be changed."),
        // GitHub links a commit's whole id by itself.
        false => format!("{asked}: done in {head}, verified as a whole with what was there."),
    };
    if let Some(summary) = evidence.summary.as_deref().map(str::trim).filter(|summary| !summary.is_empty()) {
        text += &format!("\n\n{}", quoted(&cut(summary, SUMMARY_CHARS_MAX)));
    }
    text + &format!("\n\n<sub>Spent so far: {}</sub>", spend(&evidence.spend))
}

/// The answer in a thread, and what it is known by: its hidden first line. `paths` are those that the
/// commit changes; `None`: there is no commit, since nothing had to be changed.
pub fn answer_in_thread(
    evidence: &Evidence,
    first: CommentId,
    path: &str,
    made: Option<(&Sha, &[String])>,
) -> String {
    let words = match made {
        Some((head, paths)) if paths.iter().any(|changed| changed == path) => {
            format!("{head} changes this file.")
        }
        Some((head, _)) => format!("{head} answers this, in other files."),
        None => "Nothing was changed for this; the comment on this round says why.".to_owned(),
    };
    format!("{}\n{words}\n", thread_marker(evidence.round, first))
}

/// The first line of an answer.
pub fn thread_marker(round: u32, first: CommentId) -> String {
    format!("<!-- mendwright:reply:{round}:{first} -->")
}

/// The threads among what was asked for, with their files.
pub fn threads(feedback: &[Feedback]) -> impl Iterator<Item = (CommentId, &str)> {
    feedback.iter().filter_map(|remark| match &remark.place {
        FeedbackLocation::Thread { first, path, .. } => Some((*first, path.as_str())),
        FeedbackLocation::PullRequest { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::fixed;
    use super::*;
    use crate::domain::EscalationReason;

    fn remark(by: &str, place: FeedbackLocation) -> Feedback {
        Feedback { place, by: by.parse().unwrap(), text: "Rename it.".into() }
    }

    fn in_round(outcome: Option<JobOutcome>, head: &str) -> Evidence {
        let (mut evidence, _) = fixed();
        let thread = FeedbackLocation::Thread {
            first: CommentId(7),
            path: "src/cart.py".into(),
            line: Some(3),
            hunk: "@@ -1 +1 @@".into(),
        };
        evidence.round = 2;
        evidence.feedback = vec![
            remark("octo-writer", FeedbackLocation::PullRequest { id: 5 }),
            remark("octo-writer", thread),
        ];
        evidence.branch_head = Some(head.repeat(40).parse().unwrap());
        evidence.outcome = outcome;
        evidence
    }

    fn proposed() -> Option<JobOutcome> {
        Some(JobOutcome::Proposed {
            pull_request: None,
            branch: "b".into(),
            head: "b".repeat(40).parse().unwrap(),
        })
    }

    #[test]
    fn a_round_is_told_as_it_stands() {
        insta::assert_snapshot!(render(&in_round(None, "a")), @r"
        <!-- mendwright:round:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1.2:1/1 -->
        **Round 2:** working on 2 remarks by `octo-writer`. `/agent-fix stop` ends it.
        ");
        insta::assert_snapshot!(render(&in_round(proposed(), "a")), @r"
        <!-- mendwright:round:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1.2:1/1 -->
        **Round 2:** 2 remarks by `octo-writer`: done in bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, verified as a whole with what was there.

        > `total()` cut off the last item.
        >
        > - `items[:-1]` is now `items`
        > - no other caller relied on it

        <sub>Spent so far: 3 turns, 4 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369</sub>
        ");
        assert!(
            render(&in_round(proposed(), "b"))
                .contains("2 remarks by `octo-writer`. Nothing had to be changed.")
        );
        let why = EscalationReason::Question { question: "Which?".into() };
        insta::assert_snapshot!(render(&in_round(Some(JobOutcome::Escalated { reason: why }), "a")), @r"
        <!-- mendwright:round:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1.2:1/1 -->
        **Round 2:** 2 remarks by `octo-writer`: this needs a person. See the comment below that says why; the pull request is as it was. `/agent-fix continue` has me go on.
        ");
    }

    #[test]
    fn a_thread_is_answered_with_the_commit() {
        let evidence = in_round(proposed(), "a");
        let (first, path) = threads(&evidence.feedback).next().unwrap();
        let head: Sha = "b".repeat(40).parse().unwrap();
        let answer = |made| answer_in_thread(&evidence, first, path, made);
        let changed = ["src/cart.py".to_owned()];
        insta::assert_snapshot!(answer(Some((&head, &changed))), @r"
        <!-- mendwright:reply:2:7 -->
        bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb changes this file.
        ");
        assert!(answer(Some((&head, &[]))).ends_with("answers this, in other files.\n"));
        assert!(answer(None).contains("Nothing was changed for this"));
    }
}
