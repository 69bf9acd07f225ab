//! What reviewers ask for: the texts of reviews and comments, and the review threads that they belong to.
//! Only people with write access count.

use std::collections::BTreeMap;

use super::error::CommandError;
use crate::domain::{Feedback, FeedbackLocation, Login, RepositoryRef, ReviewKind, ReviewRequest, authorize};
use crate::github::ReviewComment;
use crate::worker::context::WorkerContext;

/// Longest remark, in characters.
const REMARK_CHARS_MAX: usize = 20_000;
/// Remarks of one round.
const REMARKS_MAX: usize = 50;

/// Collects feedback. Each person's permission is read from GitHub once.
pub(super) struct FeedbackCollector<'a> {
    context: &'a WorkerContext,
    at: &'a RepositoryRef,
    known: BTreeMap<String, bool>,
}

impl<'a> FeedbackCollector<'a> {
    pub(super) fn new(context: &'a WorkerContext, at: &'a RepositoryRef) -> Self {
        Self { context, at, known: BTreeMap::new() }
    }

    /// Whether somebody has write access now, or is a bot that the operator lists.
    pub(super) async fn may_write(&mut self, login: &Login, is_bot: bool) -> Result<bool, CommandError> {
        if let Some(known) = self.known.get(login.as_str()) {
            return Ok(*known);
        }
        let permission = self.context.github.permission(self.at, login).await?;
        let bots = &self.context.policy.rules.bots_allowed;
        let may = authorize(permission, login, is_bot, bots).is_ok();
        self.known.insert(login.as_str().to_owned(), may);
        Ok(may)
    }

    /// What the requests ask for: their texts, then the threads that they belong to or that were submitted
    /// with them, each once.
    pub(super) async fn collect<'r>(
        &mut self,
        requests: impl Iterator<Item = &'r ReviewRequest>,
        comments: &[ReviewComment],
    ) -> Result<Vec<Feedback>, CommandError> {
        let mut feedback = Vec::new();
        let mut threads = Vec::new();
        for ReviewRequest { kind, comment: request } in requests {
            let id = request.id.0;
            // A comment at a line is part of its thread.
            if *kind != ReviewKind::ReviewComment && !request.body.trim().is_empty() {
                feedback.push(Feedback {
                    place: FeedbackLocation::PullRequest { id },
                    by: request.by.clone(),
                    text: request.body.chars().take(REMARK_CHARS_MAX).collect(),
                });
            }
            let belongs = |comment: &&ReviewComment| match kind {
                ReviewKind::Comment => false,
                ReviewKind::Review => comment.review == Some(id),
                ReviewKind::ReviewComment => comment.id == request.id,
            };
            threads.extend(comments.iter().filter(belongs).map(|comment| (comment.thread(), &request.by)));
        }
        threads.sort_by_key(|(first, _)| *first);
        threads.dedup_by_key(|(first, _)| *first);
        for (first, by) in threads {
            let thread: Vec<_> = comments.iter().filter(|comment| comment.thread() == first).collect();
            let Some(head) = thread.first() else { continue };
            let text = self.thread_text(&thread).await?;
            feedback.push(Feedback {
                place: FeedbackLocation::Thread {
                    first,
                    path: head.path.clone(),
                    line: head.line,
                    hunk: head.hunk.clone(),
                },
                by: by.clone(),
                text: text.trim_end().chars().take(REMARK_CHARS_MAX).collect(),
            });
        }
        feedback.truncate(REMARKS_MAX);
        Ok(feedback)
    }

    /// What was written in a thread, by us and by people with write access.
    async fn thread_text(&mut self, thread: &[&ReviewComment]) -> Result<String, CommandError> {
        let mut text = String::new();
        for comment in thread {
            if comment.is_ours {
                // The first line is our marker.
                let reply = comment.body.lines().skip(1).collect::<Vec<_>>().join("\n");
                text += &format!("You answered: {reply}\n\n");
            } else if self.may_write(&comment.by, comment.by_is_bot).await? {
                text += &format!("@{}: {}\n\n", comment.by, comment.body);
            }
        }
        Ok(text)
    }
}
