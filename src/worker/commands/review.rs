//! A review, or a comment that mentions us, asks for changes in a pull request: its job is resumed, with all
//! reviews that wait.

use super::error::{CommandError, Handled};
use super::feedback::FeedbackCollector;
use super::reply;
use super::revision_limits::{REVISION_PAUSE, are_rounds_used_up, is_superseded, reason_closed};
use crate::domain::{PullRequestNumber, ResumeReason, ReviewRequest, TranscriptEvent};
use crate::publish::command_reply::{CommandReply, ReplyTarget};
use crate::store::ResumeOutcome;
use crate::worker::context::WorkerContext;

/// Resumes the job that opened the pull request. While the job works, the review waits.
///
/// `own_id` is the request's id in the store. The text of a stranger's comment is not there, so it is taken from
/// `request`; other strangers' wait for their own turn.
pub(super) async fn handle(
    context: &WorkerContext,
    own_id: &str,
    request: &ReviewRequest,
) -> Result<Handled, CommandError> {
    let comment = &request.comment;
    let at = &comment.repository;
    let number = PullRequestNumber(comment.number.0);
    let reply = async |reply: &CommandReply<'_>| {
        reply::send(context, comment, ReplyTarget::Comment(comment.id), reply).await
    };
    let Some(job) = context.store.job_of_pull_request(at.id, number).await? else {
        return Ok(Handled::Done("not ours"));
    };
    if !job.state.is_final() {
        return Ok(Handled::Wait(REVISION_PAUSE));
    }
    if is_superseded(context, &job).await? {
        reply(&CommandReply::Superseded).await?;
        return Ok(Handled::Done("superseded"));
    }
    if let Some(why) = reason_closed(context, &job, number).await? {
        reply(&CommandReply::Refused(&why)).await?;
        return Ok(Handled::Done("refused"));
    }
    if are_rounds_used_up(context, &context.store.transcript(job.id).await?) {
        reply(&CommandReply::RoundsUsedUp(context.policy.rules.review_rounds_max)).await?;
        return Ok(Handled::Done("rounds used up"));
    }
    let mut collector = FeedbackCollector::new(context, at);
    let mut counted = Vec::new();
    for (id, stored) in context.store.pending_reviews(at.id, number).await? {
        let is_own = id == own_id;
        if stored.comment.by_stranger && !is_own {
            continue;
        }
        let request = if is_own { request.clone() } else { stored };
        if collector.may_write(&request.comment.by, request.comment.by_is_bot).await? {
            counted.push((id, request));
        }
    }
    let review_comments = context.github.review_comments(at, number).await?;
    let feedback = collector.collect(counted.iter().map(|(_, request)| request), &review_comments).await?;
    if feedback.is_empty() {
        reply(&CommandReply::NothingAsked).await?;
        return Ok(Handled::Done("nothing asked"));
    }
    let resumed = TranscriptEvent::Resumed {
        by: comment.by.clone(),
        by_is_bot: comment.by_is_bot,
        why: ResumeReason::Reviewed { pull_request: number, feedback },
    };
    // All requests that count are completed together with the round, or each would make a round of its own.
    let ids: Vec<&str> = counted.iter().map(|(id, _)| id.as_str()).collect();
    match context.store.resume(job.id, resumed, &ids, (context.clock)()).await? {
        ResumeOutcome::Resumed => {
            context.wake.notify_one();
            Ok(Handled::Done("a round"))
        }
        ResumeOutcome::Conflict => Ok(Handled::Wait(REVISION_PAUSE)),
        // The change waits for approval: it is approved or stopped first.
        ResumeOutcome::NotResumable => {
            reply(&CommandReply::StillHeld).await?;
            Ok(Handled::Done("held"))
        }
    }
}
