//! Reviews, their comments, and failed checks: what asks for a round of changes.

use serde::Deserialize;

use super::{Meaning, RawComment, RawInstallation, RawIssue, RawRepository, RawUser};
use crate::domain::{
    BRANCH_PREFIX, CommandRequest, CommentId, InvalidIdentity, IssueNumber, IssueSnapshot, Login,
    RequestSource, SlashCommand,
};
use crate::store::DeliveryRequest;

/// Of a review, or of a comment at a line.
#[derive(Deserialize)]
pub(super) struct ReviewPayload {
    pull_request: RawIssue,
    #[serde(alias = "review")]
    comment: RawComment,
    repository: RawRepository,
    installation: Option<RawInstallation>,
}

#[derive(Deserialize)]
pub(super) struct CheckPayload {
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
    pull_requests: Vec<RawPullOfCheck>,
}

#[derive(Deserialize)]
struct RawPullOfCheck {
    number: u64,
    head: RawHead,
}

#[derive(Deserialize)]
struct RawHead {
    #[serde(rename = "ref")]
    branch: String,
}

impl ReviewPayload {
    /// A review that requests changes asks for some; any other, and a comment at a line, where it speaks
    /// to the bot that opened the pull request.
    pub(super) fn meaning(self, said_in: RequestSource) -> Result<Meaning, InvalidIdentity> {
        let nothing = |why: &str| Ok(Meaning::Nothing { why: why.to_owned() });
        let body = self.comment.body.clone().unwrap_or_default();
        let requests_changes = self
            .comment
            .state
            .as_deref()
            .is_some_and(|state| state.eq_ignore_ascii_case("changes_requested"));
        if !self.pull_request.is_by_bot() {
            return nothing("the pull request was not opened by a bot");
        }
        if !requests_changes && !self.pull_request.is_told(&body) {
            return nothing("it asks nothing of the bot that opened the pull request");
        }
        let place = (self.repository, self.installation, true);
        self.comment.asks(place, self.pull_request, said_in, SlashCommand::Revise)
    }
}

impl CheckPayload {
    /// A failed check of a branch of ours. Nobody asks here: whether it counts is the repository's word.
    pub(super) fn meaning(self) -> Result<Meaning, InvalidIdentity> {
        let nothing = |why: &str| Ok(Meaning::Nothing { why: why.to_owned() });
        if !matches!(self.check_run.conclusion.as_deref(), Some("failure" | "timed_out")) {
            return nothing("the check did not fail");
        }
        let ours = |pull: &&RawPullOfCheck| pull.head.branch.starts_with(BRANCH_PREFIX);
        let Some(pull) = self.check_run.pull_requests.iter().find(ours) else {
            return nothing("it is of no pull request of ours");
        };
        let Some(installation) = self.installation else {
            return nothing("it does not come through an installation of the App");
        };
        let by: Login = self.sender.login.parse()?;
        Ok(Meaning::Request(DeliveryRequest::CommandRequest(CommandRequest {
            repository: self.repository.reached_by(&installation)?,
            number: IssueNumber(pull.number),
            is_pull_request: true,
            issue: IssueSnapshot {
                number: IssueNumber(pull.number),
                title: self.check_run.name,
                body: String::new(),
                author: by.clone(),
                labels: Vec::new(),
            },
            by,
            by_id: self.sender.id,
            by_is_bot: true,
            said_in: RequestSource::CheckRun,
            comment: CommentId(self.check_run.id),
            body: self.check_run.head_sha,
            command: SlashCommand::Revise,
            at: None,
        })))
    }
}
