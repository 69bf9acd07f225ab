//! Branches.

use octocrab::models::repos::Ref;
use serde_json::json;

use super::api_client::{ApiClient, Sender};
use super::error::GitHubError;
use super::paths::{encode_ref, repository_path};
use super::request::ApiRequest;
use super::wire;
use crate::domain::{RepositoryRef, Sha};

/// The commit that a branch points to; `None` if the branch does not exist.
pub(super) async fn head(
    client: &ApiClient,
    repository: &RepositoryRef,
    branch: &str,
) -> Result<Option<Sha>, GitHubError> {
    // Not `/branches/…`, which follows a renamed branch to its new name.
    let path = format!("{}/git/ref/heads/{}", repository_path(repository), encode_ref(branch));
    let request = ApiRequest::get(format!("reading branch {branch:?} of {}", repository.name), path);
    match client.get::<Ref>(Sender::Repository(repository), &request).await {
        Ok(raw) => wire::branch_head(&raw).map(Some).map_err(|error| request.invalid_response(error)),
        Err(GitHubError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a branch at a commit.
pub(super) async fn create(
    client: &ApiClient,
    repository: &RepositoryRef,
    branch: &str,
    commit: &Sha,
) -> Result<(), GitHubError> {
    let body = json!({"ref": format!("refs/heads/{branch}"), "sha": commit.as_str()});
    let what = format!("creating the branch {branch:?} in {}", repository.name);
    let request = ApiRequest::post(what, format!("{}/git/refs", repository_path(repository)), body);
    client.send(Sender::Repository(repository), &request).await.map(drop)
}
