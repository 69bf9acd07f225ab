//! `/agent-fix stop`: cancel the work on the issue.

use jiff::Timestamp;

use super::{Command, WAITING_MAX};
use crate::domain::{DeliveryRequest, Lane, QueuedRequest};
use crate::publish::command_reply::CommandReply;
use crate::store::DeliveryRecorded;
use crate::worker::commands::error::CommandError;

impl Command<'_> {
    pub(super) async fn stop(&self) -> Result<&'static str, CommandError> {
        let request = DeliveryRequest::Cancel {
            repository: self.comment.repository.clone(),
            issue: self.trigger.issue.number,
            why: format!("@{} asked for it", self.comment.by),
            at: self.comment.at,
        };
        withdraw_earlier(self).await?;
        let (reply, result) = match self.record(request).await? {
            DeliveryRecorded::Cancelled(0) => (CommandReply::NothingToStop, "nothing to stop"),
            DeliveryRecorded::Cancelled(_)
            | DeliveryRecorded::Job(_)
            | DeliveryRecorded::AlreadyActive(_)
            | DeliveryRecorded::RequestQueued
            | DeliveryRecorded::Duplicate
            | DeliveryRecorded::Ignored
            | DeliveryRecorded::TooMany => (CommandReply::Stopped, "stopped"),
        };
        self.context.wake.notify_one();
        self.reply(&reply).await?;
        Ok(result)
    }
}

/// Completes the commands to start or go on that were given before on the same issue and still wait: this one may have
/// overtaken them, and the last word counts.
async fn withdraw_earlier(command: &Command<'_>) -> Result<(), CommandError> {
    let (store, comment) = (&command.context.store, command.comment);
    let installation = comment.repository.installation;
    let waiting = store.pending_requests(installation, Lane::Normal, Timestamp::MAX, WAITING_MAX).await?;
    for pending in waiting {
        let QueuedRequest::Command(earlier) = &pending.request else { continue };
        let is_of_issue = earlier.comment.repository.id == comment.repository.id
            && earlier.comment.number == comment.number;
        if is_of_issue && earlier.command.starts_work() && earlier.comment.id < comment.id {
            store.complete_request(&pending.id, "stopped", (command.context.clock)()).await?;
        }
    }
    Ok(())
}
