//! What goes with a job and its proposal: state labels, the check run, requests for review. All of it
//! is best effort: a job does not fail for any of it, and only waits where GitHub cannot answer now.

use tracing::{info, warn};

use crate::domain::{Job, JobState, PullRequestNumber, Sha};
use crate::github::{GitHubError, Reviewers};
use crate::publish::codeowners::{CODEOWNERS_PATHS, CodeOwners};
use crate::publish::{Evidence, check, label_changes};
use crate::store::{EffectState, Journal, StoreError};
use crate::verdict::Verified;
use crate::workspace::{BASE_FILE_BYTES_MAX, Workspace, WorkspaceError};

use super::WorkerContext;

/// The check run on the branch.
pub(super) const CHECK: &str = "check";
/// The requests for review: made once, and not again when somebody is taken off.
const REVIEWERS: &str = "reviewers";

/// Puts the label on the issue that says where its job stands, and takes the others off.
pub(super) async fn label(parts: &WorkerContext, job: &Job, state: JobState) -> Result<(), GitHubError> {
    let (at, number) = (&job.trigger.repository, job.trigger.issue.number);
    let changed = async {
        let present = parts.github.issue(at, number).await?.snapshot.labels;
        let (add, remove) = label_changes(&parts.policy.label, state, &present);
        if let Some(label) = add {
            parts.github.add_label(at, number, &label).await?;
        }
        for name in remove {
            parts.github.remove_label(at, number, name.as_str()).await?;
        }
        Ok::<(), GitHubError>(())
    };
    match changed.await {
        Err(error @ GitHubError::Unavailable { .. }) => return Err(error),
        Err(error) => warn!(%error, "the issue's label does not say where the job stands"),
        Ok(()) => {}
    }
    Ok(())
}

/// Why a thing that goes with a proposal could not be done.
#[derive(Debug, thiserror::Error)]
enum Trouble {
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
    parts: &WorkerContext,
    journal: &Journal,
    workspace: &Workspace,
    evidence: &Evidence,
    verified: &Verified,
    (head, check): (&Sha, &str),
    number: PullRequestNumber,
) -> Result<(), GitHubError> {
    match publish_check(parts, journal, evidence, verified, head, check).await {
        Err(Trouble::GitHub(error @ GitHubError::Unavailable { .. })) => return Err(error),
        Err(error) => warn!(%error, "the check run could not be made"),
        Ok(()) => {}
    }
    match ask_for_reviews(parts, journal, workspace, evidence, number).await {
        Err(Trouble::GitHub(error @ GitHubError::Unavailable { .. })) => return Err(error),
        Err(error) => warn!(%error, "nobody could be asked for a review"),
        Ok(()) => {}
    }
    Ok(())
}

async fn publish_check(
    parts: &WorkerContext,
    journal: &Journal,
    evidence: &Evidence,
    verified: &Verified,
    head: &Sha,
    kind: &str,
) -> Result<(), Trouble> {
    if let EffectState::InProgress = journal.begin_effect(kind).await? {
        let run = check::render(evidence, verified, head);
        parts.github.publish_check(&evidence.job().trigger.repository, &run).await?;
        journal.finish_effect(kind, head.as_str()).await?;
    }
    Ok(())
}

async fn ask_for_reviews(
    parts: &WorkerContext,
    journal: &Journal,
    workspace: &Workspace,
    evidence: &Evidence,
    number: PullRequestNumber,
) -> Result<(), Trouble> {
    if !matches!(journal.begin_effect(REVIEWERS).await?, EffectState::InProgress) {
        return Ok(());
    }
    let trigger = &evidence.job().trigger;
    let owners = owners(workspace).await?;
    let paths: Vec<String> =
        evidence.patch.iter().flat_map(|patch| &patch.files).map(|file| file.path.clone()).collect();
    let author = format!("{}[bot]", parts.github.app_identity().await?.slug);
    let labeller = (!trigger.labeller_is_bot).then(|| trigger.labeller.as_str());
    let at = &trigger.repository;
    let wanted = owners.reviewers(&paths, at.name.owner(), &author, labeller);
    let asked = ask(parts, evidence.job(), number, &wanted).await?;
    journal.finish_effect(REVIEWERS, &asked).await?;
    Ok(())
}

/// Asks all at once; where GitHub does not take them, one at a time, so that one who has left does not
/// keep the others from being asked.
async fn ask(
    parts: &WorkerContext,
    job: &Job,
    number: PullRequestNumber,
    wanted: &Reviewers,
) -> Result<String, GitHubError> {
    let at = &job.trigger.repository;
    if wanted.is_empty() {
        return Ok("nobody".to_owned());
    }
    match parts.github.request_reviews(at, number, wanted).await {
        Err(GitHubError::Rejected { .. }) => {}
        outcome => return outcome.map(|()| wanted.to_string()),
    }
    let mut asked = Reviewers::default();
    for one in wanted.individually() {
        match parts.github.request_reviews(at, number, &one).await {
            Ok(()) => {
                asked.users.extend(one.users);
                asked.teams.extend(one.teams);
            }
            Err(error @ GitHubError::Rejected { .. }) => info!(%error, "a reviewer could not be asked"),
            Err(error) => return Err(error),
        }
    }
    Ok(asked.to_string())
}

/// What the base branch says of its owners; nothing, where it has no such file.
async fn owners(workspace: &Workspace) -> Result<CodeOwners, WorkspaceError> {
    for path in CODEOWNERS_PATHS {
        if let Some(bytes) = workspace.base_file(path).await? {
            // Of a longer file the end is missing, and the last line counts.
            let whole = bytes.len() < BASE_FILE_BYTES_MAX;
            return Ok(if whole {
                CodeOwners::read(&String::from_utf8_lossy(&bytes))
            } else {
                CodeOwners::default()
            });
        }
    }
    Ok(CodeOwners::default())
}
