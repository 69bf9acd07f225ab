//! Whether a job may be worked on at all, asked of GitHub at this moment.

use tracing::warn;

use crate::domain::{Job, PullRequestNumber, Transcript, authorize};
use crate::github::{ClosingPullRequest, GitHubError, Repository};
use crate::publish::{command_refused, label_refused};
use crate::store::Attempt;

use super::{JobError, WorkerContext};

/// How many earlier generations are looked at for an open pull request.
const EARLIER_BRANCHES_MAX: usize = 10;

/// What admission found.
pub(super) enum Admission {
    /// Work may begin.
    Admitted(Repository),
    /// It may not; the words are for the issue.
    Refused(String),
    /// It may not, and nothing is said there; the words are for the log.
    Ignored(String),
}

/// Asks GitHub for the repository, the issue and the labeller's permission, all live.
pub(super) async fn admit(
    parts: &WorkerContext,
    job: &Job,
    transcript: Transcript<'_>,
) -> Result<Admission, JobError> {
    let trigger = &job.trigger;
    let at = &trigger.repository;
    let repository = parts.github.repository(at).await.map_err(github_error)?;
    if !parts.policy.repository_filter.allows(&repository.name) {
        return Ok(Admission::Ignored(format!("{} may not use this service", repository.name)));
    }
    if repository.archived {
        return Ok(Admission::Refused("the repository is archived".to_owned()));
    }
    if let Err(why) = permitted(parts, job, transcript).await? {
        return Ok(Admission::Refused(why));
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
    if !trigger.commanded
        && transcript.round_number() == 1
        && !issue.snapshot.labels.iter().any(|label| label == &parts.policy.label)
    {
        return Ok(Admission::Refused(format!("the label `{}` was removed", parts.policy.label)));
    }
    let in_the_way = match transcript.opened_pull_request() {
        Some(number) => is_closed(parts, job, number).await?,
        None => match in_the_way(parts, job).await? {
            Some(why) => Some(why),
            None => fixed_elsewhere(parts, job, &repository).await?,
        },
    };
    match in_the_way {
        Some(why) => Ok(Admission::Refused(why)),
        None => Ok(Admission::Admitted(repository)),
    }
}

/// Whether the person whose word the job rests on may ask for work at this moment: whoever let a held
/// change go, asked for the round, or put the label on. Asked before the work, and again before anything
/// of it is published. The inner `Err` is why not, for the issue.
pub(super) async fn permitted(
    parts: &WorkerContext,
    job: &Job,
    transcript: Transcript<'_>,
) -> Result<Result<(), String>, JobError> {
    let trigger = &job.trigger;
    let allowed = &parts.policy.bots_allowed;
    let word = transcript.requested_by();
    let (person, is_bot) = word.unwrap_or((&trigger.labeller, trigger.labeller_is_bot));
    let permission = parts.github.permission(&trigger.repository, person).await.map_err(github_error)?;
    Ok(authorize(permission, person, is_bot, allowed).map_err(|refusal| match word {
        Some(_) => command_refused(person, refusal),
        None => label_refused(person, refusal),
    }))
}

/// What of earlier work would keep this job from being published: better found before anything is
/// spent than after.
async fn in_the_way(parts: &WorkerContext, job: &Job) -> Result<Option<String>, JobError> {
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

/// Why there can be no further round of a pull request.
async fn is_closed(
    parts: &WorkerContext,
    job: &Job,
    number: PullRequestNumber,
) -> Result<Option<String>, JobError> {
    let at = &job.trigger.repository;
    let open = parts.github.find_pull_request(at, &job.branch()).await.map_err(github_error)?;
    let is_open = open.is_some_and(|pull_request| pull_request.number == number);
    Ok((!is_open).then(|| format!("the pull request #{number} is closed")))
}

/// The open pull request that closes the issue already, in GitHub's own knowledge: a keyword in its text
/// or in a commit, or a link that somebody made by hand. A draft counts: somebody is at it. The job's own
/// does not.
async fn fixed_elsewhere(
    parts: &WorkerContext,
    job: &Job,
    repository: &Repository,
) -> Result<Option<String>, JobError> {
    let (at, number) = (&job.trigger.repository, job.trigger.issue.number);
    let found = match parts.github.closing_pull_requests(at, &repository.name, number).await {
        Ok(found) => found,
        // Older servers do not know the question; what they know is in nobody's way.
        Err(error @ (GitHubError::Rejected { .. } | GitHubError::NotFound { .. })) => {
            warn!(%error, "it is not known whether a pull request fixes the issue");
            return Ok(None);
        }
        Err(error) => return Err(github_error(error)),
    };
    let own = job.branch();
    let is_own = |closing: &ClosingPullRequest| {
        closing.repository == repository.name && !closing.from_fork && closing.head == own
    };
    let other = found.into_iter().filter(|closing| !is_own(closing)).min_by_key(|closing| closing.number);
    Ok(other.map(|closing| {
        let place = match closing.repository == repository.name {
            true => format!("#{}", closing.number),
            false => format!("{}#{}", closing.repository, closing.number),
        };
        format!(
            "the open pull request {place} by `{}` fixes this issue already; once it is closed, or no longer \
             linked to the issue, the issue can be tried",
            closing.author
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
        | GitHubError::ContainsSecret { .. } => JobError::Broke(error.to_string()),
    }
}
