//! `/agent-fix continue`: resume a job that was escalated, cancelled or failed. A job that never began, that
//! opened a pull request, or that waits for approval has other commands. If GitHub refused a verified change,
//! only publishing is tried again.

use super::Command;
use crate::domain::{
    BudgetExtension, EscalationReason, JobId, JobOutcome, RecordedEvent, ResumeReason, Transcript,
    TranscriptEvent,
};
use crate::publish::command_reply::CommandReply;
use crate::store::ResumeOutcome;
use crate::worker::commands::error::CommandError;

impl Command<'_> {
    pub(super) async fn continue_job(&self, grant: BudgetExtension) -> Result<&'static str, CommandError> {
        let store = &self.context.store;
        let Some(job) = &self.newest else {
            self.reply(&CommandReply::NoJob).await?;
            return Ok("no job");
        };
        let (reply, result) = match &job.outcome {
            None => (CommandReply::UnderWay, "under way already"),
            Some(JobOutcome::Held { .. }) => (CommandReply::StillHeld, "held"),
            Some(JobOutcome::Proposed { .. }) => (CommandReply::SayWhatToChange, "proposed"),
            Some(JobOutcome::Escalated { reason: EscalationReason::NotPublished { .. } }) => {
                self.reply(&CommandReply::PublicationRetried).await?;
                let (by, by_is_bot) = (self.comment.by.clone(), self.comment.by_is_bot);
                let retried = TranscriptEvent::PublicationRetried { by, by_is_bot };
                return resume(self, job.id, retried, "publication retried").await;
            }
            Some(JobOutcome::Escalated { .. } | JobOutcome::Cancelled { .. } | JobOutcome::Failed { .. }) => {
                if has_begun(&store.transcript(job.id).await?) {
                    // Replied first: resuming the job completes this command.
                    self.reply(&CommandReply::Continued).await?;
                    let comment = self.comment;
                    let resumed = TranscriptEvent::Resumed {
                        by: comment.by.clone(),
                        by_is_bot: comment.by_is_bot,
                        why: ResumeReason::Continued { grant, words: comment.body.clone() },
                    };
                    return resume(self, job.id, resumed, "continued").await;
                }
                (CommandReply::NothingToContinue, "nothing to continue")
            }
        };
        self.reply(&reply).await?;
        Ok(result)
    }
}

/// Resumes the job as `resumed` says, which completes the command.
async fn resume(
    command: &Command<'_>,
    job: JobId,
    resumed: TranscriptEvent,
    result: &'static str,
) -> Result<&'static str, CommandError> {
    let now = (command.context.clock)();
    let outcome = command.context.store.resume(job, resumed, &[command.id], now).await?;
    command.context.wake.notify_one();
    Ok(match outcome {
        ResumeOutcome::Resumed => result,
        ResumeOutcome::NotResumable | ResumeOutcome::Conflict => "resumed by somebody else",
    })
}

/// Whether the model answered at least once.
fn has_begun(transcript: &[RecordedEvent]) -> bool {
    Transcript::new(transcript).has_model_answer()
}
