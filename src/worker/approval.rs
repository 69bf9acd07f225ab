//! Approves a verified change that waits for it (`publish: hold`): the job then publishes the very commit
//! that was verified and shown. An approval counts only for what its author can have read: the commit that is
//! shown now, and only if the approval names that commit or is younger than the comments that show it.

use jiff::Timestamp;

use crate::domain::{CommentId, IssueNumber, JobId, Login, RepositoryRef, Sha, authorize};
use crate::github::{Comment, GitHub, GitHubError};
use crate::publish::{command_refused, comments_with_change};
use crate::store::{ResumeOutcome, Store, StoreError};

/// The fewest digits that name a commit.
const COMMIT_DIGITS_MIN: usize = 7;

/// The comment with which somebody approves a change.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalComment<'a> {
    /// The author.
    pub by: &'a Login,
    /// Whether GitHub says that the author is a bot.
    pub by_is_bot: bool,
    /// The comment. GitHub numbers comments in the order of their creation.
    pub id: CommentId,
    /// When it was written, by GitHub's clock, if that is known.
    pub at: Option<Timestamp>,
    /// The beginning of the commit's id that it names, in lower case, if it names one.
    pub commit: Option<&'a str>,
}

/// The answer to an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// The change is approved and the job is due; wake a worker.
    Approved(JobId),
    /// No change of this issue waits for approval (any more).
    NothingToApprove,
    /// The approval is not younger than what is shown; the commit that waits.
    Outdated(Sha),
    /// The approval names another commit than this one, which waits.
    OtherCommit(Sha),
    /// The approval does not count, for this reason. The text is published.
    Refused(String),
}

/// Why an approval could not be decided.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// GitHub did not answer.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Approves the change of an issue that waits for it, if the author of `approval` has write access now and can
/// have read that change. If it is approved twice, it is published once.
///
/// # Errors
/// GitHub or the store did not answer.
pub async fn approve(
    github: &dyn GitHub,
    store: &dyn Store,
    at: &RepositoryRef,
    issue: IssueNumber,
    approval: ApprovalComment<'_>,
    bots_allowed: &[Login],
    now: Timestamp,
) -> Result<Approval, ApprovalError> {
    let newest = store.latest_job(at.id, issue).await?;
    let Some((job, head)) = newest.as_ref().and_then(|job| Some((job, job.held_commit()?))) else {
        return Ok(Approval::NothingToApprove);
    };
    let ApprovalComment { by, by_is_bot, .. } = approval;
    let permission = github.permission(at, by).await?;
    if let Err(refusal) = authorize(permission, by, by_is_bot, bots_allowed) {
        return Ok(Approval::Refused(command_refused(by, refusal)));
    }
    let found = github.issue(at, issue).await?;
    if !found.open || found.locked {
        let why = if found.open { "the issue is locked" } else { "the issue is closed" };
        return Ok(Approval::Refused(why.to_owned()));
    }
    let ours = github.our_comments(at, issue).await?;
    let shown = comments_with_change(&ours, job.id, head);
    if shown.is_empty() {
        let why = "the comment that shows the change is not there any more, so nobody can read what would be \
                   published; /agent-fix retry starts over";
        return Ok(Approval::Refused(why.to_owned()));
    }
    match approval.commit {
        // Nobody can name a commit before it was shown.
        Some(named) if names(named, head) => {}
        Some(_) => return Ok(Approval::OtherCommit(head.clone())),
        None if shown.iter().all(|comment| is_younger(&approval, comment)) => {}
        None => return Ok(Approval::Outdated(head.clone())),
    }
    Ok(match store.resume_approved(job.id, head, by, now).await? {
        ResumeOutcome::Resumed => Approval::Approved(job.id),
        ResumeOutcome::NotResumable => Approval::NothingToApprove,
        ResumeOutcome::Conflict => Approval::Refused("another job of this issue is active".to_owned()),
    })
}

/// Whether the approval was written after the comment had the text that it has now. GitHub's times are whole
/// seconds: within one, the order of the ids decides, unless the comment was edited.
fn is_younger(approval: &ApprovalComment<'_>, shown: &Comment) -> bool {
    let is_later_comment = !shown.is_edited && approval.id > shown.id;
    match approval.at {
        Some(at) => at > shown.updated_at || (at == shown.updated_at && is_later_comment),
        None => is_later_comment,
    }
}

/// Whether `named` is the beginning of the commit's id, and long enough to mean only that commit.
fn names(named: &str, commit: &Sha) -> bool {
    named.len() >= COMMIT_DIGITS_MIN && commit.as_str().starts_with(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(id: u64, updated_at: &str, is_edited: bool) -> Comment {
        let updated_at = updated_at.parse().unwrap();
        Comment { id: CommentId(id), html_url: String::new(), updated_at, is_edited, body: String::new() }
    }

    fn is_younger_than(shown: &Comment, id: u64, at: Option<&str>) -> bool {
        let by: Login = "octo-writer".parse().unwrap();
        let at = at.map(|at| at.parse().unwrap());
        is_younger(&ApprovalComment { by: &by, by_is_bot: false, id: CommentId(id), at, commit: None }, shown)
    }

    #[test]
    fn approval_counts_only_if_it_was_written_after_what_is_shown() {
        let (before, then, after) = ("2026-11-30T10:00:00Z", "2026-11-30T10:00:01Z", "2026-11-30T10:00:02Z");
        for (id, at, edited, is_valid) in [
            (8, Some(after), false, true),
            (8, Some(after), true, true),
            // A comment that was written earlier and edited later has a lower id.
            (6, Some(after), false, true),
            (8, Some(then), false, true),
            (6, Some(then), false, false),
            (8, Some(then), true, false),
            (8, Some(before), false, false),
            (8, None, false, true),
            (8, None, true, false),
            (6, None, false, false),
        ] {
            let shown = shown(7, then, edited);
            assert_eq!(is_younger_than(&shown, id, at), is_valid, "{id} {at:?} edited: {edited}");
        }
    }

    #[test]
    fn commit_is_named_by_at_least_seven_of_its_first_digits() {
        let commit: Sha = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        for (named, is_named) in [
            ("0123456", true),
            ("0123456789abcdef0123456789abcdef01234567", true),
            ("012345", false),
            ("1234567", false),
            ("0123456789abcdef0123456789abcdef012345670", false),
        ] {
            assert_eq!(names(named, &commit), is_named, "{named}");
        }
    }
}
