//! `/agent-fix` and `/agent-fix start`: work on the issue as it is now.

use super::command::Command;
use super::error::CommandError;
use crate::domain::DeliveryRequest;
use crate::publish::command_reply::CommandReply;
use crate::store::DeliveryRecorded;

pub(super) async fn handle(command: &Command<'_>) -> Result<&'static str, CommandError> {
    let recorded = command.record(DeliveryRequest::Start(command.trigger.clone())).await?;
    command.context.wake.notify_one();
    let (reply, result) = match recorded {
        // It was recorded before the process died.
        DeliveryRecorded::Job(_) | DeliveryRecorded::Duplicate => (CommandReply::Begun, "begun"),
        DeliveryRecorded::AlreadyActive(_)
        | DeliveryRecorded::Cancelled(_)
        | DeliveryRecorded::CommandQueued
        | DeliveryRecorded::Ignored
        | DeliveryRecorded::TooMany => (CommandReply::UnderWay, "under way already"),
    };
    command.reply(&reply).await?;
    Ok(result)
}
