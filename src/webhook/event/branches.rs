//! Branches of ours that end: a pull request is closed, or a branch is deleted.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::interpretation::{EventRead, Interpreted, NO_INSTALLATION, act, ignore, read_payload};
use super::payload::{RawInstallation, RawRepository, RawUser, time};
use crate::domain::{BRANCH_PREFIX, DeliveryRequest, Login};

pub(super) fn read_pull_request(action: Option<&str>, payload: Value, _label: &str) -> EventRead {
    match action {
        Some("closed") => read_payload(payload, PullRequestPayload::closed),
        Some(_) | None => Ok(ignore("of pull requests only their end counts")),
    }
}

/// These payloads have no action.
pub(super) fn read_delete(_action: Option<&str>, payload: Value, _label: &str) -> EventRead {
    read_payload(payload, DeletePayload::deleted)
}

#[derive(Deserialize)]
struct PullRequestPayload {
    pull_request: RawPullRequest,
    repository: RawRepository,
    installation: Option<RawInstallation>,
    sender: RawUser,
}

#[derive(Deserialize)]
struct RawPullRequest {
    number: u64,
    #[serde(default)]
    merged: Option<bool>,
    head: RawHead,
    closed_at: Option<String>,
}

#[derive(Deserialize)]
struct RawHead {
    #[serde(rename = "ref")]
    branch: String,
    /// Null if the fork was deleted.
    repo: Option<RawHeadRepository>,
}

#[derive(Deserialize)]
struct RawHeadRepository {
    id: u64,
}

#[derive(Deserialize)]
struct DeletePayload {
    #[serde(rename = "ref")]
    name: String,
    ref_type: String,
    repository: RawPushedRepository,
    installation: Option<RawInstallation>,
    sender: RawUser,
}

#[derive(Deserialize)]
struct RawPushedRepository {
    #[serde(flatten)]
    repository: RawRepository,
    /// When the repository was last pushed to: the deletion itself.
    pushed_at: Option<Value>,
}

impl PullRequestPayload {
    /// A pull request of ours that is closed or merged cancels the work on its branch.
    fn closed(self) -> Interpreted {
        let Self { pull_request, repository, installation, sender } = self;
        if pull_request.head.repo.is_none_or(|head| head.id != repository.id) {
            return ignore("the pull request's branch is in another repository");
        }
        let by: Login = sender.login.parse()?;
        let how = if pull_request.merged == Some(true) { "merged" } else { "closed" };
        let why = format!("the pull request #{} was {how} by @{by}", pull_request.number);
        let at = time(pull_request.closed_at.as_deref());
        cancel(&repository, installation, pull_request.head.branch, why, at)
    }
}

impl DeletePayload {
    /// Deleting a branch of ours cancels the work on it.
    fn deleted(self) -> Interpreted {
        let Self { name, ref_type, repository, installation, sender } = self;
        if ref_type != "branch" {
            return ignore("the event is about a tag");
        }
        let by: Login = sender.login.parse()?;
        let why = format!("the branch `{name}` was deleted by @{by}");
        let at = time(repository.pushed_at.as_ref().and_then(|value| value.as_str()));
        cancel(&repository.repository, installation, name, why, at)
    }
}

fn cancel(
    repository: &RawRepository,
    installation: Option<RawInstallation>,
    branch: String,
    why: String,
    at: Option<Timestamp>,
) -> Interpreted {
    if !branch.starts_with(BRANCH_PREFIX) {
        return ignore("the event is about a branch that is not ours");
    }
    let Some(installation) = installation else { return ignore(NO_INSTALLATION) };
    let repository = repository.reached_by(&installation)?;
    act(DeliveryRequest::CancelBranch { repository, branch, why, at })
}
