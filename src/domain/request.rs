//! What a delivery asks for: to start or stop work, or something that waits in a queue until it was
//! carried out and answered. Whether its author may ask for it is decided when it is carried out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    BudgetExtension, CommentId, DeliveryId, InvalidIdentity, IssueNumber, IssueSnapshot, Login,
    PullRequestNumber, RepositoryRef, Sha, SlashCommand, Trigger,
};

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
    /// A check failed on a branch of ours.
    CheckFailed(CheckFailure),
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

/// A check run of another App that failed. Nobody asked for anything: whether it counts is decided by the
/// repository's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFailure {
    /// The repository.
    pub repository: RepositoryRef,
    /// The pull request whose head was checked.
    pub pull_request: PullRequestNumber,
    /// GitHub's id of the check run.
    pub check_run: u64,
    /// The check's name.
    pub name: String,
    /// The commit that was checked.
    pub head: Sha,
    /// The account that GitHub names as the sender.
    pub by: Login,
    /// GitHub's id of that account.
    pub by_id: u64,
}

impl QueuedRequest {
    /// The repository that it is about.
    pub fn repository(&self) -> &RepositoryRef {
        match self {
            Self::Command(CommandRequest { comment, .. }) | Self::Review(ReviewRequest { comment, .. }) => {
                &comment.repository
            }
            Self::CheckFailed(check) => &check.repository,
        }
    }

    /// The issue or pull request that it is about.
    pub fn number(&self) -> IssueNumber {
        match self {
            Self::Command(CommandRequest { comment, .. }) | Self::Review(ReviewRequest { comment, .. }) => {
                comment.number
            }
            // Issues and pull requests share their numbers.
            Self::CheckFailed(check) => IssueNumber(check.pull_request.0),
        }
    }

    /// What it came in, by the store's name for it, and GitHub's id of that. A request is recorded once
    /// for each, however often GitHub sends it.
    pub fn source(&self) -> (&'static str, u64) {
        let (source, id) = match self {
            Self::Command(request) => (StoredSource::Comment, request.comment.id.0),
            Self::Review(request) => (request.kind.into(), request.comment.id.0),
            Self::CheckFailed(check) => (StoredSource::CheckRun, check.check_run),
        };
        (source.name(), id)
    }
}

/// The form in which requests are stored. Its names never change: rows of earlier versions are read, too.
#[derive(Serialize, Deserialize)]
struct StoredRequest {
    repository: RepositoryRef,
    number: IssueNumber,
    is_pull_request: bool,
    issue: IssueSnapshot,
    by: Login,
    by_id: u64,
    by_is_bot: bool,
    #[serde(default, rename = "said_in")]
    source: StoredSource,
    #[serde(rename = "comment")]
    id: CommentId,
    /// The text of a comment; of a check run, the commit.
    #[serde(default)]
    body: String,
    command: StoredCommand,
    at: Option<Timestamp>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredSource {
    #[default]
    Comment,
    Review,
    ReviewComment,
    CheckRun,
}

impl StoredSource {
    fn name(self) -> &'static str {
        match self {
            Self::Comment => "comment",
            Self::Review => "review",
            Self::ReviewComment => "review_comment",
            Self::CheckRun => "check_run",
        }
    }
}

impl From<ReviewKind> for StoredSource {
    fn from(kind: ReviewKind) -> Self {
        match kind {
            ReviewKind::Comment => Self::Comment,
            ReviewKind::Review => Self::Review,
            ReviewKind::ReviewComment => Self::ReviewComment,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredCommand {
    Start,
    Stop,
    Retry,
    Continue {
        grant: BudgetExtension,
    },
    /// Of reviews and check runs.
    Revise,
    Status,
    Explain,
    Publish,
    /// With a commit. Without one the name alone is stored, as it was before a commit could be named.
    PublishCommit {
        commit: String,
    },
    Help,
    Unknown {
        word: String,
    },
}

impl From<SlashCommand> for StoredCommand {
    fn from(command: SlashCommand) -> Self {
        match command {
            SlashCommand::Start => Self::Start,
            SlashCommand::Stop => Self::Stop,
            SlashCommand::Retry => Self::Retry,
            SlashCommand::Continue { grant } => Self::Continue { grant },
            SlashCommand::Status => Self::Status,
            SlashCommand::Explain => Self::Explain,
            SlashCommand::Publish { commit: None } => Self::Publish,
            SlashCommand::Publish { commit: Some(commit) } => Self::PublishCommit { commit },
            SlashCommand::Help => Self::Help,
            SlashCommand::Unknown { word } => Self::Unknown { word },
        }
    }
}

impl StoredCommand {
    /// The slash command; `None` for what is requested by a review or a check run.
    fn slash_command(self) -> Option<SlashCommand> {
        Some(match self {
            Self::Revise => return None,
            Self::Start => SlashCommand::Start,
            Self::Stop => SlashCommand::Stop,
            Self::Retry => SlashCommand::Retry,
            Self::Continue { grant } => SlashCommand::Continue { grant },
            Self::Status => SlashCommand::Status,
            Self::Explain => SlashCommand::Explain,
            Self::Publish => SlashCommand::Publish { commit: None },
            Self::PublishCommit { commit } => SlashCommand::Publish { commit: Some(commit) },
            Self::Help => SlashCommand::Help,
            Self::Unknown { word } => SlashCommand::Unknown { word },
        })
    }
}

impl StoredRequest {
    fn of_comment(comment: RequestComment, source: StoredSource, command: StoredCommand) -> Self {
        let RequestComment { repository, number, is_pull_request, issue, by, by_id, by_is_bot, id, body, at } =
            comment;
        Self {
            repository,
            number,
            is_pull_request,
            issue,
            by,
            by_id,
            by_is_bot,
            source,
            id,
            body,
            command,
            at,
        }
    }
}

impl From<QueuedRequest> for StoredRequest {
    fn from(request: QueuedRequest) -> Self {
        match request {
            QueuedRequest::Command(CommandRequest { command, comment }) => {
                Self::of_comment(comment, StoredSource::Comment, command.into())
            }
            QueuedRequest::Review(ReviewRequest { kind, comment }) => {
                Self::of_comment(comment, kind.into(), StoredCommand::Revise)
            }
            QueuedRequest::CheckFailed(check) => {
                let number = IssueNumber(check.pull_request.0);
                let issue = IssueSnapshot {
                    number,
                    title: check.name,
                    body: String::new(),
                    author: check.by.clone(),
                    labels: Vec::new(),
                };
                Self {
                    repository: check.repository,
                    number,
                    is_pull_request: true,
                    issue,
                    by: check.by,
                    by_id: check.by_id,
                    by_is_bot: true,
                    source: StoredSource::CheckRun,
                    id: CommentId(check.check_run),
                    body: check.head.to_string(),
                    command: StoredCommand::Revise,
                    at: None,
                }
            }
        }
    }
}

impl TryFrom<StoredRequest> for QueuedRequest {
    type Error = InvalidIdentity;

    fn try_from(stored: StoredRequest) -> Result<Self, InvalidIdentity> {
        let StoredRequest {
            repository,
            number,
            is_pull_request,
            issue,
            by,
            by_id,
            by_is_bot,
            source,
            id,
            body,
            command,
            at,
        } = stored;
        let kind = match source {
            StoredSource::Comment => ReviewKind::Comment,
            StoredSource::Review => ReviewKind::Review,
            StoredSource::ReviewComment => ReviewKind::ReviewComment,
            StoredSource::CheckRun => {
                return Ok(Self::CheckFailed(CheckFailure {
                    repository,
                    pull_request: PullRequestNumber(number.0),
                    check_run: id.0,
                    name: issue.title,
                    head: body.parse()?,
                    by,
                    by_id,
                }));
            }
        };
        let comment =
            RequestComment { repository, number, is_pull_request, issue, by, by_id, by_is_bot, id, body, at };
        Ok(match command.slash_command() {
            Some(command) => Self::Command(CommandRequest { command, comment }),
            None => Self::Review(ReviewRequest { kind, comment }),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// As earlier versions stored it.
    fn row(source: &str, command: Value, body: &str) -> Value {
        json!({
            "repository": {"installation": 9, "id": 42, "name": "octo/repo"},
            "number": 7,
            "is_pull_request": true,
            "issue": {"number": 7, "title": "tests", "body": "", "author": "grace", "labels": []},
            "by": "grace",
            "by_id": 2,
            "by_is_bot": true,
            "said_in": source,
            "comment": 5,
            "body": body,
            "command": command,
            "at": null,
        })
    }

    #[test]
    fn rows_of_earlier_versions_are_read_and_written_unchanged() {
        let head = "a".repeat(40);
        let command =
            row("comment", json!({"continue": {"grant": {"cents": 250}}}), "/agent-fix continue +$2.50");
        let review = row("review", json!("revise"), "Please rename it");
        let mention = row("comment", json!("revise"), "@mendwright rename it");
        let check = row("check_run", json!("revise"), &head);
        let read = |row: &Value| serde_json::from_value::<QueuedRequest>(row.clone()).unwrap();
        for row in [&command, &review, &mention, &check] {
            assert_eq!(serde_json::to_value(read(row)).unwrap(), *row);
        }
        let grant = BudgetExtension { cents: Some(250), turns: None };
        assert!(matches!(read(&command), QueuedRequest::Command(request)
            if request.command == SlashCommand::Continue { grant }));
        assert!(
            matches!(read(&review), QueuedRequest::Review(request) if request.kind == ReviewKind::Review)
        );
        assert!(
            matches!(read(&mention), QueuedRequest::Review(request) if request.kind == ReviewKind::Comment)
        );
        assert!(matches!(read(&check), QueuedRequest::CheckFailed(failure)
            if failure.name == "tests" && failure.head.as_str() == head));
    }

    #[test]
    fn row_without_source_and_body_is_a_command_in_a_comment() {
        let mut oldest = row("comment", json!("stop"), "");
        let fields = oldest.as_object_mut().unwrap();
        fields.remove("said_in");
        fields.remove("body");
        let read: QueuedRequest = serde_json::from_value(oldest).unwrap();
        assert_eq!((read.source(), read.number()), (("comment", 5), IssueNumber(7)));
        assert!(matches!(read, QueuedRequest::Command(request) if request.command == SlashCommand::Stop));
    }

    #[test]
    fn check_run_without_a_commit_cannot_be_read() {
        assert!(serde_json::from_value::<QueuedRequest>(row("check_run", json!("revise"), "main")).is_err());
    }
}
