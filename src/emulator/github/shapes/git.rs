//! References, commits and differences.

use serde_json::{Value, json};

use super::app::{user, with};
use super::{node_id, stamp_seconds};
use crate::git::{CommitFacts, Comparison, FORGE, FileChange, Person, RefFacts};
use crate::github::world::{Repository, World};

/// `git-ref`
pub(in crate::github) fn git_ref(world: &World, repository: &Repository, facts: &RefFacts) -> Value {
    let git = format!("{}/repos/{}/git", world.urls.api, repository.full_name());
    json!({
        "ref": facts.name,
        "node_id": format!("{}_{}", node_id("REF", repository.id), facts.name),
        "url": format!("{git}/{}", facts.name),
        "object": {
            "type": facts.kind,
            "sha": facts.sha,
            "url": format!("{git}/{}s/{}", facts.kind, facts.sha),
        },
    })
}

/// `commit` as lists have it: without what it changed.
pub(in crate::github) fn commit(world: &World, repository: &Repository, facts: &CommitFacts) -> Value {
    let full_name = repository.full_name();
    let api = format!("{}/repos/{full_name}", world.urls.api);
    let page = format!("{}/{full_name}/commit", world.urls.web);
    let url = format!("{api}/commits/{}", facts.sha);
    let person =
        |who: &Person| json!({"name": who.name, "email": who.email, "date": stamp_seconds(who.at_seconds)});
    let parents: Vec<Value> = facts
        .parents
        .iter()
        .map(|sha| {
            json!({"sha": sha, "url": format!("{api}/commits/{sha}"), "html_url": format!("{page}/{sha}")})
        })
        .collect();
    json!({
        "url": url,
        "sha": facts.sha,
        "node_id": format!("C_{}", facts.sha),
        "html_url": format!("{page}/{}", facts.sha),
        "comments_url": format!("{url}/comments"),
        "commit": {
            "url": format!("{api}/git/commits/{}", facts.sha),
            "author": person(&facts.author),
            "committer": person(&facts.committer),
            "message": facts.message,
            "comment_count": 0,
            "tree": {"sha": facts.tree, "url": format!("{api}/git/trees/{}", facts.tree)},
            "verification": verification(facts),
        },
        "author": account(world, &facts.author),
        "committer": account(world, &facts.committer),
        "parents": parents,
    })
}

/// `commit` as one is asked for: with statistics and files.
pub(in crate::github) fn commit_with_changes(
    world: &World,
    repository: &Repository,
    facts: &CommitFacts,
    changes: &[FileChange],
) -> Value {
    let additions: usize = changes.iter().map(|change| change.additions).sum();
    let deletions: usize = changes.iter().map(|change| change.deletions).sum();
    let files: Vec<Value> =
        changes.iter().map(|change| file_change(world, repository, &facts.sha, change)).collect();
    let stats = json!({"additions": additions, "deletions": deletions, "total": additions + deletions});
    with(commit(world, repository, facts), json!({"stats": stats, "files": files}))
}

/// `diff-entry`
pub(in crate::github) fn file_change(
    world: &World,
    repository: &Repository,
    commit: &str,
    change: &FileChange,
) -> Value {
    let full_name = repository.full_name();
    let path = &change.path;
    let mut shape = json!({
        "sha": change.sha,
        "filename": path,
        "status": change.status.as_str(),
        "additions": change.additions,
        "deletions": change.deletions,
        "changes": change.additions + change.deletions,
        "blob_url": format!("{}/{full_name}/blob/{commit}/{path}", world.urls.web),
        "raw_url": format!("{}/{full_name}/raw/{commit}/{path}", world.urls.web),
        "contents_url": format!("{}/repos/{full_name}/contents/{path}?ref={commit}", world.urls.api),
    });
    if let Some(patch) = &change.patch {
        shape["patch"] = json!(patch);
    }
    if let Some(previous) = &change.previous_path {
        shape["previous_filename"] = json!(previous);
    }
    shape
}

/// `branch-with-protection`
pub(in crate::github) fn branch(
    world: &World,
    repository: &Repository,
    name: &str,
    facts: &CommitFacts,
) -> Value {
    let full_name = repository.full_name();
    let url = format!("{}/repos/{full_name}/branches/{name}", world.urls.api);
    json!({
        "name": name,
        "commit": commit(world, repository, facts),
        "_links": {"self": url, "html": format!("{}/{full_name}/tree/{name}", world.urls.web)},
        "protected": false,
        "protection": {
            "enabled": false,
            "required_status_checks": {"enforcement_level": "off", "contexts": [], "checks": []}
        },
        "protection_url": format!("{url}/protection"),
    })
}

/// `commit-comparison`
pub(in crate::github) fn comparison(
    world: &World,
    repository: &Repository,
    ends: [&CommitFacts; 3],
    result: &Comparison,
    commits: &[CommitFacts],
) -> Value {
    let [base, merge_base, head] = ends;
    let full_name = repository.full_name();
    let range = format!("{}...{}", base.sha, head.sha);
    let page = format!("{}/{full_name}/compare/{range}", world.urls.web);
    let status = match (result.ahead, result.behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        (_, _) => "diverged",
    };
    let commits: Vec<Value> = commits.iter().map(|facts| commit(world, repository, facts)).collect();
    let files: Vec<Value> =
        result.files.iter().map(|change| file_change(world, repository, &head.sha, change)).collect();
    json!({
        "url": format!("{}/repos/{full_name}/compare/{range}", world.urls.api),
        "html_url": page,
        "permalink_url": page,
        "diff_url": format!("{page}.diff"),
        "patch_url": format!("{page}.patch"),
        "base_commit": commit(world, repository, base),
        "merge_base_commit": commit(world, repository, merge_base),
        "status": status,
        "ahead_by": result.ahead,
        "behind_by": result.behind,
        "total_commits": result.ahead,
        "commits": commits,
        "files": files,
    })
}

/// The account behind a commit's e-mail address, where it is one of GitHub's own.
fn account(world: &World, person: &Person) -> Value {
    let Some(local) = person.email.strip_suffix("@users.noreply.github.com") else { return Value::Null };
    let login = local.split_once('+').map_or(local, |(_, login)| login);
    match world.users.contains_key(&login.to_lowercase()) {
        true => user(world, login),
        false => Value::Null,
    }
}

/// What GitHub made it has signed.
fn verification(facts: &CommitFacts) -> Value {
    if (facts.committer.name.as_str(), facts.committer.email.as_str()) != FORGE {
        return json!({
            "verified": false, "reason": "unsigned", "payload": null, "signature": null, "verified_at": null
        });
    }
    json!({
        "verified": true, "reason": "valid", "payload": facts.message, "signature": "(the emulator's)",
        "verified_at": null
    })
}
