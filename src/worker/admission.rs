//! Whether a job may be worked on at all, by what GitHub says at this moment.

use std::collections::BTreeMap;

use tracing::warn;

use super::context::WorkerContext;
use super::stop::Stop;
use crate::domain::{BRANCH_PREFIX, Job, Login, PullRequestNumber, RecordedEvent, Transcript, authorize};
use crate::github::{ClosingPullRequest, GitHubError, Repository};
use crate::publish::{command_refused, label_refused};

/// How many authors of pull requests are looked up: anybody can open some.
const AUTHORS_MAX: usize = 10;
/// How many earlier generations are checked for an open pull request.
const EARLIER_BRANCHES_MAX: usize = 10;

/// Admits the job, or stops it. Repository, issue and permissions are read from GitHub now.
pub(super) async fn admit(
    context: &WorkerContext,
    job: &Job,
    transcript: &[RecordedEvent],
) -> Result<Repository, Stop> {
    let trigger = &job.trigger;
    let at = &trigger.repository;
    let repository = context.github.repository(at).await?;
    if !context.policy.rules.repository_filter.allows(&repository.name) {
        return Err(Stop::Ignore(format!("{} may not use this service", repository.name)));
    }
    if repository.archived {
        return refuse("the repository is archived");
    }
    check_permission(context, job, transcript).await?;
    let issue = context.github.issue(at, trigger.issue.number).await?;
    if issue.is_pull_request {
        return refuse("it is a pull request, not an issue");
    }
    if !issue.open {
        return refuse("the issue is closed");
    }
    if issue.locked {
        return refuse("the issue is locked");
    }
    let label = &context.policy.rules.label;
    if !trigger.commanded
        && Transcript::new(transcript).round_number() == 1
        && !issue.snapshot.has_label(label)
    {
        return refuse(format!("the label `{label}` was removed"));
    }
    match Transcript::new(transcript).opened_pull_request() {
        Some(number) => check_is_open(context, job, number).await?,
        None => {
            check_earlier_work(context, job, transcript).await?;
            check_other_pull_requests(context, job, &repository).await?;
        }
    }
    Ok(repository)
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Refuse(why.into()))
}

/// Stops the job unless the person who asked for its current round may ask for work now: whoever approved
/// the change, requested the revision, or added the label. Checked before the work, and again before
/// anything is published.
pub(super) async fn check_permission(
    context: &WorkerContext,
    job: &Job,
    transcript: &[RecordedEvent],
) -> Result<(), Stop> {
    let trigger = &job.trigger;
    let allowed = &context.policy.rules.bots_allowed;
    let request = Transcript::new(transcript).requested_by();
    let (person, is_bot) = request.unwrap_or((&trigger.labeller, trigger.labeller_is_bot));
    let permission = context.github.permission(&trigger.repository, person).await?;
    match (authorize(permission, person, is_bot, allowed), request) {
        (Ok(()), _) => Ok(()),
        (Err(refusal), Some(_)) => refuse(command_refused(person, refusal)),
        (Err(refusal), None) => refuse(label_refused(person, refusal)),
    }
}

/// Stops a job whose result could not be published because of earlier work on the issue: better before
/// anything is spent than after.
async fn check_earlier_work(
    context: &WorkerContext,
    job: &Job,
    transcript: &[RecordedEvent],
) -> Result<(), Stop> {
    let at = &job.trigger.repository;
    for branch in job.earlier_branches().take(EARLIER_BRANCHES_MAX) {
        if let Some(open) = context.github.find_pull_request(at, &branch).await? {
            return refuse(format!(
                "the pull request #{} for this issue is still open; close it to start over",
                open.number
            ));
        }
    }
    let branch = job.branch();
    // git stores branches as paths: a branch `a` leaves no room for a branch `a/b`.
    let blocking = BRANCH_PREFIX.trim_end_matches('/');
    if context.github.branch_head(at, blocking).await?.is_some() {
        return refuse(format!(
            "the branch `{blocking}` exists, so git can have no branch `{branch}`; delete or rename it to start over"
        ));
    }
    match context.github.branch_head(at, &branch).await? {
        None => Ok(()),
        // An earlier round of this job created it, and the work goes on there.
        Some(_) if Transcript::new(transcript).published_branch_head().is_some() => Ok(()),
        Some(head) => refuse(format!(
            "the branch `{branch}` exists already (at {}), and no branch is ever overwritten; delete or rename it \
             to start over",
            head.short()
        )),
    }
}

/// Stops a further round of a pull request that is closed.
async fn check_is_open(context: &WorkerContext, job: &Job, number: PullRequestNumber) -> Result<(), Stop> {
    let open = context.github.find_pull_request(&job.trigger.repository, &job.branch()).await?;
    match open.is_some_and(|open| open.number == number) {
        true => Ok(()),
        false => refuse(format!("the pull request #{number} is closed")),
    }
}

/// Stops the job if an open pull request already closes the issue, by what GitHub knows: a keyword in its
/// text or in a commit, or a link that somebody made by hand. A draft counts: somebody works on it. The
/// job's own does not, and neither does one that anybody could open: it must come from a branch of the
/// repository itself, or its author must have write access.
async fn check_other_pull_requests(
    context: &WorkerContext,
    job: &Job,
    repository: &Repository,
) -> Result<(), Stop> {
    let (at, number) = (&job.trigger.repository, job.trigger.issue.number);
    let found = match context.github.closing_pull_requests(at, &repository.name, number).await {
        Ok(found) => found,
        // Older servers do not have this query.
        Err(error @ (GitHubError::Rejected { .. } | GitHubError::NotFound { .. })) => {
            warn!(%error, "pull requests that close the issue are not known");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let own = job.branch();
    let is_own = |closing: &ClosingPullRequest| {
        closing.repository == repository.name && !closing.from_fork && closing.head == own
    };
    let mut others: Vec<_> = found.into_iter().filter(|closing| !is_own(closing)).collect();
    let is_from_branch =
        |closing: &ClosingPullRequest| closing.repository == repository.name && !closing.from_fork;
    // Those that count without a question to GitHub come first.
    others.sort_by_key(|closing| (!is_from_branch(closing), closing.number));
    let mut known_authors = BTreeMap::new();
    let mut counted = None;
    for closing in others {
        if is_from_branch(&closing) || is_by_writer(context, job, &closing, &mut known_authors).await? {
            counted = Some(closing);
            break;
        }
    }
    let Some(other) = counted else { return Ok(()) };
    let name = match other.repository == repository.name {
        true => format!("#{}", other.number),
        false => format!("{}#{}", other.repository, other.number),
    };
    refuse(format!(
        "the open pull request {name} by `{}` fixes this issue already; close it, or remove its link to the issue, \
         to start work here",
        other.author
    ))
}

/// Whether the author of a pull request has write access. `known` are the answers so far, by login.
async fn is_by_writer(
    context: &WorkerContext,
    job: &Job,
    closing: &ClosingPullRequest,
    known: &mut BTreeMap<String, bool>,
) -> Result<bool, Stop> {
    if let Some(is_writer) = known.get(&closing.author) {
        return Ok(*is_writer);
    }
    let Ok(author) = closing.author.parse::<Login>() else { return Ok(false) };
    if known.len() >= AUTHORS_MAX {
        return Ok(false);
    }
    let permission = context.github.permission(&job.trigger.repository, &author).await?;
    let is_writer = authorize(permission, &author, false, &[]).is_ok();
    known.insert(closing.author.clone(), is_writer);
    Ok(is_writer)
}
