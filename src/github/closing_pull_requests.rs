//! The open pull requests that close an issue when they are merged.

use serde::Deserialize;
use serde_json::json;

use super::api_client::{ApiClient, Sender};
use super::error::GitHubError;
use super::request::ApiRequest;
use super::transport::GRAPHQL_PATH;
use super::types::{ClosingPullRequest, GHOST};
use crate::domain::{IssueNumber, PullRequestNumber, RepositoryName, RepositoryRef};

/// GitHub's own answer to what closes an issue: a keyword in a pull request's text or in one of its
/// commits, or a link that somebody made by hand. Only GitHub knows the latter two.
/// Source: docs.github.com, "Linking a pull request to an issue"; GraphQL, `Issue`.
const QUERY: &str = "query($owner: String!, $name: String!, $number: Int!) { \
    repository(owner: $owner, name: $name) { issue(number: $number) { \
    closedByPullRequestsReferences(first: 50, includeClosedPrs: false) { nodes { \
    number state headRefName isCrossRepository author { login } repository { nameWithOwner } } } } } }";

#[derive(Deserialize)]
struct RawResponse {
    data: Option<RawData>,
    #[serde(default)]
    errors: Vec<octocrab::GraphqlError>,
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
    /// Null where the App may not see the pull request.
    nodes: Vec<Option<RawPullRequest>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPullRequest {
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

/// `name` is the repository's current name.
pub(super) async fn find(
    client: &ApiClient,
    repository: &RepositoryRef,
    name: &RepositoryName,
    number: IssueNumber,
) -> Result<Vec<ClosingPullRequest>, GitHubError> {
    let what = format!("looking for pull requests that close {}#{number}", repository.name);
    let variables = json!({"owner": name.owner(), "name": name.name(), "number": number.0});
    let body = json!({"query": QUERY, "variables": variables});
    let request = ApiRequest::post(what, GRAPHQL_PATH, body).repeatable();
    let response: RawResponse = client.get(Sender::Repository(repository), &request).await?;
    if let Some(error) = response.errors.into_iter().next() {
        return Err(request.rejected(error.message));
    }
    let issue = response.data.and_then(|data| data.repository).and_then(|repository| repository.issue);
    let references = issue.and_then(|issue| issue.closed_by_pull_requests_references);
    let nodes = references.map(|references| references.nodes).unwrap_or_default();
    let open = nodes.into_iter().flatten().filter(|raw| raw.state == "OPEN");
    open.map(|raw| raw.into_domain(&request)).collect()
}

impl RawPullRequest {
    fn into_domain(self, request: &ApiRequest) -> Result<ClosingPullRequest, GitHubError> {
        let repository = self.repository.name_with_owner.parse();
        Ok(ClosingPullRequest {
            repository: repository.map_err(|error| request.invalid_response(error))?,
            number: PullRequestNumber(self.number),
            head: self.head_ref_name,
            from_fork: self.is_cross_repository,
            author: self.author.map_or_else(|| GHOST.to_owned(), |author| author.login),
        })
    }
}
