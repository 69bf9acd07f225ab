//! The adapter to the real GitHub, or to a server that implements its REST API: GitHub Enterprise
//! Server, the emulator. This file decides which endpoint answers which question.

use std::sync::Arc;

use async_trait::async_trait;
use octocrab::models;
use serde_json::json;
use tokio::sync::OnceCell;
use url::{Url, form_urlencoded};

use super::api_client::{ApiClient, Sender};
use super::connection::{ConnectionError, GitHubConnection};
use super::error::GitHubError;
use super::pages::{PAGE_ENTRIES, all_entries};
use super::paths::{encode_segment, repository_path};
use super::rate_limits::RateLimits;
use super::request::{ApiRequest, invalid_response};
use super::response::read;
use super::submodule::{address_of, repository_of_same_server};
use super::tokens::TokenScope;
use super::transport::Clock;
use super::types::{
    AppIdentity, CheckRun, ClosingPullRequest, Comment, CreatedCommit, GitAccess, Issue, IssueComment, Label,
    NewCommit, NewPullRequest, PullRequest, Repository, ReviewComment, Reviewers, SubmoduleAccess,
    SubmoduleRequest,
};
use super::wire::{self, RawApp, RawComment, RawIssue, RawIssueComment, RawPermission, RawUser};
use super::{GitHub, branches, checks, closing_pull_requests, labels, review_comments, signed_commit};
use crate::domain::{
    CommentId, FailedCheck, IssueNumber, Login, Permission, PullRequestNumber, RepositoryId, RepositoryName,
    RepositoryRef, Sha,
};

/// The user name that git gives with an installation token.
const GIT_USER: &str = "x-access-token";

/// [`GitHub`] over its REST API.
pub struct OctocrabGitHub {
    api: ApiClient,
    web_url: Url,
    slug: OnceCell<String>,
    identity: OnceCell<AppIdentity>,
}

impl OctocrabGitHub {
    /// Sends nothing. Must be called within a tokio runtime.
    pub fn new(connection: GitHubConnection) -> Result<Self, ConnectionError> {
        Ok(Self {
            api: ApiClient::new(&connection)?,
            web_url: connection.web_url,
            slug: OnceCell::new(),
            identity: OnceCell::new(),
        })
    }

    /// Uses another source of time, except for the App's JSON Web Tokens, which octocrab dates.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.api.transport.clock = clock;
        self
    }

    /// Shares the rate limits with other clients.
    #[must_use]
    pub fn with_limits(mut self, limits: Arc<RateLimits>) -> Self {
        self.api.limits = limits;
        self
    }

    /// Waits these times before the retries of a repeatable request. There is one retry per time.
    #[must_use]
    pub fn with_retry_delays(mut self, delays: Vec<std::time::Duration>) -> Self {
        self.api.transport.retry_delays = delays;
        self
    }

    async fn raw_repository(&self, repository: &RepositoryRef) -> Result<models::Repository, GitHubError> {
        let what = format!("reading repository {}", repository.name);
        let request = ApiRequest::get(what, repository_path(repository));
        self.api.get(Sender::Repository(repository), &request).await
    }

    async fn slug(&self) -> Result<&str, GitHubError> {
        let slug = self.slug.get_or_try_init(|| async {
            let request = ApiRequest::get("reading the App itself", "/app");
            self.api.get::<RawApp>(Sender::App, &request).await.map(|app| app.slug)
        });
        slug.await.map(String::as_str)
    }

    async fn permission_as(
        &self,
        sender: Sender<'_>,
        repository: &RepositoryRef,
        login: &Login,
    ) -> Result<Permission, GitHubError> {
        let login_segment = encode_segment(login.as_str());
        let path = format!("{}/collaborators/{login_segment}/permission", repository_path(repository));
        let request =
            ApiRequest::get(format!("reading the permission of {login} in {}", repository.name), path);
        match self.api.get::<RawPermission>(sender, &request).await {
            Ok(raw) => raw.into_domain().map_err(|error| request.invalid_response(error)),
            // The token is for this repository, so the login does not exist: a renamed or deleted
            // account, or a bot.
            Err(GitHubError::NotFound { .. }) => Ok(Permission::None),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, repository: &RepositoryRef, request: ApiRequest) -> Result<(), GitHubError> {
        self.api.send(Sender::Repository(repository), &request).await.map(drop)
    }
}

#[async_trait]
impl GitHub for OctocrabGitHub {
    async fn repository(&self, repository: &RepositoryRef) -> Result<Repository, GitHubError> {
        let what = format!("reading repository {}", repository.name);
        let raw = self.raw_repository(repository).await?;
        wire::repository(raw).map_err(|error| invalid_response(&what, error))
    }

    async fn permission(&self, repository: &RepositoryRef, login: &Login) -> Result<Permission, GitHubError> {
        self.permission_as(Sender::Repository(repository), repository, login).await
    }

    async fn issue(&self, repository: &RepositoryRef, number: IssueNumber) -> Result<Issue, GitHubError> {
        let path = format!("{}/issues/{number}", repository_path(repository));
        let request = ApiRequest::get(format!("reading issue {}#{number}", repository.name), path);
        let raw: RawIssue = self.api.get(Sender::Repository(repository), &request).await?;
        raw.into_domain().map_err(|error| request.invalid_response(error))
    }

    async fn branch_head(
        &self,
        repository: &RepositoryRef,
        branch: &str,
    ) -> Result<Option<Sha>, GitHubError> {
        branches::head(&self.api, repository, branch).await
    }

    async fn react_with_eyes(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<(), GitHubError> {
        let path = format!("{}/issues/{number}/reactions", repository_path(repository));
        let what = format!("reacting to {}#{number}", repository.name);
        let request = ApiRequest::post(what, path, json!({"content": "eyes"}));
        // GitHub keeps one reaction of a kind per account: 201 the first time, 200 afterwards.
        self.send(repository, request.repeatable().unspaced()).await
    }

    async fn react_to_comment(
        &self,
        repository: &RepositoryRef,
        comment: CommentId,
    ) -> Result<(), GitHubError> {
        let path = format!("{}/issues/comments/{comment}/reactions", repository_path(repository));
        let what = format!("reacting to a comment in {}", repository.name);
        self.send(repository, ApiRequest::post(what, path, json!({"content": "eyes"})).repeatable()).await
    }

    async fn comments(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<Vec<IssueComment>, GitHubError> {
        let what = format!("reading the comments of {}#{number}", repository.name);
        let comments: Vec<RawIssueComment> =
            all_entries(&self.api, Sender::Repository(repository), &what, comments_path(repository, number))
                .await?;
        Ok(comments.into_iter().filter_map(RawIssueComment::into_domain).collect())
    }

    async fn closing_pull_requests(
        &self,
        repository: &RepositoryRef,
        name: &RepositoryName,
        number: IssueNumber,
    ) -> Result<Vec<ClosingPullRequest>, GitHubError> {
        closing_pull_requests::find(&self.api, repository, name, number).await
    }

    async fn our_comments(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<Vec<Comment>, GitHubError> {
        let slug = self.slug().await?;
        let what = format!("reading the comments of {}#{number}", repository.name);
        let comments: Vec<RawComment> =
            all_entries(&self.api, Sender::Repository(repository), &what, comments_path(repository, number))
                .await?;
        let ours = comments.into_iter().filter(|comment| comment.is_by(self.api.app_id, slug));
        Ok(ours.map(RawComment::into_domain).collect())
    }

    async fn create_comment(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        body: &str,
    ) -> Result<Comment, GitHubError> {
        let path = format!("{}/issues/{number}/comments", repository_path(repository));
        let what = format!("commenting on {}#{number}", repository.name);
        let request = ApiRequest::post(what, path, json!({"body": body}));
        let raw: RawComment = self.api.get(Sender::Repository(repository), &request).await?;
        Ok(raw.into_domain())
    }

    async fn update_comment(
        &self,
        repository: &RepositoryRef,
        comment: CommentId,
        body: &str,
    ) -> Result<(), GitHubError> {
        let path = format!("{}/issues/comments/{comment}", repository_path(repository));
        let what = format!("editing comment {comment} in {}", repository.name);
        self.send(repository, ApiRequest::patch(what, path, json!({"body": body}))).await
    }

    async fn find_pull_request(
        &self,
        repository: &RepositoryRef,
        branch: &str,
    ) -> Result<Option<PullRequest>, GitHubError> {
        // The filter needs the owner's current name, which `repository` may not have after a rename.
        let owner = self.repository(repository).await?.name.owner().to_owned();
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("state", "open")
            .append_pair("head", &format!("{owner}:{branch}"))
            .append_pair("per_page", &PAGE_ENTRIES.to_string())
            .finish();
        let what = format!("looking for a pull request from {branch:?} in {}", repository.name);
        let request = ApiRequest::get(what, format!("{}/pulls?{query}", repository_path(repository)));
        let page: Vec<models::pulls::PullRequest> =
            self.api.get(Sender::Repository(repository), &request).await?;
        let found = page.into_iter().find(|raw| wire::comes_from(raw, repository.id, branch));
        found.map(wire::pull_request).transpose().map_err(|error| request.invalid_response(error))
    }

    async fn create_draft_pull_request(
        &self,
        repository: &RepositoryRef,
        new: &NewPullRequest,
    ) -> Result<PullRequest, GitHubError> {
        let body = json!({
            "title": new.title, "body": new.body, "head": new.head, "base": new.base, "draft": true,
        });
        let what = format!("opening a draft pull request from {:?} in {}", new.head, repository.name);
        let request = ApiRequest::post(what, format!("{}/pulls", repository_path(repository)), body);
        let raw: models::pulls::PullRequest = self.api.get(Sender::Repository(repository), &request).await?;
        wire::pull_request(raw).map_err(|error| request.invalid_response(error))
    }

    async fn update_pull_request(
        &self,
        repository: &RepositoryRef,
        number: PullRequestNumber,
        title: &str,
        body: &str,
    ) -> Result<(), GitHubError> {
        let path = format!("{}/pulls/{number}", repository_path(repository));
        let what = format!("editing pull request {}#{number}", repository.name);
        self.send(repository, ApiRequest::patch(what, path, json!({"title": title, "body": body}))).await
    }

    async fn commit_on_branch(
        &self,
        repository: &RepositoryRef,
        new: &NewCommit,
    ) -> Result<CreatedCommit, GitHubError> {
        let name = self.repository(repository).await?.name;
        signed_commit::create(&self.api, repository, &name, new).await
    }

    async fn publish_check(&self, repository: &RepositoryRef, check: &CheckRun) -> Result<(), GitHubError> {
        checks::publish(&self.api, repository, check).await
    }

    async fn add_label(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        label: &Label,
    ) -> Result<(), GitHubError> {
        labels::add(&self.api, repository, number, label).await
    }

    async fn remove_label(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        name: &str,
    ) -> Result<(), GitHubError> {
        labels::remove(&self.api, repository, number, name).await
    }

    async fn request_reviews(
        &self,
        repository: &RepositoryRef,
        number: PullRequestNumber,
        reviewers: &Reviewers,
    ) -> Result<(), GitHubError> {
        let path = format!("{}/pulls/{number}/requested_reviewers", repository_path(repository));
        let what = format!("requesting reviews of {}#{number}", repository.name);
        let body = json!({"reviewers": reviewers.users, "team_reviewers": reviewers.teams});
        self.send(repository, ApiRequest::post(what, path, body).repeatable()).await
    }

    async fn failed_checks(
        &self,
        repository: &RepositoryRef,
        head: &Sha,
    ) -> Result<Vec<FailedCheck>, GitHubError> {
        checks::failed(&self.api, repository, head).await
    }

    async fn review_comments(
        &self,
        repository: &RepositoryRef,
        number: PullRequestNumber,
    ) -> Result<Vec<ReviewComment>, GitHubError> {
        review_comments::list(&self.api, repository, number, self.slug().await?).await
    }

    async fn reply_in_thread(
        &self,
        repository: &RepositoryRef,
        number: PullRequestNumber,
        first: CommentId,
        body: &str,
    ) -> Result<(), GitHubError> {
        review_comments::reply(&self.api, repository, number, first, body).await
    }

    async fn git_access(&self, repository: &RepositoryRef) -> Result<GitAccess, GitHubError> {
        let raw = self.raw_repository(repository).await?;
        let what = format!("finding the git URL of {}", repository.name);
        let mut url = match raw.clone_url.clone() {
            Some(url) => url,
            None => {
                let name = wire::repository(raw).map_err(|error| invalid_response(&what, error))?.name;
                let text = format!("{}/{name}.git", self.web_url.as_str().trim_end_matches('/'));
                Url::parse(&text).map_err(|error| invalid_response(&what, error))?
            }
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid_response(&what, format!("{url} is not an HTTP URL")));
        }
        // Both fail only for URLs without a host, and HTTP URLs have one.
        let cleaned = url.set_username("").and_then(|()| url.set_password(None));
        cleaned.map_err(|()| invalid_response(&what, "the URL has no host"))?;
        let token = self.api.token(TokenScope::Repository(repository)).await?;
        Ok(GitAccess { url, username: GIT_USER.to_owned(), token })
    }

    async fn submodule_access(
        &self,
        repository: &RepositoryRef,
        submodule: SubmoduleRequest<'_>,
        reader: &Login,
    ) -> Result<SubmoduleAccess, GitHubError> {
        let name = match repository_of_same_server(submodule.parent, submodule.url) {
            Ok(name) => name,
            Err(why) => return Ok(SubmoduleAccess::Refused(why)),
        };
        let refused = |why: String| Ok(SubmoduleAccess::Refused(why));
        let unreadable = || refused(format!("the App may not read `{name}`, or it does not exist"));
        let what = format!("reading the submodule's repository {name}");
        let path = format!("/repos/{}/{}", encode_segment(name.owner()), encode_segment(name.name()));
        let request = ApiRequest::get(what.clone(), path);
        let sender = Sender::Installation(repository.installation);
        let found: models::Repository = match self.api.get(sender, &request).await {
            Ok(found) => found,
            Err(GitHubError::NotFound { .. } | GitHubError::Forbidden { .. }) => return unreadable(),
            Err(error) => return Err(error),
        };
        let id = RepositoryId(found.id.0);
        // Without the word of GitHub that it is public, it is not.
        let is_private = |found: &models::Repository| found.private != Some(false);
        let mut scope = TokenScope::Repository(repository);
        let name =
            wire::repository_name(found.full_name.clone()).map_err(|error| invalid_response(&what, error))?;
        let own = RepositoryRef { installation: repository.installation, id, name: name.clone() };
        if id != repository.id && is_private(&found) {
            if !is_private(&self.raw_repository(repository).await?) {
                return refused(format!("`{name}` is private, and this repository is public"));
            }
            scope = TokenScope::Submodule(&own);
            match self.permission_as(Sender::Submodule(&own), &own, reader).await {
                Ok(Permission::None) => return refused(format!("{reader} may not read `{name}`")),
                Ok(Permission::Read | Permission::Write | Permission::Admin) => {}
                // The App is not installed there, or was not granted this much.
                Err(
                    GitHubError::NotFound { .. }
                    | GitHubError::Forbidden { .. }
                    | GitHubError::Rejected { .. },
                ) => return unreadable(),
                Err(error) => return Err(error),
            }
        }
        let token = self.api.token(scope).await?;
        let url = address_of(submodule.parent, &name);
        let access = GitAccess { url, username: GIT_USER.to_owned(), token };
        Ok(SubmoduleAccess::Granted { access, source: name.to_string() })
    }

    async fn app_identity(&self) -> Result<AppIdentity, GitHubError> {
        let identity = self.identity.get_or_try_init(|| async {
            let slug = self.slug().await?.to_owned();
            let login = format!("{slug}[bot]");
            let path = format!("/users/{}", encode_segment(&login));
            let request = ApiRequest::get(format!("reading account {login}"), path);
            let response = self.api.send_as(&self.api.any_credential(), &request).await?;
            let user: RawUser = read(&request, &response)?;
            Ok(AppIdentity { slug, bot_user_id: user.id })
        });
        identity.await.cloned()
    }
}

fn comments_path(repository: &RepositoryRef, number: IssueNumber) -> String {
    format!("{}/issues/{number}/comments?per_page={PAGE_ENTRIES}", repository_path(repository))
}
