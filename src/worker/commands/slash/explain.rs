//! `/agent-fix explain`: what the newest job did, and why it ended as it did.

use super::Command;
use crate::publish::command_reply::CommandReply;
use crate::worker::commands::error::CommandError;

impl Command<'_> {
    pub(super) async fn explain(&self) -> Result<&'static str, CommandError> {
        self.reply_with_evidence(|evidence| CommandReply::Explained(evidence)).await?;
        Ok("told")
    }
}
