//! From what reviewers wrote to a round of changes: whose words count, what belongs together, and
//! whether there may be another round.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{REPOSITORY_FILE, RepositoryFile};
use crate::domain::{
    CommandRequest, Feedback, FeedbackLocation, Job, JobOutcome, Login, PullRequestNumber, RepositoryRef,
    RequestSource, ResumeReason, Transcript, TranscriptEvent, authorize,
};
use crate::github::ReviewComment;
use crate::publish::command_reply::{CommandReply, ReplyTarget};
use crate::store::ResumeOutcome;

use super::{CommandError, CommandProcessor, Done};

/// How long a review waits before it is looked whether the round before it has ended.
pub(super) const ROUND_PAUSE: Duration = Duration::from_secs(5);
/// Of one remark, in characters.
const REMARK_CHARS_MAX: usize = 20_000;
/// Remarks of one round.
const REMARKS_MAX: usize = 50;

impl CommandProcessor {
    /// Makes a round of what reviewers ask for in the pull request that `job` opened: this and all else
    /// that waits. While the job is at work, it waits.
    pub(super) async fn revise(&self, ask: &CommandRequest, job: &Job) -> Result<Done, CommandError> {
        let number = PullRequestNumber(ask.number.0);
        let to = ReplyTarget::Comment(ask.comment);
        let newest = self.parts.store.latest_job(ask.repository.id, job.trigger.issue.number).await?;
        if newest.is_some_and(|newest| newest.id != job.id) {
            self.answer(ask, to, &CommandReply::Superseded).await?;
            return Ok(Done::With("superseded"));
        }
        if let Some(why) = self.no_round(job, number).await? {
            self.answer(ask, to, &CommandReply::Refused(&why)).await?;
            return Ok(Done::With("refused"));
        }
        let events = self.parts.store.transcript(job.id).await?;
        let transcript = Transcript::new(&events);
        if transcript.reviewed_rounds() >= self.parts.policy.rounds_max {
            self.answer(ask, to, &CommandReply::RoundsUsedUp(self.parts.policy.rounds_max)).await?;
            return Ok(Done::With("rounds used up"));
        }
        let waiting = self.parts.store.pending_revisions(ask.repository.id, number).await?;
        let mut people = People { clerk: self, at: &ask.repository, known: BTreeMap::new() };
        let mut counted = Vec::new();
        for (id, ask) in waiting.iter().filter(|(_, ask)| ask.said_in != RequestSource::CheckRun) {
            if people.may(&ask.by, ask.by_is_bot).await? {
                counted.push((id.as_str(), ask));
            }
        }
        let comments = self.parts.github.review_comments(&ask.repository, number).await?;
        let asks: Vec<&CommandRequest> = counted.iter().map(|(_, ask)| *ask).collect();
        let feedback = people.feedback(&asks, &comments).await?;
        if feedback.is_empty() {
            self.answer(ask, to, &CommandReply::NothingAsked).await?;
            return Ok(Done::With("nothing asked"));
        }
        let resumed = TranscriptEvent::Resumed {
            by: ask.by.clone(),
            by_is_bot: ask.by_is_bot,
            why: ResumeReason::Reviewed { pull_request: number, feedback },
        };
        // Said done together with the round that they make, or the round would be made twice.
        let ids: Vec<&str> = counted.iter().map(|(id, _)| *id).collect();
        match self.parts.store.resume(job.id, resumed, &ids, self.now()).await? {
            ResumeOutcome::Resumed => {
                self.parts.wake.notify_one();
                Ok(Done::With("a round"))
            }
            ResumeOutcome::Conflict => Ok(Done::Later(ROUND_PAUSE)),
            // Held: it goes out, or is stopped, first.
            ResumeOutcome::NotResumable => {
                self.answer(ask, to, &CommandReply::StillHeld).await?;
                Ok(Done::With("held"))
            }
        }
    }
}

impl CommandProcessor {
    /// Makes a round of checks that failed on what `job` proposed, where its base branch wants that. Says
    /// nothing where it does not, or where the branch has gone on: nobody asked.
    pub(super) async fn mend_checks(
        &self,
        id: &str,
        ask: &CommandRequest,
        job: &Job,
    ) -> Result<Done, CommandError> {
        let number = PullRequestNumber(ask.number.0);
        let newest = self.parts.store.latest_job(ask.repository.id, job.trigger.issue.number).await?;
        if newest.is_some_and(|newest| newest.id != job.id) {
            return Ok(Done::With("superseded"));
        }
        let Some(JobOutcome::Proposed { head, .. }) = &job.outcome else {
            return Ok(Done::With("not proposed"));
        };
        if head.as_str() != ask.body {
            return Ok(Done::With("of another commit"));
        }
        let events = self.parts.store.transcript(job.id).await?;
        let transcript = Transcript::new(&events);
        if !self.wants_checks_mended(job, transcript).await {
            return Ok(Done::With("not wanted"));
        }
        if transcript.reviewed_rounds() >= self.parts.policy.rounds_max {
            return Ok(Done::With("rounds used up"));
        }
        if self.no_round(job, number).await?.is_some() {
            return Ok(Done::With("closed"));
        }
        let checks = self.parts.github.failed_checks(&ask.repository, head).await?;
        if checks.is_empty() {
            return Ok(Done::With("passed since"));
        }
        let resumed = TranscriptEvent::Resumed {
            // Whoever asked for the work; their permission is looked at again.
            by: job.trigger.labeller.clone(),
            by_is_bot: job.trigger.labeller_is_bot,
            why: ResumeReason::ChecksFailed { pull_request: number, head: head.clone(), checks },
        };
        match self.parts.store.resume(job.id, resumed, &[id], self.now()).await? {
            ResumeOutcome::Resumed => {
                self.parts.wake.notify_one();
                Ok(Done::With("a round"))
            }
            ResumeOutcome::Conflict => Ok(Done::Later(ROUND_PAUSE)),
            ResumeOutcome::NotResumable => Ok(Done::With("held")),
        }
    }

    /// Why there can be no further round, whatever is asked for: better found before the job is taken up,
    /// whose end would be lost for nothing.
    async fn no_round(&self, job: &Job, number: PullRequestNumber) -> Result<Option<String>, CommandError> {
        let (github, at) = (&self.parts.github, &job.trigger.repository);
        let open = github.find_pull_request(at, &job.branch()).await?;
        if open.is_none_or(|open| open.number != number) {
            return Ok(Some("the pull request is closed".to_owned()));
        }
        let issue = github.issue(at, job.trigger.issue.number).await?;
        Ok(match (issue.open, issue.locked) {
            (false, _) => Some(format!("the issue #{} is closed", job.trigger.issue.number)),
            (true, true) => Some(format!("the issue #{} is locked", job.trigger.issue.number)),
            (true, false) => None,
        })
    }

    /// What the base that the job works on says. What cannot be read is no consent.
    async fn wants_checks_mended(&self, job: &Job, transcript: Transcript<'_>) -> bool {
        let Some(base) = transcript.base() else { return false };
        let opened =
            self.parts.mirrors.reopen(job.trigger.repository.id, base.commit.clone(), base.branch).await;
        let file = match opened {
            Ok(workspace) => workspace.base_file(REPOSITORY_FILE).await.ok().flatten(),
            Err(_) => None,
        };
        let file = file.map(|bytes| RepositoryFile::parse(&String::from_utf8_lossy(&bytes)));
        file.is_some_and(|file| file.is_ok_and(|file| file.revises_on_failed_checks))
    }
}

/// Who may write, asked once each.
struct People<'a> {
    clerk: &'a CommandProcessor,
    at: &'a RepositoryRef,
    known: BTreeMap<String, bool>,
}

impl People<'_> {
    async fn may(&mut self, login: &Login, is_bot: bool) -> Result<bool, CommandError> {
        if let Some(known) = self.known.get(login.as_str()) {
            return Ok(*known);
        }
        let parts = &self.clerk.parts;
        let permission = parts.github.permission(self.at, login).await?;
        let may = authorize(permission, login, is_bot, &parts.policy.bots_allowed).is_ok();
        self.known.insert(login.as_str().to_owned(), may);
        Ok(may)
    }

    /// What `asks` ask for: the words of reviews and comments, and the threads that they stand in or that
    /// came with them, each once.
    async fn feedback(
        &mut self,
        asks: &[&CommandRequest],
        comments: &[ReviewComment],
    ) -> Result<Vec<Feedback>, CommandError> {
        let mut feedback = Vec::new();
        let mut threads = Vec::new();
        for ask in asks {
            let id = ask.comment.0;
            match ask.said_in {
                RequestSource::Comment | RequestSource::Review if !ask.body.trim().is_empty() => feedback
                    .push(Feedback {
                        place: FeedbackLocation::PullRequest { id },
                        by: ask.by.clone(),
                        text: ask.body.chars().take(REMARK_CHARS_MAX).collect(),
                    }),
                RequestSource::Comment
                | RequestSource::Review
                | RequestSource::ReviewComment
                | RequestSource::CheckRun => {}
            }
            let belongs = |comment: &&ReviewComment| match ask.said_in {
                RequestSource::Comment | RequestSource::CheckRun => false,
                RequestSource::Review => comment.review == Some(id),
                RequestSource::ReviewComment => comment.id == ask.comment,
            };
            threads.extend(comments.iter().filter(belongs).map(|comment| (comment.thread(), &ask.by)));
        }
        threads.sort_by_key(|(first, _)| *first);
        threads.dedup_by_key(|(first, _)| *first);
        for (first, by) in threads {
            let in_thread = || comments.iter().filter(|comment| comment.thread() == first);
            let Some(head) = in_thread().next() else { continue };
            let mut text = String::new();
            for comment in in_thread() {
                if comment.is_ours {
                    text += &format!(
                        "You answered: {}\n\n",
                        comment.body.lines().skip(1).collect::<Vec<_>>().join("\n")
                    );
                } else if self.may(&comment.by, comment.by_is_bot).await? {
                    text += &format!("@{}: {}\n\n", comment.by, comment.body);
                }
            }
            feedback.push(Feedback {
                place: FeedbackLocation::Thread {
                    first,
                    path: head.path.clone(),
                    line: head.line,
                    hunk: head.hunk.clone(),
                },
                by: by.clone(),
                text: text.trim_end().chars().take(REMARK_CHARS_MAX).collect(),
            });
        }
        feedback.truncate(REMARKS_MAX);
        Ok(feedback)
    }
}
