//! References, commits and differences.

use serde_json::{Value, json};

use super::app::account;
use super::format::{node_id, timestamp_of_seconds, with_fields};
use crate::git::{CommitFacts, Comparison, FileChange, GITHUB_COMMITTER, Person, RefFacts};
use crate::github::data::{Database, Repository};

/// `git-ref`
pub(crate) fn git_ref(db: &Database, repository: &Repository, facts: &RefFacts) -> Value {
    let git = format!("{}/git", db.api_url(repository));
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

/// `commit` as lists show it: without statistics and files.
pub(crate) fn commit(db: &Database, repository: &Repository, facts: &CommitFacts) -> Value {
    let api = db.api_url(repository);
    let page = format!("{}/commit", db.page_url(repository));
    let url = format!("{api}/commits/{}", facts.sha);
    let person = |who: &Person| json!({"name": who.name, "email": who.email, "date": timestamp_of_seconds(who.at_seconds)});
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
        "author": account_of(db, &facts.author),
        "committer": account_of(db, &facts.committer),
        "parents": parents,
    })
}

/// `commit` as a single commit is shown: with statistics and files.
pub(crate) fn commit_with_changes(
    db: &Database,
    repository: &Repository,
    facts: &CommitFacts,
    changes: &[FileChange],
) -> Value {
    let additions: usize = changes.iter().map(|change| change.additions).sum();
    let deletions: usize = changes.iter().map(|change| change.deletions).sum();
    let files: Vec<Value> =
        changes.iter().map(|change| file_change(db, repository, &facts.sha, change)).collect();
    let stats = json!({"additions": additions, "deletions": deletions, "total": additions + deletions});
    with_fields(commit(db, repository, facts), json!({"stats": stats, "files": files}))
}

/// `diff-entry`
pub(crate) fn file_change(
    db: &Database,
    repository: &Repository,
    commit: &str,
    change: &FileChange,
) -> Value {
    let (api, page) = (db.api_url(repository), db.page_url(repository));
    let path = &change.path;
    let mut shape = json!({
        "sha": change.sha,
        "filename": path,
        "status": change.status.as_str(),
        "additions": change.additions,
        "deletions": change.deletions,
        "changes": change.additions + change.deletions,
        "blob_url": format!("{page}/blob/{commit}/{path}"),
        "raw_url": format!("{page}/raw/{commit}/{path}"),
        "contents_url": format!("{api}/contents/{path}?ref={commit}"),
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
pub(crate) fn branch(db: &Database, repository: &Repository, name: &str, facts: &CommitFacts) -> Value {
    let url = format!("{}/branches/{name}", db.api_url(repository));
    json!({
        "name": name,
        "commit": commit(db, repository, facts),
        "_links": {"self": url, "html": format!("{}/tree/{name}", db.page_url(repository))},
        "protected": false,
        "protection": {
            "enabled": false,
            "required_status_checks": {"enforcement_level": "off", "contexts": [], "checks": []}
        },
        "protection_url": format!("{url}/protection"),
    })
}

/// `commit-comparison`
pub(crate) fn comparison(
    db: &Database,
    repository: &Repository,
    ends: [&CommitFacts; 3],
    result: &Comparison,
    commits: &[CommitFacts],
) -> Value {
    let [base, merge_base, head] = ends;
    let range = format!("{}...{}", base.sha, head.sha);
    let page = format!("{}/compare/{range}", db.page_url(repository));
    let status = match (result.ahead, result.behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        (_, _) => "diverged",
    };
    let commits: Vec<Value> = commits.iter().map(|facts| commit(db, repository, facts)).collect();
    let files: Vec<Value> =
        result.files.iter().map(|change| file_change(db, repository, &head.sha, change)).collect();
    json!({
        "url": format!("{}/compare/{range}", db.api_url(repository)),
        "html_url": page,
        "permalink_url": page,
        "diff_url": format!("{page}.diff"),
        "patch_url": format!("{page}.patch"),
        "base_commit": commit(db, repository, base),
        "merge_base_commit": commit(db, repository, merge_base),
        "status": status,
        "ahead_by": result.ahead,
        "behind_by": result.behind,
        "total_commits": result.ahead,
        "commits": commits,
        "files": files,
    })
}

/// The account that a commit's e-mail address belongs to, if it is one of GitHub's own addresses.
fn account_of(db: &Database, person: &Person) -> Value {
    let Some(local) = person.email.strip_suffix("@users.noreply.github.com") else { return Value::Null };
    let login = local.split_once('+').map_or(local, |(_, login)| login);
    match db.account(login) {
        Some(_) => account(db, login),
        None => Value::Null,
    }
}

/// A commit that GitHub itself created is signed; no other is.
fn verification(facts: &CommitFacts) -> Value {
    if (facts.committer.name.as_str(), facts.committer.email.as_str()) != GITHUB_COMMITTER {
        return json!({
            "verified": false, "reason": "unsigned", "payload": null, "signature": null, "verified_at": null
        });
    }
    json!({
        "verified": true, "reason": "valid", "payload": facts.message, "signature": "(the emulator's)",
        "verified_at": null
    })
}
