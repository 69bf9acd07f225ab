//! What a delivery asks for: to start or stop work, or something that waits in a queue until it was
//! carried out and answered. Whether its author may ask for it is decided when it is carried out.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    CommentId, DeliveryId, IssueNumber, IssueSnapshot, Login, PullRequestNumber, RepositoryRef, Sha,
    SlashCommand, Trigger,
};

mod stored;

use stored::{StoredRequest, StoredSource};

/// A verified webhook, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// GitHub's id of the delivery; a redelivery has the same.
    pub id: DeliveryId,
    /// `X-GitHub-Event`
    pub event: String,
    /// The payload's `action`.
    pub action: Option<String>,
    /// SHA-256 of the raw body, in hexadecimal.
    pub payload_sha256: String,
    /// What it asks for, if anything.
    pub request: Option<DeliveryRequest>,
}

/// What a delivery asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryRequest {
    /// Work on an issue.
    Start(Trigger),
    /// Carry out a command, a review or the repair of a failed check, in the order of arrival.
    #[serde(rename = "ask")]
    Queue(QueuedRequest),
    /// Stop working on an issue.
    Cancel {
        /// The repository.
        repository: RepositoryRef,
        /// The issue.
        issue: IssueNumber,
        /// The reason, as it is published.
        why: String,
        /// When it was asked for, by GitHub's clock: a job for a later label continues.
        #[serde(default)]
        at: Option<Timestamp>,
    },
    /// Stop working on a branch.
    CancelBranch {
        /// The repository.
        repository: RepositoryRef,
        /// The branch; a job of another branch continues.
        branch: String,
        /// The reason, as it is published.
        why: String,
        /// When it was asked for, by GitHub's clock.
        #[serde(default)]
        at: Option<Timestamp>,
    },
}

impl DeliveryRequest {
    /// The repository that it is about.
    pub fn repository(&self) -> &RepositoryRef {
        match self {
            Self::Start(trigger) => &trigger.repository,
            Self::Queue(request) => request.repository(),
            Self::Cancel { repository, .. } | Self::CancelBranch { repository, .. } => repository,
        }
    }

    /// Whether it makes the service work or reply. To stop is always allowed.
    pub fn requests_work(&self) -> bool {
        match self {
            Self::Start(_) | Self::Queue(_) => true,
            Self::Cancel { .. } | Self::CancelBranch { .. } => false,
        }
    }
}

/// A request that waits in the store until it was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "StoredRequest", try_from = "StoredRequest")]
pub enum QueuedRequest {
    /// A slash command in a comment.
    Command(CommandRequest),
    /// A review, or a comment that mentions us, asks for changes in a pull request.
    Review(ReviewRequest),
    /// An event asks by itself, without a comment.
    Event(EventRequest),
}

/// A comment or a review, and its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestComment {
    /// The repository.
    pub repository: RepositoryRef,
    /// The issue or pull request that it was written on.
    pub number: IssueNumber,
    /// Whether that is a pull request.
    pub is_pull_request: bool,
    /// The title and text of that issue when the comment was written.
    pub issue: IssueSnapshot,
    /// The author.
    pub by: Login,
    /// GitHub's id of the author.
    pub by_id: u64,
    /// Whether GitHub says that the author is a bot.
    pub by_is_bot: bool,
    /// Whether GitHub's signed payload does not name the author as an owner, a member or a collaborator. A member who
    /// hides that membership is not named either.
    pub by_stranger: bool,
    /// The comment, or the review.
    pub id: CommentId,
    /// Its text.
    pub body: String,
    /// When it was written, by GitHub's clock, if the payload says so.
    pub at: Option<Timestamp>,
}

/// A slash command, and the comment that it was given in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRequest {
    /// The command.
    pub command: SlashCommand,
    /// The comment.
    pub comment: RequestComment,
}

/// Changes that are requested in a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewRequest {
    /// How they were requested.
    pub kind: ReviewKind,
    /// The comment or review.
    pub comment: RequestComment,
}

/// How changes are requested. GitHub numbers each kind by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewKind {
    /// By a comment below the pull request.
    Comment,
    /// By a review as a whole.
    Review,
    /// By a comment at a line.
    ReviewComment,
}

/// What an event asks for by itself: whether and how it is carried out is up to the handler of its task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRequest {
    /// The repository.
    pub repository: RepositoryRef,
    /// The account that GitHub names as the sender.
    pub by: Login,
    /// GitHub's id of that account.
    pub by_id: u64,
    /// Whether GitHub says that the sender is a bot.
    pub by_is_bot: bool,
    /// The name of the task, see [`EventTask::NAME`].
    pub task: String,
    /// GitHub's id of what the event is about: it asks for a task once.
    pub id: u64,
    data: Value,
}

/// The task of an event: everything that its handler needs. It is stored, so new fields have a default.
pub trait EventTask: Serialize + DeserializeOwned {
    /// Its name in the store, which never changes.
    const NAME: &'static str;
}

impl EventRequest {
    /// The request for `task`, made by the `sender` of an event about what has this `id`.
    pub fn new<T: EventTask>(
        repository: RepositoryRef,
        (by, by_id, by_is_bot): (Login, u64, bool),
        id: u64,
        task: &T,
    ) -> Self {
        let data = serde_json::to_value(task).expect("a task has only string keys");
        Self { repository, by, by_id, by_is_bot, task: T::NAME.to_owned(), id, data }
    }

    /// The task. The error is a text: a newer version stored it, or it is damaged.
    pub fn read<T: EventTask>(&self) -> Result<T, String> {
        match self.task == T::NAME {
            true => serde_json::from_value(self.data.clone()).map_err(|error| error.to_string()),
            false => Err(format!("it is the task {:?} and not {:?}", self.task, T::NAME)),
        }
    }
}

/// A check run of another App that failed. Nobody asked for anything: whether it counts is decided by the
/// repository's configuration. The id of its request is the check run's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFailure {
    /// The pull request whose head was checked.
    pub pull_request: PullRequestNumber,
    /// The check's name.
    pub name: String,
    /// The commit that was checked.
    pub head: Sha,
}

impl EventTask for CheckFailure {
    const NAME: &'static str = "check_run";
}

/// The queues of an installation. None of them delays another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Commands that go before others, as to stop a job.
    Stop,
    /// Everything else.
    Normal,
    /// What people ask for who are not known to belong to the repository.
    Stranger,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stop, Self::Normal, Self::Stranger];
}

/// Longest text of a stranger's review that is stored.
const STRANGER_REVIEW_CHARS_MAX: usize = 4_000;

impl QueuedRequest {
    /// The queue that it waits in.
    pub fn lane(&self) -> Lane {
        match self {
            _ if self.comment().is_some_and(|comment| comment.by_stranger) => Lane::Stranger,
            Self::Command(request) if request.command.is_urgent() => Lane::Stop,
            Self::Command(_) | Self::Review(_) | Self::Event(_) => Lane::Normal,
        }
    }

    /// The request without a stranger's texts: they are read again if it turns out that the author has write access.
    /// A review cannot be read again, so the beginning of its text stays.
    #[must_use]
    pub fn without_texts_of_strangers(mut self) -> Self {
        let comment = match &mut self {
            Self::Command(CommandRequest { comment, .. }) if comment.by_stranger => {
                comment.body.clear();
                comment
            }
            Self::Review(ReviewRequest { kind, comment }) if comment.by_stranger => {
                match kind {
                    ReviewKind::Comment => comment.body.clear(),
                    ReviewKind::Review | ReviewKind::ReviewComment => {
                        comment.body = comment.body.chars().take(STRANGER_REVIEW_CHARS_MAX).collect();
                    }
                }
                comment
            }
            Self::Command(_) | Self::Review(_) | Self::Event(_) => return self,
        };
        comment.issue.title.clear();
        comment.issue.body.clear();
        comment.issue.labels.clear();
        self
    }

    /// The comment or review that it was made in. An event has none.
    pub fn comment(&self) -> Option<&RequestComment> {
        match self {
            Self::Command(CommandRequest { comment, .. }) | Self::Review(ReviewRequest { comment, .. }) => {
                Some(comment)
            }
            Self::Event(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn comment_mut(&mut self) -> Option<&mut RequestComment> {
        match self {
            Self::Command(CommandRequest { comment, .. }) | Self::Review(ReviewRequest { comment, .. }) => {
                Some(comment)
            }
            Self::Event(_) => None,
        }
    }

    /// The repository that it is about.
    pub fn repository(&self) -> &RepositoryRef {
        match self {
            Self::Command(CommandRequest { comment, .. }) | Self::Review(ReviewRequest { comment, .. }) => {
                &comment.repository
            }
            Self::Event(request) => &request.repository,
        }
    }

    /// What it came in, by the store's name for it, and GitHub's id of that. A request is recorded once
    /// for each, however often GitHub sends it.
    pub fn source(&self) -> (&str, u64) {
        match self {
            Self::Command(request) => (StoredSource::Comment.name(), request.comment.id.0),
            Self::Review(request) => (StoredSource::from(request.kind).name(), request.comment.id.0),
            Self::Event(request) => (&request.task, request.id),
        }
    }
}
