//! What a job does to the world: reaction, progress, branch, draft pull request, escalation. Each
//! effect is begun in the ledger, looked for, done, and recorded as done; progress is best effort.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use tracing::{error, warn};

use crate::domain::{
    EscalationReason, Job, JobOutcome, PullRequestNumber, RecordedEvent, SecretFinding, Sha, Transcript,
    TranscriptEvent,
};
use crate::provenance::{ProposedCommit, Sealed, build_manifest};
use crate::publish::{
    Evidence, approval_comment, draft_pr, escalation, publish_approval_request, publish_escalation,
    publish_proposal, update_progress,
};
use crate::secrets::{redact, scan_text};
use crate::store::{Attempt, EffectState, Journal};
use crate::verdict::Verified;
use crate::workspace::{Author, Workspace};

use super::admission::{github_error, permitted};
use super::approval;
use super::commit_publisher::{OnBranch, Signing};
use super::follow_up::{CHECK, follow_up, label};
use super::preparation::workspace_error;
use super::revisions::{self, Standing};
use super::{JobError, WorkerContext};

/// A job older than this ends also where GitHub cannot be told of it.
const UNTOLD_MAX: SignedDuration = SignedDuration::from_hours(12);
/// The reaction that says: seen.
pub(super) const EYES: &str = "reaction";
/// The pushed branch.
const BRANCH: &str = "branch";
/// The draft pull request.
const PULL_REQUEST: &str = "pull_request";
/// The comments that show what is held back.
const HELD: &str = "held";
/// The escalation comments.
const ESCALATION: &str = "escalation";

/// Says on the issue that the job is seen.
pub(super) async fn acknowledge(parts: &WorkerContext, journal: &Journal) -> Result<(), JobError> {
    let trigger = &journal.job().trigger;
    if let EffectState::InProgress = journal.begin_effect(EYES).await? {
        let reacted = parts.github.react_with_eyes(&trigger.repository, trigger.issue.number).await;
        reacted.map_err(github_error)?;
        journal.finish_effect(EYES, "eyes").await?;
    }
    Ok(())
}

/// Brings the progress comment up to date. A job does not fail for it.
pub(super) async fn progress(parts: &WorkerContext, journal: &Journal) {
    let told = async {
        let events = journal.transcript().await?;
        let transcript = Transcript::new(&events);
        let job = current(parts, journal).await?;
        let evidence = evidence_of(parts, &job, transcript);
        revisions::tell(parts, &evidence, transcript).await.map_err(github_error)?;
        update_progress(parts.github.as_ref(), &job, &evidence).await.map_err(github_error)?;
        label(parts, &job, evidence.state).await.map_err(github_error)
    };
    if let Err(error) = told.await {
        warn!(%error, "the progress comment could not be brought up to date");
    }
}

/// Ends a job that may not be worked on, and says why on the issue.
pub(super) async fn refuse(
    parts: &WorkerContext,
    journal: &Journal,
    why: String,
) -> Result<JobOutcome, JobError> {
    let outcome = JobOutcome::Cancelled { why };
    end(parts, journal, outcome).await
}

/// Ends a job of which nothing is said anywhere but in the log and the store.
pub(super) async fn ignore(journal: &Journal, why: String) -> Result<JobOutcome, JobError> {
    let outcome = JobOutcome::Cancelled { why };
    journal.append(&[TranscriptEvent::Ended { outcome: outcome.clone() }]).await?;
    Ok(outcome)
}

/// Says on the issue how a job ended that did not get to publish anything.
pub(super) async fn report_end(parts: &WorkerContext, journal: &Journal, outcome: &JobOutcome) {
    if let Err(error) = tell_end(parts, journal, outcome).await {
        warn!(%error, "the end could not be told on the issue");
    }
}

async fn tell_end(parts: &WorkerContext, journal: &Journal, outcome: &JobOutcome) -> Result<(), JobError> {
    let mut events = journal.transcript().await?;
    // Told first, recorded then: a crash in between tells it once more, in the same place.
    let event = TranscriptEvent::Ended { outcome: outcome.clone() };
    events.push(RecordedEvent { sequence: events.len() as u64 + 1, at: journal.now(), event });
    let transcript = Transcript::new(&events);
    let job = current(parts, journal).await?;
    let evidence = evidence_of(parts, &job, transcript);
    revisions::tell(parts, &evidence, transcript).await.map_err(github_error)?;
    update_progress(parts.github.as_ref(), &job, &evidence).await.map_err(github_error)?;
    label(parts, &job, outcome.state()).await.map_err(github_error)
}

/// Says on the issue that a job failed through our own fault.
pub(super) async fn report_failure(parts: &WorkerContext, journal: &Journal, why: &str) {
    report_end(parts, journal, &JobOutcome::Failed { why: why.to_owned() }).await;
}

/// Pushes the verified tree and opens the draft pull request.
pub(super) async fn propose(
    parts: &WorkerContext,
    journal: &Journal,
    verified: &Verified,
    committed: &AtomicBool,
) -> Result<JobOutcome, JobError> {
    let events = journal.transcript().await?;
    let transcript = Transcript::new(&events);
    let job = current(parts, journal).await?;
    let at = &job.trigger.repository;
    let workspace = recorded_workspace(parts, &job, transcript).await?;
    let branch = job.branch();
    let parent = transcript.found_branch_head();
    let before = match parent {
        Some(parent) => Some(workspace.tree_of(parent).await.map_err(workspace_error)?),
        None => None,
    };
    // A round in which nothing had to be changed leaves the branch as it is.
    let unchanged = parent.filter(|_| before.as_ref() == Some(verified.tree()));
    // Ours; GitHub's own has another id and the same tree.
    let commit = match unchanged {
        Some(head) => head.clone(),
        None => commit(parts, &job, &workspace, verified, transcript).await?,
    };
    let kind = |kind: &str| revisions::effect(kind, transcript);
    let patch = workspace.patch(verified.tree()).await.map_err(workspace_error)?;
    let manifest = manifest(journal, &job, &workspace, &branch, &commit).await?;
    let mut evidence = evidence_of(parts, &job, transcript).with_patch(patch).with_manifest(manifest.clone());
    evidence.notes.extend(approval::base_has_moved(parts, &workspace, at).await);
    let signing = match unchanged {
        Some(_) => Signing::Pushed,
        None => Signing::of(parts, &workspace, &commit).await?,
    };
    evidence.notes.extend(signing.remark());
    let is_held = unchanged.is_none() && approval::is_held(parts, &workspace, &job, transcript).await?;
    let done = match is_held {
        true => None,
        false => match journal.begin_effect(&kind(BRANCH)).await? {
            EffectState::Done(reference) => Some(reference.parse::<Sha>().map_err(|_| {
                JobError::Broke(format!("the ledger holds {reference:?} as a branch's commit"))
            })?),
            EffectState::InProgress => None,
        },
    };
    let head = match done.or(unchanged.cloned()) {
        Some(head) => head,
        None => {
            // Their permission may have been taken since the work began.
            if let Err(why) = permitted(parts, &job, transcript).await? {
                return refuse(parts, journal, why).await;
            }
            // Before anything of it leaves, all of it is looked through.
            let new = draft_pr::render(&evidence, verified, workspace.base_branch());
            let mut found = scan_text("the pull request's title", &new.title);
            found.extend(scan_text("the pull request's text", &new.body));
            let cleared = match workspace.clear(&branch, &commit).await.map_err(workspace_error)? {
                Ok(cleared) if found.is_empty() => cleared,
                Ok(_) => return withhold(parts, journal, found).await,
                Err(in_commit) => {
                    let found = in_commit.into_iter().chain(found).collect();
                    return withhold(parts, journal, found).await;
                }
            };
            if is_held {
                let pages = approval_comment::render(&evidence, verified, &commit, workspace.base_branch());
                let held = approval::Held { cleared, manifest, pages };
                return hold_back(parts, journal, &workspace, &job, held).await;
            }
            let head = match revisions::standing(parts, journal, transcript, &workspace, &commit).await? {
                Standing::Next => {
                    let to = OnBranch { at, cleared: &cleared, tree: verified.tree(), parent };
                    signing.put_on_branch(parts, &workspace, to).await?
                }
                Standing::There(head) => head,
                Standing::Moved => {
                    return Err(again("the branch has moved; what was done is verified anew on top of it"));
                }
                Standing::Never(reason) => return give_over(parts, journal, reason).await,
            };
            journal.finish_effect(&kind(BRANCH), head.as_str()).await?;
            head
        }
    };
    let manifest = match head == commit {
        true => manifest,
        false => self::manifest(journal, &job, &workspace, &branch, &head).await?,
    };
    // From here on it is not cut in the middle: the pull request belongs to the branch.
    committed.store(true, Ordering::Relaxed);
    let kept = journal.save_manifest(transcript.round_number(), &manifest.to_text()).await?;
    let manifest = Sealed::parse(&kept).map_err(|error| JobError::Broke(error.to_string()))?;
    let evidence = evidence.with_manifest(manifest);
    let number = match journal.begin_effect(&kind(PULL_REQUEST)).await? {
        EffectState::Done(reference) => reference.parse().map(PullRequestNumber).map_err(|_| {
            JobError::Broke(format!("the ledger holds {reference:?} as a pull request's number"))
        })?,
        EffectState::InProgress => {
            let published =
                publish_proposal(parts.github.as_ref(), &job, &evidence, verified, workspace.base_branch())
                    .await
                    .map_err(github_error)?;
            journal.finish_effect(&kind(PULL_REQUEST), &published.number.to_string()).await?;
            published.number
        }
    };
    let made = before.as_ref().filter(|_| unchanged.is_none()).map(|before| (&head, before, verified.tree()));
    revisions::answer_threads(parts, &evidence, transcript, &workspace, made).await?;
    let reference = format!("#{number}");
    journal.append(&[TranscriptEvent::Published { kind: PULL_REQUEST.to_owned(), reference }]).await?;
    let pull_request = (number.0 != 0).then_some(number);
    if let Some(number) = pull_request {
        let check = kind(CHECK);
        let followed =
            follow_up(parts, journal, &workspace, &evidence, verified, (&head, &check), number).await;
        followed.map_err(github_error)?;
    }
    end(parts, journal, JobOutcome::Proposed { pull_request, branch, head }).await
}

/// Whether the job's pull request is open: it then ends with it, whatever it is told.
pub(super) async fn is_published(journal: &Journal) -> bool {
    journal.transcript().await.is_ok_and(|events| Transcript::new(&events).is_published())
}

/// Keeps the commit and its manifest, and shows on the issue what is held back.
async fn hold_back(
    parts: &WorkerContext,
    journal: &Journal,
    workspace: &Workspace,
    job: &Job,
    held: approval::Held,
) -> Result<JobOutcome, JobError> {
    let approval::Held { cleared, manifest, pages } = held;
    let found: Vec<SecretFinding> =
        pages.iter().flat_map(|page| scan_text("the comment that shows the change", page)).collect();
    if !found.is_empty() {
        return withhold(parts, journal, found).await;
    }
    workspace.pin_commit(&cleared).await.map_err(workspace_error)?;
    let events = journal.transcript().await?;
    let transcript = Transcript::new(&events);
    journal.save_manifest(transcript.round_number(), &manifest.to_text()).await?;
    let kind = revisions::held_effect(HELD, transcript);
    if let EffectState::InProgress = journal.begin_effect(&kind).await? {
        let posted =
            publish_approval_request(parts.github.as_ref(), job, pages).await.map_err(github_error)?;
        journal.finish_effect(&kind, &posted).await?;
    }
    let (branch, head) = (cleared.branch().to_owned(), cleared.commit().clone());
    end(parts, journal, JobOutcome::Held { branch, head }).await
}

/// Hands the job to a person without a word of what it holds.
async fn withhold(
    parts: &WorkerContext,
    journal: &Journal,
    found: Vec<SecretFinding>,
) -> Result<JobOutcome, JobError> {
    for found in &found {
        error!(what = found.what, place = %found.place, "a secret was about to leave; nothing was published");
    }
    give_over(parts, journal, EscalationReason::Secret { found }).await
}

/// Hands a job to a person whose proposal cannot be published.
async fn give_over(
    parts: &WorkerContext,
    journal: &Journal,
    reason: EscalationReason,
) -> Result<JobOutcome, JobError> {
    journal.append(&[TranscriptEvent::EscalationDecided { reason: reason.clone() }]).await?;
    escalate(parts, journal, reason).await
}

/// The manifest of the proposal: the same one for whoever makes it again.
async fn manifest(
    journal: &Journal,
    job: &Job,
    workspace: &Workspace,
    branch: &str,
    head: &Sha,
) -> Result<Sealed, JobError> {
    let base_tree = workspace.base_tree().await.map_err(workspace_error)?;
    let proposed = ProposedCommit { base_tree, branch: branch.to_owned(), head: head.clone() };
    let manifest = build_manifest(job, &journal.transcript_text().await?, &proposed)
        .ok_or_else(|| JobError::Broke("the transcript has no verdict to make a manifest of".to_owned()))?;
    Ok(Sealed::new(manifest))
}

/// Posts the escalation.
pub(super) async fn escalate(
    parts: &WorkerContext,
    journal: &Journal,
    reason: EscalationReason,
) -> Result<JobOutcome, JobError> {
    let events = journal.transcript().await?;
    let transcript = Transcript::new(&events);
    let job = current(parts, journal).await?;
    let mut evidence = evidence_of(parts, &job, transcript);
    if let Some(tree) = transcript.last_tree() {
        let workspace = recorded_workspace(parts, &job, transcript).await?;
        evidence = evidence.with_patch(workspace.patch(tree).await.map_err(workspace_error)?);
    }
    let found: Vec<SecretFinding> = escalation::render(&evidence, &reason)
        .iter()
        .flat_map(|page| scan_text("the escalation", page))
        .collect();
    // What tells of a secret holds none itself: it shows nothing.
    if !found.is_empty() && !matches!(reason, EscalationReason::Secret { .. }) {
        return Box::pin(withhold(parts, journal, found)).await;
    }
    let kind = revisions::effect(ESCALATION, transcript);
    if let EffectState::InProgress = journal.begin_effect(&kind).await? {
        let posted = publish_escalation(parts.github.as_ref(), &job, &evidence, &reason)
            .await
            .map_err(github_error)?;
        journal.finish_effect(&kind, &posted).await?;
    }
    end(parts, journal, JobOutcome::Escalated { reason }).await
}

/// The job is taken up again at once.
fn again(why: &str) -> JobError {
    JobError::Later { why: why.to_owned(), after: Duration::ZERO, attempt: Attempt::DoesNotCount }
}

/// Tells the end on the issue, then records it: a crash in between tells it once more, in place. Where
/// GitHub cannot be told now, the job is put back for it, as long as somebody may still wait for it.
async fn end(parts: &WorkerContext, journal: &Journal, outcome: JobOutcome) -> Result<JobOutcome, JobError> {
    let since = approval::taken_up_at(journal).await.unwrap_or(journal.job().created_at);
    let age = journal.now().duration_since(since);
    match tell_end(parts, journal, &outcome).await {
        Ok(()) => {}
        Err(error @ (JobError::Later { .. } | JobError::LeaseLost(_))) if age < UNTOLD_MAX => {
            return Err(error);
        }
        Err(error) => warn!(%error, "the end could not be told on the issue"),
    }
    journal.append(&[TranscriptEvent::Ended { outcome: outcome.clone() }]).await?;
    Ok(outcome)
}

/// What the job has to show, in the operator's terms.
fn evidence_of(parts: &WorkerContext, job: &Job, transcript: Transcript<'_>) -> Evidence {
    Evidence::from_transcript(job, transcript).with_label(&parts.policy.label)
}

/// The job as the store has it now.
async fn current(parts: &WorkerContext, journal: &Journal) -> Result<Job, JobError> {
    let job = parts.store.job(journal.job().id).await?;
    Ok(job.unwrap_or_else(|| journal.job().clone()))
}

async fn recorded_workspace(
    parts: &WorkerContext,
    job: &Job,
    transcript: Transcript<'_>,
) -> Result<Workspace, JobError> {
    let Some(base) = transcript.base() else {
        return Err(JobError::Broke("the transcript has no base commit to publish from".to_owned()));
    };
    let id = job.trigger.repository.id;
    parts.mirrors.reopen(id, base.commit.clone(), base.branch).await.map_err(workspace_error)
}

/// The commit: by the App, dated by the verdict, so that it has the same id however often it is
/// made.
async fn commit(
    parts: &WorkerContext,
    job: &Job,
    workspace: &Workspace,
    verified: &Verified,
    transcript: Transcript<'_>,
) -> Result<Sha, JobError> {
    let identity = parts.github.app_identity().await.map_err(github_error)?;
    let author = Author {
        name: format!("{}[bot]", identity.slug),
        email: format!("{}+{}[bot]@users.noreply.github.com", identity.bot_user_id, identity.slug),
    };
    let judged_at = transcript.last_verdict().map_or(job.created_at, |verdict| verdict.at);
    let message = draft_pr::commit_message(&job.trigger, transcript.round_number());
    let message = redact(&message);
    let parent = transcript.found_branch_head().unwrap_or(workspace.base());
    let made = workspace.commit(verified.tree(), parent, &author, &message, judged_at);
    made.await.map_err(workspace_error)
}
