//! The adapter to the real GitHub, or to whatever speaks its REST API at another address: GitHub
//! Enterprise Server, the emulator. Which endpoint answers which question is decided here.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::OnceCell;
use url::{Url, form_urlencoded};

use super::app_client::PAGE_ENTRIES;
use super::app_jwt::AppKey;
use super::limits::RateLimits;
use super::refusal::{accepted, read};
use super::tokens::InstallationTokens;
use super::transport::{Answer, Call, Clock, Transport};
use super::wire::{
    RawApp, RawComment, RawIssue, RawPermission, RawPullRequest, RawReference, RawRepository, RawUser,
    nonsense,
};
use super::{
    AppIdentity, CheckRun, ClosingPullRequest, Comment, CreatedCommit, GitAccess, GitHub, GitHubError, Issue,
    IssueComment, Label, NewCommit, NewPullRequest, PullRequest, Repository, ReviewComment, Reviewers,
};
use crate::domain::{
    CommentId, FailedCheck, IssueNumber, Login, Permission, PullRequestNumber, RepositoryId, RepositoryName,
    RepositoryRef, Sha,
};

/// GitHub closes an issue for comments long before it has this many pages.
pub(super) const PAGES_MAX: usize = 50;

/// Where GitHub is and who we are there.
#[derive(Debug, Clone)]
pub struct GitHubConnection {
    /// The REST API: `https://api.github.com`, `https://HOST/api/v3`.
    pub api_url: Url,
    /// The pages and git: `https://github.com`.
    pub web_url: Url,
    /// The App's id.
    pub app_id: u64,
    /// The App's private key: RSA, PEM, PKCS#1 as GitHub hands it out, or PKCS#8.
    pub private_key_pem: SecretString,
}

/// A connection that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The key is none.
    #[error(
        "the App's private key cannot be read ({0}): it must be the RSA key in PEM format that \
         GitHub let you download, from -----BEGIN to -----END"
    )]
    PrivateKey(String),
    /// No HTTP client.
    #[error("no HTTP client can be made: {0}")]
    HttpClient(String),
}

/// [`GitHub`] over its REST API.
pub struct OctocrabGitHub {
    pub(super) transport: Transport,
    app: AppKey,
    tokens: InstallationTokens,
    limits: Arc<RateLimits>,
    web_url: Url,
    slug: OnceCell<String>,
    identity: OnceCell<AppIdentity>,
}

impl OctocrabGitHub {
    /// Nothing is sent yet. Must be called within a tokio runtime.
    pub fn new(connection: GitHubConnection) -> Result<Self, ConnectionError> {
        let app = AppKey::new(connection.app_id, &connection.private_key_pem)
            .map_err(|error| ConnectionError::PrivateKey(error.to_string()))?;
        let transport = Transport::new(&connection.api_url)
            .map_err(|error| ConnectionError::HttpClient(error.to_string()))?;
        Ok(Self {
            transport,
            app,
            tokens: InstallationTokens::default(),
            limits: Arc::default(),
            web_url: connection.web_url,
            slug: OnceCell::new(),
            identity: OnceCell::new(),
        })
    }

    /// The same, with another source of time.
    #[must_use]
    pub fn with_clock(mut self, now: Clock) -> Self {
        self.transport.now = now;
        self
    }

    /// The same, with limits that others share.
    #[must_use]
    pub fn with_limits(mut self, limits: Arc<RateLimits>) -> Self {
        self.limits = limits;
        self
    }

    /// The same, with other pauses before the repetitions of a request that may be repeated; as
    /// many repetitions as pauses.
    #[must_use]
    pub fn with_retry_pauses(mut self, pauses: Vec<std::time::Duration>) -> Self {
        self.transport.retry_pauses = pauses;
        self
    }

    /// Sends a call with the repository's token, when the installation's limits let it. A token that is
    /// refused is replaced once: it may have been revoked, or the App's key rolled.
    pub(super) async fn ask(&self, at: &RepositoryRef, call: &Call) -> Result<Answer, GitHubError> {
        self.limits.admit(at.installation, call, || self.transport.now()).await?;
        let token = self.tokens.get(&self.transport, &self.app, at).await?;
        let mut answer = self.transport.send(call, Some(&token)).await?;
        if answer.status == http::StatusCode::UNAUTHORIZED {
            self.tokens.forget(at, &token).await;
            let token = self.tokens.get(&self.transport, &self.app, at).await?;
            answer = self.transport.send(call, Some(&token)).await?;
        }
        let now = self.transport.now();
        let wait = self.limits.heed(at.installation, &answer, now).await;
        let answer = accepted(call, answer, now).map_err(|error| error.after(wait))?;
        match repository_in(&answer.address) {
            Some(id) if id != at.id => Err(GitHubError::NotFound {
                what: call.what.clone(),
                detail: format!("it has moved to another repository (id {id})"),
            }),
            Some(_) | None => Ok(answer),
        }
    }

    /// Where the answer goes on, if it does.
    pub(super) fn next_page(&self, call: &Call, answer: &Answer) -> Result<Option<String>, GitHubError> {
        self.transport.next_page(call, answer)
    }

    pub(super) async fn ask_for<T: DeserializeOwned>(
        &self,
        at: &RepositoryRef,
        call: &Call,
    ) -> Result<T, GitHubError> {
        read(call, &self.ask(at, call).await?)
    }

    pub(super) fn app_id(&self) -> u64 {
        self.app.app_id()
    }

    async fn raw_repository(&self, at: &RepositoryRef) -> Result<RawRepository, GitHubError> {
        self.ask_for(at, &Call::get(format!("reading repository {}", at.name), repo_path(at))).await
    }

    pub(super) async fn slug(&self) -> Result<&str, GitHubError> {
        let slug = self.slug.get_or_try_init(|| async {
            let call = Call::get("reading the App itself", "/app");
            let jwt = self.app.jwt(self.transport.now()).map_err(|error| nonsense(&call.what, error))?;
            let answer = self.transport.send(&call, Some(&jwt)).await?;
            let app: RawApp = read(&call, &accepted(&call, answer, self.transport.now())?)?;
            Ok(app.slug)
        });
        slug.await.map(String::as_str)
    }
}

#[async_trait]
impl GitHub for OctocrabGitHub {
    async fn repository(&self, at: &RepositoryRef) -> Result<Repository, GitHubError> {
        let what = format!("reading repository {}", at.name);
        self.raw_repository(at).await?.meaning().map_err(|error| nonsense(&what, error))
    }

    async fn permission(&self, at: &RepositoryRef, login: &Login) -> Result<Permission, GitHubError> {
        let what = format!("reading what {login} may do in {}", at.name);
        let path = format!("{}/collaborators/{}/permission", repo_path(at), encoded(login.as_str()));
        let call = Call::get(what, path);
        match self.ask_for::<RawPermission>(at, &call).await {
            Ok(raw) => raw.meaning().map_err(|error| nonsense(&call.what, error)),
            // The token was made for this repository, so it is the login that does not exist: an
            // account renamed or gone, or a bot.
            Err(GitHubError::NotFound { .. }) => Ok(Permission::None),
            Err(error) => Err(error),
        }
    }

    async fn issue(&self, at: &RepositoryRef, number: IssueNumber) -> Result<Issue, GitHubError> {
        let path = format!("{}/issues/{number}", repo_path(at));
        let call = Call::get(format!("reading issue {}#{number}", at.name), path);
        let raw: RawIssue = self.ask_for(at, &call).await?;
        raw.meaning().map_err(|error| nonsense(&call.what, error))
    }

    async fn branch_head(&self, at: &RepositoryRef, branch: &str) -> Result<Option<Sha>, GitHubError> {
        // Not `/branches/…`, which follows a renamed branch to its new name.
        let path = format!("{}/git/ref/heads/{}", repo_path(at), encoded_ref(branch));
        let call = Call::get(format!("reading branch {branch:?} of {}", at.name), path);
        match self.ask_for::<RawReference>(at, &call).await {
            Ok(raw) => raw.meaning().map(Some).map_err(|error| nonsense(&call.what, error)),
            Err(GitHubError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn react_with_eyes(&self, at: &RepositoryRef, number: IssueNumber) -> Result<(), GitHubError> {
        let path = format!("{}/issues/{number}/reactions", repo_path(at));
        let call = Call::post(format!("reacting to {}#{number}", at.name), path, json!({"content": "eyes"}));
        // GitHub keeps one reaction of a kind for each account: 201 the first time, 200 after.
        self.ask(at, &call.repeatable().at_once()).await.map(drop)
    }

    async fn react_to_comment(&self, at: &RepositoryRef, comment: CommentId) -> Result<(), GitHubError> {
        let path = format!("{}/issues/comments/{comment}/reactions", repo_path(at));
        let what = format!("reacting to a comment in {}", at.name);
        self.ask(at, &Call::post(what, path, json!({"content": "eyes"})).repeatable()).await.map(drop)
    }

    async fn comments(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<Vec<IssueComment>, GitHubError> {
        self.all_comments(at, number).await
    }

    async fn closing_pull_requests(
        &self,
        at: &RepositoryRef,
        name: &RepositoryName,
        number: IssueNumber,
    ) -> Result<Vec<ClosingPullRequest>, GitHubError> {
        self.closing(at, name, number).await
    }

    async fn our_comments(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<Vec<Comment>, GitHubError> {
        let slug = self.slug().await?;
        let what = format!("reading the comments of {}#{number}", at.name);
        let mut path = format!("{}/issues/{number}/comments?per_page={PAGE_ENTRIES}", repo_path(at));
        let mut ours = Vec::new();
        for _ in 0..PAGES_MAX {
            let call = Call::get(&what, path);
            let answer = self.ask(at, &call).await?;
            let page: Vec<RawComment> = read(&call, &answer)?;
            let by_us = page.into_iter().filter(|comment| comment.is_by(self.app.app_id(), slug));
            ours.extend(by_us.map(RawComment::meaning));
            match self.transport.next_page(&call, &answer)? {
                Some(next) => path = next,
                None => return Ok(ours),
            }
        }
        Err(GitHubError::Rejected { what, detail: format!("there are more than {PAGES_MAX} pages") })
    }

    async fn create_comment(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
        body: &str,
    ) -> Result<Comment, GitHubError> {
        let path = format!("{}/issues/{number}/comments", repo_path(at));
        let call = Call::post(format!("commenting on {}#{number}", at.name), path, json!({"body": body}));
        self.ask_for::<RawComment>(at, &call).await.map(RawComment::meaning)
    }

    async fn update_comment(
        &self,
        at: &RepositoryRef,
        comment: CommentId,
        body: &str,
    ) -> Result<(), GitHubError> {
        let path = format!("{}/issues/comments/{comment}", repo_path(at));
        let what = format!("editing comment {comment} in {}", at.name);
        self.ask(at, &Call::patch(what, path, json!({"body": body}))).await.map(drop)
    }

    async fn find_pull_request(
        &self,
        at: &RepositoryRef,
        branch: &str,
    ) -> Result<Option<PullRequest>, GitHubError> {
        // The filter wants the owner's name of today, and after a rename `at` has yesterday's.
        let owner = self.repository(at).await?.name.owner().to_owned();
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("state", "open")
            .append_pair("head", &format!("{owner}:{branch}"))
            .append_pair("per_page", &PAGE_ENTRIES.to_string())
            .finish();
        let what = format!("looking for a pull request from {branch:?} in {}", at.name);
        let call = Call::get(what, format!("{}/pulls?{query}", repo_path(at)));
        let page: Vec<RawPullRequest> = self.ask_for(at, &call).await?;
        let found = page.into_iter().find(|pull_request| pull_request.comes_from(at.id, branch));
        found.map(RawPullRequest::meaning).transpose().map_err(|error| nonsense(&call.what, error))
    }

    async fn create_draft_pull_request(
        &self,
        at: &RepositoryRef,
        new: &NewPullRequest,
    ) -> Result<PullRequest, GitHubError> {
        let body = json!({
            "title": new.title, "body": new.body, "head": new.head, "base": new.base, "draft": true,
        });
        let what = format!("opening a draft pull request from {:?} in {}", new.head, at.name);
        let call = Call::post(what, format!("{}/pulls", repo_path(at)), body);
        let raw: RawPullRequest = self.ask_for(at, &call).await?;
        raw.meaning().map_err(|error| nonsense(&call.what, error))
    }

    async fn update_pull_request(
        &self,
        at: &RepositoryRef,
        number: PullRequestNumber,
        title: &str,
        body: &str,
    ) -> Result<(), GitHubError> {
        let path = format!("{}/pulls/{number}", repo_path(at));
        let what = format!("editing pull request {}#{number}", at.name);
        self.ask(at, &Call::patch(what, path, json!({"title": title, "body": body}))).await.map(drop)
    }

    async fn commit_on_branch(
        &self,
        at: &RepositoryRef,
        new: &NewCommit,
    ) -> Result<CreatedCommit, GitHubError> {
        self.make_signed_commit(at, new).await
    }

    async fn publish_check(&self, at: &RepositoryRef, check: &CheckRun) -> Result<(), GitHubError> {
        self.make_check(at, check).await
    }

    async fn add_label(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
        label: &Label,
    ) -> Result<(), GitHubError> {
        self.put_label(at, number, label).await
    }

    async fn remove_label(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
        name: &str,
    ) -> Result<(), GitHubError> {
        self.take_label(at, number, name).await
    }

    async fn request_reviews(
        &self,
        at: &RepositoryRef,
        number: PullRequestNumber,
        reviewers: &Reviewers,
    ) -> Result<(), GitHubError> {
        self.ask_for_reviews(at, number, reviewers).await
    }

    async fn failed_checks(&self, at: &RepositoryRef, head: &Sha) -> Result<Vec<FailedCheck>, GitHubError> {
        self.failed_checks_of(at, head).await
    }

    async fn review_comments(
        &self,
        at: &RepositoryRef,
        number: PullRequestNumber,
    ) -> Result<Vec<ReviewComment>, GitHubError> {
        self.comments_at_lines(at, number).await
    }

    async fn reply_in_thread(
        &self,
        at: &RepositoryRef,
        number: PullRequestNumber,
        first: CommentId,
        body: &str,
    ) -> Result<(), GitHubError> {
        self.answer_thread(at, number, first, body).await
    }

    async fn git_access(&self, at: &RepositoryRef) -> Result<GitAccess, GitHubError> {
        let raw = self.raw_repository(at).await?;
        let what = format!("finding the git address of {}", at.name);
        let mut url = match raw.clone_url.clone() {
            Some(url) => url,
            None => {
                let name = raw.meaning().map_err(|error| nonsense(&what, error))?.name;
                let text = format!("{}/{name}.git", self.web_url.as_str().trim_end_matches('/'));
                Url::parse(&text).map_err(|error| nonsense(&what, error))?
            }
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(nonsense(&what, format!("{url} is no web address")));
        }
        // Both can only fail for addresses without a host, which http addresses have.
        let cleaned = url.set_username("").and_then(|()| url.set_password(None));
        cleaned.map_err(|()| nonsense(&what, "the address has no host"))?;
        let token = self.tokens.get(&self.transport, &self.app, at).await?;
        Ok(GitAccess { url, username: "x-access-token".to_owned(), token })
    }

    async fn app_identity(&self) -> Result<AppIdentity, GitHubError> {
        let identity = self.identity.get_or_try_init(|| async {
            let slug = self.slug().await?.to_owned();
            let login = format!("{slug}[bot]");
            let call = Call::get(format!("reading account {login}"), format!("/users/{}", encoded(&login)));
            // Accounts are public: any token may read them, and on github.com nobody needs one.
            let token = self.tokens.any(self.transport.now());
            let answer = self.transport.send(&call, token.as_ref()).await?;
            let user: RawUser = read(&call, &accepted(&call, answer, self.transport.now())?)?;
            Ok(AppIdentity { slug, bot_user_id: user.id })
        });
        identity.await.cloned()
    }
}

pub(super) fn repo_path(at: &RepositoryRef) -> String {
    format!("/repos/{}/{}", encoded(at.name.owner()), encoded(at.name.name()))
}

/// The id in `…/repositories/{id}/…`, which is where GitHub redirects to: for a renamed repository
/// the same id as ever, for a transferred issue the id of a repository that nobody asked about.
fn repository_in(address: &Url) -> Option<RepositoryId> {
    let mut segments = address.path_segments()?;
    segments.find(|segment| *segment == "repositories")?;
    segments.next()?.parse().ok().map(RepositoryId)
}

/// One segment of a path: everything but unreserved characters is percent-encoded (RFC 3986).
pub(super) fn encoded(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// A ref's name: its slashes stay.
fn encoded_ref(name: &str) -> String {
    name.split('/').map(encoded).collect::<Vec<_>>().join("/")
}
