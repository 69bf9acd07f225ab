//! Whether a request is carried out: by the permission that its author has on GitHub now.

use super::error::{CommandError, Handled};
use super::revision_limits::REVISION_PAUSE;
use crate::domain::{
    Login, Permission, PullRequestNumber, Refusal, RepositoryRef, RequestComment, authorize,
};
use crate::publish::command_refused;
use crate::worker::context::WorkerContext;

/// Whether a request is carried out.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is.
    Admitted,
    /// Its author may not make it.
    Refused,
    /// Nothing is to be done for it, or not yet.
    Handled(Handled),
}

/// Admits a command, or does not. Bots that the operator does not list get no answer.
pub(super) async fn of_command(
    context: &WorkerContext,
    comment: &RequestComment,
) -> Result<Admission, CommandError> {
    of_author(context, &comment.repository, &comment.by, comment.by_is_bot).await
}

/// Admits a review, or does not.
pub(super) async fn of_review(
    context: &WorkerContext,
    comment: &RequestComment,
) -> Result<Admission, CommandError> {
    let number = PullRequestNumber(comment.number.0);
    match context.store.job_of_pull_request(comment.repository.id, number).await? {
        // Other bots have pull requests, too, and are mentioned there.
        None => Ok(Admission::Handled(Handled::Done("not ours"))),
        // Before GitHub is asked anything: the job may take long.
        Some(job) if !job.state.is_final() => Ok(Admission::Handled(Handled::Wait(REVISION_PAUSE))),
        Some(_) => of_command(context, comment).await,
    }
}

/// Admits whoever has write access, and bots that the operator lists.
pub(super) async fn of_author(
    context: &WorkerContext,
    repository: &RepositoryRef,
    by: &Login,
    is_bot: bool,
) -> Result<Admission, CommandError> {
    let permission = context.github.permission(repository, by).await?;
    let bots = &context.policy.rules.bots_allowed;
    Ok(match authorize(permission, by, is_bot, bots) {
        Ok(()) => Admission::Admitted,
        Err(Refusal::BotNotAllowed) => Admission::Handled(Handled::Done("ignored: a bot that is not listed")),
        Err(Refusal::NoWriteAccess) => Admission::Refused,
    })
}

/// The reply to somebody without write access. A bot that is not listed gets none.
pub(super) fn refusal(comment: &RequestComment) -> Option<String> {
    match authorize(Permission::None, &comment.by, comment.by_is_bot, &[]) {
        Err(refusal @ Refusal::NoWriteAccess) => Some(command_refused(&comment.by, refusal)),
        Err(Refusal::BotNotAllowed) | Ok(()) => None,
    }
}

/// Whether the author is a bot that the operator does not list.
pub(super) fn is_unlisted_bot(comment: &RequestComment, bots_allowed: &[Login]) -> bool {
    authorize(Permission::Admin, &comment.by, comment.by_is_bot, bots_allowed) == Err(Refusal::BotNotAllowed)
}
