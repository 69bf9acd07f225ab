//! Replies to requests, each once.

use super::error::CommandError;
use crate::domain::RequestComment;
use crate::publish::command_reply::{CommandReply, ReplyTarget, render};
use crate::worker::context::WorkerContext;

/// Posts the reply below the comment, unless it is there.
pub(super) async fn send(
    context: &WorkerContext,
    comment: &RequestComment,
    target: ReplyTarget<'_>,
    reply: &CommandReply<'_>,
) -> Result<(), CommandError> {
    let github = &context.github;
    let ours = github.our_comments(&comment.repository, comment.number).await?;
    if !ours.iter().any(|comment| target.is(&comment.body)) {
        github.create_comment(&comment.repository, comment.number, &render(target, reply)).await?;
    }
    Ok(())
}
