//! Publishes a verified change, stage by stage: a commit is made, checked for secrets, put on its branch
//! (or shown for approval), and becomes a draft pull request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::domain::{
    EscalationReason, Job, JobOutcome, PullRequestNumber, RecordedEvent, Sha, Transcript, TranscriptEvent,
};
use crate::provenance::{ProposedCommit, Sealed, build_manifest};
use crate::publish::{Evidence, draft_pr, publish_proposal};
use crate::secrets::{redact, scan_text};
use crate::store::{EffectState, Journal};
use crate::verdict::Verified;
use crate::worker::admission::check_permission;
use crate::worker::context::WorkerContext;
use crate::worker::effects::JobEffect;
use crate::worker::preparation::recorded_base;
use crate::worker::revisions::{BranchPosition, branch_position};
use crate::worker::stop::Stop;
use crate::workspace::{Author, ClearedCommit, Workspace};

use super::approval_gate::{ChangeToApprove, is_approval_required, note_on_moved_base, request_approval};
use super::commit_publisher::{BranchCommit, CommitMethod};
use super::ending::end;
use super::follow_up::follow_up;
use super::progress::{current, evidence_of};
use super::secret_check::contains_secret;
use super::thread_replies::{PublishedChange, reply_in_threads};

/// Puts the verified tree on its branch and opens the draft pull request. If the change waits for
/// approval, it is shown on the issue instead. `is_on_branch` is set once the commit is on its branch.
pub(in crate::worker) async fn propose(
    context: &WorkerContext,
    journal: &Journal,
    verified: &Verified,
    is_on_branch: &AtomicBool,
) -> Result<JobOutcome, Stop> {
    let proposal = Proposal::prepare(context, journal, verified).await?;
    let head = match proposal.published_head().await? {
        Some(head) => head,
        None => {
            // The permission may have been taken away since the work began.
            check_permission(context, &proposal.job, &proposal.transcript).await?;
            let cleared = proposal.check_for_secrets().await?;
            if proposal.waits_for_approval {
                let Proposal { job, evidence, workspace, manifest, commit, .. } = &proposal;
                let change = ChangeToApprove { evidence, verified, commit, cleared, manifest };
                return request_approval(context, journal, job, workspace, change).await;
            }
            proposal.put_on_branch(&cleared).await?
        }
    };
    // From here on a cancellation does not interrupt the job: the pull request belongs to the branch.
    is_on_branch.store(true, Ordering::Relaxed);
    // Boxed, so that the callers' futures stay small.
    Box::pin(proposal.open_pull_request(head)).await
}

/// Whether the job's pull request is open: the job then ends with it, even if it is cancelled.
pub(in crate::worker) async fn is_published(journal: &Journal) -> bool {
    journal.transcript().await.is_ok_and(|transcript| Transcript::new(&transcript).is_published())
}

/// The job's workspace, at the base that its transcript names.
pub(super) async fn recorded_workspace(
    context: &WorkerContext,
    job: &Job,
    transcript: &[RecordedEvent],
) -> Result<Workspace, Stop> {
    let Some((base, branch)) = recorded_base(transcript) else {
        return Err(Stop::Broken("the transcript has no base commit to publish from".to_owned()));
    };
    let id = job.trigger.repository.id;
    Ok(context.mirrors.reopen(id, base.clone(), branch).await?)
}

/// A verified change and everything that is published with it.
struct Proposal<'a> {
    context: &'a WorkerContext,
    journal: &'a Journal,
    verified: &'a Verified,
    transcript: Arc<[RecordedEvent]>,
    job: Job,
    workspace: Workspace,
    /// The branch as this round found it; `None`: it does not exist yet.
    found: Option<BranchHead>,
    /// Whether the branch has the verified tree already: then it is left as it is.
    is_unchanged: bool,
    /// The commit of the verified tree. GitHub's own has another id and the same tree.
    commit: Sha,
    method: CommitMethod,
    manifest: Sealed,
    evidence: Evidence,
    waits_for_approval: bool,
}

struct BranchHead {
    commit: Sha,
    tree: Sha,
}

impl<'a> Proposal<'a> {
    async fn prepare(
        context: &'a WorkerContext,
        journal: &'a Journal,
        verified: &'a Verified,
    ) -> Result<Self, Stop> {
        let transcript: Arc<[RecordedEvent]> = journal.transcript().await?.into();
        let job = current(context, journal).await?;
        let workspace = recorded_workspace(context, &job, &transcript).await?;
        let found = match Transcript::new(&transcript).found_branch_head().cloned() {
            Some(commit) => Some(BranchHead { tree: workspace.tree_of(&commit).await?, commit }),
            None => None,
        };
        let unchanged = found.as_ref().filter(|head| head.tree == *verified.tree());
        let is_unchanged = unchanged.is_some();
        let (commit, method, waits_for_approval) = match unchanged {
            Some(head) => (head.commit.clone(), CommitMethod::Push, false),
            None => {
                let commit = make_commit(context, &job, &workspace, verified, &transcript).await?;
                let method = CommitMethod::choose(context, &workspace, &commit).await?;
                let approval = is_approval_required(context, &workspace, &job, &transcript).await?;
                (commit, method, approval)
            }
        };
        let patch = workspace.patch(verified.tree()).await?;
        let manifest = manifest_of(journal, &job, &workspace, &commit).await?;
        let signature = context.signer.as_ref().map(|signer| signer.sign(&manifest));
        let mut evidence = evidence_of(context, &job, &transcript)
            .with_patch(patch)
            .with_manifest(manifest.clone(), signature);
        evidence.notes.extend(note_on_moved_base(context, &workspace, &job.trigger.repository).await);
        evidence.notes.extend(method.note());
        Ok(Self {
            context,
            journal,
            verified,
            transcript,
            job,
            workspace,
            found,
            is_unchanged,
            commit,
            method,
            manifest,
            evidence,
            waits_for_approval,
        })
    }

    fn effect(&self, effect: JobEffect) -> String {
        effect.in_round_of(&self.transcript)
    }

    /// The branch's head, if the change is on it already.
    async fn published_head(&self) -> Result<Option<Sha>, Stop> {
        if self.waits_for_approval {
            return Ok(None);
        }
        match self.journal.begin_effect(&self.effect(JobEffect::Branch)).await? {
            EffectState::Done(reference) => reference
                .parse()
                .map(Some)
                .map_err(|_| Stop::Broken(format!("the ledger holds {reference:?} as a branch's commit"))),
            EffectState::InProgress => Ok(self.is_unchanged.then(|| self.commit.clone())),
        }
    }

    /// Checks everything that is about to be published for secrets.
    async fn check_for_secrets(&self) -> Result<ClearedCommit, Stop> {
        let new = draft_pr::render(&self.evidence, self.verified, self.workspace.base_branch());
        let mut found = scan_text("the pull request's title", &new.title);
        found.extend(scan_text("the pull request's text", &new.body));
        match self.workspace.clear(&self.job.branch(), &self.commit).await? {
            Ok(cleared) if found.is_empty() => Ok(cleared),
            Ok(_) => Err(contains_secret(found)),
            Err(in_commit) => Err(contains_secret(in_commit.into_iter().chain(found).collect())),
        }
    }

    /// Puts the commit on its branch. Gives its id there.
    async fn put_on_branch(&self, cleared: &ClearedCommit) -> Result<Sha, Stop> {
        let Self { context, journal, workspace, .. } = self;
        let position = branch_position(context, journal, &self.transcript, workspace, &self.commit).await?;
        let head = match position {
            BranchPosition::Published(head) => head,
            BranchPosition::Next => {
                let commit = BranchCommit {
                    at: &self.job.trigger.repository,
                    cleared,
                    tree: self.verified.tree(),
                    parent: self.found.as_ref().map(|head| &head.commit),
                };
                self.method
                    .publish(context, workspace, commit)
                    .await
                    .map_err(|stop| self.handed_over(stop, "the branch could not be created", None))?
            }
        };
        let published = TranscriptEvent::Published {
            kind: JobEffect::Branch.name().to_owned(),
            reference: head.to_string(),
        };
        journal.append(&[published]).await?;
        journal.finish_effect(&self.effect(JobEffect::Branch), head.as_str()).await?;
        Ok(head)
    }

    /// Opens the draft pull request for the branch's head, or updates it, and ends the job.
    async fn open_pull_request(self, head: Sha) -> Result<JobOutcome, Stop> {
        let manifest = self.saved_manifest(&head).await?;
        let signature = self.context.signer.as_ref().map(|signer| signer.sign(&manifest));
        let evidence = &self.evidence.clone().with_manifest(manifest, signature);
        let number = self.publish_pull_request(evidence).await.map_err(|stop| {
            self.handed_over(stop, "the pull request could not be opened", Some(self.job.branch()))
        })?;
        let Self { context, journal, verified, transcript, job, workspace, .. } = &self;
        let change = self.found.as_ref().filter(|_| !self.is_unchanged).map(|before| PublishedChange {
            head: &head,
            tree_before: &before.tree,
            tree_after: verified.tree(),
        });
        reply_in_threads(context, evidence, transcript, workspace, change).await?;
        let published = TranscriptEvent::Published {
            kind: JobEffect::PullRequest.name().to_owned(),
            reference: format!("#{number}"),
        };
        journal.append(&[published]).await?;
        // Without GitHub, the pull request has no number.
        let pull_request = (number.0 != 0).then_some(number);
        if let Some(number) = pull_request {
            let check = self.effect(JobEffect::Check);
            follow_up(context, journal, workspace, evidence, verified, (&head, &check), number).await?;
        }
        end(context, journal, JobOutcome::Proposed { pull_request, branch: job.branch(), head }).await
    }

    /// What was verified is not lost if GitHub refuses it for good: a person gets the change and the reason.
    fn handed_over(&self, stop: Stop, what: &str, branch: Option<String>) -> Stop {
        match stop {
            Stop::Broken(why) => {
                let (why, commit) = (format!("{what}: {why}"), self.commit.clone());
                Stop::Escalate(EscalationReason::NotPublished { why, commit, branch })
            }
            stop @ (Stop::Escalate(_)
            | Stop::Refuse(_)
            | Stop::Ignore(_)
            | Stop::Later { .. }
            | Stop::LeaseLost(_)) => stop,
        }
    }

    /// The manifest of the branch's head: as saved first, or made and saved now.
    async fn saved_manifest(&self, head: &Sha) -> Result<Sealed, Stop> {
        let manifest = match *head == self.commit {
            true => self.manifest.clone(),
            false => manifest_of(self.journal, &self.job, &self.workspace, head).await?,
        };
        let saved = self
            .journal
            .save_manifest(Transcript::new(&self.transcript).round_number(), &manifest.to_text())
            .await?;
        Sealed::parse(&saved).map_err(|error| Stop::Broken(error.to_string()))
    }

    async fn publish_pull_request(&self, evidence: &Evidence) -> Result<PullRequestNumber, Stop> {
        let effect = self.effect(JobEffect::PullRequest);
        match self.journal.begin_effect(&effect).await? {
            EffectState::Done(reference) => reference.parse().map(PullRequestNumber).map_err(|_| {
                Stop::Broken(format!("the ledger holds {reference:?} as a pull request's number"))
            }),
            EffectState::InProgress => {
                let github = self.context.github.as_ref();
                let base_branch = self.workspace.base_branch();
                let opened =
                    publish_proposal(github, &self.job, evidence, self.verified, base_branch).await?;
                self.journal.finish_effect(&effect, &opened.number.to_string()).await?;
                Ok(opened.number)
            }
        }
    }
}

/// The manifest of the proposal: the same one, however often it is made.
async fn manifest_of(
    journal: &Journal,
    job: &Job,
    workspace: &Workspace,
    head: &Sha,
) -> Result<Sealed, Stop> {
    let base_tree = workspace.base_tree().await?;
    let proposed = ProposedCommit { base_tree, branch: job.branch(), head: head.clone() };
    let manifest = build_manifest(job, &journal.transcript_text().await?, &proposed)
        .ok_or_else(|| Stop::Broken("the transcript has no verdict to make a manifest of".to_owned()))?;
    Ok(Sealed::new(manifest))
}

/// Makes the commit: by the App, dated by the verdict, so that it has the same id however often it is made.
async fn make_commit(
    context: &WorkerContext,
    job: &Job,
    workspace: &Workspace,
    verified: &Verified,
    transcript: &[RecordedEvent],
) -> Result<Sha, Stop> {
    let identity = context.github.app_identity().await?;
    let author = Author {
        name: format!("{}[bot]", identity.slug),
        email: format!("{}+{}[bot]@users.noreply.github.com", identity.bot_user_id, identity.slug),
    };
    let verified_at = Transcript::new(transcript).last_verdict().map_or(job.created_at, |verdict| verdict.at);
    let message = draft_pr::commit_message(&job.trigger, Transcript::new(transcript).round_number());
    let message = redact(&message);
    let parent = Transcript::new(transcript).found_branch_head().unwrap_or(workspace.base());
    Ok(workspace.commit(verified.tree(), parent, &author, &message, verified_at).await?)
}
