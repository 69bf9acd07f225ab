//! `/agent-fix help`, and the answer to a word that is no command.

use super::Command;
use crate::publish::command_reply::CommandReply;
use crate::worker::commands::error::CommandError;

impl Command<'_> {
    pub(super) async fn help(&self, unknown: Option<&str>) -> Result<&'static str, CommandError> {
        self.reply(&CommandReply::Help(unknown)).await?;
        Ok("helped")
    }
}
