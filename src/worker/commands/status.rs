//! `/agent-fix status`: where the newest job stands, and what was spent.

use super::command::Command;
use super::error::CommandError;
use crate::publish::command_reply::CommandReply;

pub(super) async fn handle(command: &Command<'_>) -> Result<&'static str, CommandError> {
    command.reply_with_evidence(|evidence| CommandReply::Status(evidence)).await?;
    Ok("told")
}
