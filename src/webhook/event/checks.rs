//! Check runs that failed on a branch of ours.

use serde::Deserialize;
use serde_json::Value;

use super::interpretation::{EventRead, Interpreted, NO_INSTALLATION, act, ignore, read_payload};
use super::payload::{RawInstallation, RawRepository, RawUser};
use crate::domain::{
    BRANCH_PREFIX, CheckFailure, DeliveryRequest, EventRequest, PullRequestNumber, QueuedRequest,
};

pub(super) fn read(action: Option<&str>, payload: Value, _label: &str) -> EventRead {
    match action {
        Some("completed") => read_payload(payload, CheckPayload::completed),
        Some(_) | None => Ok(ignore("only completed checks count")),
    }
}

#[derive(Deserialize)]
struct CheckPayload {
    check_run: RawCheck,
    repository: RawRepository,
    installation: Option<RawInstallation>,
    sender: RawUser,
}

#[derive(Deserialize)]
struct RawCheck {
    id: u64,
    name: String,
    head_sha: String,
    conclusion: Option<String>,
    #[serde(default)]
    pull_requests: Vec<RawCheckedPullRequest>,
}

#[derive(Deserialize)]
struct RawCheckedPullRequest {
    number: u64,
    head: RawHead,
}

#[derive(Deserialize)]
struct RawHead {
    #[serde(rename = "ref")]
    branch: String,
}

impl CheckPayload {
    /// Nobody asks for anything here: whether a failed check is worked on is decided by the repository's
    /// configuration.
    fn completed(self) -> Interpreted {
        let Self { check_run, repository, installation, sender } = self;
        if !matches!(check_run.conclusion.as_deref(), Some("failure" | "timed_out")) {
            return ignore("the check did not fail");
        }
        let is_ours = |pull: &&RawCheckedPullRequest| pull.head.branch.starts_with(BRANCH_PREFIX);
        let Some(pull) = check_run.pull_requests.iter().find(is_ours) else {
            return ignore("the check is of no pull request of ours");
        };
        let Some(installation) = installation else { return ignore(NO_INSTALLATION) };
        let failure = CheckFailure {
            pull_request: PullRequestNumber(pull.number),
            name: check_run.name,
            head: check_run.head_sha.parse()?,
        };
        let repository = repository.reached_by(&installation)?;
        let request = EventRequest::new(repository, sender.identity()?, check_run.id, &failure);
        act(DeliveryRequest::Queue(QueuedRequest::Event(request)))
    }
}
