//! The form in which requests are stored, and how it is read and written.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    CheckFailure, CommandRequest, EventRequest, QueuedRequest, RequestComment, ReviewKind, ReviewRequest,
};
use crate::domain::{
    CommentId, InvalidIdentity, IssueNumber, IssueSnapshot, Login, PullRequestNumber, RepositoryRef,
    SlashCommand,
};

/// The form in which requests are stored. Its names never change: rows of earlier versions are read, too. The task of
/// an event derives its own form, so a new one changes nothing here.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum StoredRequest {
    Event(EventRequest),
    Comment(Box<StoredComment>),
}

/// A comment or a review. Earlier versions stored a failed check so, too.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredComment {
    repository: RepositoryRef,
    number: IssueNumber,
    is_pull_request: bool,
    issue: IssueSnapshot,
    by: Login,
    by_id: u64,
    by_is_bot: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_stranger: bool,
    #[serde(default, rename = "said_in")]
    source: StoredSource,
    #[serde(rename = "comment")]
    id: CommentId,
    /// The text of a comment; of a check run that an earlier version stored, the commit.
    #[serde(default)]
    body: String,
    command: StoredCommand,
    at: Option<Timestamp>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredSource {
    #[default]
    Comment,
    Review,
    ReviewComment,
    CheckRun,
}

impl StoredSource {
    pub(super) fn name(self) -> &'static str {
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

/// What the row asks for: a slash command, or the one word that reviews and check runs have instead.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredCommand {
    Slash(SlashCommand),
    Other(OtherRequest),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OtherRequest {
    Revise,
}

impl StoredComment {
    fn new(comment: RequestComment, source: StoredSource, command: StoredCommand) -> Self {
        let RequestComment {
            repository,
            number,
            is_pull_request,
            issue,
            by,
            by_id,
            by_is_bot,
            by_stranger,
            id,
            body,
            at,
        } = comment;
        Self {
            repository,
            number,
            is_pull_request,
            issue,
            by,
            by_id,
            by_is_bot,
            by_stranger,
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
        Self::Comment(Box::new(match request {
            QueuedRequest::Command(CommandRequest { command, comment }) => {
                StoredComment::new(comment, StoredSource::Comment, StoredCommand::Slash(command))
            }
            QueuedRequest::Review(ReviewRequest { kind, comment }) => {
                StoredComment::new(comment, kind.into(), StoredCommand::Other(OtherRequest::Revise))
            }
            QueuedRequest::Event(request) => return Self::Event(request),
        }))
    }
}

impl TryFrom<StoredRequest> for QueuedRequest {
    type Error = InvalidIdentity;

    fn try_from(stored: StoredRequest) -> Result<Self, InvalidIdentity> {
        let StoredComment {
            repository,
            number,
            is_pull_request,
            issue,
            by,
            by_id,
            by_is_bot,
            by_stranger,
            source,
            id,
            body,
            command,
            at,
        } = match stored {
            StoredRequest::Event(request) => return Ok(Self::Event(request)),
            StoredRequest::Comment(comment) => *comment,
        };
        let kind = match source {
            StoredSource::Comment => ReviewKind::Comment,
            StoredSource::Review => ReviewKind::Review,
            StoredSource::ReviewComment => ReviewKind::ReviewComment,
            StoredSource::CheckRun => {
                let pull_request = PullRequestNumber(number.0);
                let task = CheckFailure { pull_request, name: issue.title, head: body.parse()? };
                return Ok(Self::Event(EventRequest::new(repository, (by, by_id, by_is_bot), id.0, &task)));
            }
        };
        let comment = RequestComment {
            repository,
            number,
            is_pull_request,
            issue,
            by,
            by_id,
            by_is_bot,
            by_stranger,
            id,
            body,
            at,
        };
        Ok(match command {
            StoredCommand::Slash(command) => Self::Command(CommandRequest { command, comment }),
            StoredCommand::Other(OtherRequest::Revise) => Self::Review(ReviewRequest { kind, comment }),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::BudgetExtension;

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
        for row in [&command, &review, &mention] {
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
        let check = read(&check);
        assert_eq!(check.source(), ("check_run", 5));
        let QueuedRequest::Event(request) = &check else { panic!("{check:?}") };
        let failure: CheckFailure = request.read().unwrap();
        assert_eq!(
            (failure.pull_request.0, failure.name.as_str(), failure.head.as_str()),
            (7, "tests", &*head)
        );
        assert_eq!(read(&serde_json::to_value(&check).unwrap()), check);
    }

    #[test]
    fn stored_form_of_an_event_never_changes() {
        let stored = json!({
            "repository": {"installation": 9, "id": 42, "name": "octo/repo"},
            "by": "grace",
            "by_id": 2,
            "by_is_bot": false,
            "task": "check_run",
            "id": 5,
            "data": {"pull_request": 7, "name": "tests", "head": "a".repeat(40)},
        });
        let read: QueuedRequest = serde_json::from_value(stored.clone()).unwrap();
        let QueuedRequest::Event(request) = &read else { panic!("{read:?}") };
        assert!(request.read::<CheckFailure>().is_ok_and(|failure| failure.name == "tests"));
        assert_eq!(serde_json::to_value(&read).unwrap(), stored);
    }

    #[test]
    fn task_of_a_newer_version_is_kept_and_says_what_it_is() {
        let stored = json!({
            "repository": {"installation": 9, "id": 42, "name": "octo/repo"},
            "by": "grace", "by_id": 2, "by_is_bot": false, "task": "milestone", "id": 5, "data": [1],
        });
        let read: QueuedRequest = serde_json::from_value(stored.clone()).unwrap();
        let QueuedRequest::Event(request) = &read else { panic!("{read:?}") };
        assert_eq!(
            request.read::<CheckFailure>().unwrap_err(),
            "it is the task \"milestone\" and not \"check_run\""
        );
        assert_eq!(serde_json::to_value(&read).unwrap(), stored);
    }

    #[test]
    fn stored_names_of_commands_never_change() {
        let no_grant = json!({"cents": null, "turns": null});
        for (text, stored) in [
            ("", json!("start")),
            (" stop", json!("stop")),
            (" retry", json!("retry")),
            (" continue", json!({"continue": {"grant": no_grant}})),
            (" status", json!("status")),
            (" explain", json!("explain")),
            (" publish", json!("publish")),
            (" publish c0ffee", json!({"publish_commit": {"commit": "c0ffee"}})),
            (" help", json!("help")),
            (" mend", json!({"unknown": {"word": "mend"}})),
        ] {
            let command = SlashCommand::read(&format!("/agent-fix{text}")).unwrap();
            let request: QueuedRequest = serde_json::from_value(row("comment", stored, "")).unwrap();
            assert!(
                matches!(&request, QueuedRequest::Command(read) if read.command == command),
                "{request:?}"
            );
            let written = serde_json::to_value(StoredCommand::Slash(command.clone())).unwrap();
            assert_eq!(serde_json::from_value::<SlashCommand>(written).unwrap(), command);
        }
    }

    #[test]
    fn row_without_source_and_body_is_a_command_in_a_comment() {
        let mut oldest = row("comment", json!("stop"), "");
        let fields = oldest.as_object_mut().unwrap();
        fields.remove("said_in");
        fields.remove("body");
        let read: QueuedRequest = serde_json::from_value(oldest).unwrap();
        assert_eq!(read.source(), ("comment", 5));
        assert!(matches!(read, QueuedRequest::Command(request) if request.command == SlashCommand::Stop));
    }

    #[test]
    fn check_run_without_a_commit_cannot_be_read() {
        assert!(serde_json::from_value::<QueuedRequest>(row("check_run", json!("revise"), "main")).is_err());
    }
}
