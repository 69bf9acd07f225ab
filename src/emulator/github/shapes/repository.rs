//! A repository in its fullest shape, `full-repository`, which contains the fields of all others.

use serde_json::{Value, json};

use super::app::account;
use super::format::{node_id, timestamp};
use crate::github::data::{Database, Repository};

/// The addresses below the repository's own address: field name and suffix.
const ADDRESSES: [(&str, &str); 37] = [
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
    ("url", ""),
];

/// `full-repository`, which also satisfies `repository`, `minimal-repository` and the webhooks' schema.
pub(crate) fn repository(db: &Database, repository: &Repository) -> Value {
    let full_name = repository.full_name();
    let page = db.page_url(repository);
    let api = db.api_url(repository);
    let authority = db.urls.web.split("://").nth(1).unwrap_or_default();
    let open_issues = repository.issues.values().filter(|issue| issue.open).count();
    let mut shape = json!({
        "id": repository.id,
        "node_id": node_id("R", repository.id),
        "name": repository.name,
        "full_name": full_name,
        "private": repository.private,
        "visibility": if repository.private { "private" } else { "public" },
        "owner": account(db, &repository.owner),
        "html_url": page,
        "description": null,
        "fork": false,
        "clone_url": format!("{page}.git"),
        "git_url": format!("git://{authority}/{full_name}.git"),
        "ssh_url": format!("git@{authority}:{full_name}.git"),
        "svn_url": page,
        "mirror_url": null,
        "homepage": null,
        "size": 1,
        "language": null,
        "license": null,
        "topics": [],
        "default_branch": repository.default_branch,
        "archived": repository.archived,
        "disabled": false,
        "is_template": false,
        "has_issues": true,
        "has_projects": false,
        "has_wiki": false,
        "has_pages": false,
        "has_downloads": true,
        "has_discussions": false,
        "allow_forking": true,
        "web_commit_signoff_required": false,
        "created_at": timestamp(repository.created_at),
        "updated_at": timestamp(repository.pushed_at),
        "pushed_at": timestamp(repository.pushed_at),
        "permissions": {
            "admin": false, "maintain": false, "push": true, "triage": true, "pull": true
        },
        "open_issues": open_issues,
        "open_issues_count": open_issues,
    });
    for (name, suffix) in ADDRESSES {
        shape[name] = json!(format!("{api}{suffix}"));
    }
    for name in [
        "forks",
        "forks_count",
        "stargazers_count",
        "watchers",
        "watchers_count",
        "subscribers_count",
        "network_count",
    ] {
        shape[name] = json!(0);
    }
    shape
}
