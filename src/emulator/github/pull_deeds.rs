//! What people and Apps do to pull requests and branches: the change, and the webhook that tells
//! of it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::deeds::tell;
use super::removals::tell_delete;
use super::shapes;
use super::webhooks::{Event, fire};
use super::world::{Issue, Pull, Review, ReviewComment, World};
use crate::git::{GitHttpError, RefUpdate};

pub(super) const NOTHING: &str = "0000000000000000000000000000000000000000";

/// What a new pull request is made of; the branches are known to exist.
#[derive(Debug)]
pub(super) struct NewPull {
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) draft: bool,
    pub(super) head: String,
    pub(super) head_sha: String,
    pub(super) base: String,
    pub(super) base_sha: String,
}

/// A review with its comments on lines.
#[derive(Debug)]
pub(super) struct NewReview {
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`
    pub(super) state: String,
    pub(super) body: String,
    pub(super) comments: Vec<NewReviewComment>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReviewComment {
    pub(super) path: String,
    #[serde(default = "first_line")]
    pub(super) line: u64,
    pub(super) body: String,
}

fn first_line() -> u64 {
    1
}

/// Opens a pull request. Returns its number.
pub(super) fn open_pull(
    world: &mut World,
    repository: usize,
    new: NewPull,
    by: &str,
    now: Timestamp,
) -> Result<u64, GitHttpError> {
    let (id, pull_id) = (world.next_id(), world.next_id());
    let place = &mut world.repositories[repository];
    let number = place.next_number();
    place.git.put_reference(&format!("refs/pull/{number}/head"), &new.head_sha)?;
    let mut issue = Issue::new(id, number, new.title, new.body, by, now);
    issue.pull = Some(Pull {
        id: pull_id,
        draft: new.draft,
        head: new.head,
        head_sha: new.head_sha,
        base: new.base,
        base_sha: new.base_sha,
        merged_at: None,
        requested_reviewers: Vec::new(),
        reviews: Vec::new(),
        review_comments: Vec::new(),
    });
    place.issues.insert(number, issue);
    tell(world, repository, number, "opened", by, json!({}), now);
    Ok(number)
}

/// Submits a review. Returns its id; `None`: there is no such pull request.
pub(super) fn submit_review(
    world: &mut World,
    repository: usize,
    number: u64,
    new: NewReview,
    by: &str,
    now: Timestamp,
) -> Option<u64> {
    let review = world.next_id();
    let comment_ids: Vec<u64> = new.comments.iter().map(|_| world.next_id()).collect();
    let issue = world.repositories[repository].issues.get_mut(&number)?;
    let pull = issue.pull.as_mut()?;
    let commit = pull.head_sha.clone();
    pull.reviews.push(Review {
        id: review,
        author: by.to_owned(),
        state: new.state,
        body: new.body,
        commit: commit.clone(),
        submitted_at: now,
    });
    for (id, comment) in comment_ids.iter().zip(new.comments) {
        pull.review_comments.push(ReviewComment {
            id: *id,
            review,
            author: by.to_owned(),
            body: comment.body,
            path: comment.path,
            line: comment.line,
            commit: commit.clone(),
            created_at: now,
        });
    }
    pull.requested_reviewers.retain(|login| !login.eq_ignore_ascii_case(by));
    issue.updated_at = now;
    tell_review(world, repository, number, review, by, now);
    for id in comment_ids {
        tell_review_comment(world, repository, number, id, by, now);
    }
    Some(review)
}

/// Changes whether a pull request is a draft.
pub(super) fn set_draft(
    world: &mut World,
    repository: usize,
    number: u64,
    draft: bool,
    by: &str,
    now: Timestamp,
) {
    let issue = world.repositories[repository].issues.get_mut(&number);
    let Some(pull) = issue.and_then(|issue| issue.pull.as_mut()) else { return };
    if std::mem::replace(&mut pull.draft, draft) == draft {
        return;
    }
    let action = if draft { "converted_to_draft" } else { "ready_for_review" };
    tell(world, repository, number, action, by, json!({}), now);
}

/// Merges an open pull request, also a draft. Returns the merge commit; `None`: it cannot be.
pub(super) fn merge_pull(
    world: &mut World,
    repository: usize,
    number: u64,
    by: &str,
    now: Timestamp,
) -> Result<Option<String>, GitHttpError> {
    let place = &mut world.repositories[repository];
    let git = place.git.clone();
    let Some(issue) = place.issues.get_mut(&number).filter(|issue| issue.open) else { return Ok(None) };
    let Some(pull) = &mut issue.pull else { return Ok(None) };
    let base = pull.base.clone();
    let message = format!("Merge pull request #{number} from {}\n\n{}", pull.head, issue.title);
    let before = git.branch(&base)?.unwrap_or_else(|| NOTHING.to_owned());
    let Some(after) = git.merge(&base, &pull.head_sha, &message, by, now.as_second())? else {
        return Ok(None);
    };
    pull.merged_at = Some(now);
    let edit = super::deeds::IssueEdit { open: Some(false), ..Default::default() };
    super::deeds::edit_issue(world, repository, number, edit, by, now);
    let update = RefUpdate { name: format!("refs/heads/{base}"), before, after: after.clone() };
    references_moved(world, repository, &[update], by, now)?;
    Ok(Some(after))
}

/// What follows from references that moved: push events, and open pull requests that follow.
pub(super) fn references_moved(
    world: &mut World,
    repository: usize,
    updates: &[RefUpdate],
    by: &str,
    now: Timestamp,
) -> Result<(), GitHttpError> {
    for update in updates {
        world.repositories[repository].pushed_at = now;
        tell_push(world, repository, update, by, now)?;
        if update.after == NOTHING {
            tell_delete(world, repository, &update.name, by, now);
        }
        let Some(branch) = update.name.strip_prefix("refs/heads/") else { continue };
        let follows =
            |issue: &&mut Issue| issue.open && issue.pull.as_ref().is_some_and(|pull| pull.head == branch);
        let mut followed = Vec::new();
        for issue in world.repositories[repository].issues.values_mut().filter(follows) {
            followed.push(issue.number);
            let Some(pull) = &mut issue.pull else { continue };
            if update.after != NOTHING {
                pull.head_sha.clone_from(&update.after);
                issue.updated_at = now;
            }
        }
        for number in followed {
            if update.after == NOTHING {
                // GitHub closes a pull request whose branch goes away.
                let edit = super::deeds::IssueEdit { open: Some(false), ..Default::default() };
                super::deeds::edit_issue(world, repository, number, edit, by, now);
                continue;
            }
            let git = &world.repositories[repository].git;
            git.put_reference(&format!("refs/pull/{number}/head"), &update.after)?;
            let fields = json!({"before": update.before, "after": update.after});
            tell(world, repository, number, "synchronize", by, fields, now);
        }
    }
    Ok(())
}

fn tell_push(
    world: &mut World,
    repository: usize,
    update: &RefUpdate,
    by: &str,
    now: Timestamp,
) -> Result<(), GitHttpError> {
    let place = &world.repositories[repository];
    let (created, deleted) = (update.before == NOTHING, update.after == NOTHING);
    let (mut commits, mut head) = (Vec::new(), Value::Null);
    let mut forced = false;
    if !deleted && update.name.starts_with("refs/heads/") {
        let base =
            if created { place.git.branch(&place.default_branch)? } else { Some(update.before.clone()) };
        forced = !created && place.git.compare(&update.before, &update.after)?.behind > 0;
        for facts in place.git.commits_between(base.as_deref(), &update.after)? {
            commits.push(pushed_commit(world, place, &facts)?);
        }
        head = pushed_commit(world, place, &place.git.commit(&update.after)?)?;
    }
    let page = format!("{}/{}", world.urls.web, place.full_name());
    let fields = json!({
        "ref": update.name,
        "before": update.before,
        "after": update.after,
        "base_ref": null,
        "created": created,
        "deleted": deleted,
        "forced": forced,
        "compare": format!("{page}/compare/{}...{}", update.before, update.after),
        "commits": commits,
        "head_commit": head,
        "pusher": {"name": by, "email": format!("{by}@users.noreply.github.com")},
    });
    fire(world, Event { name: "push", action: None, repository, sender: by, fields }, now);
    Ok(())
}

/// A commit as push events have it.
fn pushed_commit(
    world: &World,
    repository: &super::world::Repository,
    facts: &crate::git::CommitFacts,
) -> Result<Value, GitHttpError> {
    use crate::git::FileStatus;
    let changes = repository.git.changes_of(&facts.sha)?;
    let paths = |wanted: &[FileStatus]| -> Vec<&str> {
        changes.iter().filter(|c| wanted.contains(&c.status)).map(|c| c.path.as_str()).collect()
    };
    let at = shapes::stamp_seconds(facts.committer.at_seconds);
    Ok(json!({
        "id": facts.sha,
        "tree_id": facts.tree,
        "distinct": true,
        "message": facts.message,
        "timestamp": at,
        "url": format!("{}/{}/commit/{}", world.urls.web, repository.full_name(), facts.sha),
        "author": {"name": facts.author.name, "email": facts.author.email},
        "committer": {"name": facts.committer.name, "email": facts.committer.email},
        "added": paths(&[FileStatus::Added, FileStatus::Renamed]),
        "removed": paths(&[FileStatus::Removed]),
        "modified": paths(&[FileStatus::Modified]),
    }))
}

fn tell_review(world: &mut World, repository: usize, number: u64, id: u64, by: &str, now: Timestamp) {
    let place = &world.repositories[repository];
    let Some((issue, pull)) = place.pull(number) else { return };
    let Some(review) = pull.reviews.iter().find(|review| review.id == id) else { return };
    let mut shape = shapes::review(world, place, issue, review);
    // Webhooks write the state in lower case, REST in upper.
    shape["state"] = json!(review.state.to_lowercase());
    let fields = json!({"review": shape, "pull_request": shapes::pull_simple(world, place, issue, pull)});
    let (name, action) = ("pull_request_review", Some("submitted"));
    fire(world, Event { name, action, repository, sender: by, fields }, now);
}

/// Tells of a new comment on a line.
pub(super) fn tell_review_comment(
    world: &mut World,
    repository: usize,
    number: u64,
    id: u64,
    by: &str,
    now: Timestamp,
) {
    let place = &world.repositories[repository];
    let Some((issue, pull)) = place.pull(number) else { return };
    let Some(comment) = pull.review_comments.iter().find(|comment| comment.id == id) else { return };
    let fields = json!({
        "comment": shapes::review_comment(world, place, issue, comment),
        "pull_request": shapes::pull_simple(world, place, issue, pull),
    });
    let (name, action) = ("pull_request_review_comment", Some("created"));
    fire(world, Event { name, action, repository, sender: by, fields }, now);
}
