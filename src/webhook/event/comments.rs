//! Comments on issues and pull requests: slash commands, and requests for changes.

use serde::Deserialize;
use serde_json::Value;

use super::interpretation::{EventRead, Interpreted, act, ignore, read_payload};
use super::payload::{CommentLocation, RawComment, RawInstallation, RawIssue, RawRepository};
use crate::domain::{
    CommandRequest, DeliveryRequest, QueuedRequest, ReviewKind, ReviewRequest, SlashCommand,
};

pub(super) fn read(action: Option<&str>, payload: Value, _label: &str) -> EventRead {
    match action {
        Some("created") => read_payload(payload, CommentPayload::created),
        // A command that is edited in later does not count: nobody was notified of it.
        Some(_) | None => Ok(ignore("commands are read from new comments only")),
    }
}

#[derive(Deserialize)]
struct CommentPayload {
    issue: RawIssue,
    comment: RawComment,
    repository: RawRepository,
    installation: Option<RawInstallation>,
}

impl CommentPayload {
    /// A new comment may hold a slash command. On a pull request that a bot opened, mentioning that bot
    /// requests changes.
    fn created(self) -> Interpreted {
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
