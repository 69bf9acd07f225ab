//! Carries out what people ask for in comments and reviews, and what failed checks ask for. Runs beside
//! the workers, so that a `stop` takes effect while all of them are busy. Each request is a row of the
//! store until it was carried out and answered: if the process dies in between, it is carried out again,
//! and finds what was done. One processor serves a store.
//!
//! Each installation has a queue of its own, and permissions are checked before anything waits: neither
//! another installation nor people without write access can delay a command.

mod command;
mod error;
mod explain;
mod failed_check;
mod feedback;
mod help;
mod permission;
mod publish;
mod reply;
mod resume;
mod retry;
mod review;
mod revision_limits;
mod serving_order;
mod start;
mod status;
mod stop;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use self::command::Command;
use self::error::{CommandError, Handled, Next};
use self::permission::Admission;
use self::serving_order::ServingOrder;
use super::context::WorkerContext;
use super::runner::panic_message;
use crate::domain::{
    CommandRequest, InstallationId, QueuedRequest, RequestComment, ReviewKind, ReviewRequest, SlashCommand,
};
use crate::publish::command_reply::{CommandReply, ReplyTarget};
use crate::store::{PendingRequest, StoreError};

/// How often it looks for a request without being woken.
const POLL: Duration = Duration::from_secs(5);
/// A request that could not be carried out for this long is given up and answered.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Requests of one installation that are taken from its queue together.
const BATCH_MAX: u32 = 32;
/// Permissions that are read from GitHub at a time for one installation.
const PERMISSION_CHECKS_MAX: usize = 8;

/// Carries requests out.
pub struct CommandProcessor {
    context: WorkerContext,
    /// Wakes it.
    request_queued: Arc<Notify>,
}

impl CommandProcessor {
    /// A processor that `request_queued` wakes.
    pub fn new(context: WorkerContext, request_queued: Arc<Notify>) -> Self {
        Self { context, request_queued }
    }

    /// Works until `shutdown`.
    pub async fn run(&self, shutdown: &CancellationToken) {
        tokio::select! {
            () = self.serve_all() => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Serves the installations side by side, each of them one batch at a time.
    async fn serve_all(&self) {
        let mut order = ServingOrder::default();
        let mut serving = FuturesUnordered::new();
        loop {
            // Registered before the look, so that a request that is recorded in between wakes us.
            let woken = self.request_queued.notified();
            match self.context.store.installations_with_pending_requests(self.now()).await {
                Ok(due) => {
                    serving.extend(order.begin(due).into_iter().map(|installation| self.serve(installation)));
                }
                Err(error) => error!(%error, "no command could be read"),
            }
            tokio::select! {
                Some(installation) = serving.next() => order.end(installation),
                () = woken => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Serves one batch of an installation's queue.
    async fn serve(&self, installation: InstallationId) -> InstallationId {
        if let Err(error) = self.serve_batch(installation).await {
            error!(%error, %installation, "commands not carried out");
            tokio::time::sleep(POLL).await;
        }
        installation
    }

    async fn serve_batch(&self, installation: InstallationId) -> Result<(), StoreError> {
        let store = &self.context.store;
        let pending = store.pending_requests(installation, self.now(), BATCH_MAX).await?;
        let admitted: Vec<_> = stream::iter(pending)
            .map(|pending| async move {
                let admission = caught(permission::admit(&self.context, &pending)).await;
                (pending, admission)
            })
            .buffered(PERMISSION_CHECKS_MAX)
            .collect()
            .await;
        let mut has_answered_one = false;
        for (pending, admission) in admitted {
            let pending = &pending;
            let repo = &pending.request.repository().name;
            let span = info_span!("command", id = pending.id, %repo);
            let served = async {
                match admission {
                    Ok(Admission::Admitted) => self.end(pending, caught(self.carry_out(pending)).await).await,
                    Ok(Admission::Refused) if !pending.is_refused => store.refuse_request(&pending.id).await,
                    // Telling people that they may not takes its turn among all writes, and people may be
                    // many: after each of them, the queue is read again.
                    Ok(Admission::Refused) if has_answered_one => Ok(()),
                    Ok(Admission::Refused) => {
                        has_answered_one = true;
                        self.end(pending, caught(self.tell_refused(pending)).await).await
                    }
                    Ok(Admission::Handled(handled)) => self.end(pending, Ok(handled)).await,
                    Err(error) => self.end(pending, Err(error)).await,
                }
            };
            served.instrument(span).await?;
        }
        Ok(())
    }

    /// Carries an admitted request out. The 👀 on its comment does not wait for the reply, which may have to
    /// wait for its turn.
    async fn carry_out(&self, pending: &PendingRequest) -> Result<Handled, CommandError> {
        let id = &pending.id;
        match &pending.request {
            QueuedRequest::Command(request) => {
                let handled = self.handle_command(id, request);
                tokio::join!(handled, self.acknowledge(&request.comment)).0.map(Handled::Done)
            }
            QueuedRequest::Review(request) => {
                let handled = review::handle(&self.context, request);
                match request.kind {
                    ReviewKind::Comment => tokio::join!(handled, self.acknowledge(&request.comment)).0,
                    ReviewKind::Review | ReviewKind::ReviewComment => handled.await,
                }
            }
            QueuedRequest::CheckFailed(check) => failed_check::handle(&self.context, id, check).await,
        }
    }

    async fn handle_command(&self, id: &str, request: &CommandRequest) -> Result<&'static str, CommandError> {
        let comment = &request.comment;
        let Some(command) = Command::find_target(&self.context, id, request).await? else {
            reply::send(&self.context, comment, ReplyTarget::Comment(comment.id), &CommandReply::NotOurs)
                .await?;
            return Ok("not ours");
        };
        match &request.command {
            SlashCommand::Start => start::handle(&command).await,
            SlashCommand::Retry => retry::handle(&command).await,
            SlashCommand::Stop => stop::handle(&command).await,
            SlashCommand::Status => status::handle(&command).await,
            SlashCommand::Explain => explain::handle(&command).await,
            SlashCommand::Continue { grant } => resume::handle(&command, *grant).await,
            SlashCommand::Publish => publish::handle(&command).await,
            SlashCommand::Help => help::handle(&command, None).await,
            SlashCommand::Unknown { word } => help::handle(&command, Some(word)).await,
        }
    }

    /// Tells somebody without write access, once on each issue.
    async fn tell_refused(&self, pending: &PendingRequest) -> Result<Handled, CommandError> {
        if let Some(comment) = comment_of(&pending.request)
            && let Some(why) = permission::refusal(comment)
        {
            let target = ReplyTarget::Refused(&comment.by);
            reply::send(&self.context, comment, target, &CommandReply::Refused(&why)).await?;
        }
        Ok(Handled::Done("refused"))
    }

    /// Reacts to the comment. Nothing depends on it.
    async fn acknowledge(&self, comment: &RequestComment) {
        if let Err(error) = self.context.github.react_to_comment(&comment.repository, comment.id).await {
            warn!(number = %comment.number, %error, "comment not acknowledged");
        }
    }

    /// Records the result of a request, or makes it due later. What fails for good is answered.
    async fn end(
        &self,
        pending: &PendingRequest,
        result: Result<Handled, CommandError>,
    ) -> Result<(), StoreError> {
        match (error::next(&result, self.is_expired(pending)), &result) {
            (Next::Complete(result), _) => self.complete(pending, result).await,
            (Next::Defer(pause), result) => {
                if let Err(error) = result {
                    warn!(%error, seconds = pause.as_secs(), "command deferred");
                }
                self.defer(pending, pause).await
            }
            (Next::Fail(why), result) => {
                match result {
                    Err(CommandError::Store(_) | CommandError::Defect(_)) => error!(why, "command failed"),
                    Err(CommandError::GitHub(_)) | Ok(_) => warn!(why, "command failed"),
                }
                self.fail(pending, &why).await
            }
        }
    }

    /// Answers a request that cannot be carried out. Nobody waits for an answer to a failed check, and bots
    /// get none, or two of them could talk to each other endlessly.
    async fn fail(&self, pending: &PendingRequest, why: &str) -> Result<(), StoreError> {
        let bots = &self.context.policy.bots_allowed;
        let comment =
            comment_of(&pending.request).filter(|comment| !permission::is_unlisted_bot(comment, bots));
        if let Some(comment) = comment {
            let target = ReplyTarget::Comment(comment.id);
            let reply = CommandReply::Failed(why);
            match caught(reply::send(&self.context, comment, target, &reply)).await {
                Ok(()) => {}
                Err(error) => match error.retry_after() {
                    // It is carried out again then, fails again, and is answered.
                    Some(pause) if !self.is_expired(pending) => return self.defer(pending, pause).await,
                    Some(_) | None => warn!(%error, "failed command not answered"),
                },
            }
        }
        self.complete(pending, "failed").await
    }

    async fn complete(&self, pending: &PendingRequest, result: &str) -> Result<(), StoreError> {
        let number = pending.request.number();
        match &pending.request {
            QueuedRequest::Command(CommandRequest { command, comment }) => {
                info!(%number, by = %comment.by, ?command, result, "command completed");
            }
            QueuedRequest::Review(ReviewRequest { kind, comment }) => {
                info!(%number, by = %comment.by, ?kind, result, "review request completed");
            }
            QueuedRequest::CheckFailed(check) => {
                info!(%number, check = check.name, result, "failed check completed");
            }
        }
        self.context.store.complete_request(&pending.id, result, self.now()).await
    }

    async fn defer(&self, pending: &PendingRequest, pause: Duration) -> Result<(), StoreError> {
        let until = self.now() + SignedDuration::try_from(pause).unwrap_or_default();
        self.context.store.defer_request(&pending.id, until).await
    }

    fn is_expired(&self, pending: &PendingRequest) -> bool {
        self.now().duration_since(pending.received_at) >= WAIT_MAX
    }

    fn now(&self) -> Timestamp {
        (self.context.clock)()
    }
}

/// The comment or review that a request was made in.
fn comment_of(request: &QueuedRequest) -> Option<&RequestComment> {
    match request {
        QueuedRequest::Command(CommandRequest { comment, .. })
        | QueuedRequest::Review(ReviewRequest { comment, .. }) => Some(comment),
        QueuedRequest::CheckFailed(_) => None,
    }
}

/// A panic fails the request that it happened at, and no other.
async fn caught<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done,
        Err(panic) => Err(CommandError::Defect(panic_message(panic.as_ref()))),
    }
}
