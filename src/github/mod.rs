//! The port to GitHub. The only module that knows octocrab, tokens and REST paths.

use async_trait::async_trait;

mod api_client;
mod app_client;
mod backoff;
mod branches;
mod checks;
mod client;
mod closing_pull_requests;
mod connection;
mod error;
mod labelled_issues;
mod labels;
mod manifest;
mod operations;
mod pages;
mod paths;
mod rate_limit_response;
mod rate_limits;
mod request;
mod response;
mod review_comments;
mod secret_gate;
mod signed_commit;
mod submodule;
mod tokens;
mod transport;
mod types;
mod wire;

pub use app_client::{AppClient, AppInfo, AppOwner, Installation, WebhookConfig, WebhookDelivery};
pub use client::OctocrabGitHub;
pub use connection::{ConnectionError, GitHubConnection};
pub use error::GitHubError;
pub use manifest::{RegisteredApp, convert_manifest_code};
pub use operations::OPERATIONS;
pub use rate_limits::{RateLimits, SaveRateLimit};
pub use transport::Clock;
pub use types::{
    Annotation, AnnotationLevel, AppIdentity, CheckConclusion, CheckRun, ClosingPullRequest, Comment,
    CreatedCommit, GHOST, GitAccess, Issue, IssueComment, Label, LabelEvent, LabelledIssue, LabelledPage,
    NewCommit, NewPullRequest, PullRequest, Repository, ReviewComment, Reviewers, SubmoduleAccess,
    SubmoduleRequest,
};

use crate::domain::{
    CommentId, FailedCheck, IssueNumber, Login, Permission, PullRequestNumber, RepositoryName, RepositoryRef,
    Sha,
};

/// What Mendwright asks of GitHub. There is no method to merge, to approve, to mark a pull request as
/// ready, or to force anything.
#[async_trait]
pub trait GitHub: Send + Sync {
    /// The repository as it is now. Follows renames.
    async fn repository(&self, repository: &RepositoryRef) -> Result<Repository, GitHubError>;

    /// The current permission of `login` in the repository.
    async fn permission(&self, repository: &RepositoryRef, login: &Login) -> Result<Permission, GitHubError>;

    /// An issue as it is now.
    async fn issue(&self, repository: &RepositoryRef, number: IssueNumber) -> Result<Issue, GitHubError>;

    /// The commit that a branch points to; `None` if the branch does not exist.
    async fn branch_head(&self, repository: &RepositoryRef, branch: &str)
    -> Result<Option<Sha>, GitHubError>;

    /// Puts 👀 on an issue. Doing it twice changes nothing.
    async fn react_with_eyes(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<(), GitHubError>;

    /// Puts 👀 on a comment. Doing it twice changes nothing.
    async fn react_to_comment(
        &self,
        repository: &RepositoryRef,
        comment: CommentId,
    ) -> Result<(), GitHubError>;

    /// All comments on an issue or pull request, by anybody, oldest first.
    async fn comments(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<Vec<IssueComment>, GitHubError>;

    /// The open pull requests that close an issue when they are merged, as GitHub itself knows them.
    /// `name` is the repository's current name.
    async fn closing_pull_requests(
        &self,
        repository: &RepositoryRef,
        name: &RepositoryName,
        number: IssueNumber,
    ) -> Result<Vec<ClosingPullRequest>, GitHubError>;

    /// All comments on an issue or pull request that **this App** wrote, oldest first.
    async fn our_comments(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<Vec<Comment>, GitHubError>;

    /// Posts a comment. `body` is at most 65,536 characters.
    async fn create_comment(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        body: &str,
    ) -> Result<Comment, GitHubError>;

    /// Replaces a comment's body.
    async fn update_comment(
        &self,
        repository: &RepositoryRef,
        comment: CommentId,
        body: &str,
    ) -> Result<(), GitHubError>;

    /// The open pull request from `branch` of the same repository, if there is one.
    async fn find_pull_request(
        &self,
        repository: &RepositoryRef,
        branch: &str,
    ) -> Result<Option<PullRequest>, GitHubError>;

    /// Opens a pull request. It is always a draft.
    async fn create_draft_pull_request(
        &self,
        repository: &RepositoryRef,
        new: &NewPullRequest,
    ) -> Result<PullRequest, GitHubError>;

    /// Replaces a pull request's title and body.
    async fn update_pull_request(
        &self,
        repository: &RepositoryRef,
        number: PullRequestNumber,
        title: &str,
        body: &str,
    ) -> Result<(), GitHubError>;

    /// Makes GitHub create a commit on a branch, so that GitHub signs it. Creates the branch if it does
    /// not exist. Returns the commit that is on the branch afterwards: a branch that has commits beyond
    /// its base is not changed.
    async fn commit_on_branch(
        &self,
        repository: &RepositoryRef,
        new: &NewCommit,
    ) -> Result<CreatedCommit, GitHubError>;

    /// Creates a check run, or updates the one of the same name that this App made at the same commit.
    async fn publish_check(&self, repository: &RepositoryRef, check: &CheckRun) -> Result<(), GitHubError>;

    /// Puts a label on an issue. Creates the label if the repository has none of that name.
    async fn add_label(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        label: &Label,
    ) -> Result<(), GitHubError>;

    /// Removes a label from an issue, if it is there.
    async fn remove_label(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        name: &str,
    ) -> Result<(), GitHubError>;

    /// Requests reviews of a pull request. GitHub rejects all of them if it does not accept one.
    async fn request_reviews(
        &self,
        repository: &RepositoryRef,
        number: PullRequestNumber,
        reviewers: &Reviewers,
    ) -> Result<(), GitHubError>;

    /// The check runs of other Apps that failed at a commit.
    async fn failed_checks(
        &self,
        repository: &RepositoryRef,
        head: &Sha,
    ) -> Result<Vec<FailedCheck>, GitHubError>;

    /// All comments at lines of a pull request, oldest first.
    async fn review_comments(
        &self,
        repository: &RepositoryRef,
        number: PullRequestNumber,
    ) -> Result<Vec<ReviewComment>, GitHubError>;

    /// Replies in the thread that begins with `first`.
    async fn reply_in_thread(
        &self,
        repository: &RepositoryRef,
        number: PullRequestNumber,
        first: CommentId,
        body: &str,
    ) -> Result<(), GitHubError>;

    /// The repository's git URL, and a token for this repository only.
    async fn git_access(&self, repository: &RepositoryRef) -> Result<GitAccess, GitHubError>;

    /// How a submodule of `repository` is fetched, if it is on the same server and `reader` may read it.
    async fn submodule_access(
        &self,
        repository: &RepositoryRef,
        submodule: SubmoduleRequest<'_>,
        reader: &Login,
    ) -> Result<SubmoduleAccess, GitHubError>;

    /// The App's own bot account, for commits: `slug[bot]` and its id.
    async fn app_identity(&self) -> Result<AppIdentity, GitHubError>;
}
