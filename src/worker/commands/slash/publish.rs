//! `/agent-fix publish`: approve a verified change that waits for approval.

use super::Command;
use crate::domain::JobState;
use crate::publish::command_reply::CommandReply;
use crate::worker::approval::{Approval, ApprovalComment, approve};
use crate::worker::commands::error::CommandError;
use crate::worker::context::WorkerContext;

impl Command<'_> {
    /// `commit`: the beginning of the id that the command names, if it names one.
    pub(super) async fn publish(&self, commit: Option<&str>) -> Result<&'static str, CommandError> {
        let WorkerContext { github, store, policy, clock, wake, .. } = self.context;
        let comment = self.comment;
        let issue = self.trigger.issue.number;
        let (by, by_is_bot, id, at) = (&comment.by, comment.by_is_bot, comment.id, comment.at);
        let approval = ApprovalComment { by, by_is_bot, id, at, commit };
        let (github, store) = (github.as_ref(), store.as_ref());
        let approval =
            approve(github, store, &comment.repository, issue, approval, &policy.rules.bots_allowed, clock())
                .await?;
        let is_publishing = self.newest.as_ref().is_some_and(|job| job.state == JobState::Publishing);
        let (reply, result) = match &approval {
            Approval::Approved(_) => (CommandReply::Released, "released"),
            // It may have been approved by this command, before the process died.
            Approval::NothingToApprove if is_publishing => (CommandReply::Released, "released"),
            Approval::NothingToApprove => (CommandReply::NothingHeld, "nothing held"),
            Approval::Outdated(waiting) => (CommandReply::ApprovalOutdated(waiting), "outdated"),
            Approval::OtherCommit(waiting) => (CommandReply::OtherCommitHeld(waiting), "another commit"),
            Approval::Refused(why) => (CommandReply::Refused(why), "refused"),
        };
        wake.notify_one();
        self.reply(&reply).await?;
        Ok(result)
    }
}
