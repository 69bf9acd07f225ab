//! Carries out what people ask for in comments. Runs beside the workers, so that a `stop` is heard while
//! all of them are busy. Each command is a row of the store until it was carried out and answered: a
//! clerk that is killed in between does it again, and finds what it did. One clerk to a store.

mod review_requests;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::domain::{
    BudgetExtension, CommandRequest, Job, JobOutcome, JobState, PullRequestNumber, Refusal, RequestSource,
    ResumeReason, SlashCommand, Transcript, TranscriptEvent, Trigger, authorize,
};
use crate::github::GitHubError;
use crate::publish::command_reply::{CommandReply, ReplyTarget, render};
use crate::publish::{Evidence, command_refused};
use crate::store::{
    DeliveryRecorded, DeliveryRequest, NewDelivery, PendingCommand, ResumeOutcome, StoreError,
};

use self::review_requests::ROUND_PAUSE;
use super::WorkerContext;
use super::approval::{Approval, ApprovalError, release};

/// How often is looked for a command that nobody woke us for.
const POLL: Duration = Duration::from_secs(5);
/// A command that could not be carried out for so long is given up: whoever gave it has gone on.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// Carries commands out.
pub struct CommandProcessor {
    pub(super) parts: WorkerContext,
    /// Wakes it.
    asked: Arc<Notify>,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of a command.
pub(super) enum Done {
    /// It is carried out; a word on it for the store.
    With(&'static str),
    /// It has to wait.
    Later(Duration),
}

impl From<ApprovalError> for CommandError {
    fn from(error: ApprovalError) -> Self {
        match error {
            ApprovalError::GitHub(error) => Self::GitHub(error),
            ApprovalError::Store(error) => Self::Store(error),
        }
    }
}

impl CommandProcessor {
    /// A clerk that `asked` wakes.
    pub fn new(parts: WorkerContext, asked: Arc<Notify>) -> Self {
        Self { parts, asked }
    }

    /// Works until `shutdown`.
    pub async fn run(&self, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            // Ask to be woken before looking, so that nothing is slept over.
            let woken = self.asked.notified();
            let worked = tokio::select! {
                worked = self.step() => worked,
                () = shutdown.cancelled() => return,
            };
            match worked {
                Ok(true) => {}
                Ok(false) => {
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep(POLL) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
                Err(problem) => {
                    error!(%problem, "the clerk cannot reach its store; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(POLL) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Carries the oldest due command out. False: there is none.
    async fn step(&self) -> Result<bool, StoreError> {
        let store = &self.parts.store;
        let Some(due) = store.next_pending_command(self.now()).await? else { return Ok(false) };
        let PendingCommand { id, ask, received_at } = &due;
        let (repo, number) = (&ask.repository.name, ask.number);
        let result = match self.carry_out(id, ask).await {
            Ok(Done::With(result)) => result,
            Ok(Done::Later(wait)) if self.now().duration_since(*received_at) < PATIENCE => {
                let until = self.now() + SignedDuration::try_from(wait).unwrap_or_default();
                store.defer_command(id, until).await?;
                return Ok(true);
            }
            Ok(Done::Later(_)) => "its turn did not come",
            Err(CommandError::GitHub(GitHubError::Unavailable { what, detail, retry_after }))
                if self.now().duration_since(*received_at) < PATIENCE =>
            {
                warn!(%repo, %number, what, detail, seconds = retry_after.as_secs(), "a command waits for GitHub");
                let until = self.now() + SignedDuration::try_from(retry_after).unwrap_or_default();
                store.defer_command(id, until).await?;
                return Ok(true);
            }
            Err(CommandError::GitHub(error)) => {
                warn!(%repo, %number, %error, "a command could not be carried out");
                "GitHub did not let it be carried out"
            }
            Err(CommandError::Store(error)) => return Err(error),
        };
        info!(%repo, %number, by = %ask.by, command = ?ask.command, result, "command");
        store.complete_command(id, result, self.now()).await?;
        Ok(true)
    }

    /// Does what is asked for, if they may ask, and answers. Gives a word on it for the store.
    async fn carry_out(&self, id: &str, ask: &CommandRequest) -> Result<Done, CommandError> {
        if ask.command == SlashCommand::Revise {
            // Other bots have pull requests, too, and are spoken to.
            let number = PullRequestNumber(ask.number.0);
            let Some(job) = self.parts.store.job_of_pull_request(ask.repository.id, number).await? else {
                return Ok(Done::With("not ours"));
            };
            // Before GitHub is asked anything: it may wait for long.
            if !job.state.is_final() {
                return Ok(Done::Later(ROUND_PAUSE));
            }
            if ask.said_in == RequestSource::CheckRun {
                return self.mend_checks(id, ask, &job).await;
            }
            return match self.is_heard(ask).await? {
                Some(result) => Ok(Done::With(result)),
                None => tokio::join!(self.revise(ask, &job), self.show_that_it_is_seen(ask)).0,
            };
        }
        match self.is_heard(ask).await? {
            Some(result) => Ok(Done::With(result)),
            // Beside each other: a write may have to wait for its turn, and nobody waits for this one.
            None => tokio::join!(self.obey(id, ask), self.show_that_it_is_seen(ask)).0.map(Done::With),
        }
    }

    /// Puts 👀 on the comment. Nothing depends on it.
    async fn show_that_it_is_seen(&self, ask: &CommandRequest) {
        if ask.said_in != RequestSource::Comment {
            return;
        }
        if let Err(error) = self.parts.github.react_to_comment(&ask.repository, ask.comment).await {
            warn!(repo = %ask.repository.name, number = %ask.number, %error, "a command got no reaction");
        }
    }

    /// Whether they may ask, live; if not, they are told, and the answer is a word for the store.
    async fn is_heard(&self, ask: &CommandRequest) -> Result<Option<&'static str>, CommandError> {
        let WorkerContext { github, policy, .. } = &self.parts;
        let permission = github.permission(&ask.repository, &ask.by).await?;
        match authorize(permission, &ask.by, ask.by_is_bot, &policy.bots_allowed) {
            Ok(()) => Ok(None),
            Err(Refusal::BotNotAllowed) => Ok(Some("ignored: a bot that is not listed")),
            Err(refusal @ Refusal::NoWriteAccess) => {
                let why = command_refused(&ask.by, refusal);
                self.answer(ask, ReplyTarget::Refused(&ask.by), &CommandReply::Refused(&why)).await?;
                Ok(Some("refused"))
            }
        }
    }

    async fn obey(&self, id: &str, ask: &CommandRequest) -> Result<&'static str, CommandError> {
        let to = ReplyTarget::Comment(ask.comment);
        let Some(target) = self.target(ask).await? else {
            self.answer(ask, to, &CommandReply::NotOurs).await?;
            return Ok("not ours");
        };
        match &ask.command {
            SlashCommand::Start | SlashCommand::Retry => self.start(id, ask, to, target).await,
            SlashCommand::Stop => self.stop(id, ask, to, &target).await,
            SlashCommand::Status => {
                self.tell(ask, to, &target, |evidence| CommandReply::Status(evidence)).await?;
                Ok("told")
            }
            SlashCommand::Explain => {
                self.tell(ask, to, &target, |evidence| CommandReply::Explained(evidence)).await?;
                Ok("told")
            }
            SlashCommand::Continue { grant } => self.go_on(id, ask, to, &target, *grant).await,
            // Has a way of its own.
            SlashCommand::Revise => Ok("not a command"),
            SlashCommand::Publish => self.publish(ask, to, &target).await,
            SlashCommand::Help => {
                self.answer(ask, to, &CommandReply::Help(None)).await?;
                Ok("helped")
            }
            SlashCommand::Unknown { word } => {
                self.answer(ask, to, &CommandReply::Help(Some(word))).await?;
                Ok("helped")
            }
        }
    }

    /// The issue that a command is about, with its newest job; `None` on a pull request of others.
    async fn target(&self, ask: &CommandRequest) -> Result<Option<Target>, CommandError> {
        let WorkerContext { store, github, .. } = &self.parts;
        if !ask.is_pull_request {
            let newest = store.latest_job(ask.repository.id, ask.number).await?;
            return Ok(Some(Target { trigger: trigger(ask, ask.issue.clone()), newest }));
        }
        let number = PullRequestNumber(ask.number.0);
        let Some(job) = store.job_of_pull_request(ask.repository.id, number).await? else { return Ok(None) };
        let issue = job.trigger.issue.number;
        let newest = store.latest_job(ask.repository.id, issue).await?;
        let snapshot = match ask.command {
            SlashCommand::Start | SlashCommand::Retry => github.issue(&ask.repository, issue).await?.snapshot,
            _ => job.trigger.issue,
        };
        Ok(Some(Target { trigger: trigger(ask, snapshot), newest }))
    }

    async fn start(
        &self,
        id: &str,
        ask: &CommandRequest,
        to: ReplyTarget<'_>,
        target: Target,
    ) -> Result<&'static str, CommandError> {
        let recorded = self.record(id, DeliveryRequest::Start(target.trigger)).await?;
        self.parts.wake.notify_one();
        let (answer, result) = match recorded {
            // A duplicate is what we recorded ourselves before we were killed.
            DeliveryRecorded::Job(_) | DeliveryRecorded::Duplicate => (CommandReply::Begun, "begun"),
            DeliveryRecorded::AlreadyActive(_)
            | DeliveryRecorded::Cancelled(_)
            | DeliveryRecorded::CommandQueued
            | DeliveryRecorded::Ignored => (CommandReply::UnderWay, "under way already"),
        };
        self.answer(ask, to, &answer).await?;
        Ok(result)
    }

    async fn stop(
        &self,
        id: &str,
        ask: &CommandRequest,
        to: ReplyTarget<'_>,
        target: &Target,
    ) -> Result<&'static str, CommandError> {
        let request = DeliveryRequest::Cancel {
            repository: ask.repository.clone(),
            issue: target.trigger.issue.number,
            why: format!("@{} asked for it", ask.by),
            at: ask.at,
        };
        let (answer, result) = match self.record(id, request).await? {
            DeliveryRecorded::Cancelled(0) => (CommandReply::NothingToStop, "nothing to stop"),
            _ => (CommandReply::Stopped, "stopped"),
        };
        self.parts.wake.notify_one();
        self.answer(ask, to, &answer).await?;
        Ok(result)
    }

    /// Takes up what was handed to a person, or called off. What was never begun, is done, or is held back
    /// has other commands.
    async fn go_on(
        &self,
        id: &str,
        ask: &CommandRequest,
        to: ReplyTarget<'_>,
        target: &Target,
        grant: BudgetExtension,
    ) -> Result<&'static str, CommandError> {
        let Some(job) = &target.newest else {
            self.answer(ask, to, &CommandReply::NoJob).await?;
            return Ok("no job");
        };
        let events = self.parts.store.transcript(job.id).await?;
        let has_begun = Transcript::new(&events).has_model_answer();
        let (answer, result) = match &job.outcome {
            None => (CommandReply::UnderWay, "under way already"),
            Some(JobOutcome::Held { .. }) => (CommandReply::StillHeld, "held"),
            Some(JobOutcome::Proposed { .. }) => (CommandReply::SayWhatToChange, "proposed"),
            Some(JobOutcome::Escalated { .. } | JobOutcome::Cancelled { .. } | JobOutcome::Failed { .. })
                if !has_begun =>
            {
                (CommandReply::NothingToContinue, "nothing to continue")
            }
            Some(JobOutcome::Escalated { .. } | JobOutcome::Cancelled { .. } | JobOutcome::Failed { .. }) => {
                // Told first: once it is taken up, this command is done.
                self.answer(ask, to, &CommandReply::Continued).await?;
                let words = ask.body.clone();
                let resumed = TranscriptEvent::Resumed {
                    by: ask.by.clone(),
                    by_is_bot: ask.by_is_bot,
                    why: ResumeReason::Continued { grant, words },
                };
                let taken = self.parts.store.resume(job.id, resumed, &[id], self.now()).await?;
                self.parts.wake.notify_one();
                return Ok(if taken == ResumeOutcome::Resumed {
                    "continued"
                } else {
                    "taken up by somebody else"
                });
            }
        };
        self.answer(ask, to, &answer).await?;
        Ok(result)
    }

    /// Answers with what the newest job's transcript has to show.
    async fn tell(
        &self,
        ask: &CommandRequest,
        to: ReplyTarget<'_>,
        target: &Target,
        answer: impl for<'e> Fn(&'e Evidence) -> CommandReply<'e>,
    ) -> Result<(), CommandError> {
        let Some(job) = &target.newest else { return self.answer(ask, to, &CommandReply::NoJob).await };
        let events = self.parts.store.transcript(job.id).await?;
        let mut evidence = Evidence::from_transcript(job, Transcript::new(&events));
        evidence.label = self.parts.policy.label.clone();
        self.answer(ask, to, &answer(&evidence)).await
    }

    async fn publish(
        &self,
        ask: &CommandRequest,
        to: ReplyTarget<'_>,
        target: &Target,
    ) -> Result<&'static str, CommandError> {
        let WorkerContext { github, store, policy, .. } = &self.parts;
        let issue = target.trigger.issue.number;
        let by = (&ask.by, ask.by_is_bot);
        let (github, store) = (github.as_ref(), store.as_ref());
        let released =
            release(github, store, &ask.repository, issue, by, &policy.bots_allowed, self.now()).await?;
        let (answer, result) = match &released {
            Approval::Released(_) => (CommandReply::Released, "released"),
            // We may have released it ourselves, before we were killed.
            Approval::NothingHeld
                if target.newest.as_ref().is_some_and(|job| job.state == JobState::Publishing) =>
            {
                (CommandReply::Released, "released")
            }
            Approval::NothingHeld => (CommandReply::NothingHeld, "nothing held"),
            Approval::Refused(why) => (CommandReply::Refused(why), "refused"),
        };
        self.parts.wake.notify_one();
        self.answer(ask, to, &answer).await?;
        Ok(result)
    }

    /// Records what a command comes to, as a delivery does and under an id of its own: done twice, it
    /// counts once.
    async fn record(&self, id: &str, request: DeliveryRequest) -> Result<DeliveryRecorded, CommandError> {
        let Ok(id) = format!("ask-{}", id.chars().take(90).collect::<String>()).parse() else {
            return Ok(DeliveryRecorded::Ignored);
        };
        let delivery = NewDelivery {
            id,
            event: "issue_comment".to_owned(),
            action: Some("created".to_owned()),
            payload_sha256: String::new(),
            request: Some(request),
        };
        Ok(self.parts.store.record_delivery(&delivery, self.now()).await?)
    }

    /// Posts an answer below the command, unless it is there.
    pub(super) async fn answer(
        &self,
        ask: &CommandRequest,
        to: ReplyTarget<'_>,
        answer: &CommandReply<'_>,
    ) -> Result<(), CommandError> {
        let github = &self.parts.github;
        let ours = github.our_comments(&ask.repository, ask.number).await?;
        if !ours.iter().any(|comment| to.is(&comment.body)) {
            github.create_comment(&ask.repository, ask.number, &render(to, answer)).await?;
        }
        Ok(())
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.parts.clock)()
    }
}

/// What a command is about.
struct Target {
    /// As a job would be asked for.
    trigger: Trigger,
    newest: Option<Job>,
}

fn trigger(ask: &CommandRequest, issue: crate::domain::IssueSnapshot) -> Trigger {
    Trigger {
        repository: ask.repository.clone(),
        issue,
        labeller: ask.by.clone(),
        labeller_id: ask.by_id,
        labeller_is_bot: ask.by_is_bot,
        labelled_at: ask.at,
        found: false,
        commanded: true,
    }
}
