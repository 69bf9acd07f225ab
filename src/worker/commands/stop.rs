//! `/agent-fix stop`: cancel the work on the issue.

use jiff::Timestamp;

use super::command::Command;
use super::error::CommandError;
use crate::domain::{DeliveryRequest, Lane, QueuedRequest, SlashCommand};
use crate::publish::command_reply::CommandReply;
use crate::store::DeliveryRecorded;

/// Commands of an installation that are looked at.
pub(super) const WAITING_MAX: u32 = 1_000;

pub(super) async fn handle(command: &Command<'_>) -> Result<&'static str, CommandError> {
    let request = DeliveryRequest::Cancel {
        repository: command.comment.repository.clone(),
        issue: command.trigger.issue.number,
        why: format!("@{} asked for it", command.comment.by),
        at: command.comment.at,
    };
    withdraw_earlier(command).await?;
    let (reply, result) = match command.record(request).await? {
        DeliveryRecorded::Cancelled(0) => (CommandReply::NothingToStop, "nothing to stop"),
        _ => (CommandReply::Stopped, "stopped"),
    };
    command.context.wake.notify_one();
    command.reply(&reply).await?;
    Ok(result)
}

/// Completes the commands to start or go on that were given before on the same issue and still wait: this one may have
/// overtaken them, and the last word counts.
async fn withdraw_earlier(command: &Command<'_>) -> Result<(), CommandError> {
    let (store, comment) = (&command.context.store, command.comment);
    let installation = comment.repository.installation;
    let waiting = store.pending_requests(installation, Lane::Usual, Timestamp::MAX, WAITING_MAX).await?;
    for pending in waiting {
        let QueuedRequest::Command(earlier) = &pending.request else { continue };
        let is_of_issue = earlier.comment.repository.id == comment.repository.id
            && earlier.comment.number == comment.number;
        let starts_work = match earlier.command {
            SlashCommand::Start
            | SlashCommand::Retry
            | SlashCommand::Continue { .. }
            | SlashCommand::Publish { .. } => true,
            SlashCommand::Stop
            | SlashCommand::Status
            | SlashCommand::Explain
            | SlashCommand::Help
            | SlashCommand::Unknown { .. } => false,
        };
        if is_of_issue && starts_work && earlier.comment.id < comment.id {
            store.complete_request(&pending.id, "stopped", (command.context.clock)()).await?;
        }
    }
    Ok(())
}
