//! The few fields of GitHub's answers that are read, and what they mean in our own words. Every
//! other field may come, go and change.

use serde::Deserialize;
use url::Url;

use super::{Comment, GHOST, GitHubError, Issue, PullRequest, Repository};
use crate::domain::{
    CommentId, InvalidIdentity, IssueNumber, IssueSnapshot, LabelName, Login, Permission, PullRequestNumber,
    RepositoryId, Sha,
};

/// An answer that was read and makes no sense.
pub(super) fn nonsense(what: &str, detail: impl std::fmt::Display) -> GitHubError {
    GitHubError::Rejected { what: what.to_owned(), detail: format!("the answer cannot be used: {detail}") }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawRepository {
    full_name: String,
    default_branch: String,
    html_url: String,
    #[serde(default)]
    archived: bool,
    pub(super) clone_url: Option<Url>,
}

impl RawRepository {
    pub(super) fn meaning(self) -> Result<Repository, InvalidIdentity> {
        Ok(Repository {
            name: self.full_name.parse()?,
            default_branch: self.default_branch,
            html_url: self.html_url,
            archived: self.archived,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawPermission {
    permission: String,
}

impl RawPermission {
    /// `permission` is one of four base levels; `role_name`, which may be a custom role, is left
    /// alone. Triage and maintain are folded here too, for servers that do not fold them.
    pub(super) fn meaning(&self) -> Result<Permission, String> {
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
    pub(super) fn meaning(self) -> Result<Issue, InvalidIdentity> {
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
                labels: self.labels.into_iter().filter_map(label).map(LabelName::from).collect(),
            },
            open: self.state == "open",
            locked: self.locked,
            is_pull_request: self.pull_request.is_some(),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawReference {
    object: RawObject,
}

#[derive(Debug, Deserialize)]
struct RawObject {
    sha: String,
}

impl RawReference {
    pub(super) fn meaning(&self) -> Result<Sha, InvalidIdentity> {
        self.object.sha.parse()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawComment {
    id: u64,
    html_url: String,
    body: Option<String>,
    user: Option<RawUser>,
    performed_via_github_app: Option<RawAppId>,
}

#[derive(Debug, Deserialize)]
struct RawAppId {
    id: u64,
}

impl RawComment {
    /// Whether the App itself wrote it. Nobody can register a login with `[bot]` in it; and what a
    /// person writes through the App carries the App's id but is the person's.
    pub(super) fn is_by(&self, app_id: u64, slug: &str) -> bool {
        let Some(user) = &self.user else { return false };
        let through_app = self.performed_via_github_app.as_ref().is_some_and(|app| app.id == app_id);
        user.login.strip_suffix("[bot]") == Some(slug) || (through_app && user.is_bot())
    }

    pub(super) fn meaning(self) -> Comment {
        Comment { id: CommentId(self.id), html_url: self.html_url, body: self.body.unwrap_or_default() }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawPullRequest {
    number: u64,
    html_url: String,
    #[serde(default)]
    draft: bool,
    body: Option<String>,
    head: RawHead,
}

#[derive(Debug, Deserialize)]
struct RawHead {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
    /// Null where the fork it came from is gone.
    repo: Option<RawRepositoryId>,
}

#[derive(Debug, Deserialize)]
struct RawRepositoryId {
    id: u64,
}

impl RawPullRequest {
    pub(super) fn comes_from(&self, repository: RepositoryId, branch: &str) -> bool {
        self.head.branch == branch && self.head.repo.as_ref().is_some_and(|repo| repo.id == repository.0)
    }

    pub(super) fn meaning(self) -> Result<PullRequest, InvalidIdentity> {
        Ok(PullRequest {
            number: PullRequestNumber(self.number),
            html_url: self.html_url,
            draft: self.draft,
            head: self.head.branch,
            head_sha: self.head.sha.parse()?,
            body: self.body.unwrap_or_default(),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RawApp {
    pub(super) slug: String,
}
