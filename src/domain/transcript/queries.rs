//! Questions about a job that its transcript answers, each asked in one place.

use jiff::Timestamp;

use super::{QuotedComment, RecordedEvent, TranscriptEvent};
use crate::domain::{
    EscalationReason, FailedTest, Feedback, FetchedSubmodule, Flag, JobOutcome, JobSettings, Login, Message,
    MissingSubmodule, PromptVersion, PullRequestNumber, ResumeReason, Sha, TestRun,
};

/// A job's recorded events in order, or a part of them. Borrows the events, so it can be copied freely.
#[derive(Debug, Clone, Copy, Default)]
pub struct Transcript<'a>(&'a [RecordedEvent]);

/// The commit that the work starts from.
#[derive(Debug, Clone, Copy)]
pub struct RecordedBase<'a> {
    /// The commit.
    pub commit: &'a Sha,
    /// Its branch.
    pub branch: &'a str,
    /// The settings that were read from the commit.
    pub settings: &'a JobSettings,
}

/// A recorded verdict.
#[derive(Debug, Clone, Copy)]
pub struct RecordedVerdict<'a> {
    /// Its place in the transcript.
    pub sequence: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// Whether the proposal is verified.
    pub verified: bool,
    /// The proposed tree.
    pub tree: &'a Sha,
    /// Why.
    pub explanation: &'a str,
    /// The run at the proposed tree, if the verdict came that far.
    pub run: Option<&'a TestRun>,
    /// The tests that fail on the base and pass on the proposal.
    pub proof: Option<&'a [FailedTest]>,
    /// What a reviewer must look at.
    pub flags: &'a [Flag],
}

impl<'a> Transcript<'a> {
    /// The transcript that these events are.
    pub fn new(events: &'a [RecordedEvent]) -> Self {
        Self(events)
    }

    /// The events, in order.
    pub fn events(self) -> &'a [RecordedEvent] {
        self.0
    }

    fn first<T>(self, pick: impl Fn(&'a TranscriptEvent) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(|recorded| pick(&recorded.event))
    }

    pub(super) fn last<T>(self, pick: impl Fn(&'a TranscriptEvent) -> Option<T>) -> Option<T> {
        self.0.iter().rev().find_map(|recorded| pick(&recorded.event))
    }

    fn any(self, is: impl Fn(&TranscriptEvent) -> bool) -> bool {
        self.0.iter().any(|recorded| is(&recorded.event))
    }

    fn count(self, is: impl Fn(&TranscriptEvent) -> bool) -> usize {
        self.0.iter().filter(|recorded| is(&recorded.event)).count()
    }

    /// The events from the last one that matches, or all of them if none does.
    fn since_last(self, is: impl Fn(&TranscriptEvent) -> bool) -> Self {
        Self(&self.0[self.0.iter().rposition(|recorded| is(&recorded.event)).unwrap_or(0)..])
    }

    // Rounds.

    /// The number of the round that the transcript is in, from 1.
    pub fn round_number(self) -> u32 {
        u32::try_from(self.count(is_resumed)).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// How many rounds were started by reviews and failed checks.
    pub fn reviewed_rounds(self) -> u32 {
        let is_reviewed = |event: &TranscriptEvent| match event {
            TranscriptEvent::Resumed { why, .. } => match why {
                ResumeReason::Reviewed { .. } | ResumeReason::ChecksFailed { .. } => true,
                ResumeReason::Continued { .. } => false,
            },
            _ => false,
        };
        u32::try_from(self.count(is_reviewed)).unwrap_or(u32::MAX)
    }

    /// The events of the current round. A later round begins with its [`TranscriptEvent::Resumed`].
    pub fn current_round(self) -> Self {
        self.since_last(is_resumed)
    }

    /// The events before the current round.
    pub fn before_current_round(self) -> Self {
        Self(&self.0[..self.0.len() - self.current_round().0.len()])
    }

    /// The events of the first round.
    pub fn first_round(self) -> Self {
        let end = self.0.iter().position(|recorded| is_resumed(&recorded.event));
        Self(&self.0[..end.unwrap_or(self.0.len())])
    }

    /// Each round's events, in order.
    pub fn rounds(self) -> impl Iterator<Item = Self> {
        let same_round = |_: &RecordedEvent, next: &RecordedEvent| !is_resumed(&next.event);
        self.0.chunk_by(same_round).map(Self)
    }

    /// Who started the current round, and why; `None` in the first round.
    pub fn resumed(self) -> Option<(&'a Login, &'a ResumeReason)> {
        match self.current_round().0.first().map(|recorded| &recorded.event) {
            Some(TranscriptEvent::Resumed { by, why, .. }) => Some((by, why)),
            _ => None,
        }
    }

    /// The events since the work last got new ground: a new round, or other people's commits on the branch.
    /// Decisions and approvals from before it no longer count.
    pub fn since_last_base_change(self) -> Self {
        self.since_last(|event| {
            matches!(event, TranscriptEvent::Resumed { .. } | TranscriptEvent::BranchFound { .. })
        })
    }

    // Base, settings and inputs.

    /// The base that was recorded last.
    pub fn base(self) -> Option<RecordedBase<'a>> {
        self.last(|event| match event {
            TranscriptEvent::Prepared { base, base_branch, settings } => {
                Some(RecordedBase { commit: base, branch: base_branch, settings })
            }
            _ => None,
        })
    }

    /// The submodules of a base commit: those whose files sandboxes have, and the others. `None`: they were not
    /// looked at.
    pub fn submodules_of(self, commit: &Sha) -> Option<(&'a [FetchedSubmodule], &'a [MissingSubmodule])> {
        self.last(|event| match event {
            TranscriptEvent::SubmodulesFetched { base, fetched, missing } if base == commit => {
                Some((fetched.as_slice(), missing.as_slice()))
            }
            _ => None,
        })
    }

    /// What sandboxes lack, a sentence for each kind.
    pub fn missing_in_checkout(self) -> &'a [String] {
        let missing = self.last(|event| match event {
            TranscriptEvent::CheckoutIncomplete { missing } => Some(missing.as_slice()),
            _ => None,
        });
        missing.unwrap_or_default()
    }

    /// The event of the base that was worked from first, with the plan that was chosen for it.
    pub fn first_base_event(self) -> Option<&'a TranscriptEvent> {
        let first_run = self.0.iter().position(|recorded| baseline_run(&recorded.event).is_some());
        Self(&self.0[..first_run.unwrap_or(self.0.len())])
            .last(|event| matches!(event, TranscriptEvent::Prepared { .. }).then_some(event))
    }

    /// The suite's run on the base that was recorded last, before any change.
    pub fn baseline(self) -> Option<&'a TestRun> {
        self.since_last(|event| matches!(event, TranscriptEvent::Prepared { .. })).first(baseline_run)
    }

    /// The suite's last run before any change, on whichever base.
    pub fn last_baseline(self) -> Option<&'a TestRun> {
        self.last(baseline_run)
    }

    /// The description and the root digest of the sandbox that was started last.
    pub fn last_sandbox(self) -> Option<(&'a str, Option<&'a str>)> {
        self.last(|event| match event {
            TranscriptEvent::SandboxStarted { description, root, .. } => {
                Some((description.as_str(), root.as_deref()))
            }
            _ => None,
        })
    }

    /// The version of the prompts that the model is instructed with.
    pub fn prompts(self) -> Option<&'a PromptVersion> {
        self.last(|event| match event {
            TranscriptEvent::Instructed { prompts } => Some(prompts),
            _ => None,
        })
    }

    /// The issue's comments that the model was given; `None` if they were not read yet.
    pub fn issue_comments(self) -> Option<&'a [QuotedComment]> {
        self.first(|event| match event {
            TranscriptEvent::CommentsRead { comments, .. } => Some(comments.as_slice()),
            _ => None,
        })
    }

    /// The event with the issue's comments.
    pub fn issue_comments_event(self) -> Option<&'a TranscriptEvent> {
        self.first(|event| matches!(event, TranscriptEvent::CommentsRead { .. }).then_some(event))
    }

    /// The event with the brief of the cheaper model.
    pub fn brief_event(self) -> Option<&'a TranscriptEvent> {
        self.first(|event| matches!(event, TranscriptEvent::BriefAnswered { .. }).then_some(event))
    }

    /// Whether a base was recorded, so that the work has begun.
    pub fn is_prepared(self) -> bool {
        self.any(|event| matches!(event, TranscriptEvent::Prepared { .. }))
    }

    /// Whether any message joined the conversation with the model.
    pub fn has_messages(self) -> bool {
        let is_message = |event: &TranscriptEvent| matches!(event, TranscriptEvent::MessageAdded { .. });
        self.events_by_agent().any(|(event, is_of_setup_agent)| is_message(event) && !is_of_setup_agent)
    }

    /// Whether the model answered at least once.
    pub fn has_model_answer(self) -> bool {
        self.any(|event| {
            matches!(event, TranscriptEvent::MessageAdded { message: Message::Assistant { .. }, .. })
        })
    }

    /// The models that answered the agent, each once, in order.
    pub fn models(self) -> Vec<&'a str> {
        let mut models = Vec::new();
        for recorded in self.0 {
            if let TranscriptEvent::MessageAdded { model: Some(model), .. } = &recorded.event
                && !models.contains(&model.as_str())
            {
                models.push(model.as_str());
            }
        }
        models
    }

    // Trees and branches.

    /// The tree of the last checkpoint.
    pub fn last_checkpoint(self) -> Option<&'a Sha> {
        self.last(|event| match event {
            TranscriptEvent::Checkpoint { tree, .. } => Some(tree),
            _ => None,
        })
    }

    /// The tree of the last checkpoint or verdict, whichever is later: what a person can continue from.
    pub fn last_tree(self) -> Option<&'a Sha> {
        self.last(|event| match event {
            TranscriptEvent::Checkpoint { tree, .. } | TranscriptEvent::VerdictReached { tree, .. } => {
                Some(tree)
            }
            _ => None,
        })
    }

    /// The head of the job's branch that the current round builds on, if the branch is on GitHub.
    pub fn found_branch_head(self) -> Option<&'a Sha> {
        self.current_round().last(|event| match event {
            TranscriptEvent::BranchFound { head, .. } => Some(head),
            _ => None,
        })
    }

    /// How often the branch was looked up in the current round.
    pub fn branch_lookups(self) -> usize {
        self.current_round().count(|event| matches!(event, TranscriptEvent::BranchFound { .. }))
    }

    /// The files that other people changed on the branch, at its last lookup in the current round.
    pub fn changed_by_others(self) -> Option<&'a [String]> {
        self.current_round().last(|event| match event {
            TranscriptEvent::BranchFound { changed, .. } => Some(changed.as_slice()),
            _ => None,
        })
    }

    /// The branch's head as it was last pushed or looked up.
    pub fn known_branch_head(self) -> Option<&'a Sha> {
        self.last(|event| match event {
            TranscriptEvent::BranchFound { head, .. }
            | TranscriptEvent::Ended { outcome: JobOutcome::Proposed { head, .. } } => Some(head),
            _ => None,
        })
    }

    /// The commit that the job put on its branch last, whether or not there is a pull request.
    pub fn published_branch_head(self) -> Option<Sha> {
        self.last(|event| match event {
            TranscriptEvent::Published { kind, reference } if kind == BRANCH => reference.parse().ok(),
            _ => None,
        })
    }

    // Decisions and their end.

    /// The last verdict.
    pub fn last_verdict(self) -> Option<RecordedVerdict<'a>> {
        self.0.iter().rev().find_map(|recorded| match &recorded.event {
            TranscriptEvent::VerdictReached { verified, tree, explanation, run, proof, flags } => {
                Some(RecordedVerdict {
                    sequence: recorded.sequence,
                    at: recorded.at,
                    verified: *verified,
                    tree,
                    explanation,
                    run: run.as_ref(),
                    proof: proof.as_deref(),
                    flags,
                })
            }
            _ => None,
        })
    }

    /// The events up to the last verdict, that one included; all of them if there is none.
    pub fn through_last_verdict(self) -> Self {
        let is_verdict =
            |recorded: &RecordedEvent| matches!(recorded.event, TranscriptEvent::VerdictReached { .. });
        Self(self.0.iter().rposition(is_verdict).map_or(self.0, |last| &self.0[..=last]))
    }

    /// Why the job was last escalated; `None` if somebody asked since then to publish its change again.
    pub fn escalation(self) -> Option<&'a EscalationReason> {
        self.last(|event| match event {
            TranscriptEvent::EscalationDecided { reason } => Some(Some(reason)),
            TranscriptEvent::PublicationRetried { .. } => Some(None),
            _ => None,
        })
        .flatten()
    }

    /// How often somebody asked in the current round to publish the change again.
    pub fn publication_retries(self) -> usize {
        self.current_round().count(|event| matches!(event, TranscriptEvent::PublicationRetried { .. }))
    }

    /// How the job last ended.
    pub fn last_outcome(self) -> Option<&'a JobOutcome> {
        self.last(|event| match event {
            TranscriptEvent::Ended { outcome } => Some(outcome),
            _ => None,
        })
    }

    /// The person whose request the current round rests on, and whether GitHub says that they are a bot: who
    /// approved the change or asked to publish it again, or else who started the round. `None` if nobody did either.
    pub fn requested_by(self) -> Option<(&'a Login, bool)> {
        self.current_round().last(|event| match event {
            TranscriptEvent::Released { by } => Some((by, false)),
            TranscriptEvent::Resumed { by, by_is_bot, .. }
            | TranscriptEvent::PublicationRetried { by, by_is_bot } => Some((by, *by_is_bot)),
            _ => None,
        })
    }

    /// Whether somebody approved what was decided last.
    pub fn is_approved(self) -> bool {
        self.since_last_base_change().any(|event| matches!(event, TranscriptEvent::Released { .. }))
    }

    /// When somebody last approved the change or resumed the job.
    pub fn resumed_at(self) -> Option<Timestamp> {
        let is_request = |recorded: &&RecordedEvent| {
            matches!(
                recorded.event,
                TranscriptEvent::Released { .. }
                    | TranscriptEvent::PublicationRetried { .. }
                    | TranscriptEvent::Resumed { .. }
            )
        };
        self.0.iter().rev().find(is_request).map(|recorded| recorded.at)
    }

    // The pull request and its reviewers.

    /// Whether the job published a pull request, or a branch if there is no GitHub.
    pub fn is_published(self) -> bool {
        self.any(|event| matches!(event, TranscriptEvent::Published { kind, .. } if kind == PULL_REQUEST))
    }

    /// The pull request that the job opened.
    pub fn opened_pull_request(self) -> Option<PullRequestNumber> {
        self.last(|event| match event {
            TranscriptEvent::Published { kind, reference } if kind == PULL_REQUEST => {
                let number = PullRequestNumber(reference.strip_prefix('#')?.parse().ok()?);
                (number != PullRequestNumber::LOCAL).then_some(number)
            }
            _ => None,
        })
    }

    /// What reviewers asked for since something was last published.
    pub fn unanswered_feedback(self) -> Vec<&'a Feedback> {
        let is_published = |recorded: &RecordedEvent| matches!(&recorded.event, TranscriptEvent::Published { kind, .. } if kind != BRANCH);
        let since = self.0.iter().rposition(is_published).map_or(0, |at| at + 1);
        let asked = self.0[since..].iter().filter_map(|recorded| match &recorded.event {
            TranscriptEvent::Resumed { why: ResumeReason::Reviewed { feedback, .. }, .. } => Some(feedback),
            _ => None,
        });
        asked.flatten().collect()
    }

    /// What the current round is to answer: everything that reviewers asked for since something was published
    /// before it.
    pub fn current_feedback(self) -> Vec<&'a Feedback> {
        let before = self.before_current_round();
        if before.0.is_empty() {
            return Vec::new();
        }
        let started = Self(&self.current_round().0[..1]);
        before.unanswered_feedback().into_iter().chain(started.unanswered_feedback()).collect()
    }

    /// The names of the checks whose failure started the current round.
    pub fn failed_checks(self) -> Vec<&'a str> {
        match self.resumed() {
            Some((_, ResumeReason::ChecksFailed { checks, .. })) => {
                checks.iter().map(|check| check.name.as_str()).collect()
            }
            Some((_, ResumeReason::Continued { .. } | ResumeReason::Reviewed { .. })) | None => Vec::new(),
        }
    }
}

/// The kind of a published pull request.
const PULL_REQUEST: &str = "pull_request";

/// The kind of a commit on the job's branch. Nobody is told of it before there is a pull request.
const BRANCH: &str = "branch";

fn is_resumed(event: &TranscriptEvent) -> bool {
    matches!(event, TranscriptEvent::Resumed { .. })
}

fn baseline_run(event: &TranscriptEvent) -> Option<&TestRun> {
    match event {
        TranscriptEvent::BaselineRun { run } => Some(run),
        _ => None,
    }
}
