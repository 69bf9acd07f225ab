//! Publishes texts. Each function looks for what we published before and changes that, so that publishing twice,
//! or again after a crash at any line, leaves one of each. Records nothing: the caller does.

use super::evidence::Evidence;
use super::marker::{Marker, MarkerKind};
use super::{draft_pr, escalation, progress, round_comment};
use crate::domain::{EscalationReason, IssueNumber, Job, PullRequestNumber, RepositoryRef};
use crate::github::{Comment, GitHub, GitHubError, NewPullRequest, PullRequest};
use crate::verdict::Verified;

/// Opens the draft pull request for a verified proposal, whose commit is already on the job's branch, or updates
/// the open one from that branch. If a person rewrote its body (our marker is gone), the body stays and the
/// evidence comes as a comment.
pub async fn publish_proposal(
    github: &dyn GitHub,
    job: &Job,
    evidence: &Evidence,
    verified: &Verified,
    base_branch: &str,
) -> Result<PullRequest, GitHubError> {
    let at = &job.trigger.repository;
    let new = draft_pr::render(evidence, verified, base_branch);
    if let Some(open) = github.find_pull_request(at, &new.head).await? {
        return update_open(github, at, open, &new).await;
    }
    match github.create_draft_pull_request(at, &new).await {
        // GitHub rejects a second pull request from a branch: another worker was first.
        Err(refused @ GitHubError::Rejected { .. }) => match github.find_pull_request(at, &new.head).await? {
            Some(open) => update_open(github, at, open, &new).await,
            None => Err(refused),
        },
        outcome => outcome,
    }
}

async fn update_open(
    github: &dyn GitHub,
    at: &RepositoryRef,
    open: PullRequest,
    new: &NewPullRequest,
) -> Result<PullRequest, GitHubError> {
    let is_ours = Marker::read(&open.body).is_some_and(|marker| marker.kind == MarkerKind::PullRequest);
    if !is_ours {
        // Pull requests and issues share their numbers, and comments on both use them.
        publish_comment(github, at, IssueNumber(open.number.0), &new.body).await?;
        return Ok(open);
    }
    if !is_same_text(&open.body, &new.body) {
        github.update_pull_request(at, open.number, &new.title, &new.body).await?;
    }
    Ok(PullRequest { body: new.body.clone(), ..open })
}

/// Posts the escalation in one comment or several: on the pull request if the round is about one, else on the issue.
/// Returns the address of the first comment.
pub async fn publish_escalation(
    github: &dyn GitHub,
    job: &Job,
    evidence: &Evidence,
    reason: &EscalationReason,
) -> Result<String, GitHubError> {
    // Pull requests and issues share their numbers, and comments on both use them.
    let number = match evidence.pull_request {
        Some(number) if evidence.round > 1 => IssueNumber(number.0),
        Some(_) | None => job.trigger.issue.number,
    };
    publish_pages(github, job, number, escalation::render(evidence, reason)).await
}

/// Updates the comment about a round on its pull request, or posts it.
pub async fn update_round_comment(
    github: &dyn GitHub,
    at: &RepositoryRef,
    number: PullRequestNumber,
    evidence: &Evidence,
) -> Result<(), GitHubError> {
    publish_comment(github, at, IssueNumber(number.0), &round_comment::render(evidence)).await.map(drop)
}

/// Posts the change that waits for approval on the issue, in one comment or several. Returns the address of the
/// first.
pub async fn publish_approval_request(
    github: &dyn GitHub,
    job: &Job,
    pages: Vec<String>,
) -> Result<String, GitHubError> {
    publish_pages(github, job, job.trigger.issue.number, pages).await
}

async fn publish_pages(
    github: &dyn GitHub,
    job: &Job,
    number: IssueNumber,
    pages: Vec<String>,
) -> Result<String, GitHubError> {
    let at = &job.trigger.repository;
    let ours = github.our_comments(at, number).await?;
    let mut first = None;
    for body in pages {
        let comment = publish_among(github, at, number, &body, &ours).await?;
        first.get_or_insert(comment.html_url);
    }
    Ok(first.unwrap_or_default())
}

/// Updates the progress comment, or posts it, also if somebody deleted it.
pub async fn update_progress(
    github: &dyn GitHub,
    job: &Job,
    evidence: &Evidence,
) -> Result<Comment, GitHubError> {
    let body = progress::render(evidence);
    publish_comment(github, &job.trigger.repository, job.trigger.issue.number, &body).await
}

/// Posts `body`, or replaces our comment with the same marker.
async fn publish_comment(
    github: &dyn GitHub,
    at: &RepositoryRef,
    number: IssueNumber,
    body: &str,
) -> Result<Comment, GitHubError> {
    let ours = github.our_comments(at, number).await?;
    publish_among(github, at, number, body, &ours).await
}

async fn publish_among(
    github: &dyn GitHub,
    at: &RepositoryRef,
    number: IssueNumber,
    body: &str,
    ours: &[Comment],
) -> Result<Comment, GitHubError> {
    let marker = Marker::read(body);
    let is_same_place = |comment: &&Comment| match (Marker::read(&comment.body), marker) {
        (Some(theirs), Some(wanted)) => theirs.is_same_place(&wanted),
        (Some(_) | None, _) => false,
    };
    match ours.iter().find(is_same_place) {
        Some(comment) if is_same_text(&comment.body, body) => Ok(comment.clone()),
        Some(comment) => {
            github.update_comment(at, comment.id, body).await?;
            Ok(Comment { body: body.to_owned(), ..comment.clone() })
        }
        None => github.create_comment(at, number, body).await,
    }
}

/// GitHub may change line ends and the last line end.
fn is_same_text(one: &str, other: &str) -> bool {
    one.trim_end().lines().eq(other.trim_end().lines())
}

#[cfg(test)]
mod tests;
