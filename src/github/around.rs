//! What is around an issue: what people wrote below it, and the pull requests that will close it.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::app_client::PAGE_ENTRIES;
use super::client::{OctocrabGitHub, PAGES_MAX, repo_path};
use super::refusal::read;
use super::transport::Call;
use super::wire::{RawUser, nonsense};
use super::{GHOST, GitHubError};
use crate::domain::{CommentId, IssueNumber, Login, PullRequestNumber, RepositoryName, RepositoryRef};

/// GitHub's own answer to the question what closes an issue: by a keyword in a pull request's text or in
/// one of its commits, or because somebody linked the two by hand. Nothing else knows of the latter two.
/// Source: docs.github.com, "Linking a pull request to an issue"; GraphQL, `Issue`.
const QUERY: &str = "query($owner: String!, $name: String!, $number: Int!) { \
    repository(owner: $owner, name: $name) { issue(number: $number) { \
    closedByPullRequestsReferences(first: 50, includeClosedPrs: false) { nodes { \
    number state headRefName isCrossRepository author { login } repository { nameWithOwner } } } } } }";

/// A comment that anybody may have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueComment {
    /// Its id.
    pub id: CommentId,
    /// Who wrote it.
    pub author: Login,
    /// Whether that is a bot.
    pub author_is_bot: bool,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its Markdown.
    pub body: String,
}

/// An open pull request that closes an issue when it is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosingPullRequest {
    /// Its repository.
    pub repository: RepositoryName,
    /// Its number.
    pub number: PullRequestNumber,
    /// The branch with the changes.
    pub head: String,
    /// Whether that branch is in another repository than the pull request.
    pub from_fork: bool,
    /// Who opened it.
    pub author: String,
}

#[derive(Deserialize)]
struct RawComment {
    id: u64,
    body: Option<String>,
    user: Option<RawUser>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Deserialize)]
struct RawAnswer {
    data: Option<RawData>,
    #[serde(default)]
    errors: Vec<RawError>,
}

#[derive(Deserialize)]
struct RawError {
    message: String,
}

#[derive(Deserialize)]
struct RawData {
    repository: Option<RawRepository>,
}

#[derive(Deserialize)]
struct RawRepository {
    issue: Option<RawIssue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawIssue {
    closed_by_pull_requests_references: Option<RawNodes>,
}

#[derive(Deserialize)]
struct RawNodes {
    /// Null where we may not see it.
    nodes: Vec<Option<RawClosing>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawClosing {
    number: u64,
    state: String,
    head_ref_name: String,
    is_cross_repository: bool,
    author: Option<RawAuthor>,
    repository: RawName,
}

#[derive(Deserialize)]
struct RawAuthor {
    login: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawName {
    name_with_owner: String,
}

impl OctocrabGitHub {
    pub(super) async fn all_comments(
        &self,
        at: &RepositoryRef,
        number: IssueNumber,
    ) -> Result<Vec<IssueComment>, GitHubError> {
        let what = format!("reading what was written below {}#{number}", at.name);
        let mut path = format!("{}/issues/{number}/comments?per_page={PAGE_ENTRIES}", repo_path(at));
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            let call = Call::get(&what, path);
            let answer = self.ask(at, &call).await?;
            let page: Vec<RawComment> = read(&call, &answer)?;
            // Whose account has a name that none can have wrote nothing that is read.
            all.extend(page.into_iter().filter_map(RawComment::meaning));
            match self.next_page(&call, &answer)? {
                Some(next) => path = next,
                None => return Ok(all),
            }
        }
        Err(GitHubError::Rejected { what, detail: format!("there are more than {PAGES_MAX} pages") })
    }

    pub(super) async fn closing(
        &self,
        at: &RepositoryRef,
        name: &RepositoryName,
        number: IssueNumber,
    ) -> Result<Vec<ClosingPullRequest>, GitHubError> {
        let what = format!("looking for pull requests that close {}#{number}", at.name);
        let variables = json!({"owner": name.owner(), "name": name.name(), "number": number.0});
        let body = json!({"query": QUERY, "variables": variables});
        let call = Call::post(what.clone(), "/graphql", body).repeatable();
        let answer: RawAnswer = self.ask_for(at, &call).await?;
        if let Some(error) = answer.errors.into_iter().next() {
            return Err(GitHubError::Rejected { what, detail: error.message });
        }
        let issue = answer.data.and_then(|data| data.repository).and_then(|repository| repository.issue);
        let references = issue.and_then(|issue| issue.closed_by_pull_requests_references);
        let nodes = references.map(|references| references.nodes).unwrap_or_default();
        let open = nodes.into_iter().flatten().filter(|closing| closing.state == "OPEN");
        open.map(|closing| closing.meaning(&what)).collect()
    }
}

impl RawComment {
    fn meaning(self) -> Option<IssueComment> {
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

impl RawClosing {
    fn meaning(self, what: &str) -> Result<ClosingPullRequest, GitHubError> {
        let repository = self.repository.name_with_owner.parse();
        Ok(ClosingPullRequest {
            repository: repository.map_err(|error| nonsense(what, error))?,
            number: PullRequestNumber(self.number),
            head: self.head_ref_name,
            from_fork: self.is_cross_repository,
            author: self.author.map_or_else(|| GHOST.to_owned(), |author| author.login),
        })
    }
}
