//! `/agent-fix` and `/agent-fix start`: work on the issue as it is now.

use super::Command;
use crate::domain::DeliveryRequest;
use crate::publish::command_reply::CommandReply;
use crate::store::DeliveryRecorded;
use crate::worker::commands::error::CommandError;

impl Command<'_> {
    pub(super) async fn start(&self) -> Result<&'static str, CommandError> {
        let recorded = self.record(DeliveryRequest::Start(self.trigger.clone())).await?;
        self.context.wake.notify_one();
        let (reply, result) = match recorded {
            // It was recorded before the process died.
            DeliveryRecorded::Job(_) | DeliveryRecorded::Duplicate => (CommandReply::Begun, "begun"),
            DeliveryRecorded::AlreadyActive(_)
            | DeliveryRecorded::Cancelled(_)
            | DeliveryRecorded::RequestQueued
            | DeliveryRecorded::Ignored
            | DeliveryRecorded::TooMany => (CommandReply::UnderWay, "under way already"),
        };
        self.reply(&reply).await?;
        Ok(result)
    }
}
