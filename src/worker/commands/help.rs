//! `/agent-fix help`, and the answer to a word that is no command.

use super::command::Command;
use super::error::CommandError;
use crate::publish::command_reply::CommandReply;

pub(super) async fn handle(
    command: &Command<'_>,
    unknown: Option<&str>,
) -> Result<&'static str, CommandError> {
    command.reply(&CommandReply::Help(unknown)).await?;
    Ok("helped")
}
