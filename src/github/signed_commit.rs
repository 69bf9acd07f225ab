//! A commit that GitHub creates through its API and therefore signs. It is created on a branch of its
//! own, which is created first. A branch that exists is read and never overwritten.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api_client::{ApiClient, Sender};
use super::branches;
use super::error::GitHubError;
use super::paths::repository_path;
use super::request::ApiRequest;
use super::transport::GRAPHQL_PATH;
use super::types::{CreatedCommit, NewCommit};
use crate::domain::{RepositoryName, RepositoryRef, Sha};

const MUTATION: &str =
    "mutation($input: CreateCommitOnBranchInput!) { createCommitOnBranch(input: $input) { commit { oid } } }";

/// octocrab's model of a commit demands its whole diff; only these fields are read.
#[derive(Deserialize)]
struct RawCommit {
    sha: String,
    commit: RawCommitData,
    parents: Vec<RawSha>,
}

#[derive(Deserialize)]
struct RawCommitData {
    tree: RawSha,
}

#[derive(Deserialize)]
struct RawSha {
    sha: String,
}

#[derive(Deserialize)]
struct RawResponse {
    #[serde(default)]
    errors: Vec<octocrab::GraphqlError>,
}

/// Creates the commit, or returns the one that is on the branch already. `name` is the repository's
/// current name: GraphQL accepts no ids here.
pub(super) async fn create(
    client: &ApiClient,
    repository: &RepositoryRef,
    name: &RepositoryName,
    new: &NewCommit,
) -> Result<CreatedCommit, GitHubError> {
    let branch = &new.branch;
    match branches::head(client, repository, branch).await? {
        Some(head) if head == new.base => {}
        Some(head) => return read_commit(client, repository, &head).await,
        None => branches::create(client, repository, branch, &new.base).await?,
    }
    let what = format!("creating a commit on {branch:?} in {}", repository.name);
    let request = ApiRequest::post(what, GRAPHQL_PATH, mutation(&name.to_string(), new)).verbatim();
    let result = match client.get::<RawResponse>(Sender::Repository(repository), &request).await {
        result @ (Ok(_) | Err(GitHubError::Unavailable { .. })) => result,
        Err(error) => return Err(error),
    };
    // The commit may exist although no response arrived.
    let head = branches::head(client, repository, branch).await?;
    match (head.filter(|head| *head != new.base), result) {
        (Some(head), _) => read_commit(client, repository, &head).await,
        (None, Err(error)) => Err(error),
        (None, Ok(response)) => {
            let detail = response.errors.into_iter().next().map(|error| error.message);
            Err(request.rejected(detail.unwrap_or_else(|| "the branch has no new commit".to_owned())))
        }
    }
}

async fn read_commit(
    client: &ApiClient,
    repository: &RepositoryRef,
    sha: &Sha,
) -> Result<CreatedCommit, GitHubError> {
    let request = ApiRequest::get(
        format!("reading commit {} of {}", sha.short(), repository.name),
        format!("{}/commits/{sha}", repository_path(repository)),
    );
    let raw: RawCommit = client.get(Sender::Repository(repository), &request).await?;
    let parse = |text: &str| text.parse::<Sha>().map_err(|error| request.invalid_response(error));
    Ok(CreatedCommit {
        sha: parse(&raw.sha)?,
        tree: parse(&raw.commit.tree.sha)?,
        parents: raw.parents.iter().map(|parent| parse(&parent.sha)).collect::<Result<_, _>>()?,
    })
}

fn mutation(repository: &str, new: &NewCommit) -> Value {
    let (headline, body) = new.message.split_once('\n').unwrap_or((&new.message, ""));
    let addition =
        |(path, bytes): &(String, Vec<u8>)| json!({"path": path, "contents": STANDARD.encode(bytes)});
    json!({
        "query": MUTATION,
        "variables": {"input": {
            "branch": {"repositoryNameWithOwner": repository, "branchName": new.branch},
            "expectedHeadOid": new.base.as_str(),
            "message": {"headline": headline, "body": body.trim()},
            "fileChanges": {
                "additions": new.additions.iter().map(addition).collect::<Vec<_>>(),
                "deletions": new.deletions.iter().map(|path| json!({"path": path})).collect::<Vec<_>>(),
            },
        }},
    })
}
