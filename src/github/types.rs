//! What the port to GitHub exchanges with the rest of the program.

use std::fmt;

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use crate::domain::{CommentId, IssueSnapshot, Login, PullRequestNumber, RepositoryName, Sha};

/// GitHub's substitute for authors whose account was deleted.
pub const GHOST: &str = "ghost";

/// A repository, as far as a job needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its current name.
    pub name: RepositoryName,
    /// Its default branch.
    pub default_branch: String,
    /// Its page.
    pub html_url: String,
    /// Whether it is read-only.
    pub archived: bool,
}

/// An issue as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Its text and labels.
    pub snapshot: IssueSnapshot,
    /// Whether it is open.
    pub open: bool,
    /// Whether its conversation is locked.
    pub locked: bool,
    /// Whether it is a pull request: GitHub numbers both together.
    pub is_pull_request: bool,
}

/// A comment by this App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// Its URL.
    pub html_url: String,
    /// When it was posted or, if it was edited, last changed.
    pub updated_at: Timestamp,
    /// Whether it was changed after it was posted.
    pub is_edited: bool,
    /// Its Markdown.
    pub body: String,
}

/// A comment by anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueComment {
    /// Its id.
    pub id: CommentId,
    /// Its author.
    pub author: Login,
    /// Whether the author is a bot.
    pub author_is_bot: bool,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its Markdown.
    pub body: String,
}

/// An open pull request that closes an issue when it is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosingPullRequest {
    /// Its repository.
    pub repository: RepositoryName,
    /// Its number.
    pub number: PullRequestNumber,
    /// The branch with the changes.
    pub head: String,
    /// Whether that branch is in another repository than the pull request.
    pub from_fork: bool,
    /// Its author.
    pub author: String,
}

/// What is needed to open a draft pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPullRequest {
    /// Its title.
    pub title: String,
    /// Its Markdown, at most 65,536 characters.
    pub body: String,
    /// The branch with the changes, in the same repository.
    pub head: String,
    /// The branch to change.
    pub base: String,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: PullRequestNumber,
    /// Its page.
    pub html_url: String,
    /// Whether it is a draft.
    pub draft: bool,
    /// The branch with the changes.
    pub head: String,
    /// The commit at its head.
    pub head_sha: Sha,
    /// Its Markdown.
    pub body: String,
}

/// A comment at a line of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewComment {
    /// Its id.
    pub id: CommentId,
    /// The review that contains it.
    pub review: Option<u64>,
    /// The first comment of its thread; `None` if this is the first.
    pub in_reply_to: Option<CommentId>,
    /// Its author.
    pub by: Login,
    /// Whether GitHub says that the author is a bot.
    pub by_is_bot: bool,
    /// Whether this App wrote it.
    pub is_ours: bool,
    /// The file.
    pub path: String,
    /// The line of the new file, if it is still in the diff; otherwise the line that it was at.
    pub line: Option<u64>,
    /// The lines of the diff above it, and the line itself.
    pub hunk: String,
    /// Its Markdown.
    pub body: String,
}

impl ReviewComment {
    /// The first comment of its thread.
    pub fn thread(&self) -> CommentId {
        self.in_reply_to.unwrap_or(self.id)
    }
}

/// A completed check run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRun {
    /// Its name. We publish one check run per name and commit.
    pub name: String,
    /// The commit.
    pub head: Sha,
    /// Our own reference: the job's id.
    pub external_id: String,
    /// Its result.
    pub conclusion: CheckConclusion,
    /// One line.
    pub title: String,
    /// Markdown, at most 65,535 characters.
    pub summary: String,
    /// At most fifty.
    pub annotations: Vec<Annotation>,
}

/// The result of a check run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckConclusion {
    /// Everything passed.
    Success,
    /// Neither passed nor failed: a person has to look.
    Neutral,
}

/// A remark at a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// How important it is.
    pub level: AnnotationLevel,
    /// One line of plain text, at most 255 characters.
    pub title: String,
    /// Plain text.
    pub message: String,
}

/// How important an annotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnotationLevel {
    /// For information.
    Notice,
    /// To be checked.
    Warning,
}

/// A label of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its name, at most fifty characters.
    pub name: String,
    /// Six hexadecimal digits.
    pub color: String,
    /// At most a hundred characters.
    pub description: String,
}

/// The people and teams that are asked for a review.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reviewers {
    /// Logins.
    pub users: Vec<String>,
    /// Slugs of teams of the repository's organisation.
    pub teams: Vec<String>,
}

impl Reviewers {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.teams.is_empty()
    }

    /// Each of them in a request of its own.
    pub fn individually(&self) -> Vec<Self> {
        let users = self.users.iter().map(|user| Self { users: vec![user.clone()], teams: Vec::new() });
        let teams = self.teams.iter().map(|team| Self { users: Vec::new(), teams: vec![team.clone()] });
        users.chain(teams).collect()
    }
}

impl fmt::Display for Reviewers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let teams = self.teams.iter().map(|team| format!("team {team}"));
        let all: Vec<String> = self.users.iter().cloned().chain(teams).collect();
        f.write_str(if all.is_empty() { "nobody" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

/// A commit for GitHub to create. It cannot set file modes: existing files keep theirs, new ones are
/// ordinary. Made only of a commit that passed the secret gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    /// The branch, which is created.
    pub branch: String,
    /// The parent.
    pub base: Sha,
    /// The whole message.
    pub message: String,
    /// Paths with their whole content.
    pub additions: Vec<(String, Vec<u8>)>,
    /// Paths.
    pub deletions: Vec<String>,
}

/// A commit as GitHub has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedCommit {
    /// Its id.
    pub sha: Sha,
    /// Its tree.
    pub tree: Sha,
    /// Its parents.
    pub parents: Vec<Sha>,
}

/// How git reaches a repository. The token belongs in the credential callback and nowhere else.
#[derive(Debug, Clone)]
pub struct GitAccess {
    /// The clone URL, without credentials.
    pub url: Url,
    /// The user name for the credential callback (`x-access-token`).
    pub username: String,
    /// The installation token.
    pub token: SecretString,
}

/// A submodule, as the repository that has it names it. All of it is a stranger's text.
#[derive(Debug, Clone, Copy)]
pub struct SubmoduleRequest<'a> {
    /// The URL of the repository that has it.
    pub parent: &'a Url,
    /// Its name in `.gitmodules`.
    pub name: &'a str,
    /// Its URL in `.gitmodules`.
    pub url: &'a str,
    /// The commit that is pinned.
    pub commit: &'a Sha,
}

/// Whether and how a submodule can be fetched.
#[derive(Debug, Clone)]
pub enum SubmoduleAccess {
    /// It can, with this access.
    Granted {
        /// How git reaches it.
        access: GitAccess,
        /// What it is, for people.
        source: String,
    },
    /// It cannot. The text reads on after "because".
    Refused(String),
}

/// The App's bot account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppIdentity {
    /// The App's slug; the bot's login is `slug[bot]`.
    pub slug: String,
    /// The id of the bot's user account.
    pub bot_user_id: u64,
}

/// An open issue that carries the label.
#[derive(Debug, Clone)]
pub struct LabelledIssue {
    /// Its text and labels.
    pub snapshot: IssueSnapshot,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
}

/// A repository's labelled issues.
#[derive(Debug)]
pub enum LabelledPage {
    /// They have not changed since the tag.
    Unchanged,
    /// They have changed, or there was no tag.
    Issues {
        /// The issues, without pull requests.
        issues: Vec<LabelledIssue>,
        /// The tag for the next request; `None` if there are more issues.
        tag: Option<String>,
    },
}

/// A label was put on an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelEvent {
    /// GitHub's id of the event.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub labeller: String,
    /// GitHub's id of the account.
    pub labeller_id: u64,
    /// Whether the account is a bot.
    pub labeller_is_bot: bool,
}
