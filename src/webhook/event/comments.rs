//! Comments on issues and pull requests: slash commands, and requests for changes.

use serde::Deserialize;

use super::interpretation::{Interpreted, act, ignore};
use super::payload::{CommentLocation, RawComment, RawInstallation, RawIssue, RawRepository};
use crate::domain::{
    CommandRequest, DeliveryRequest, QueuedRequest, ReviewKind, ReviewRequest, SlashCommand,
};

#[derive(Deserialize)]
pub(super) struct CommentPayload {
    issue: RawIssue,
    comment: RawComment,
    repository: RawRepository,
    installation: Option<RawInstallation>,
}

impl CommentPayload {
    /// A new comment may hold a slash command. On a pull request that a bot opened, mentioning that bot
    /// requests changes.
    pub(super) fn created(self) -> Interpreted {
        let body = self.comment.body.as_deref().unwrap_or_default();
        let is_pull_request = self.issue.pull_request.is_some();
        let command = SlashCommand::read(body);
        if command.is_none() && !(is_pull_request && self.issue.is_by_bot_mentioned_in(body)) {
            return ignore("the comment contains no command");
        }
        let Self { issue, comment, repository, installation } = self;
        let location = CommentLocation { repository, installation, issue, is_pull_request };
        comment.at(location, |comment| {
            act(DeliveryRequest::Queue(match command {
                Some(command) => QueuedRequest::Command(CommandRequest { command, comment }),
                None => QueuedRequest::Review(ReviewRequest { kind: ReviewKind::Comment, comment }),
            }))
        })
    }
}
