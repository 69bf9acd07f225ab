//! The port to GitHub. The only module that knows octocrab, tokens and REST paths.

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

mod app_client;
mod app_jwt;
mod around;
mod cleared;
mod client;
mod label_client;
mod limits;
mod manifest;
mod operations;
mod refusal;
mod reviews;
mod signed_commit;
mod signs;
mod tokens;
mod transport;
mod wire;

pub use app_client::{AppClient, AppInfo, AppOwner, Installation, WebhookConfig, WebhookDelivery};
pub use around::{ClosingPullRequest, IssueComment};
pub use client::{ConnectionError, GitHubConnection, OctocrabGitHub};
pub use label_client::{LabelEvent, LabelledIssue, LabelledPage};
pub use limits::{RateLimits, SaveRateLimit};
pub use manifest::{RegisteredApp, convert_manifest_code};
pub use operations::OPERATIONS;
pub use reviews::ReviewComment;
pub use signed_commit::{CreatedCommit, NewCommit};
pub use signs::{Annotation, AnnotationLevel, CheckConclusion, CheckRun, Label, Reviewers};
pub use transport::Clock;

use crate::domain::{
    CommentId, FailedCheck, IssueNumber, IssueSnapshot, Login, Permission, PullRequestNumber, RepositoryName,
    RepositoryRef, SecretFinding, Sha,
};

/// GitHub's stand-in for authors whose account is gone.
pub const GHOST: &str = "ghost";

/// What Mendwright asks of GitHub. There is no way here to merge, to approve, to mark a pull
/// request as ready, or to force anything.
#[async_trait]
pub trait GitHub: Send + Sync {
    /// The repository as it is now. Follows renames.
    async fn repository(&self, at: &RepositoryRef) -> Result<Repository, GitHubError>;

    /// What `login` may do in the repository at this moment.
    async fn permission(&self, at: &RepositoryRef, login: &Login) -> Result<Permission, GitHubError>;

    /// An issue as it is now.
    async fn issue(&self, at: &RepositoryRef, number: IssueNumber) -> Result<Issue, GitHubError>;

    /// The commit a branch points to; `None` when there is no such branch.
    async fn branch_head(&self, at: &RepositoryRef, branch: &str) -> Result<Option<Sha>, GitHubError>;

    /// Puts 👀 on an issue. Doing it twice changes nothing.
    async fn react_with_eyes(&self, at: &RepositoryRef, number: IssueNumber) -> Result<(), GitHubError>;

    /// Puts 👀 on a comment. Doing it twice changes nothing.
    async fn react_to_comment(&self, at: &RepositoryRef, comment: CommentId) -> Result<(), GitHubError>;

    /// The comments on an issue or pull request, whoever wrote them, oldest first, all pages.
    async fn comments(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<Vec<IssueComment>, GitHubError>;

    /// The open pull requests that close an issue when they are merged, as GitHub itself knows them. `name`
    /// is the repository's name now.
    async fn closing_pull_requests(
        &self,
        at: &RepositoryRef,
        name: &RepositoryName,
        number: IssueNumber,
    ) -> Result<Vec<ClosingPullRequest>, GitHubError>;

    /// The comments on an issue or pull request that **this App** wrote, oldest first, all pages.
    async fn our_comments(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<Vec<Comment>, GitHubError>;

    /// Posts a comment. `body` is at most 65,536 characters.
    async fn create_comment(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
        body: &str,
    ) -> Result<Comment, GitHubError>;

    /// Replaces a comment's body.
    async fn update_comment(
        &self,
        at: &RepositoryRef,
        comment: CommentId,
        body: &str,
    ) -> Result<(), GitHubError>;

    /// The open pull request from `branch` of the same repository, if there is one.
    async fn find_pull_request(
        &self,
        at: &RepositoryRef,
        branch: &str,
    ) -> Result<Option<PullRequest>, GitHubError>;

    /// Opens a pull request. It is always a draft.
    async fn create_draft_pull_request(
        &self,
        at: &RepositoryRef,
        new: &NewPullRequest,
    ) -> Result<PullRequest, GitHubError>;

    /// Replaces a pull request's title and body.
    async fn update_pull_request(
        &self,
        at: &RepositoryRef,
        number: PullRequestNumber,
        title: &str,
        body: &str,
    ) -> Result<(), GitHubError>;

    /// Has GitHub make a commit on a branch, which is made where it is not there; so GitHub signs it.
    /// Answers with the commit that is on the branch then: one that has others than its base is left as
    /// it is.
    async fn commit_on_branch(
        &self,
        at: &RepositoryRef,
        new: &NewCommit,
    ) -> Result<CreatedCommit, GitHubError>;

    /// Makes a check run, or changes the one of its name that this App made at the same commit.
    async fn publish_check(&self, at: &RepositoryRef, check: &CheckRun) -> Result<(), GitHubError>;

    /// Puts a label on an issue. The repository gets the label if it has none of that name.
    async fn add_label(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
        label: &Label,
    ) -> Result<(), GitHubError>;

    /// Takes a label off an issue, if it is there.
    async fn remove_label(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
        name: &str,
    ) -> Result<(), GitHubError>;

    /// Asks people and teams to review a pull request. Rejected as a whole where GitHub does not take
    /// one of them.
    async fn request_reviews(
        &self,
        at: &RepositoryRef,
        number: PullRequestNumber,
        reviewers: &Reviewers,
    ) -> Result<(), GitHubError>;

    /// The check runs of others that failed at a commit.
    async fn failed_checks(&self, at: &RepositoryRef, head: &Sha) -> Result<Vec<FailedCheck>, GitHubError>;

    /// The comments at lines of a pull request, oldest first, all pages.
    async fn review_comments(
        &self,
        at: &RepositoryRef,
        number: PullRequestNumber,
    ) -> Result<Vec<ReviewComment>, GitHubError>;

    /// Answers in the thread that begins with `first`.
    async fn reply_in_thread(
        &self,
        at: &RepositoryRef,
        number: PullRequestNumber,
        first: CommentId,
        body: &str,
    ) -> Result<(), GitHubError>;

    /// Where git finds the repository, and a token that opens this repository only.
    async fn git_access(&self, at: &RepositoryRef) -> Result<GitAccess, GitHubError>;

    /// The App's own bot account, for commits: `slug[bot]` and its id.
    async fn app_identity(&self) -> Result<AppIdentity, GitHubError>;
}

/// A repository, as far as a job needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its name now.
    pub name: RepositoryName,
    /// Its default branch.
    pub default_branch: String,
    /// Its page.
    pub html_url: String,
    /// Read-only for everybody.
    pub archived: bool,
}

/// An issue as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Its text and labels.
    pub snapshot: IssueSnapshot,
    /// Whether it is open.
    pub open: bool,
    /// Whether its conversation is locked.
    pub locked: bool,
    /// Whether it is a pull request in truth.
    pub is_pull_request: bool,
}

/// A comment by this App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// Its address.
    pub html_url: String,
    /// Its Markdown.
    pub body: String,
}

/// What is needed to open a draft pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPullRequest {
    /// Its title.
    pub title: String,
    /// Its Markdown, at most 65,536 characters.
    pub body: String,
    /// The branch with the changes, in the same repository.
    pub head: String,
    /// The branch to change.
    pub base: String,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: PullRequestNumber,
    /// Its page.
    pub html_url: String,
    /// Whether it is a draft.
    pub draft: bool,
    /// The branch with the changes.
    pub head: String,
    /// The commit at its head.
    pub head_sha: Sha,
    /// Its Markdown.
    pub body: String,
}

/// How git reaches a repository. The token belongs into the credential callback and nowhere else.
#[derive(Debug, Clone)]
pub struct GitAccess {
    /// The clone address, without credentials.
    pub url: Url,
    /// User name for the credential callback (`x-access-token`).
    pub username: String,
    /// Installation token.
    pub token: SecretString,
}

/// The App's bot account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppIdentity {
    /// The App's slug; the bot's login is `slug[bot]`.
    pub slug: String,
    /// The id of the bot's user account.
    pub bot_user_id: u64,
}

/// What went wrong with GitHub, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// Worth another try at `retry_after` from now: rate limit, 5xx, connection trouble.
    #[error("GitHub cannot answer now ({what}: {detail}); trying again in {} s", retry_after.as_secs())]
    Unavailable {
        /// What was tried.
        what: String,
        /// What came back.
        detail: String,
        /// How long to wait.
        retry_after: std::time::Duration,
    },
    /// The thing does not exist, or the App may not see it.
    #[error("GitHub does not know it ({what}): {detail}")]
    NotFound {
        /// What was tried.
        what: String,
        /// What came back.
        detail: String,
    },
    /// The App may not do this: suspended, uninstalled, permission missing, key refused.
    #[error("GitHub refuses it ({what}): {detail}")]
    Forbidden {
        /// What was tried.
        what: String,
        /// What came back, and what to do.
        detail: String,
    },
    /// GitHub says that the request is wrong (422 and other 4xx), or its answer cannot be read.
    #[error("GitHub did not accept it ({what}): {detail}")]
    Rejected {
        /// What was tried.
        what: String,
        /// What came back.
        detail: String,
    },
    /// Nothing was sent: it holds a secret.
    #[error("it was not sent to GitHub ({what}), because it holds a secret: {}", found.iter().map(SecretFinding::to_string).collect::<Vec<_>>().join("; "))]
    ContainsSecret {
        /// What was tried.
        what: String,
        /// What was found, and where.
        found: Vec<SecretFinding>,
    },
}

impl GitHubError {
    /// The same, worth another try no sooner than after `wait`.
    fn after(self, wait: Option<std::time::Duration>) -> Self {
        match (self, wait) {
            (Self::Unavailable { what, detail, .. }, Some(retry_after)) => {
                Self::Unavailable { what, detail, retry_after }
            }
            (error, _) => error,
        }
    }
}
