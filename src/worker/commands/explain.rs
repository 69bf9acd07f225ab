//! `/agent-fix explain`: what the newest job did, and why it ended as it did.

use super::command::Command;
use super::error::CommandError;
use crate::publish::command_reply::CommandReply;

pub(super) async fn handle(command: &Command<'_>) -> Result<&'static str, CommandError> {
    command.reply_with_evidence(|evidence| CommandReply::Explained(evidence)).await?;
    Ok("told")
}
