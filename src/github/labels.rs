//! Labels of issues.

use serde_json::json;

use super::api_client::{ApiClient, Sender};
use super::error::GitHubError;
use super::paths::{encode_segment, repository_path};
use super::request::ApiRequest;
use super::types::Label;
use crate::domain::{IssueNumber, RepositoryRef};

/// Puts a label on an issue. Creates the label if the repository has none of that name.
pub(super) async fn add(
    client: &ApiClient,
    repository: &RepositoryRef,
    number: IssueNumber,
    label: &Label,
) -> Result<(), GitHubError> {
    create_if_missing(client, repository, label).await?;
    let path = format!("{}/issues/{number}/labels", repository_path(repository));
    let what = format!("labelling {}#{number}", repository.name);
    // Adding a label twice has the same effect as adding it once.
    let request = ApiRequest::post(what, path, json!({"labels": [label.name]})).repeatable();
    client.send(Sender::Repository(repository), &request).await.map(drop)
}

/// Removes a label from an issue, if it is there.
pub(super) async fn remove(
    client: &ApiClient,
    repository: &RepositoryRef,
    number: IssueNumber,
    name: &str,
) -> Result<(), GitHubError> {
    let path = format!("{}/issues/{number}/labels/{}", repository_path(repository), encode_segment(name));
    let what = format!("removing the label {name:?} from {}#{number}", repository.name);
    match client.send(Sender::Repository(repository), &ApiRequest::delete(what, path)).await {
        Ok(_) | Err(GitHubError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// GitHub would create a missing label by itself, without colour and description.
async fn create_if_missing(
    client: &ApiClient,
    repository: &RepositoryRef,
    label: &Label,
) -> Result<(), GitHubError> {
    let sender = Sender::Repository(repository);
    let labels = format!("{}/labels", repository_path(repository));
    let what = format!("looking for the label {:?}", label.name);
    let path = format!("{labels}/{}", encode_segment(&label.name));
    match client.send(sender, &ApiRequest::get(what, path)).await {
        Ok(_) => return Ok(()),
        Err(GitHubError::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    let body = json!({"name": label.name, "color": label.color, "description": label.description});
    let what = format!("creating the label {:?} in {}", label.name, repository.name);
    match client.send(sender, &ApiRequest::post(what, labels, body)).await {
        // Rejected: another client created it first.
        Ok(_) | Err(GitHubError::Rejected { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
