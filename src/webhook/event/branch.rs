//! Branches of ours that go away: a pull request that is closed, a branch that is deleted.

use serde::Deserialize;

use super::{Meaning, RawInstallation, RawRepository, RawUser};
use crate::domain::{BRANCH_PREFIX, InvalidIdentity, Login};
use crate::store::DeliveryRequest;

#[derive(Deserialize)]
pub(super) struct PullRequestPayload {
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
    /// Null where the fork is gone.
    repo: Option<RawHeadRepository>,
}

#[derive(Deserialize)]
struct RawHeadRepository {
    id: u64,
}

#[derive(Deserialize)]
pub(super) struct DeletePayload {
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
    place: RawRepository,
    /// When anything was last pushed to it: the deletion itself.
    pushed_at: Option<serde_json::Value>,
}

impl PullRequestPayload {
    /// What its end asks for.
    pub(super) fn meaning(self) -> Result<Meaning, InvalidIdentity> {
        let Self { pull_request, repository, installation, sender } = self;
        if pull_request.head.repo.is_none_or(|head| head.id != repository.id) {
            return nothing("its branch is in another repository");
        }
        let by: Login = sender.login.parse()?;
        let how = if pull_request.merged == Some(true) { "merged" } else { "closed" };
        let why = format!("the pull request #{} was {how} by @{by}", pull_request.number);
        let at = pull_request.closed_at.as_ref().and_then(|text| text.parse().ok());
        gone(repository, installation, pull_request.head.branch, why, at)
    }
}

impl DeletePayload {
    /// What it asks for.
    pub(super) fn meaning(self) -> Result<Meaning, InvalidIdentity> {
        let Self { name, ref_type, repository, installation, sender } = self;
        if ref_type != "branch" {
            return nothing("it is about a tag");
        }
        let by: Login = sender.login.parse()?;
        let why = format!("the branch `{name}` was deleted by @{by}");
        let at = repository.pushed_at.as_ref().and_then(|value| value.as_str()?.parse().ok());
        gone(repository.place, installation, name, why, at)
    }
}

fn gone(
    repository: RawRepository,
    installation: Option<RawInstallation>,
    branch: String,
    why: String,
    at: Option<jiff::Timestamp>,
) -> Result<Meaning, InvalidIdentity> {
    if !branch.starts_with(BRANCH_PREFIX) {
        return nothing("it is about a branch that is not ours");
    }
    let Some(installation) = installation else {
        return nothing("it does not come through an installation of the App");
    };
    let repository = repository.reached_by(&installation)?;
    Ok(Meaning::Request(DeliveryRequest::CancelBranch { repository, branch, why, at }))
}

fn nothing(why: &str) -> Result<Meaning, InvalidIdentity> {
    Ok(Meaning::Nothing { why: why.to_owned() })
}
