//! The parts that payloads of several events share: the few fields that are needed, all others are
//! ignored.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::interpretation::{Interpreted, NO_INSTALLATION, ignore};
use crate::domain::{
    CommentId, InstallationId, InvalidIdentity, IssueNumber, IssueSnapshot, Login, RepositoryId,
    RepositoryName, RepositoryRef, RequestComment, mentions_bot,
};
use crate::github::GHOST;

#[derive(Deserialize)]
pub(super) struct RawIssue {
    pub(super) number: u64,
    title: String,
    body: Option<String>,
    user: Option<RawUser>,
    labels: Option<Vec<RawLabel>>,
    pub(super) pull_request: Option<IgnoredAny>,
    updated_at: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RawLabel {
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct RawComment {
    id: u64,
    pub(super) body: Option<String>,
    user: Option<RawUser>,
    /// How the author is related to the repository, as far as everybody may know it.
    author_association: Option<String>,
    #[serde(alias = "submitted_at")]
    created_at: Option<String>,
    /// Only reviews have one.
    pub(super) state: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RawRepository {
    pub(super) id: u64,
    full_name: String,
}

#[derive(Deserialize)]
pub(super) struct RawInstallation {
    id: u64,
}

#[derive(Deserialize)]
pub(super) struct RawUser {
    pub(super) login: String,
    pub(super) id: u64,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl RawUser {
    pub(super) fn is_bot(&self) -> bool {
        self.kind.as_deref() == Some("Bot")
    }

    /// The login, GitHub's id, and whether it is a bot.
    pub(super) fn identity(&self) -> Result<(Login, u64, bool), InvalidIdentity> {
        Ok((self.login.parse()?, self.id, self.is_bot()))
    }
}

impl RawRepository {
    pub(super) fn reached_by(
        &self,
        installation: &RawInstallation,
    ) -> Result<RepositoryRef, InvalidIdentity> {
        Ok(RepositoryRef {
            installation: InstallationId(installation.id),
            id: RepositoryId(self.id),
            name: self.full_name.parse::<RepositoryName>()?,
        })
    }
}

impl RawIssue {
    pub(super) fn is_by_bot(&self) -> bool {
        self.user.as_ref().is_some_and(RawUser::is_bot)
    }

    /// Whether `body` mentions the bot that opened the issue or pull request.
    pub(super) fn is_by_bot_mentioned_in(&self, body: &str) -> bool {
        self.is_by_bot() && self.user.as_ref().is_some_and(|user| mentions_bot(body, &user.login))
    }

    /// When the issue last changed.
    pub(super) fn changed_at(&self) -> Option<Timestamp> {
        time(self.updated_at.as_deref())
    }

    pub(super) fn snapshot(self) -> Result<IssueSnapshot, InvalidIdentity> {
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

/// Where a comment or review was written.
pub(super) struct CommentLocation {
    pub(super) repository: RawRepository,
    pub(super) installation: Option<RawInstallation>,
    /// The issue or pull request.
    pub(super) issue: RawIssue,
    pub(super) is_pull_request: bool,
}

impl RawComment {
    /// What the comment asks for at this location: what `request` makes of it.
    pub(super) fn at(
        self,
        location: CommentLocation,
        request: impl FnOnce(RequestComment) -> Interpreted,
    ) -> Interpreted {
        let CommentLocation { repository, installation, issue, is_pull_request } = location;
        let Some(installation) = installation else { return ignore(NO_INSTALLATION) };
        let Some(by) = self.user else { return ignore("the payload names no author of the comment") };
        let belongs = |association: &str| matches!(association, "OWNER" | "MEMBER" | "COLLABORATOR");
        let by_stranger = self.author_association.as_deref().is_some_and(|association| !belongs(association));
        request(RequestComment {
            repository: repository.reached_by(&installation)?,
            number: IssueNumber(issue.number),
            is_pull_request,
            issue: issue.snapshot()?,
            by_is_bot: by.is_bot(),
            by_stranger,
            by_id: by.id,
            by: by.login.parse()?,
            id: CommentId(self.id),
            body: self.body.unwrap_or_default(),
            at: time(self.created_at.as_deref()),
        })
    }
}

/// A time as GitHub writes it. Without one, or with one in another form, nothing is compared.
pub(super) fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}
