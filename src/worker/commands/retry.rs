//! `/agent-fix retry`: start over on the newest base. Every start does so: a new job of an issue gets a
//! branch of its own.

use super::command::Command;
use super::error::CommandError;
use super::start;

pub(super) async fn handle(command: &Command<'_>) -> Result<&'static str, CommandError> {
    start::handle(command).await
}
