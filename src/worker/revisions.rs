//! Rounds after the first: the job's branch is on GitHub and others may push to it. What they pushed is
//! kept, always: our work goes on top of it, or not at all.

use std::collections::BTreeSet;

use tracing::info;

use crate::domain::{EscalationReason, PullRequestNumber, RepositoryRef, Sha, Transcript, TranscriptEvent};
use crate::github::GitHubError;
use crate::publish::{Evidence, round_comment, update_round_comment};
use crate::store::Journal;
use crate::workspace::{Workspace, WorkspaceError};

use super::admission::github_error;
use super::preparation::{resolve_settings, with_access, workspace_error};
use super::{JobError, WorkerContext};

/// A branch that moves so often in one round is not caught up with.
const MOVES_MAX: usize = 5;

/// The name of an effect in the present round.
pub(super) fn effect(kind: &str, transcript: Transcript<'_>) -> String {
    match transcript.round_number() {
        1 => kind.to_owned(),
        round => format!("{kind}.{round}"),
    }
}

/// The name of showing what is held back: again where others' commits changed it since.
pub(super) fn held_effect(kind: &str, transcript: Transcript<'_>) -> String {
    let effect = effect(kind, transcript);
    match transcript.branch_lookups() {
        0 | 1 => effect,
        moves => format!("{effect}.{moves}"),
    }
}

/// The pull request that the present round is about; none in the first round.
pub(super) fn pull_request_of(transcript: Transcript<'_>) -> Option<PullRequestNumber> {
    let is_first = transcript.round_number() == 1;
    if is_first { None } else { transcript.opened_pull_request() }
}

/// Brings the comment about the round up to date, as the evidence has it.
pub(super) async fn tell(
    parts: &WorkerContext,
    evidence: &Evidence,
    transcript: Transcript<'_>,
) -> Result<(), GitHubError> {
    let Some(number) = pull_request_of(transcript) else { return Ok(()) };
    let at = &evidence.job().trigger.repository;
    update_round_comment(parts.github.as_ref(), at, number, evidence).await
}

/// Before the work of a round: takes the branch as it is on GitHub, with what was not published yet on
/// top. Recorded once for each round. `Err`: it cannot be worked on.
pub(super) async fn find_branch(
    parts: &WorkerContext,
    journal: &Journal,
    transcript: Transcript<'_>,
) -> Result<Result<(), EscalationReason>, JobError> {
    if pull_request_of(transcript).is_none() || transcript.found_branch_head().is_some() {
        return Ok(Ok(()));
    }
    let job = journal.job();
    let branch = job.branch();
    let head = parts.github.branch_head(&job.trigger.repository, &branch).await.map_err(github_error)?;
    match head {
        Some(head) => take_up(parts, journal, transcript, &head).await,
        None => Ok(Err(EscalationReason::NotVerified { why: format!("the branch `{branch}` is gone") })),
    }
}

/// Where a commit stands that is to be pushed.
pub(super) enum Standing {
    /// Its parent is the branch's head, or there is no branch yet.
    Next,
    /// It is on the branch, under this id.
    There(Sha),
    /// The branch has moved; the work goes on from there, and is to be verified anew.
    Moved,
    /// It cannot get there.
    Never(EscalationReason),
}

/// Before the push of a further round.
pub(super) async fn standing(
    parts: &WorkerContext,
    journal: &Journal,
    transcript: Transcript<'_>,
    workspace: &Workspace,
    commit: &Sha,
) -> Result<Standing, JobError> {
    let Some(parent) = transcript.found_branch_head() else { return Ok(Standing::Next) };
    let job = journal.job();
    let (at, branch) = (&job.trigger.repository, job.branch());
    let never = |why: String| Ok(Standing::Never(EscalationReason::NotVerified { why }));
    let Some(head) = parts.github.branch_head(at, &branch).await.map_err(github_error)? else {
        return never(format!("the branch `{branch}` was deleted while this was worked on"));
    };
    if head == *parent {
        return Ok(Standing::Next);
    }
    fetch(parts, at, &branch).await?;
    if workspace.is_ancestor(commit, &head).await.map_err(workspace_error)? {
        return Ok(Standing::There(commit.clone()));
    }
    // GitHub makes the same commit with an id of its own.
    let (ours, made) = (workspace.find_commit(commit).await, workspace.find_commit(&head).await);
    if ours.map_err(workspace_error)? == made.map_err(workspace_error)? {
        return Ok(Standing::There(head));
    }
    if !workspace.is_ancestor(parent, &head).await.map_err(workspace_error)? {
        return never(format!(
            "the branch `{branch}` was rewritten while this was worked on: it is at `{}`, which does not contain `{}`",
            head.short(),
            parent.short()
        ));
    }
    let moves = transcript.branch_lookups();
    if moves > MOVES_MAX {
        return never(format!("the branch `{branch}` moved {moves} times while this was worked on"));
    }
    info!(head = head.short(), "the branch has moved");
    Ok(match take_up(parts, journal, transcript, &head).await? {
        Ok(()) => Standing::Moved,
        Err(reason) => Standing::Never(reason),
    })
}

/// Goes on from `head`, the branch's: with the base that it parted from last, and what of ours is not on
/// it yet.
async fn take_up(
    parts: &WorkerContext,
    journal: &Journal,
    transcript: Transcript<'_>,
    head: &Sha,
) -> Result<Result<(), EscalationReason>, JobError> {
    let job = journal.job();
    let (at, branch) = (&job.trigger.repository, job.branch());
    let cannot = |why: String| Ok(Err(EscalationReason::NotVerified { why }));
    let Some(recorded) = transcript.base() else {
        return Err(JobError::Broke("the transcript has a pull request and no base".to_owned()));
    };
    fetch(parts, at, &branch).await?;
    let newest = fetch(parts, at, recorded.branch).await?;
    let parted = newest.merge_base(head, newest.base()).await.map_err(workspace_error)?;
    let parted = parted.unwrap_or_else(|| recorded.commit.clone());
    let workspace =
        parts.mirrors.reopen(at.id, parted.clone(), recorded.branch).await.map_err(workspace_error)?;
    let mut events = Vec::new();
    if parted != *recorded.commit {
        let settings = match resolve_settings(&parts.policy, &workspace).await.map_err(workspace_error)? {
            Ok(settings) => settings,
            Err(why) => return Ok(Err(EscalationReason::Environment { why })),
        };
        events.push(TranscriptEvent::Prepared {
            base: parted,
            base_branch: recorded.branch.to_owned(),
            settings: Box::new(settings),
        });
    }
    let theirs = workspace.tree_of(head).await.map_err(workspace_error)?;
    let known = match transcript.known_branch_head() {
        Some(known) => workspace.tree_of(known).await.map_err(workspace_error)?,
        None => theirs.clone(),
    };
    let ours = transcript.last_checkpoint().unwrap_or(&known);
    let Some(tree) = workspace.merge_trees(&known, ours, &theirs).await.map_err(workspace_error)? else {
        return cannot(format!(
            "others changed `{branch}` (now at `{}`) in the same places as this job did; nothing of theirs is \
             overwritten",
            head.short()
        ));
    };
    let proposal = match workspace.changes_in(&tree).await {
        Ok(changes) => workspace.propose(changes).await,
        Err(error) => Err(error),
    };
    let proposal = match proposal {
        Ok(proposal) => proposal,
        Err(refused @ WorkspaceError::RefusedChange { .. }) => {
            return cannot(format!("`{branch}` cannot be worked on as it is now: {refused}"));
        }
        Err(error) => return Err(workspace_error(error)),
    };
    if proposal.tree != tree {
        return cannot(format!(
            "`{branch}` cannot be worked on as it is now: others changed a file's mode, which a proposal does not carry"
        ));
    }
    workspace.keep(&job.id.to_string(), &tree).await.map_err(workspace_error)?;
    let changed = workspace.changed_paths(&known, &theirs).await.map_err(workspace_error)?;
    let paths = proposal.paths.iter().map(ToString::to_string).collect();
    events.push(TranscriptEvent::Checkpoint { tree, paths, contents: Vec::new() });
    events.push(TranscriptEvent::BranchFound { head: head.clone(), changed });
    journal.append(&events).await?;
    Ok(Ok(()))
}

/// Brings a branch into our store.
async fn fetch(parts: &WorkerContext, at: &RepositoryRef, branch: &str) -> Result<Workspace, JobError> {
    let fetched =
        with_access(parts, at, |access| async move { parts.mirrors.fetch(at.id, &access, branch).await });
    fetched.await?.map_err(workspace_error)
}

/// Answers in the threads that the round was asked for by, each once. `made`: the commit, with the tree
/// that it changes and the one that it makes.
pub(super) async fn answer_threads(
    parts: &WorkerContext,
    evidence: &Evidence,
    transcript: Transcript<'_>,
    workspace: &Workspace,
    made: Option<(&Sha, &Sha, &Sha)>,
) -> Result<(), JobError> {
    let Some(number) = pull_request_of(transcript) else { return Ok(()) };
    let asked: Vec<_> = transcript.unanswered_feedback().into_iter().cloned().collect();
    if round_comment::threads(&asked).next().is_none() {
        return Ok(());
    }
    let at = &evidence.job().trigger.repository;
    let made = match made {
        Some((head, before, after)) => {
            Some((head, workspace.changed_paths(before, after).await.map_err(workspace_error)?))
        }
        None => None,
    };
    let made = made.as_ref().map(|(head, paths)| (*head, paths.as_slice()));
    let known = parts.github.review_comments(at, number).await.map_err(github_error)?;
    let ours: BTreeSet<&str> = known
        .iter()
        .filter(|comment| comment.is_ours)
        .filter_map(|comment| comment.body.lines().next())
        .map(str::trim_end)
        .collect();
    for (first, path) in round_comment::threads(&asked) {
        if ours.contains(round_comment::thread_marker(evidence.round, first).as_str()) {
            continue;
        }
        let body = round_comment::thread_reply(evidence, first, path, made);
        match parts.github.reply_in_thread(at, number, first, &body).await {
            Ok(()) => {}
            // The thread was deleted.
            Err(GitHubError::NotFound { what, detail }) => info!(what, detail, "a thread is gone"),
            Err(error) => return Err(github_error(error)),
        }
    }
    Ok(())
}
