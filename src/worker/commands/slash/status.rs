//! `/agent-fix status`: where the newest job stands, and what was spent.

use super::Command;
use crate::publish::command_reply::CommandReply;
use crate::worker::commands::error::CommandError;

impl Command<'_> {
    pub(super) async fn status(&self) -> Result<&'static str, CommandError> {
        self.reply_with_evidence(|evidence| CommandReply::Status(evidence)).await?;
        Ok("told")
    }
}
