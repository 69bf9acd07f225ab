//! Whether a job may be worked on at all, asked of GitHub at this moment.

use crate::domain::Job;
use crate::github::{GitHubError, Repository};
use crate::store::Attempt;
use crate::webhook::{Authorisation, authorise};

use super::{JobError, Parts};

/// How many earlier generations are looked at for an open pull request.
const EARLIER_BRANCHES_MAX: usize = 10;

/// What admission found.
pub(super) enum Admission {
    /// Work may begin.
    Admitted(Repository),
    /// It may not; the words are for the issue.
    Refused(String),
}

/// Asks GitHub for the repository, the issue and the labeller's permission, all live.
pub(super) async fn admit(parts: &Parts, job: &Job) -> Result<Admission, JobError> {
    let trigger = &job.trigger;
    let at = &trigger.repository;
    let repository = parts.github.repository(at).await.map_err(github_error)?;
    if repository.archived {
        return Ok(Admission::Refused("the repository is archived".to_owned()));
    }
    let permission = parts.github.permission(at, &trigger.labeller).await.map_err(github_error)?;
    let allowed = &parts.rules.bots_allowed;
    match authorise(permission, &trigger.labeller, trigger.labeller_is_bot, allowed) {
        Authorisation::Allowed => {}
        Authorisation::Refused { reason } => return Ok(Admission::Refused(reason)),
    }
    let issue = parts.github.issue(at, trigger.issue.number).await.map_err(github_error)?;
    if issue.is_pull_request {
        return Ok(Admission::Refused("it is a pull request, not an issue".to_owned()));
    }
    if !issue.open {
        return Ok(Admission::Refused("the issue is closed".to_owned()));
    }
    if issue.locked {
        return Ok(Admission::Refused("the issue is locked".to_owned()));
    }
    if !trigger.commanded && !issue.snapshot.labels.iter().any(|label| label == &parts.rules.label) {
        return Ok(Admission::Refused(format!("the label `{}` was removed", parts.rules.label)));
    }
    match in_the_way(parts, job).await? {
        Some(why) => Ok(Admission::Refused(why)),
        None => Ok(Admission::Admitted(repository)),
    }
}

/// What of earlier work would keep this job from being published: better found before anything is
/// spent than after.
async fn in_the_way(parts: &Parts, job: &Job) -> Result<Option<String>, JobError> {
    let at = &job.trigger.repository;
    for branch in job.earlier_branches().take(EARLIER_BRANCHES_MAX) {
        let open = parts.github.find_pull_request(at, &branch).await.map_err(github_error)?;
        if let Some(pull_request) = open {
            return Ok(Some(format!(
                "the pull request #{} for this issue is still open; close it to have the issue tried anew",
                pull_request.number
            )));
        }
    }
    let branch = job.branch();
    let taken = parts.github.branch_head(at, &branch).await.map_err(github_error)?;
    Ok(taken.map(|head| {
        format!(
            "the branch `{branch}` is there already (at {}), and nothing is ever overwritten; delete or rename \
             it to have the issue tried anew",
            head.short()
        )
    }))
}

/// What a failure of GitHub means for a job.
pub(super) fn github_error(error: GitHubError) -> JobError {
    match error {
        GitHubError::Unavailable { retry_after, .. } => {
            JobError::Later { why: error.to_string(), after: retry_after, attempt: Attempt::DoesNotCount }
        }
        GitHubError::NotFound { .. }
        | GitHubError::Forbidden { .. }
        | GitHubError::Rejected { .. }
        | GitHubError::Withheld { .. } => JobError::Broke(error.to_string()),
    }
}
