//! Replies in the review threads that asked for a round, each once.

use std::collections::BTreeSet;

use tracing::info;

use crate::domain::{RecordedEvent, Sha, Transcript};
use crate::github::GitHubError;
use crate::publish::{Evidence, round_comment};
use crate::worker::context::WorkerContext;
use crate::worker::revisions::pull_request_of_round;
use crate::worker::stop::Stop;
use crate::workspace::Workspace;

/// The commit of a round, with the trees before and after it.
pub(super) struct PublishedChange<'a> {
    pub(super) head: &'a Sha,
    pub(super) tree_before: &'a Sha,
    pub(super) tree_after: &'a Sha,
}

/// Replies in each thread. `change`: what was published; `None` if nothing had to be changed.
pub(super) async fn reply_in_threads(
    context: &WorkerContext,
    evidence: &Evidence,
    transcript: &[RecordedEvent],
    workspace: &Workspace,
    change: Option<PublishedChange<'_>>,
) -> Result<(), Stop> {
    let Some(number) = pull_request_of_round(transcript) else { return Ok(()) };
    let feedback: Vec<_> = Transcript::new(transcript).unanswered_feedback().into_iter().cloned().collect();
    if round_comment::threads(&feedback).next().is_none() {
        return Ok(());
    }
    let at = &evidence.job().trigger.repository;
    let change = match change {
        Some(PublishedChange { head, tree_before, tree_after }) => {
            Some((head, workspace.changed_paths(tree_before, tree_after).await?))
        }
        None => None,
    };
    let change = change.as_ref().map(|(head, paths)| (*head, paths.as_slice()));
    let comments = context.github.review_comments(at, number).await?;
    let our_markers: BTreeSet<&str> = comments
        .iter()
        .filter(|comment| comment.is_ours)
        .filter_map(|comment| comment.body.lines().next())
        .map(str::trim_end)
        .collect();
    for (first, path) in round_comment::threads(&feedback) {
        if our_markers.contains(round_comment::thread_marker(evidence.round, first).as_str()) {
            continue;
        }
        let body = round_comment::thread_reply(evidence, first, path, change);
        match context.github.reply_in_thread(at, number, first, &body).await {
            Ok(()) => {}
            Err(GitHubError::NotFound { what, detail }) => info!(what, detail, "review thread was deleted"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
