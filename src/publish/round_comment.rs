//! What reviewers see of a round of changes: one comment on the pull request, updated when the round ends, and a
//! reply in each thread.

use super::escape::{code_span, cut, inline, quoted};
use super::evidence::Evidence;
use super::format::{plural, spend};
use super::marker::MarkerKind;
use crate::domain::{CommentId, Feedback, FeedbackLocation, JobOutcome, Sha};

/// Longest summary by the agent.
const SUMMARY_CHARS_MAX: usize = 12_000;

/// Checks that are listed.
const CHECKS_MAX: usize = 10;

/// The comment about the current round.
pub fn render(evidence: &Evidence) -> String {
    let remarks = &evidence.feedback;
    let by: Vec<String> = remarks.iter().fold(Vec::new(), |mut known, remark| {
        let name = code_span(remark.by.as_str());
        if !known.contains(&name) {
            known.push(name);
        }
        known
    });
    let count = plural(remarks.len() as u64, "remark", "remarks");
    let checks: Vec<String> =
        evidence.failed_checks.iter().take(CHECKS_MAX).map(|name| code_span(&cut(name, 100))).collect();
    let asked = match (by.is_empty(), checks.is_empty()) {
        (false, _) => format!("{count} by {}", by.join(", ")),
        (true, false) => format!("failing checks ({})", checks.join(", ")),
        (true, true) => "the remaining work".to_owned(),
    };
    let text = match &evidence.outcome {
        None => format!("working on {asked}. `/agent-fix stop` stops it."),
        Some(JobOutcome::Proposed { head, .. }) => done(evidence, head, &asked),
        Some(JobOutcome::Held { .. }) => format!(
            "a verified change for {asked} is waiting for approval: see the comment on the issue. `/agent-fix publish` \
             publishes it."
        ),
        Some(JobOutcome::Escalated { .. }) => format!(
            "{asked}: this needs a person. The comment below explains why; the pull request is unchanged. \
             `/agent-fix continue` resumes the work."
        ),
        Some(JobOutcome::Cancelled { why }) => format!("cancelled: {}.", inline(&cut(why, 500))),
        Some(JobOutcome::Failed { why }) => format!("Mendwright itself failed: {}.", inline(&cut(why, 500))),
    };
    format!("{}\n**Round {}:** {text}\n", evidence.marker(MarkerKind::Round), evidence.round)
}

fn done(evidence: &Evidence, head: &Sha, asked: &str) -> String {
    let mut text = match evidence.branch_head.as_ref() == Some(head) {
        true => format!("{asked}. No change was needed."),
        // GitHub links a commit's whole id by itself.
        false => format!("{asked}: done in {head}. The whole branch is verified."),
    };
    if let Some(summary) = evidence.summary.as_deref().map(str::trim).filter(|summary| !summary.is_empty()) {
        text += &format!("\n\n{}", quoted(&cut(summary, SUMMARY_CHARS_MAX)));
    }
    text + &format!("\n\n<sub>Spent so far: {}</sub>", spend(&evidence.spend))
}

/// The reply in a thread, with its hidden first line. `made` is the commit with the paths that it changes; `None`
/// if no change was needed.
pub fn thread_reply(
    evidence: &Evidence,
    first: CommentId,
    path: &str,
    made: Option<(&Sha, &[String])>,
) -> String {
    let text = match made {
        Some((head, paths)) if paths.iter().any(|changed| changed == path) => {
            format!("{head} changes this file.")
        }
        Some((head, _)) => format!("{head} addresses this in other files."),
        None => "Nothing was changed for this; the comment on this round explains why.".to_owned(),
    };
    format!("{}\n{text}\n", thread_marker(evidence.round, first))
}

/// The hidden first line of a reply.
pub fn thread_marker(round: u32, first: CommentId) -> String {
    format!("<!-- mendwright:reply:{round}:{first} -->")
}

/// The threads among the feedback, with their files.
pub fn threads(feedback: &[Feedback]) -> impl Iterator<Item = (CommentId, &str)> {
    feedback.iter().filter_map(|remark| match &remark.place {
        FeedbackLocation::Thread { first, path, .. } => Some((*first, path.as_str())),
        FeedbackLocation::PullRequest { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::test_evidence::fixed;
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
    fn comment_follows_the_state_of_the_round() {
        insta::assert_snapshot!(render(&in_round(None, "a")), @r"
        <!-- mendwright:round:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1.2:1/1 -->
        **Round 2:** working on 2 remarks by `octo-writer`. `/agent-fix stop` stops it.
        ");
        insta::assert_snapshot!(render(&in_round(proposed(), "a")), @r"
        <!-- mendwright:round:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1.2:1/1 -->
        **Round 2:** 2 remarks by `octo-writer`: done in bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb. The whole branch is verified.

        > `total()` cut off the last item.
        >
        > - `items[:-1]` is now `items`
        > - no other caller relied on it

        <sub>Spent so far: 3 turns, 4 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369</sub>
        ");
        assert!(
            render(&in_round(proposed(), "b")).contains("2 remarks by `octo-writer`. No change was needed.")
        );
        let why = EscalationReason::Question { question: "Which?".into() };
        insta::assert_snapshot!(render(&in_round(Some(JobOutcome::Escalated { reason: why }), "a")), @r"
        <!-- mendwright:round:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1.2:1/1 -->
        **Round 2:** 2 remarks by `octo-writer`: this needs a person. The comment below explains why; the pull request is unchanged. `/agent-fix continue` resumes the work.
        ");
    }

    #[test]
    fn thread_reply_names_the_commit() {
        let evidence = in_round(proposed(), "a");
        let (first, path) = threads(&evidence.feedback).next().unwrap();
        let head: Sha = "b".repeat(40).parse().unwrap();
        let answer = |made| thread_reply(&evidence, first, path, made);
        let changed = ["src/cart.py".to_owned()];
        insta::assert_snapshot!(answer(Some((&head, &changed))), @r"
        <!-- mendwright:reply:2:7 -->
        bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb changes this file.
        ");
        assert!(answer(Some((&head, &[]))).ends_with("addresses this in other files.\n"));
        assert!(answer(None).contains("Nothing was changed for this"));
    }
}
