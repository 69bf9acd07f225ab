//! What events ask for by themselves, without a comment: a handler for each task. A task is a struct beside the reader
//! of its event in `src/webhook/event`, which is stored until its handler, a file here, has carried it out. (Only
//! `CheckFailure` is in `domain`, since rows of earlier versions are read into it.)
//!
//! ```ignore
//! /// A milestone was closed.
//! #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
//! pub struct MilestoneClosed {
//!     /// Its title.
//!     pub title: String,
//! }
//!
//! impl EventTask for MilestoneClosed {
//!     const NAME: &'static str = "milestone";
//! }
//!
//! pub(super) struct CloseMilestone;
//!
//! #[async_trait]
//! impl EventHandler for CloseMilestone {
//!     async fn carry_out(&self, context: &WorkerContext, _: &str, request: &EventRequest) -> Result<Handled, CommandError> {
//!         let MilestoneClosed { title } = read(request)?;
//!         // What is done with `context.store` and `context.github`. It can be carried out twice.
//!         Ok(Handled::Done("noted"))
//!     }
//!
//!     fn log(&self, request: &EventRequest, result: &str) {
//!         info!(id = request.id, result, "milestone closed");
//!     }
//! }
//! ```

use async_trait::async_trait;
use tracing::error;

mod failed_check;

use self::failed_check::FailedCheck;
use super::error::{CommandError, Handled};
use super::permission::{self, Admission};
use crate::domain::{CheckFailure, EventRequest, EventTask};
use crate::worker::context::WorkerContext;

/// The handler of each task, by the task's name.
const HANDLERS: &[(&str, &dyn EventHandler)] = &[(CheckFailure::NAME, &FailedCheck)];

/// Carries the tasks of one kind out.
#[async_trait]
pub(super) trait EventHandler: Sync {
    /// Whether the task is carried out: by default, if the sender of the event has write access, or is a bot that the
    /// operator lists. Nobody else gets an answer.
    async fn admit(
        &self,
        context: &WorkerContext,
        request: &EventRequest,
    ) -> Result<Admission, CommandError> {
        permission::of_author(context, &request.repository, &request.by, request.by_is_bot).await
    }

    /// Carries the task out, which [`read`] gives. `id` is the request's in the store: a job that is resumed
    /// completes it. If the process dies, it is carried out again. `context` has GitHub, the store, and what wakes the
    /// workers. The result is stored and logged.
    async fn carry_out(
        &self,
        context: &WorkerContext,
        id: &str,
        request: &EventRequest,
    ) -> Result<Handled, CommandError>;

    /// Logs that the request was completed with this result.
    fn log(&self, request: &EventRequest, result: &str);
}

/// The handler of a request. `None`: a newer version stored it.
pub(super) fn handler(request: &EventRequest) -> Option<&'static dyn EventHandler> {
    let found = HANDLERS.iter().find(|(task, _)| *task == request.task);
    if found.is_none() {
        error!(task = request.task, "command skipped: it cannot be read");
    }
    found.map(|(_, handler)| *handler)
}

/// The task of a request.
fn read<T: EventTask>(request: &EventRequest) -> Result<T, CommandError> {
    request.read().map_err(|why| CommandError::Defect(format!("the task {:?}: {why}", request.task)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{InstallationId, PullRequestNumber, RepositoryId, RepositoryRef};

    #[test]
    fn task_of_a_newer_version_has_no_handler() {
        let repository = RepositoryRef {
            installation: InstallationId(7),
            id: RepositoryId(70),
            name: "acme/rocket".parse().unwrap(),
        };
        let task = CheckFailure {
            pull_request: PullRequestNumber(9),
            name: "lint".to_owned(),
            head: "a".repeat(40).parse().unwrap(),
        };
        let mut request = EventRequest::new(repository, ("eve".parse().unwrap(), 5, true), 8, &task);
        assert!(handler(&request).is_some());
        request.task = "milestone".to_owned();
        assert!(handler(&request).is_none());
        let why = read::<CheckFailure>(&request).unwrap_err().to_string();
        assert!(why.contains("\"milestone\""), "{why}");
    }
}
