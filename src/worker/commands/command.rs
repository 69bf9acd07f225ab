//! A slash command with the issue that it is about, and what all commands have in common.

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

/// A slash command that is carried out.
pub(super) struct Command<'a> {
    pub(super) context: &'a WorkerContext,
    /// The id of the request in the store.
    pub(super) id: &'a str,
    pub(super) comment: &'a RequestComment,
    /// A job of the issue would be started by this.
    pub(super) trigger: Trigger,
    /// The newest job of the issue.
    pub(super) newest: Option<Job>,
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
            let issue = match request.command {
                // New work begins with the issue as it is now.
                SlashCommand::Start | SlashCommand::Retry => github.issue(at, number).await?.snapshot,
                _ => job.trigger.issue,
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

    /// Replies to the command, once.
    pub(super) async fn reply(&self, reply: &CommandReply<'_>) -> Result<(), CommandError> {
        reply::send(self.context, self.comment, ReplyTarget::Comment(self.comment.id), reply).await
    }

    /// Replies with what the newest job's transcript shows.
    pub(super) async fn reply_with_evidence(
        &self,
        reply: impl for<'e> Fn(&'e Evidence) -> CommandReply<'e>,
    ) -> Result<(), CommandError> {
        let Some(job) = &self.newest else { return self.reply(&CommandReply::NoJob).await };
        let transcript = self.context.store.transcript(job.id).await?;
        let evidence = Evidence::from_transcript(job, Transcript::new(&transcript))
            .with_label(&self.context.policy.label);
        self.reply(&reply(&evidence)).await
    }

    /// Records what a command asks for, as a delivery does, with an id of its own: however often the command
    /// is carried out, it counts once.
    pub(super) async fn record(&self, request: DeliveryRequest) -> Result<DeliveryRecorded, CommandError> {
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
