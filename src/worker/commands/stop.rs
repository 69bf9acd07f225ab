//! `/agent-fix stop`: cancel the work on the issue.

use super::command::Command;
use super::error::CommandError;
use crate::domain::DeliveryRequest;
use crate::publish::command_reply::CommandReply;
use crate::store::DeliveryRecorded;

pub(super) async fn handle(command: &Command<'_>) -> Result<&'static str, CommandError> {
    let request = DeliveryRequest::Cancel {
        repository: command.comment.repository.clone(),
        issue: command.trigger.issue.number,
        why: format!("@{} asked for it", command.comment.by),
        at: command.comment.at,
    };
    let (reply, result) = match command.record(request).await? {
        DeliveryRecorded::Cancelled(0) => (CommandReply::NothingToStop, "nothing to stop"),
        _ => (CommandReply::Stopped, "stopped"),
    };
    command.context.wake.notify_one();
    command.reply(&reply).await?;
    Ok(result)
}
