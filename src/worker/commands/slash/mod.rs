//! Slash commands: a command with the issue that it is about, what each command calls, and what all of them may use. A
//! file for each command carries it out (`start` and `retry` do the same). How a command is written is in
//! `domain/slash_command.rs`, what it answers in `publish/command_reply.rs`.
//!
//! ```ignore
//! //! `/agent-fix cost`: what the newest job has cost.
//!
//! use super::super::error::CommandError;
//! use super::Command;
//! use crate::publish::command_reply::CommandReply;
//!
//! impl Command<'_> {
//!     pub(super) async fn cost(&self) -> Result<&'static str, CommandError> {
//!         let Some(job) = &self.newest else {
//!             self.reply(&CommandReply::NoJob).await?;
//!             return Ok("no_job");
//!         };
//!         // What is done with `self.context.store` and `self.context.github`. It can be carried out twice.
//!         self.reply(&CommandReply::Cost(job)).await?;
//!         Ok("shown")
//!     }
//! }
//! ```

mod continue_job;
mod explain;
mod help;
mod publish;
mod start;
mod status;
mod stop;

use super::error::CommandError;
use super::reply;
use crate::domain::{
    CommandRequest, DeliveryRequest, Job, NewDelivery, PullRequestNumber, RequestComment, SlashCommand,
    Transcript, Trigger,
};
use crate::publish::Evidence;
use crate::publish::command_reply::{CommandReply, ReplyTarget};
use crate::store::DeliveryRecorded;
use crate::worker::context::WorkerContext;

/// Waiting commands of an installation among which a `stop` looks for those that it withdraws.
pub(super) const WAITING_MAX: u32 = 1_000;

/// A slash command that is carried out.
pub(super) struct Command<'a> {
    context: &'a WorkerContext,
    /// The id of the request in the store.
    id: &'a str,
    comment: &'a RequestComment,
    /// A job of the issue would be started by this.
    trigger: Trigger,
    /// The newest job of the issue.
    newest: Option<Job>,
}

impl<'a> Command<'a> {
    /// Finds the issue that a command is about, and its newest job. `None`: the command is on a pull request
    /// that is not ours.
    pub(super) async fn find_target(
        context: &'a WorkerContext,
        id: &'a str,
        request: &'a CommandRequest,
    ) -> Result<Option<Self>, CommandError> {
        let WorkerContext { store, github, .. } = context;
        let comment = &request.comment;
        let at = &comment.repository;
        let (issue, number) = if comment.is_pull_request {
            let pull_request = PullRequestNumber(comment.number.0);
            let Some(job) = store.job_of_pull_request(at.id, pull_request).await? else { return Ok(None) };
            let number = job.trigger.issue.number;
            let issue = match request.command.starts_job() {
                // New work begins with the issue as it is now.
                true => github.issue(at, number).await?.snapshot,
                false => job.trigger.issue,
            };
            (issue, number)
        } else {
            (comment.issue.clone(), comment.number)
        };
        let newest = store.latest_job(at.id, number).await?;
        let trigger = Trigger {
            repository: at.clone(),
            issue,
            labeller: comment.by.clone(),
            labeller_id: comment.by_id,
            labeller_is_bot: comment.by_is_bot,
            labelled_at: comment.at,
            found: false,
            commanded: true,
        };
        Ok(Some(Self { context, id, comment, trigger, newest }))
    }

    /// Carries the command out and answers it. Returns the result that is stored and logged.
    pub(super) async fn carry_out(&self, command: &SlashCommand) -> Result<&'static str, CommandError> {
        match command {
            // Every new job begins on the newest base, with a branch of its own.
            SlashCommand::Start | SlashCommand::Retry => self.start().await,
            SlashCommand::Stop => self.stop().await,
            SlashCommand::Status => self.status().await,
            SlashCommand::Explain => self.explain().await,
            SlashCommand::Continue { grant } => self.continue_job(*grant).await,
            SlashCommand::Publish => self.publish(None).await,
            SlashCommand::PublishCommit { commit } => self.publish(Some(commit)).await,
            SlashCommand::Help => self.help(None).await,
            SlashCommand::Unknown { word } => self.help(Some(word)).await,
        }
    }

    /// Replies to the command, once.
    async fn reply(&self, reply: &CommandReply<'_>) -> Result<(), CommandError> {
        reply::send(self.context, self.comment, ReplyTarget::Comment(self.comment.id), reply).await
    }

    /// Replies with what the newest job's transcript shows.
    async fn reply_with_evidence(
        &self,
        reply: impl for<'e> Fn(&'e Evidence) -> CommandReply<'e>,
    ) -> Result<(), CommandError> {
        let Some(job) = &self.newest else { return self.reply(&CommandReply::NoJob).await };
        let transcript = self.context.store.transcript(job.id).await?;
        let evidence = Evidence::from_transcript(job, Transcript::new(&transcript))
            .with_label(&self.context.policy.rules.label);
        self.reply(&reply(&evidence)).await
    }

    /// Records what a command asks for, as a delivery does, with an id of its own: however often the command
    /// is carried out, it counts once.
    async fn record(&self, request: DeliveryRequest) -> Result<DeliveryRecorded, CommandError> {
        let Ok(id) = format!("ask-{}", self.id.chars().take(90).collect::<String>()).parse() else {
            return Err(CommandError::Defect(format!("{:?} cannot be part of a delivery's id", self.id)));
        };
        let delivery = NewDelivery {
            id,
            event: "issue_comment".to_owned(),
            action: Some("created".to_owned()),
            payload_sha256: String::new(),
            request: Some(request),
        };
        let now = (self.context.clock)();
        Ok(self.context.store.record_delivery(&delivery, now).await?)
    }
}
