//! What accompanies a job and its proposal: state labels, the check run, requests for review. All of it
//! is best effort: a job does not fail for it, and waits only if GitHub is not available.

use tracing::{info, warn};

use crate::domain::{Job, JobState, PullRequestNumber, Sha};
use crate::github::{GitHubError, Reviewers};
use crate::publish::codeowners::{CODEOWNERS_PATHS, CodeOwners};
use crate::publish::{Evidence, check, label_changes};
use crate::store::{EffectState, Journal, StoreError};
use crate::verdict::Verified;
use crate::worker::context::WorkerContext;
use crate::worker::effects::JobEffect;
use crate::workspace::{BASE_FILE_BYTES_MAX, Workspace, WorkspaceError};

/// Adds the label that shows the job's state to the issue, and removes the others.
pub(super) async fn set_state_label(
    context: &WorkerContext,
    job: &Job,
    state: JobState,
) -> Result<(), GitHubError> {
    let (at, number) = (&job.trigger.repository, job.trigger.issue.number);
    let changed = async {
        let present = context.github.issue(at, number).await?.snapshot.labels;
        let (add, remove) = label_changes(&context.policy.rules.label, state, &present);
        if let Some(label) = add {
            context.github.add_label(at, number, &label).await?;
        }
        for name in remove {
            context.github.remove_label(at, number, &name).await?;
        }
        Ok::<(), GitHubError>(())
    };
    match changed.await {
        Err(error @ GitHubError::Unavailable { .. }) => return Err(error),
        Err(error) => warn!(%error, "state label not set"),
        Ok(()) => {}
    }
    Ok(())
}

/// Why something that accompanies a proposal was not done.
#[derive(Debug, thiserror::Error)]
enum FollowUpError {
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

/// The check run, whose effect is named `check`, and the requests for review of an open draft pull
/// request.
pub(super) async fn follow_up(
    context: &WorkerContext,
    journal: &Journal,
    workspace: &Workspace,
    evidence: &Evidence,
    verified: &Verified,
    (head, check): (&Sha, &str),
    number: PullRequestNumber,
) -> Result<(), GitHubError> {
    match publish_check(context, journal, evidence, verified, head, check).await {
        Err(FollowUpError::GitHub(error @ GitHubError::Unavailable { .. })) => return Err(error),
        Err(error) => warn!(%error, "check run not created"),
        Ok(()) => {}
    }
    match request_reviews(context, journal, workspace, evidence, number).await {
        Err(FollowUpError::GitHub(error @ GitHubError::Unavailable { .. })) => return Err(error),
        Err(error) => warn!(%error, "reviews not requested"),
        Ok(()) => {}
    }
    Ok(())
}

async fn publish_check(
    context: &WorkerContext,
    journal: &Journal,
    evidence: &Evidence,
    verified: &Verified,
    head: &Sha,
    effect: &str,
) -> Result<(), FollowUpError> {
    if let EffectState::InProgress = journal.begin_effect(effect).await? {
        let run = check::render(evidence, verified, head);
        context.github.publish_check(&evidence.job().trigger.repository, &run).await?;
        journal.finish_effect(effect, head.as_str()).await?;
    }
    Ok(())
}

async fn request_reviews(
    context: &WorkerContext,
    journal: &Journal,
    workspace: &Workspace,
    evidence: &Evidence,
    number: PullRequestNumber,
) -> Result<(), FollowUpError> {
    let effect = JobEffect::Reviewers.name();
    if !matches!(journal.begin_effect(effect).await?, EffectState::InProgress) {
        return Ok(());
    }
    let trigger = &evidence.job().trigger;
    let owners = code_owners(workspace).await?;
    let paths: Vec<String> =
        evidence.patch.iter().flat_map(|patch| &patch.files).map(|file| file.path.clone()).collect();
    let author = format!("{}[bot]", context.github.app_identity().await?.slug);
    let labeller = (!trigger.labeller_is_bot).then(|| trigger.labeller.as_str());
    let at = &trigger.repository;
    let reviewers = owners.reviewers(&paths, at.name.owner(), &author, labeller);
    let requested = request(context, evidence.job(), number, &reviewers).await?;
    journal.finish_effect(effect, &requested).await?;
    Ok(())
}

/// Requests all reviews together. If GitHub rejects that, requests them one at a time, so that a reviewer
/// who has left does not keep the others from being asked.
async fn request(
    context: &WorkerContext,
    job: &Job,
    number: PullRequestNumber,
    reviewers: &Reviewers,
) -> Result<String, GitHubError> {
    let at = &job.trigger.repository;
    if reviewers.is_empty() {
        return Ok("nobody".to_owned());
    }
    match context.github.request_reviews(at, number, reviewers).await {
        Err(GitHubError::Rejected { .. }) => {}
        done => return done.map(|()| reviewers.to_string()),
    }
    let mut requested = Reviewers::default();
    for one in reviewers.individually() {
        match context.github.request_reviews(at, number, &one).await {
            Ok(()) => {
                requested.users.extend(one.users);
                requested.teams.extend(one.teams);
            }
            Err(error @ GitHubError::Rejected { .. }) => info!(%error, "review not requested"),
            Err(error) => return Err(error),
        }
    }
    Ok(requested.to_string())
}

/// The code owners that the base branch names; none if it has no such file.
async fn code_owners(workspace: &Workspace) -> Result<CodeOwners, WorkspaceError> {
    for path in CODEOWNERS_PATHS {
        if let Some(bytes) = workspace.base_file(path).await? {
            // The end of a longer file is missing, and in this file the last matching line counts.
            let is_whole = bytes.len() < BASE_FILE_BYTES_MAX;
            return Ok(match is_whole {
                true => CodeOwners::read(&String::from_utf8_lossy(&bytes)),
                false => CodeOwners::default(),
            });
        }
    }
    Ok(CodeOwners::default())
}
