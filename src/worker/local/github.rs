//! Stands for GitHub in local jobs: one repository on this machine. The pipeline is the same; what it would
//! publish on GitHub is kept here, for standard output.

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use crate::domain::{
    CommentId, FailedCheck, IssueNumber, IssueSnapshot, Login, Permission, PullRequestNumber, RepositoryName,
    RepositoryRef, Sha,
};
use crate::github::{
    AppIdentity, CheckRun, ClosingPullRequest, Comment, CreatedCommit, GitAccess, GitHub, GitHubError, Issue,
    IssueComment, Label, NewCommit, NewPullRequest, PullRequest, Repository, ReviewComment, Reviewers,
    SubmoduleAccess, SubmoduleRequest,
};
use crate::workspace::{LocalRepository, WorkspaceError};

/// One repository on this machine, in GitHub's place.
pub(super) struct LocalGitHub {
    repository: LocalRepository,
    access: GitAccess,
    /// The branch or revision to start from.
    base: String,
    issue: IssueSnapshot,
    published: Mutex<Published>,
}

/// What would have been published.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// Comments on the issue.
    pub comments: Vec<Comment>,
    /// Title and body of the pull request.
    pub pull_request: Option<(String, String)>,
}

impl LocalGitHub {
    pub(super) fn new(
        repository: LocalRepository,
        base: String,
        issue: IssueSnapshot,
    ) -> Result<Self, WorkspaceError> {
        let access = repository.access()?;
        Ok(Self { repository, access, base, issue, published: Mutex::default() })
    }

    /// The git access to the repository.
    pub(super) fn access(&self) -> GitAccess {
        self.access.clone()
    }

    pub(super) fn repository_here(&self) -> &LocalRepository {
        &self.repository
    }

    pub(super) fn published(&self) -> Published {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.published.lock()
    }
}

#[async_trait]
impl GitHub for LocalGitHub {
    async fn repository(&self, at: &RepositoryRef) -> Result<Repository, GitHubError> {
        Ok(Repository {
            name: at.name.clone(),
            default_branch: self.base.clone(),
            html_url: self.access.url.to_string(),
            archived: false,
        })
    }

    /// Whoever can run the command owns the repository.
    async fn permission(&self, _at: &RepositoryRef, _login: &Login) -> Result<Permission, GitHubError> {
        Ok(Permission::Admin)
    }

    async fn issue(&self, _at: &RepositoryRef, _number: IssueNumber) -> Result<Issue, GitHubError> {
        Ok(Issue { snapshot: self.issue.clone(), open: true, locked: false, is_pull_request: false })
    }

    async fn branch_head(&self, _at: &RepositoryRef, branch: &str) -> Result<Option<Sha>, GitHubError> {
        self.repository.branch(branch).map_err(|error| GitHubError::Rejected {
            what: format!("looking for the branch {branch}"),
            detail: error.to_string(),
        })
    }

    async fn react_with_eyes(&self, _at: &RepositoryRef, _number: IssueNumber) -> Result<(), GitHubError> {
        Ok(())
    }

    async fn react_to_comment(&self, _: &RepositoryRef, _: CommentId) -> Result<(), GitHubError> {
        Ok(())
    }

    async fn comments(&self, _: &RepositoryRef, _: IssueNumber) -> Result<Vec<IssueComment>, GitHubError> {
        Ok(Vec::new())
    }

    async fn closing_pull_requests(
        &self,
        _: &RepositoryRef,
        _: &RepositoryName,
        _: IssueNumber,
    ) -> Result<Vec<ClosingPullRequest>, GitHubError> {
        Ok(Vec::new())
    }

    async fn our_comments(
        &self,
        _at: &RepositoryRef,
        _number: IssueNumber,
    ) -> Result<Vec<Comment>, GitHubError> {
        Ok(self.lock().comments.clone())
    }

    async fn create_comment(
        &self,
        _at: &RepositoryRef,
        _number: IssueNumber,
        body: &str,
    ) -> Result<Comment, GitHubError> {
        let mut published = self.lock();
        let id = CommentId(published.comments.len() as u64 + 1);
        let comment = Comment {
            id,
            html_url: format!("local:comment-{id}"),
            updated_at: Timestamp::UNIX_EPOCH,
            is_edited: false,
            body: body.to_owned(),
        };
        published.comments.push(comment.clone());
        Ok(comment)
    }

    async fn update_comment(
        &self,
        _at: &RepositoryRef,
        comment: CommentId,
        body: &str,
    ) -> Result<(), GitHubError> {
        if let Some(found) = self.lock().comments.iter_mut().find(|found| found.id == comment) {
            found.body = body.to_owned();
        }
        Ok(())
    }

    async fn find_pull_request(
        &self,
        _at: &RepositoryRef,
        _branch: &str,
    ) -> Result<Option<PullRequest>, GitHubError> {
        Ok(None)
    }

    async fn create_draft_pull_request(
        &self,
        _at: &RepositoryRef,
        new: &NewPullRequest,
    ) -> Result<PullRequest, GitHubError> {
        self.lock().pull_request = Some((new.title.clone(), new.body.clone()));
        Ok(PullRequest {
            number: PullRequestNumber(0),
            html_url: format!("branch {}", new.head),
            draft: true,
            head: new.head.clone(),
            head_sha: "0".repeat(40).parse().expect("forty zeros are an object id"),
            body: new.body.clone(),
        })
    }

    async fn update_pull_request(
        &self,
        _at: &RepositoryRef,
        _number: PullRequestNumber,
        title: &str,
        body: &str,
    ) -> Result<(), GitHubError> {
        self.lock().pull_request = Some((title.to_owned(), body.to_owned()));
        Ok(())
    }

    async fn commit_on_branch(
        &self,
        _at: &RepositoryRef,
        new: &NewCommit,
    ) -> Result<CreatedCommit, GitHubError> {
        Err(GitHubError::Rejected {
            what: format!("making a commit on {:?}", new.branch),
            detail: "a repository on this machine cannot sign commits".to_owned(),
        })
    }

    /// A repository on this machine has no checks, labels or reviewers.
    async fn publish_check(&self, _at: &RepositoryRef, _check: &CheckRun) -> Result<(), GitHubError> {
        Ok(())
    }

    async fn add_label(
        &self,
        _at: &RepositoryRef,
        _number: IssueNumber,
        _label: &Label,
    ) -> Result<(), GitHubError> {
        Ok(())
    }

    async fn remove_label(
        &self,
        _at: &RepositoryRef,
        _number: IssueNumber,
        _name: &str,
    ) -> Result<(), GitHubError> {
        Ok(())
    }

    async fn request_reviews(
        &self,
        _at: &RepositoryRef,
        _number: PullRequestNumber,
        _reviewers: &Reviewers,
    ) -> Result<(), GitHubError> {
        Ok(())
    }

    async fn failed_checks(&self, _at: &RepositoryRef, _head: &Sha) -> Result<Vec<FailedCheck>, GitHubError> {
        Ok(Vec::new())
    }

    async fn review_comments(
        &self,
        _at: &RepositoryRef,
        _number: PullRequestNumber,
    ) -> Result<Vec<ReviewComment>, GitHubError> {
        Ok(Vec::new())
    }

    async fn reply_in_thread(
        &self,
        _at: &RepositoryRef,
        _number: PullRequestNumber,
        _first: CommentId,
        _body: &str,
    ) -> Result<(), GitHubError> {
        Ok(())
    }

    async fn git_access(&self, _at: &RepositoryRef) -> Result<GitAccess, GitHubError> {
        Ok(self.access.clone())
    }

    /// Whoever can run the command may read what their clone has.
    async fn submodule_access(
        &self,
        _at: &RepositoryRef,
        submodule: SubmoduleRequest<'_>,
        _reader: &Login,
    ) -> Result<SubmoduleAccess, GitHubError> {
        Ok(self.repository.submodule_access(submodule))
    }

    async fn app_identity(&self) -> Result<AppIdentity, GitHubError> {
        Ok(AppIdentity { slug: "mendwright".to_owned(), bot_user_id: 0 })
    }
}
