//! Reads a verified delivery's payload into what it asks of us. Knows the few fields it needs and
//! takes no offence at any other. Never decides who may ask.

mod branch;
mod review;

use serde::Deserialize;
use serde::de::IgnoredAny;

use branch::{DeletePayload, PullRequestPayload};
use review::{CheckPayload, ReviewPayload};

use crate::domain::{
    CommandRequest, CommentId, InstallationId, InvalidIdentity, IssueNumber, IssueSnapshot, LabelName, Login,
    RepositoryId, RepositoryName, RepositoryRef, RequestSource, SlashCommand, Trigger, mentions_bot,
};
use crate::github::GHOST;
use crate::store::DeliveryRequest;

/// The events that can ask for something. `app-manifest.yml` subscribes to exactly these.
pub const HANDLED_EVENTS: &[&str] = &[
    "issues",
    "issue_comment",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "check_run",
    "delete",
];

/// A payload, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedEvent {
    /// Its `action`, where it has one.
    pub action: Option<String>,
    /// What it asks for.
    pub meaning: Meaning,
}

/// What a payload asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one is made for each delivery and handed on at once")]
pub enum Meaning {
    /// Something.
    Request(DeliveryRequest),
    /// Nothing.
    Nothing {
        /// Why not, in words.
        why: String,
    },
}

/// A payload that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not JSON, or not of the shape GitHub documents for the event.
    #[error("the payload of {event:?} cannot be read: {source}")]
    Unreadable {
        /// The event's name (cut to 100 characters).
        event: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// An identifier in it is none.
    #[error("the payload of {event:?} cannot be used: {source}")]
    Invalid {
        /// The event's name.
        event: String,
        /// Which.
        source: InvalidIdentity,
    },
}

/// Reads the payload of the event named in `X-GitHub-Event`. `label` is the label that asks for
/// work; GitHub's labels are unique without regard to case, so they are compared so.
pub fn read_event(event: &str, payload: &[u8], label: &LabelName) -> Result<ParsedEvent, EventError> {
    let name = || event.chars().take(100).collect::<String>();
    let unreadable = |source| EventError::Unreadable { event: name(), source };

    let Envelope { action } = serde_json::from_slice(payload).map_err(unreadable)?;
    let nothing = |why: String| Ok(ParsedEvent { action: action.clone(), meaning: Meaning::Nothing { why } });
    if !HANDLED_EVENTS.contains(&event) {
        return nothing(format!("events of the kind {:?} ask for nothing here", name()));
    }
    if event == "issue_comment" {
        // What was edited later is no command: nobody was told of it.
        if action.as_deref() != Some("created") {
            return nothing("only new comments are looked at for commands".to_owned());
        }
        let payload: CommentPayload = serde_json::from_slice(payload).map_err(unreadable)?;
        let meaning = payload.meaning().map_err(|source| EventError::Invalid { event: name(), source })?;
        return Ok(ParsedEvent { action, meaning });
    }
    if event == "pull_request" {
        if action.as_deref() != Some("closed") {
            return nothing("of pull requests only their end is looked at".to_owned());
        }
        let payload: PullRequestPayload = serde_json::from_slice(payload).map_err(unreadable)?;
        let meaning = payload.meaning().map_err(|source| EventError::Invalid { event: name(), source })?;
        return Ok(ParsedEvent { action, meaning });
    }
    if event == "delete" {
        let payload: DeletePayload = serde_json::from_slice(payload).map_err(unreadable)?;
        let meaning = payload.meaning().map_err(|source| EventError::Invalid { event: name(), source })?;
        return Ok(ParsedEvent { action, meaning });
    }
    if event == "check_run" {
        if action.as_deref() != Some("completed") {
            return nothing("only checks that are completed are looked at".to_owned());
        }
        let payload: CheckPayload = serde_json::from_slice(payload).map_err(unreadable)?;
        let meaning = payload.meaning().map_err(|source| EventError::Invalid { event: name(), source })?;
        return Ok(ParsedEvent { action, meaning });
    }
    if let Some(said_in) = said_in(event) {
        // A review counts when it is sent off, its comments when they are made.
        let wanted = if said_in == RequestSource::Review { "submitted" } else { "created" };
        if action.as_deref() != Some(wanted) {
            return nothing(format!("only what is {wanted} is looked at"));
        }
        let payload: ReviewPayload = serde_json::from_slice(payload).map_err(unreadable)?;
        let meaning =
            payload.meaning(said_in).map_err(|source| EventError::Invalid { event: name(), source })?;
        return Ok(ParsedEvent { action, meaning });
    }
    let change = match action.as_deref() {
        Some("labeled") => Change::Labelled,
        Some("unlabeled") => Change::Unlabelled,
        Some("closed") => Change::Ended("closed"),
        Some("deleted") => Change::Ended("deleted"),
        Some("transferred") => Change::Ended("transferred to another repository"),
        Some(_) | None => return nothing("this action asks for nothing here".to_owned()),
    };
    let payload: IssuesPayload = serde_json::from_slice(payload).map_err(unreadable)?;
    let meaning =
        payload.meaning(&change, label).map_err(|source| EventError::Invalid { event: name(), source })?;
    Ok(ParsedEvent { action, meaning })
}

fn said_in(event: &str) -> Option<RequestSource> {
    match event {
        "pull_request_review" => Some(RequestSource::Review),
        "pull_request_review_comment" => Some(RequestSource::ReviewComment),
        _ => None,
    }
}

enum Change {
    Labelled,
    Unlabelled,
    Ended(&'static str),
}

#[derive(Deserialize)]
struct Envelope {
    action: Option<String>,
}

#[derive(Deserialize)]
struct IssuesPayload {
    issue: RawIssue,
    label: Option<RawLabel>,
    repository: RawRepository,
    installation: Option<RawInstallation>,
    sender: RawUser,
}

#[derive(Deserialize)]
struct CommentPayload {
    issue: RawIssue,
    comment: RawComment,
    repository: RawRepository,
    installation: Option<RawInstallation>,
}

#[derive(Deserialize)]
struct RawComment {
    id: u64,
    body: Option<String>,
    user: Option<RawUser>,
    #[serde(alias = "submitted_at")]
    created_at: Option<String>,
    /// Of a review.
    state: Option<String>,
}

#[derive(Deserialize)]
struct RawIssue {
    number: u64,
    title: String,
    body: Option<String>,
    user: Option<RawUser>,
    labels: Option<Vec<RawLabel>>,
    pull_request: Option<IgnoredAny>,
    updated_at: Option<String>,
}

#[derive(Deserialize)]
struct RawLabel {
    name: LabelName,
}

#[derive(Deserialize)]
struct RawRepository {
    id: u64,
    full_name: String,
}

#[derive(Deserialize)]
struct RawInstallation {
    id: u64,
}

#[derive(Deserialize)]
struct RawUser {
    login: String,
    id: u64,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl IssuesPayload {
    fn meaning(self, change: &Change, label: &LabelName) -> Result<Meaning, InvalidIdentity> {
        let nothing = |why: &str| Ok(Meaning::Nothing { why: why.to_owned() });
        let is_ours = self.label.as_ref().is_some_and(|other| other.name == *label);
        match change {
            Change::Labelled | Change::Unlabelled if !is_ours => {
                return nothing("it is about another label");
            }
            Change::Labelled | Change::Unlabelled | Change::Ended(_) => {}
        }
        if self.issue.pull_request.is_some() {
            return nothing("it is about a pull request");
        }
        let Some(installation) = self.installation else {
            return nothing("it does not come through an installation of the App");
        };
        let repository = self.repository.reached_by(&installation)?;
        let issue = IssueNumber(self.issue.number);
        let sender: Login = self.sender.login.parse()?;
        // Whatever happened to the issue changed this; without it nothing is compared.
        let at = self.issue.updated_at.as_ref().and_then(|text| text.parse().ok());
        Ok(Meaning::Request(match change {
            Change::Labelled => DeliveryRequest::Start(Trigger {
                repository,
                issue: self.issue.snapshot()?,
                labeller: sender,
                labeller_id: self.sender.id,
                labeller_is_bot: self.sender.kind.as_deref() == Some("Bot"),
                labelled_at: at,
                found: false,
                commanded: false,
            }),
            Change::Unlabelled => {
                let why = format!("@{sender} took the label `{label}` off");
                DeliveryRequest::Cancel { repository, issue, why, at }
            }
            Change::Ended(how) => {
                let why = format!("the issue was {how} by @{sender}");
                DeliveryRequest::Cancel { repository, issue, why, at }
            }
        }))
    }
}

impl CommentPayload {
    fn meaning(self) -> Result<Meaning, InvalidIdentity> {
        let nothing = |why: &str| Ok(Meaning::Nothing { why: why.to_owned() });
        let body = self.comment.body.clone().unwrap_or_default();
        let mentions_bot = self.issue.pull_request.is_some() && self.issue.is_told(&body);
        let command = SlashCommand::read(&body).or(mentions_bot.then_some(SlashCommand::Revise));
        let Some(command) = command else { return nothing("the comment holds no command") };
        let is_pull_request = self.issue.pull_request.is_some();
        let place = (self.repository, self.installation, is_pull_request);
        self.comment.asks(place, self.issue, RequestSource::Comment, command)
    }
}

impl RawRepository {
    fn reached_by(&self, installation: &RawInstallation) -> Result<RepositoryRef, InvalidIdentity> {
        Ok(RepositoryRef {
            installation: InstallationId(installation.id),
            id: RepositoryId(self.id),
            name: self.full_name.parse::<RepositoryName>()?,
        })
    }
}

impl RawComment {
    /// What it asks for, on the issue or pull request that it stands on.
    fn asks(
        self,
        (repository, installation, is_pull_request): (RawRepository, Option<RawInstallation>, bool),
        issue: RawIssue,
        said_in: RequestSource,
        command: SlashCommand,
    ) -> Result<Meaning, InvalidIdentity> {
        let nothing = |why: &str| Ok(Meaning::Nothing { why: why.to_owned() });
        let Some(installation) = installation else {
            return nothing("it does not come through an installation of the App");
        };
        let Some(by) = self.user else { return nothing("nobody is said to have written it") };
        Ok(Meaning::Request(DeliveryRequest::CommandRequest(CommandRequest {
            repository: repository.reached_by(&installation)?,
            number: IssueNumber(issue.number),
            is_pull_request,
            issue: issue.snapshot()?,
            by: by.login.parse()?,
            by_id: by.id,
            by_is_bot: by.kind.as_deref() == Some("Bot"),
            said_in,
            comment: CommentId(self.id),
            body: self.body.unwrap_or_default(),
            command,
            at: self.created_at.as_ref().and_then(|text| text.parse().ok()),
        })))
    }
}

impl RawIssue {
    fn is_by_bot(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.kind.as_deref() == Some("Bot"))
    }

    /// Whether `body` speaks to the bot that opened it.
    fn is_told(&self, body: &str) -> bool {
        self.is_by_bot() && self.user.as_ref().is_some_and(|user| mentions_bot(body, &user.login))
    }

    fn snapshot(self) -> Result<IssueSnapshot, InvalidIdentity> {
        let author = self.user.map_or_else(|| GHOST.to_owned(), |user| user.login);
        Ok(IssueSnapshot {
            number: IssueNumber(self.number),
            title: self.title,
            body: self.body.unwrap_or_default(),
            author: author.parse()?,
            labels: self.labels.unwrap_or_default().into_iter().map(|label| label.name).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
