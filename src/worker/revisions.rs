//! Rounds after the first: the job's branch is on GitHub, and others may push to it. Their commits are
//! never overwritten: our work goes on top of them, or nowhere.

use tracing::info;

use super::context::WorkerContext;
use super::git_access::fetch;
use super::preparation::{plans_to_try, prepared, recorded_base};
use super::stop::Stop;
use crate::domain::{PullRequestNumber, RecordedEvent, Sha, Transcript, TranscriptEvent};
use crate::store::Journal;
use crate::workspace::{Workspace, WorkspaceError};

/// How often others may change the branch within one round before the job gives up.
const BRANCH_CHANGES_MAX: usize = 5;

/// How often the branch was found in the current round: more than once means that others changed it.
pub(super) fn branch_changes(transcript: &[RecordedEvent]) -> usize {
    Transcript::new(transcript).branch_lookups()
}

/// The pull request that the current round is about; none in the first round.
pub(super) fn pull_request_of_round(transcript: &[RecordedEvent]) -> Option<PullRequestNumber> {
    match Transcript::new(transcript).round_number() {
        1 => None,
        _ => Transcript::new(transcript).opened_pull_request(),
    }
}

/// Before the work of a round: starts from the branch as it is on GitHub, with our unpublished work on
/// top. Recorded once for each round. A branch that cannot be worked on stops the job.
pub(super) async fn find_branch(
    context: &WorkerContext,
    journal: &Journal,
    transcript: &[RecordedEvent],
) -> Result<(), Stop> {
    let so_far = Transcript::new(transcript);
    let has_pull_request = pull_request_of_round(transcript).is_some();
    let has_branch =
        has_pull_request || (so_far.round_number() > 1 && so_far.published_branch_head().is_some());
    if !has_branch || so_far.found_branch_head().is_some() {
        return Ok(());
    }
    let job = journal.job();
    let branch = job.branch();
    match context.github.branch_head(&job.trigger.repository, &branch).await? {
        Some(head) => rebase(context, journal, transcript, &head).await,
        // Without a pull request, the branch is created again.
        None if !has_pull_request => Ok(()),
        None => Err(Stop::not_verified(format!("the branch `{branch}` was deleted"))),
    }
}

/// Where a commit that is to be published stands against its branch.
pub(super) enum BranchPosition {
    /// Its parent is the branch's head, or the branch does not exist yet.
    Next,
    /// It is on the branch, under this id.
    Published(Sha),
}

/// Compares a commit with its branch before it is pushed. If others changed the branch, the job begins
/// again on top of their commits, or stops if that is not possible.
pub(super) async fn branch_position(
    context: &WorkerContext,
    journal: &Journal,
    transcript: &[RecordedEvent],
    workspace: &Workspace,
    commit: &Sha,
) -> Result<BranchPosition, Stop> {
    let Some(parent) = Transcript::new(transcript).found_branch_head() else {
        return Ok(BranchPosition::Next);
    };
    let job = journal.job();
    let (at, branch) = (&job.trigger.repository, job.branch());
    let Some(head) = context.github.branch_head(at, &branch).await? else {
        return Err(Stop::not_verified(format!("the branch `{branch}` was deleted during the work")));
    };
    if head == *parent {
        return Ok(BranchPosition::Next);
    }
    fetch(context, at, &branch).await?;
    if workspace.is_ancestor(commit, &head).await? {
        return Ok(BranchPosition::Published(commit.clone()));
    }
    // A commit that GitHub creates has an id of its own.
    if workspace.find_commit(commit).await? == workspace.find_commit(&head).await? {
        return Ok(BranchPosition::Published(head));
    }
    if !workspace.is_ancestor(parent, &head).await? {
        return Err(Stop::not_verified(format!(
            "the branch `{branch}` was rewritten during the work: it is at `{}`, which does not contain `{}`",
            head.short(),
            parent.short()
        )));
    }
    let changes = branch_changes(transcript);
    if changes > BRANCH_CHANGES_MAX {
        return Err(Stop::not_verified(format!(
            "the branch `{branch}` changed {changes} times during the work"
        )));
    }
    info!(head = head.short(), "branch changed by others");
    rebase(context, journal, transcript, &head).await?;
    Err(Stop::start_over("others changed the branch; the change is verified again on top of their commits"))
}

/// Records the branch's `head` as what the work continues from, with our work that is not on it yet
/// merged on top.
async fn rebase(
    context: &WorkerContext,
    journal: &Journal,
    transcript: &[RecordedEvent],
    head: &Sha,
) -> Result<(), Stop> {
    let job = journal.job();
    let (at, branch) = (&job.trigger.repository, job.branch());
    let Some((base, base_branch)) = recorded_base(transcript) else {
        return Err(Stop::Broken("the transcript has a pull request and no base".to_owned()));
    };
    fetch(context, at, &branch).await?;
    let newest = fetch(context, at, base_branch).await?;
    let fork_point = newest.merge_base(head, newest.base()).await?.unwrap_or_else(|| base.clone());
    let workspace = context.mirrors.reopen(at.id, fork_point.clone(), base_branch).await?;
    let mut events = Vec::new();
    if fork_point != *base {
        let plans = plans_to_try(context, at.id, &workspace).await?;
        events.extend(plans.first().map(|settings| prepared(&workspace, settings)));
    }
    let theirs = workspace.tree_of(head).await?;
    let so_far = Transcript::new(transcript);
    let known = match so_far.known_branch_head().cloned().or_else(|| so_far.published_branch_head()) {
        Some(known) => workspace.tree_of(&known).await?,
        None => theirs.clone(),
    };
    let ours = Transcript::new(transcript).last_checkpoint().unwrap_or(&known);
    let Some(tree) = workspace.merge_trees(&known, ours, &theirs).await? else {
        return Err(Stop::not_verified(format!(
            "others changed `{branch}` (now at `{}`) in the same places as this job; their commits are not \
             overwritten",
            head.short()
        )));
    };
    let proposal = match workspace.changes_in(&tree).await {
        Ok(changes) => workspace.propose(changes).await,
        Err(error) => Err(error),
    };
    let proposal = match proposal {
        Ok(proposal) => proposal,
        Err(refused @ WorkspaceError::RefusedChange { .. }) => {
            return Err(Stop::not_verified(format!(
                "`{branch}` cannot be worked on as it is now: {refused}"
            )));
        }
        Err(error) => return Err(error.into()),
    };
    if proposal.tree != tree {
        return Err(Stop::not_verified(format!(
            "`{branch}` cannot be worked on as it is now: others changed a file's mode, which a proposal cannot \
             contain"
        )));
    }
    workspace.pin_checkpoint(job.id, &tree).await?;
    let changed = workspace.changed_paths(&known, &theirs).await?;
    let paths = proposal.paths.iter().map(ToString::to_string).collect();
    events.push(TranscriptEvent::Checkpoint { tree, paths, contents: Vec::new() });
    events.push(TranscriptEvent::BranchFound { head: head.clone(), changed });
    Ok(journal.append(&events).await?)
}
