//! Carries out what people ask for in comments and reviews, and what failed checks ask for. Runs beside
//! the workers, so that a `stop` takes effect while all of them are busy. Each request is a row of the
//! store until it was carried out and answered: if the process dies in between, it is carried out again,
//! and finds what was done. One processor serves a store.
//!
//! Each installation has queues of its own, and permissions are checked before anything waits: neither another
//! installation nor people without write access can delay a command. A `stop` waits for no other command.

mod error;
mod events;
mod feedback;
mod permission;
mod reply;
mod review;
mod revision_limits;
mod serving_order;
mod slash;
mod strangers;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use self::error::{CommandError, Handled, Next};
use self::permission::Admission;
use self::serving_order::ServingOrder;
use self::slash::{Command, WAITING_MAX};
use self::strangers::Strangers;
use super::context::WorkerContext;
use super::runner::panic_message;
use crate::domain::{
    CommandRequest, InstallationId, Lane, QueuedRequest, RequestComment, ReviewKind, ReviewRequest,
};
use crate::publish::command_reply::{CommandReply, ReplyTarget};
use crate::store::{PendingRequest, StoreError};

/// How often it looks for a request without being woken.
const POLL: Duration = Duration::from_secs(5);
/// A request that could not be carried out for this long is given up and answered.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Requests of one installation that are taken from its queue together.
const BATCH_MAX: u32 = 32;
/// `stop` commands that are carried out at a time.
const STOPS_MAX: u32 = 256;
/// The same of strangers' requests.
const STRANGERS_BATCH_MAX: u32 = 4;
/// Permissions that are read from GitHub at a time for one installation.
const PERMISSION_CHECKS_MAX: usize = 8;

/// Carries requests out.
pub struct CommandProcessor {
    context: WorkerContext,
    /// Wakes it.
    request_queued: Arc<Notify>,
    strangers: Strangers,
}

impl CommandProcessor {
    /// A processor that `request_queued` wakes.
    pub fn new(context: WorkerContext, request_queued: Arc<Notify>) -> Self {
        Self { context, request_queued, strangers: Strangers::default() }
    }

    /// Works until `shutdown`.
    pub async fn run(&self, shutdown: &CancellationToken) {
        let woken = [Notify::new(), Notify::new(), Notify::new()];
        let [stops, normal, strangers] = &woken;
        tokio::select! {
            () = self.serve_stops(stops) => {}
            () = self.serve_all(Lane::Normal, normal) => {}
            () = self.serve_all(Lane::Stranger, strangers) => {}
            () = self.wake_lanes(&woken) => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Wakes every lane when a request was recorded.
    async fn wake_lanes(&self, lanes: &[Notify]) {
        loop {
            self.request_queued.notified().await;
            lanes.iter().for_each(Notify::notify_one);
        }
    }

    /// Serves the installations side by side, each of them one batch at a time.
    async fn serve_all(&self, lane: Lane, woken: &Notify) {
        let mut order = ServingOrder::default();
        let mut serving = FuturesUnordered::new();
        loop {
            // Registered before the look, so that a request that is recorded in between wakes us.
            let woken = woken.notified();
            match self.due_installations(lane).await {
                Ok(due) => {
                    let next = order.begin(due);
                    serving.extend(next.into_iter().map(|installation| self.serve(installation, lane)));
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

    /// The installations with a request that is due. Strangers' requests wait until nobody else's are due.
    async fn due_installations(&self, lane: Lane) -> Result<Vec<InstallationId>, StoreError> {
        let store = &self.context.store;
        let mut due = store.installations_with_pending_requests(lane, self.now()).await?;
        match lane {
            Lane::Stop | Lane::Normal => {}
            Lane::Stranger => {
                let busy = store.installations_with_pending_requests(Lane::Normal, self.now()).await?;
                due.retain(|installation| !busy.contains(installation));
            }
        }
        Ok(due)
    }

    /// Serves one batch of an installation's queue.
    async fn serve(&self, installation: InstallationId, lane: Lane) -> InstallationId {
        let served = match lane {
            Lane::Stop | Lane::Normal => self.serve_batch(installation, lane, BATCH_MAX).await,
            Lane::Stranger => self.serve_batch(installation, lane, STRANGERS_BATCH_MAX).await,
        };
        if let Err(error) = served {
            error!(%error, %installation, "commands not carried out");
            tokio::time::sleep(POLL).await;
        }
        installation
    }

    /// Carries `stop` commands out side by side, each as soon as it is recorded: the reply to one, which may wait for
    /// its turn among all writes, delays no other.
    async fn serve_stops(&self, woken: &Notify) {
        let mut in_progress = BTreeSet::new();
        let mut serving = FuturesUnordered::new();
        loop {
            let woken = woken.notified();
            match self.due_stops().await {
                Ok(due) => {
                    for pending in due {
                        if in_progress.len() < STOPS_MAX as usize && in_progress.insert(pending.id.clone()) {
                            serving.push(self.serve_stop(pending));
                        }
                    }
                }
                Err(error) => error!(%error, "no command could be read"),
            }
            tokio::select! {
                Some(id) = serving.next() => drop(in_progress.remove(&id)),
                () = woken => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    async fn due_stops(&self) -> Result<Vec<PendingRequest>, StoreError> {
        let store = &self.context.store;
        let mut due = Vec::new();
        for installation in store.installations_with_pending_requests(Lane::Stop, self.now()).await? {
            due.extend(store.pending_requests(installation, Lane::Stop, self.now(), STOPS_MAX).await?);
        }
        Ok(due)
    }

    async fn serve_stop(&self, pending: PendingRequest) -> String {
        let admission = catch_panic(self.admit(&pending)).await;
        if let Err(error) = self.serve_one(&pending, admission, &AtomicBool::new(false)).await {
            error!(%error, "command not carried out");
            tokio::time::sleep(POLL).await;
        }
        pending.id
    }

    async fn serve_batch(
        &self,
        installation: InstallationId,
        lane: Lane,
        limit: u32,
    ) -> Result<(), StoreError> {
        let pending = self.context.store.pending_requests(installation, lane, self.now(), limit).await?;
        let checks_max = if lane == Lane::Stranger { 1 } else { PERMISSION_CHECKS_MAX };
        let admitted: Vec<_> = stream::iter(pending)
            .map(|pending| async move {
                let admission = catch_panic(self.admit(&pending)).await;
                (pending, admission)
            })
            .buffered(checks_max)
            .collect()
            .await;
        let has_answered_one = AtomicBool::new(false);
        for (pending, admission) in admitted {
            self.serve_one(&pending, admission, &has_answered_one).await?;
        }
        Ok(())
    }

    /// Admits a request, or does not. A stranger who was refused lately is refused again without a question.
    async fn admit(&self, pending: &PendingRequest) -> Result<Admission, CommandError> {
        let stranger = pending.request.comment().filter(|comment| comment.by_stranger);
        if stranger.is_some_and(|comment| self.strangers.is_refused(comment, self.now())) {
            return Ok(Admission::Refused);
        }
        let admission = self.read_permission(pending).await?;
        if let (Admission::Refused, Some(comment)) = (&admission, stranger) {
            self.strangers.refuse(comment, self.now());
        }
        Ok(admission)
    }

    /// Admits a request by the permission that its author has on GitHub now.
    async fn read_permission(&self, pending: &PendingRequest) -> Result<Admission, CommandError> {
        let context = &self.context;
        match &pending.request {
            _ if pending.is_refused => Ok(Admission::Refused),
            QueuedRequest::Command(request) => permission::of_command(context, &request.comment).await,
            QueuedRequest::Review(request) => permission::of_review(context, &request.comment).await,
            QueuedRequest::Event(request) => match events::handler(request) {
                Some(handler) => handler.admit(context, request).await,
                None => Ok(Admission::Handled(Handled::Done("unreadable"))),
            },
        }
    }

    async fn serve_one(
        &self,
        pending: &PendingRequest,
        admission: Result<Admission, CommandError>,
        has_answered_one: &AtomicBool,
    ) -> Result<(), StoreError> {
        let repo = &pending.request.repository().name;
        let span = info_span!("command", id = pending.id, %repo);
        let served = async {
            match admission {
                Ok(Admission::Admitted) if self.is_withdrawn(pending).await? => Ok(()),
                Ok(Admission::Admitted) => {
                    self.end(pending, catch_panic(self.carry_out(pending)).await).await
                }
                Ok(Admission::Refused) if self.is_refusal_answered(pending) => {
                    self.end(pending, Ok(Handled::Done("refused"))).await
                }
                Ok(Admission::Refused) if !pending.is_refused => {
                    self.context.store.refuse_request(&pending.id).await
                }
                // Telling people that they may not takes its turn among all writes, and people may be
                // many: after each of them, the queue is read again.
                Ok(Admission::Refused) if has_answered_one.swap(true, Ordering::Relaxed) => Ok(()),
                Ok(Admission::Refused) => {
                    self.end(pending, catch_panic(self.tell_refused(pending)).await).await
                }
                Ok(Admission::Handled(handled)) => self.end(pending, Ok(handled)).await,
                Err(error) => self.end(pending, Err(error)).await,
            }
        };
        served.instrument(span).await
    }

    /// Whether a `stop` withdrew the request after it was taken from its queue.
    async fn is_withdrawn(&self, pending: &PendingRequest) -> Result<bool, StoreError> {
        let (installation, lane) = (pending.request.repository().installation, pending.request.lane());
        let store = &self.context.store;
        let waiting = store.pending_requests(installation, lane, Timestamp::MAX, WAITING_MAX).await?;
        let is_whole = waiting.len() < WAITING_MAX as usize;
        Ok(is_whole && !waiting.iter().any(|waiting| waiting.id == pending.id))
    }

    /// Whether it was said on the issue already that commands need write access.
    fn is_refusal_answered(&self, pending: &PendingRequest) -> bool {
        pending.request.comment().is_some_and(|comment| self.strangers.is_answered(comment))
    }

    /// Carries an admitted request out. The 👀 on its comment does not wait for the reply, which may have to
    /// wait for its turn.
    async fn carry_out(&self, pending: &PendingRequest) -> Result<Handled, CommandError> {
        let id = &pending.id;
        let restored;
        let request = match pending.request.comment().is_some_and(|comment| comment.by_stranger) {
            true => {
                restored = strangers::with_texts(&self.context, &pending.request).await?;
                &restored
            }
            false => &pending.request,
        };
        match request {
            QueuedRequest::Command(request) => {
                let handled = self.handle_command(id, request);
                tokio::join!(handled, self.acknowledge(&request.comment)).0.map(Handled::Done)
            }
            QueuedRequest::Review(request) => {
                let handled = review::handle(&self.context, id, request);
                match request.kind {
                    ReviewKind::Comment => tokio::join!(handled, self.acknowledge(&request.comment)).0,
                    ReviewKind::Review | ReviewKind::ReviewComment => handled.await,
                }
            }
            QueuedRequest::Event(request) => match events::handler(request) {
                Some(handler) => handler.carry_out(&self.context, id, request).await,
                None => Ok(Handled::Done("unreadable")),
            },
        }
    }

    async fn handle_command(&self, id: &str, request: &CommandRequest) -> Result<&'static str, CommandError> {
        let comment = &request.comment;
        let Some(command) = Command::find_target(&self.context, id, request).await? else {
            reply::send(&self.context, comment, ReplyTarget::Comment(comment.id), &CommandReply::NotOurs)
                .await?;
            return Ok("not ours");
        };
        command.carry_out(&request.command).await
    }

    /// Answers somebody without write access that only people with it can give commands. Once on each issue.
    async fn tell_refused(&self, pending: &PendingRequest) -> Result<Handled, CommandError> {
        if let Some(comment) = pending.request.comment()
            && let Some(why) = permission::refusal(comment)
        {
            if !self.strangers.begin_answer(comment) {
                return Ok(Handled::Done("refused"));
            }
            let target = ReplyTarget::Refused(&comment.by);
            let sent = reply::send(&self.context, comment, target, &CommandReply::Refused(&why)).await;
            sent.inspect_err(|_| self.strangers.forget_answer(comment))?;
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
        let bots = &self.context.policy.rules.bots_allowed;
        let comment = pending.request.comment().filter(|comment| !permission::is_unlisted_bot(comment, bots));
        if let Some(comment) = comment {
            let target = ReplyTarget::Comment(comment.id);
            let reply = CommandReply::Failed(why);
            match catch_panic(reply::send(&self.context, comment, target, &reply)).await {
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
        match &pending.request {
            QueuedRequest::Command(CommandRequest { command, comment }) => {
                info!(number = %comment.number, by = %comment.by, ?command, result, "command completed");
            }
            QueuedRequest::Review(ReviewRequest { kind, comment }) => {
                info!(number = %comment.number, by = %comment.by, ?kind, result, "review request completed");
            }
            QueuedRequest::Event(request) => {
                if let Some(handler) = events::handler(request) {
                    handler.log(request, result);
                }
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

/// A panic fails the request that it happened at, and no other.
async fn catch_panic<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done,
        Err(panic) => Err(CommandError::Defect(panic_message(panic.as_ref()))),
    }
}
