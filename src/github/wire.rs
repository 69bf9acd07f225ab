//! The parts of GitHub's responses that several endpoints share, and what they mean in our domain.
//!
//! octocrab's models are used where they can read everything that GitHub sends. They cannot read an
//! issue or a comment whose author's account is gone (`user: null`), and they do not say which App
//! wrote a comment; so these are read here. Every other field may come, go and change.

use jiff::Timestamp;
use octocrab::models;
use serde::Deserialize;

use super::types::{Comment, GHOST, Issue, IssueComment, PullRequest, Repository};
use crate::domain::{
    CommentId, InvalidIdentity, IssueNumber, IssueSnapshot, Login, Permission, PullRequestNumber,
    RepositoryId, RepositoryName, Sha,
};

/// A repository, from octocrab's model. An error names the missing field.
pub(super) fn repository(raw: models::Repository) -> Result<Repository, String> {
    Ok(Repository {
        name: repository_name(raw.full_name)?,
        default_branch: raw.default_branch.ok_or("the repository has no default_branch")?,
        html_url: raw.html_url.ok_or("the repository has no html_url")?.to_string(),
        archived: raw.archived.unwrap_or_default(),
    })
}

/// A repository's name, from the `full_name` of octocrab's model.
pub(super) fn repository_name(full_name: Option<String>) -> Result<RepositoryName, String> {
    let full_name = full_name.ok_or("the repository has no full_name")?;
    full_name.parse().map_err(|error: InvalidIdentity| error.to_string())
}

/// Whether a pull request comes from a branch of the repository itself. A fork that is gone is null.
pub(super) fn comes_from(raw: &models::pulls::PullRequest, repository: RepositoryId, branch: &str) -> bool {
    let source = raw.head.repo.as_ref();
    raw.head.ref_field == branch && source.is_some_and(|source| source.id.0 == repository.0)
}

/// A pull request, from octocrab's model.
pub(super) fn pull_request(raw: models::pulls::PullRequest) -> Result<PullRequest, String> {
    Ok(PullRequest {
        number: PullRequestNumber(raw.number),
        html_url: raw.html_url.ok_or("the pull request has no html_url")?.to_string(),
        draft: raw.draft.unwrap_or_default(),
        head: raw.head.ref_field,
        head_sha: raw.head.sha.parse().map_err(|error: InvalidIdentity| error.to_string())?,
        body: raw.body.unwrap_or_default(),
    })
}

/// The commit that a branch points to.
pub(super) fn branch_head(raw: &models::repos::Ref) -> Result<Sha, String> {
    match &raw.object {
        models::repos::Object::Commit { sha, .. } => {
            sha.parse().map_err(|error: InvalidIdentity| error.to_string())
        }
        other => Err(format!("{} points to {other:?}, not to a commit", raw.ref_field)),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawPermission {
    permission: String,
}

impl RawPermission {
    /// `permission` is one of four base levels; `role_name`, which may be a custom role, is ignored.
    /// Triage and maintain are folded here too, for servers that do not fold them.
    pub(super) fn into_domain(self) -> Result<Permission, String> {
        match self.permission.as_str() {
            "none" => Ok(Permission::None),
            "read" | "triage" => Ok(Permission::Read),
            "write" | "maintain" => Ok(Permission::Write),
            "admin" => Ok(Permission::Admin),
            other => Err(format!("unknown permission {other:?}")),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawUser {
    pub(super) login: String,
    pub(super) id: u64,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl RawUser {
    pub(super) fn is_bot(&self) -> bool {
        self.kind.as_deref() == Some("Bot")
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawLabel {
    Name(String),
    Object { name: Option<String> },
}

#[derive(Debug, Deserialize)]
pub(super) struct RawIssue {
    number: u64,
    title: String,
    body: Option<String>,
    user: Option<RawUser>,
    state: String,
    #[serde(default)]
    locked: bool,
    #[serde(default)]
    labels: Vec<RawLabel>,
    pull_request: Option<serde::de::IgnoredAny>,
}

impl RawIssue {
    pub(super) fn into_domain(self) -> Result<Issue, InvalidIdentity> {
        let author = self.user.map_or_else(|| GHOST.to_owned(), |user| user.login);
        let label = |label| match label {
            RawLabel::Name(name) | RawLabel::Object { name: Some(name) } => Some(name),
            RawLabel::Object { name: None } => None,
        };
        Ok(Issue {
            snapshot: IssueSnapshot {
                number: IssueNumber(self.number),
                title: self.title,
                body: self.body.unwrap_or_default(),
                author: author.parse::<Login>()?,
                labels: self.labels.into_iter().filter_map(label).collect(),
            },
            open: self.state == "open",
            locked: self.locked,
            is_pull_request: self.pull_request.is_some(),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawAppId {
    pub(super) id: u64,
}

/// A comment below an issue or a pull request.
#[derive(Debug, Deserialize)]
pub(super) struct RawComment {
    id: u64,
    html_url: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    body: Option<String>,
    user: Option<RawUser>,
    performed_via_github_app: Option<RawAppId>,
}

impl RawComment {
    /// Whether the App itself wrote it. Nobody can register a login with `[bot]` in it. What a person
    /// writes through the App carries the App's id, but is the person's.
    pub(super) fn is_by(&self, app_id: u64, slug: &str) -> bool {
        let Some(user) = &self.user else { return false };
        let is_through_app = self.performed_via_github_app.as_ref().is_some_and(|app| app.id == app_id);
        user.login.strip_suffix("[bot]") == Some(slug) || (is_through_app && user.is_bot())
    }

    pub(super) fn into_domain(self) -> Comment {
        Comment {
            id: CommentId(self.id),
            html_url: self.html_url,
            updated_at: self.updated_at,
            is_edited: self.updated_at != self.created_at,
            body: self.body.unwrap_or_default(),
        }
    }
}

/// The same comment, with its author and dates.
#[derive(Debug, Deserialize)]
pub(super) struct RawIssueComment {
    id: u64,
    body: Option<String>,
    user: Option<RawUser>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl RawIssueComment {
    /// `None` if its author's login is not valid: such a comment is not read.
    pub(super) fn into_domain(self) -> Option<IssueComment> {
        let author_is_bot = self.user.as_ref().is_some_and(RawUser::is_bot);
        let author = self.user.map_or_else(|| GHOST.to_owned(), |user| user.login);
        Some(IssueComment {
            id: CommentId(self.id),
            author: author.parse().ok()?,
            author_is_bot,
            created_at: self.created_at,
            updated_at: self.updated_at,
            body: self.body.unwrap_or_default(),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawApp {
    pub(super) slug: String,
}
