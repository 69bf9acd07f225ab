//! Labels on issues, and issues that end: what starts and cancels work.

use serde::Deserialize;
use serde_json::Value;

use super::interpretation::{EventRead, Interpreted, NO_INSTALLATION, act, ignore, read_payload};
use super::payload::{RawInstallation, RawIssue, RawLabel, RawRepository, RawUser};
use crate::domain::{DeliveryRequest, IssueNumber, Login, RepositoryRef, Trigger, is_same_label};

pub(super) fn read(action: Option<&str>, payload: Value, label: &str) -> EventRead {
    match action {
        Some("labeled") => read_payload(payload, |issues: IssuesPayload| issues.labeled(label)),
        Some("unlabeled") => read_payload(payload, |issues: IssuesPayload| issues.unlabeled(label)),
        Some(ended @ ("closed" | "deleted")) => {
            read_payload(payload, |issues: IssuesPayload| issues.ended(ended))
        }
        Some("transferred") => {
            read_payload(payload, |issues: IssuesPayload| issues.ended("transferred to another repository"))
        }
        Some(_) | None => Ok(ignore("this action asks for nothing")),
    }
}

#[derive(Deserialize)]
struct IssuesPayload {
    issue: RawIssue,
    label: Option<RawLabel>,
    repository: RawRepository,
    installation: Option<RawInstallation>,
    sender: RawUser,
}

impl IssuesPayload {
    /// Our label on an issue starts work.
    fn labeled(self, label: &str) -> Interpreted {
        if let Some(why) = self.not_about(label) {
            return ignore(why);
        }
        self.on_issue(|repository, labeller, payload| {
            act(DeliveryRequest::Start(Trigger {
                repository,
                labelled_at: payload.issue.changed_at(),
                issue: payload.issue.snapshot()?,
                labeller,
                labeller_id: payload.sender.id,
                labeller_is_bot: payload.sender.is_bot(),
                found: false,
                commanded: false,
            }))
        })
    }

    /// Removing our label cancels the work.
    fn unlabeled(self, label: &str) -> Interpreted {
        if let Some(why) = self.not_about(label) {
            return ignore(why);
        }
        self.on_issue(|at, sender, payload| {
            payload.cancel(at, format!("@{sender} removed the label `{label}`"))
        })
    }

    /// The end of an issue cancels the work. `how` it ended is published.
    fn ended(self, how: &str) -> Interpreted {
        self.on_issue(|at, sender, payload| payload.cancel(at, format!("the issue was {how} by @{sender}")))
    }

    /// Why a label event is not about `label`, if it is not.
    fn not_about(&self, label: &str) -> Option<&'static str> {
        let is_ours = self.label.as_ref().is_some_and(|changed| is_same_label(&changed.name, label));
        (!is_ours).then_some("the event is about another label")
    }

    fn on_issue(self, request: impl FnOnce(RepositoryRef, Login, Self) -> Interpreted) -> Interpreted {
        if self.issue.pull_request.is_some() {
            return ignore("the event is about a pull request");
        }
        let Some(installation) = &self.installation else { return ignore(NO_INSTALLATION) };
        let at = self.repository.reached_by(installation)?;
        let sender: Login = self.sender.login.parse()?;
        request(at, sender, self)
    }

    fn cancel(&self, repository: RepositoryRef, why: String) -> Interpreted {
        let issue = IssueNumber(self.issue.number);
        // Whatever happened to the issue changed this time.
        act(DeliveryRequest::Cancel { repository, issue, why, at: self.issue.changed_at() })
    }
}
