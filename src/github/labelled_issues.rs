//! What reconciliation reads: an installation's repositories, which issues carry a label, and who put it
//! on. Every list is read to its last page, up to a bound.

use jiff::Timestamp;
use octocrab::models;
use serde::Deserialize;
use url::form_urlencoded;

use super::api_client::Sender;
use super::app_client::AppClient;
use super::error::GitHubError;
use super::pages::{PAGE_ENTRIES, Pages};
use super::paths::repository_path;
use super::request::invalid_response;
use super::types::{GHOST, LabelEvent, LabelledIssue, LabelledPage};
use super::wire::{self, RawIssue, RawUser};
use crate::domain::{InstallationId, IssueNumber, RepositoryId, RepositoryRef, is_same_label};

/// Pages of an installation's repositories, and of an issue's events.
const PAGES_MAX: usize = 20;

#[derive(Deserialize)]
struct RawLabelledIssue {
    updated_at: Timestamp,
    #[serde(flatten)]
    issue: RawIssue,
}

/// octocrab's model cannot read an event of a deleted account, and has no label.
#[derive(Deserialize)]
struct RawEvent {
    id: u64,
    event: String,
    actor: Option<RawUser>,
    created_at: Timestamp,
    label: Option<RawLabelName>,
}

#[derive(Deserialize)]
struct RawLabelName {
    name: String,
}

impl AppClient {
    /// The repositories that an installation covers, without archived ones; at most two thousand.
    pub async fn repositories(&self, installation: u64) -> Result<Vec<RepositoryRef>, GitHubError> {
        let installation = InstallationId(installation);
        let what = format!("reading the repositories of installation {installation}");
        let path = format!("/installation/repositories?per_page={PAGE_ENTRIES}");
        let mut pages = Pages::new(&what, path, PAGES_MAX);
        let mut all = Vec::new();
        let sender = Sender::Installation(installation);
        while let Some(page) = pages.next::<models::Repository>(&self.api, sender).await? {
            for raw in page.into_iter().filter(|raw| !raw.archived.unwrap_or_default()) {
                let id = RepositoryId(raw.id.0);
                let name =
                    wire::repository_name(raw.full_name).map_err(|error| invalid_response(&what, error))?;
                all.push(RepositoryRef { installation, id, name });
            }
        }
        Ok(all)
    }

    /// The open issues with a label: at least the `issues_max` that changed last, which includes every
    /// new label. They are sorted by their last change, oldest first. `tag` is the tag of the last
    /// answer; GitHub does not send an unchanged list again.
    pub async fn labelled_issues(
        &self,
        repository: &RepositoryRef,
        label: &str,
        issues_max: usize,
        tag: Option<&str>,
    ) -> Result<LabelledPage, GitHubError> {
        let what = format!("looking for issues with the label {label:?} in {}", repository.name);
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("labels", label)
            .append_pair("state", "open")
            .append_pair("sort", "updated")
            .append_pair("direction", "desc")
            .append_pair("per_page", &PAGE_ENTRIES.to_string())
            .finish();
        let path = format!("{}/issues?{query}", repository_path(repository));
        // Every change moves an issue to the first page, so the first page's tag covers the list.
        let mut pages = Pages::new(&what, path, usize::MAX).unless_tagged(tag);
        let mut issues = Vec::new();
        let sender = Sender::Installation(repository.installation);
        while let Some(page) = pages.next::<RawLabelledIssue>(&self.api, sender).await? {
            for raw in page {
                let issue = raw.issue.into_domain().map_err(|error| invalid_response(&what, error))?;
                if !issue.is_pull_request && issue.open {
                    issues.push(LabelledIssue { snapshot: issue.snapshot, updated_at: raw.updated_at });
                }
            }
            if issues.len() >= issues_max {
                break;
            }
        }
        if pages.is_unchanged {
            return Ok(LabelledPage::Unchanged);
        }
        issues.reverse();
        let tag = if pages.has_more() { None } else { pages.tag };
        Ok(LabelledPage::Issues { issues, tag })
    }

    /// The last time that a label was put on an issue; `None` if GitHub knows of none.
    pub async fn last_label_event(
        &self,
        repository: &RepositoryRef,
        number: IssueNumber,
        label: &str,
    ) -> Result<Option<LabelEvent>, GitHubError> {
        let what = format!("reading who labelled {}#{number}", repository.name);
        let path = format!("{}/issues/{number}/events?per_page={PAGE_ENTRIES}", repository_path(repository));
        let mut pages = Pages::new(&what, path, PAGES_MAX);
        let mut last = None;
        let sender = Sender::Installation(repository.installation);
        while let Some(page) = pages.next::<RawEvent>(&self.api, sender).await? {
            // Events and pages are sorted, oldest first.
            last = page.into_iter().rev().find(|event| event.adds_label(label)).or(last);
        }
        Ok(last.map(RawEvent::into_domain))
    }
}

impl RawEvent {
    fn adds_label(&self, label: &str) -> bool {
        self.event == "labeled" && self.label.as_ref().is_some_and(|added| is_same_label(&added.name, label))
    }

    fn into_domain(self) -> LabelEvent {
        let is_bot = self.actor.as_ref().is_some_and(RawUser::is_bot);
        let (login, id) = self.actor.map_or_else(|| (GHOST.to_owned(), 0), |actor| (actor.login, actor.id));
        LabelEvent {
            id: self.id,
            at: self.created_at,
            labeller: login,
            labeller_id: id,
            labeller_is_bot: is_bot,
        }
    }
}
