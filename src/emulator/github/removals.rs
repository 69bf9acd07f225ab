//! What people take away: issues that are deleted or transferred, branches that are deleted. And the
//! pull requests that people open, whose branches they are.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::deeds::{open_issue, tell};
use super::pull_deeds::{NOTHING, NewPull, open_pull, references_moved};
use super::shapes;
use super::webhooks::{Event, fire};
use super::world::World;
use crate::git::{GitHttpError, RefUpdate, WebCommit};

/// Deletes an issue: its number answers 410 from then on.
pub(super) fn delete_issue(world: &mut World, repository: usize, number: u64, by: &str, now: Timestamp) {
    // Told with the issue as it was.
    tell(world, repository, number, "deleted", by, json!({}), now);
    let place = &mut world.repositories[repository];
    if place.issues.remove(&number).is_some() {
        place.gone.insert(number, None);
    }
}

/// Moves an issue to another repository: its old number leads there. Returns the new number; `None`:
/// there is no such issue.
pub(super) fn transfer_issue(
    world: &mut World,
    from: usize,
    number: u64,
    to: usize,
    by: &str,
    now: Timestamp,
) -> Option<u64> {
    let issue = world.repositories[from].issues.get(&number)?.clone();
    let new = open_issue(world, to, issue.title, issue.body, &issue.author, now);
    let place = &world.repositories[to];
    let changes = json!({
        "new_issue": shapes::issue(world, place, &place.issues[&new]),
        "new_repository": shapes::repository(world, place),
    });
    let address = format!("{}/repositories/{}/issues/{new}", world.urls.api, place.id);
    tell(world, from, number, "transferred", by, json!({ "changes": changes }), now);
    let place = &mut world.repositories[from];
    place.issues.remove(&number);
    place.gone.insert(number, Some(address));
    Some(new)
}

/// Makes a branch on top of the default branch with one commit of `by`'s that adds `path`. False: it is
/// there already.
pub(super) fn push_branch(
    world: &mut World,
    repository: usize,
    branch: &str,
    path: &str,
    by: &str,
    now: Timestamp,
) -> Result<bool, GitHttpError> {
    let place = &world.repositories[repository];
    let base = place.git.branch(&place.default_branch)?.unwrap_or_else(|| NOTHING.to_owned());
    if place.git.branch(branch)?.is_some() {
        return Ok(false);
    }
    let name = format!("refs/heads/{branch}");
    place.git.put_reference(&name, &base)?;
    let commit = WebCommit {
        additions: vec![(path.to_owned(), format!("by {by}\n").into_bytes())],
        message: format!("Add {path}"),
        author: (by.to_owned(), format!("{by}@users.noreply.github.com")),
        at_seconds: now.as_second(),
        ..WebCommit::default()
    };
    let after = place.git.commit_on_branch(branch, &commit)?.unwrap_or(base);
    let update = RefUpdate { name, before: NOTHING.to_owned(), after };
    references_moved(world, repository, &[update], by, now)?;
    Ok(true)
}

/// Opens a pull request from a branch to the default branch. `None`: there is no such branch.
pub(super) fn propose_branch(
    world: &mut World,
    repository: usize,
    branch: &str,
    (title, body): (&str, &str),
    by: &str,
    now: Timestamp,
) -> Result<Option<u64>, GitHttpError> {
    let place = &world.repositories[repository];
    let base = place.default_branch.clone();
    let (Some(head_sha), Some(base_sha)) = (place.git.branch(branch)?, place.git.branch(&base)?) else {
        return Ok(None);
    };
    let (title, body) = (title.to_owned(), Some(body.to_owned()));
    let new = NewPull { title, body, draft: false, head: branch.to_owned(), head_sha, base, base_sha };
    open_pull(world, repository, new, by, now).map(Some)
}

/// Deletes a branch. False: there is none.
pub(super) fn delete_branch(
    world: &mut World,
    repository: usize,
    branch: &str,
    by: &str,
    now: Timestamp,
) -> Result<bool, GitHttpError> {
    let name = format!("refs/heads/{branch}");
    let git = &world.repositories[repository].git;
    let Some(before) = git.branch(branch)? else { return Ok(false) };
    if git.delete_reference(&name).is_err() {
        return Ok(false);
    }
    let update = RefUpdate { name, before, after: NOTHING.to_owned() };
    references_moved(world, repository, &[update], by, now)?;
    Ok(true)
}

/// Tells of a branch or a tag that is gone.
pub(super) fn tell_delete(world: &mut World, repository: usize, name: &str, by: &str, now: Timestamp) {
    let (kind, short) = match (name.strip_prefix("refs/heads/"), name.strip_prefix("refs/tags/")) {
        (Some(branch), _) => ("branch", branch),
        (None, Some(tag)) => ("tag", tag),
        (None, None) => return,
    };
    let fields: Value = json!({"ref": short, "ref_type": kind, "pusher_type": "user"});
    fire(world, Event { name: "delete", action: None, repository, sender: by, fields }, now);
}
