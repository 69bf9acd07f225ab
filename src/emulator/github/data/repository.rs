//! Repositories and their labels.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::check_run::CheckRun;
use super::issue::Issue;
use super::pull_request::PullRequest;
use crate::git::BareRepository;

pub(crate) struct Repository {
    pub(crate) id: u64,
    pub(crate) owner: String,
    pub(crate) name: String,
    /// The `owner/name`s that it had before it was renamed.
    pub(crate) former_names: Vec<String>,
    pub(crate) private: bool,
    pub(crate) archived: bool,
    /// Whether the App's installation covers it.
    pub(crate) covered: bool,
    /// Accounts that may not read it, in lower case.
    pub(crate) hidden_from: Vec<String>,
    pub(crate) default_branch: String,
    pub(crate) created_at: Timestamp,
    pub(crate) pushed_at: Timestamp,
    pub(crate) labels: Vec<Label>,
    /// Issues and pull requests, by number.
    pub(crate) issues: BTreeMap<u64, Issue>,
    /// Numbers of issues that were deleted (`None`) or transferred to an address.
    pub(crate) removed_issues: BTreeMap<u64, Option<String>>,
    pub(crate) check_runs: Vec<CheckRun>,
    pub(crate) git: BareRepository,
}

#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) color: String,
    pub(crate) description: Option<String>,
}

impl Repository {
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Gives it another name; requests with the old one are redirected.
    pub(crate) fn rename(&mut self, owner: &str, name: &str) {
        self.former_names.push(self.full_name());
        self.owner = owner.to_owned();
        self.name = name.to_owned();
    }

    /// The number of the next issue or pull request: they share one sequence, and numbers of removed
    /// issues are not used again.
    pub(crate) fn next_number(&self) -> u64 {
        self.issues.keys().chain(self.removed_issues.keys()).max().map_or(1, |last| last + 1)
    }

    /// A label by its name; names are compared without regard to case.
    pub(crate) fn label(&self, name: &str) -> Option<&Label> {
        self.labels.iter().find(|label| label.name.eq_ignore_ascii_case(name))
    }

    /// Pull requests with the issue part of each.
    pub(crate) fn pull_requests(&self) -> impl Iterator<Item = (&Issue, &PullRequest)> {
        self.issues.values().filter_map(|issue| Some((issue, issue.pull.as_ref()?)))
    }

    /// A pull request with its issue part.
    pub(crate) fn pull_request(&self, number: u64) -> Option<(&Issue, &PullRequest)> {
        let issue = self.issues.get(&number)?;
        Some((issue, issue.pull.as_ref()?))
    }

    /// A pull request, to be changed.
    pub(crate) fn pull_request_mut(&mut self, number: u64) -> Option<&mut PullRequest> {
        self.issues.get_mut(&number)?.pull.as_mut()
    }

    /// The number of the issue (or pull request) that has a comment, and the comment's index in it.
    pub(crate) fn comment_position(&self, id: u64) -> Option<(u64, usize)> {
        self.issues.values().find_map(|issue| {
            let index = issue.comments.iter().position(|comment| comment.id == id)?;
            Some((issue.number, index))
        })
    }
}
