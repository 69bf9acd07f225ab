//! Replies to commands in comments: short, one for each command.

use std::fmt::Write as _;

use super::escape::{code_span, cut, inline};
use super::evidence::Evidence;
use super::format::spend;
use crate::domain::{
    COMMAND_PREFIX, CommentId, JobOutcome, JobState, Login, PullRequestNumber, Sha, command_table,
};

/// How the marker of every refusal begins.
const REFUSED_MARKER: &str = "<!-- mendwright:refused:";

/// What a reply answers. Its hidden first line, the marker, tells it apart from other replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyTarget<'a> {
    /// A command: each comment gets one reply.
    Comment(CommentId),
    /// People who may not use commands: together they get one reply on an issue, which names the first.
    Refused(&'a Login),
}

impl ReplyTarget<'_> {
    /// The marker.
    pub fn marker(&self) -> String {
        match self {
            Self::Comment(id) => format!("<!-- mendwright:answer:{id} -->"),
            Self::Refused(login) => format!("{REFUSED_MARKER}{login} -->"),
        }
    }

    /// Whether `body` is the reply to this target. Of refusals there is one on an issue, whoever was refused.
    pub fn is(&self, body: &str) -> bool {
        body.lines().next().is_some_and(|line| match self {
            Self::Comment(_) => line.trim_end() == self.marker(),
            Self::Refused(_) => line.starts_with(REFUSED_MARKER),
        })
    }
}

/// The reply to a command.
#[derive(Debug)]
pub enum CommandReply<'a> {
    /// A job starts.
    Begun,
    /// A job is running already.
    UnderWay,
    /// The job is being stopped.
    Stopped,
    /// No job is running.
    NothingToStop,
    /// The state of the newest job.
    Status(&'a Evidence),
    /// What the newest job did.
    Explained(&'a Evidence),
    /// The issue never had a job.
    NoJob,
    /// The approved change is being published.
    Released,
    /// No change waits for approval.
    NothingHeld,
    /// The approval is not younger than the change that waits, whose commit this is.
    ApprovalOutdated(&'a Sha),
    /// The approval names another commit than this one, which waits.
    OtherCommitHeld(&'a Sha),
    /// The change still waits for approval.
    StillHeld,
    /// The job is resumed.
    Continued,
    /// The verified change that GitHub refused is published again.
    PublicationRetried,
    /// There is no work to resume.
    NothingToContinue,
    /// The change is proposed, and nobody said what to change.
    SayWhatToChange,
    /// No further round is allowed; the limit.
    RoundsUsedUp(u32),
    /// A review without text.
    NothingAsked,
    /// The issue has a newer job.
    Superseded,
    /// The command is refused; why.
    Refused(&'a str),
    /// The command failed; why.
    Failed(&'a str),
    /// The comment is on a pull request that is not ours.
    NotOurs,
    /// The list of commands; with the unknown one.
    Help(Option<&'a str>),
}

/// The comment.
pub fn render(to: ReplyTarget<'_>, reply: &CommandReply<'_>) -> String {
    format!("{}\n{}\n", to.marker(), text(reply))
}

fn text(reply: &CommandReply<'_>) -> String {
    match reply {
        CommandReply::Begun => "Working on it. A comment on the issue shows the progress.".to_owned(),
        CommandReply::UnderWay => {
            "A job for this issue is already running. `/agent-fix status` shows its state, \
                                   `/agent-fix stop` stops it."
                .to_owned()
        }
        CommandReply::Stopped => "Stopping. Nothing more will be spent.".to_owned(),
        CommandReply::NothingToStop => "No job is running here.".to_owned(),
        CommandReply::Status(evidence) => status(evidence),
        CommandReply::Explained(evidence) => explanation(evidence),
        CommandReply::NoJob => "This issue has had no job yet. `/agent-fix` starts one.".to_owned(),
        CommandReply::Released => {
            "Publishing the change exactly as shown; a draft pull request follows.".to_owned()
        }
        CommandReply::NothingHeld => "No change is waiting for approval here.".to_owned(),
        CommandReply::ApprovalOutdated(waiting) => format!(
            "Not published: this command was given before the change that waits now was shown, so it cannot be about \
             it. Read that change. To publish it, comment `{}`.",
            publish_command(waiting)
        ),
        CommandReply::OtherCommitHeld(waiting) => format!(
            "Not published: another commit waits for approval. Read the newest comment that shows a change. To publish \
             it, comment `{}`.",
            publish_command(waiting)
        ),
        CommandReply::StillHeld => {
            "A verified change is waiting for approval. `/agent-fix publish` publishes it so \
                                    that it can be reviewed; `/agent-fix retry` starts over."
                .to_owned()
        }
        CommandReply::Continued => {
            "Resuming where it stopped. A comment on the issue shows the progress.".to_owned()
        }
        CommandReply::PublicationRetried => {
            "Publishing the verified change again. A comment on the issue shows the progress.".to_owned()
        }
        CommandReply::NothingToContinue => {
            "The job ended before the agent's first step, so there is nothing to \
                                            resume. `/agent-fix retry` starts over."
                .to_owned()
        }
        CommandReply::SayWhatToChange => {
            "The change is already proposed. To have it changed, request changes in a \
                                          review of the pull request, or mention me in a comment there."
                .to_owned()
        }
        CommandReply::RoundsUsedUp(max) => format!(
            "This pull request has used all {max} rounds of changes. Push to its branch yourself, or close it and \
             comment `/agent-fix retry` on the issue."
        ),
        CommandReply::NothingAsked => "The review does not say what to change.".to_owned(),
        CommandReply::Superseded => {
            "A newer job for this issue has replaced this pull request. It is no longer worked on.".to_owned()
        }
        CommandReply::Refused(why) => format!("Not done: {}.", inline(&cut(why, 500))),
        CommandReply::Failed(why) => format!(
            "This failed and will not be retried: {}. Fix the cause, then repeat the command.",
            inline(&cut(why, 500))
        ),
        CommandReply::NotOurs => {
            "I did not open this pull request. I work on issues: use the command there.".to_owned()
        }
        CommandReply::Help(unknown) => help(*unknown),
    }
}

/// The line that approves a commit.
pub(super) fn publish_command(commit: &Sha) -> String {
    format!("{COMMAND_PREFIX} publish {}", commit.short())
}

fn status(evidence: &Evidence) -> String {
    let mut text = match (&evidence.outcome, evidence.state) {
        (Some(outcome), _) => outcome_text(outcome),
        (None, JobState::Queued) => "Waiting for a worker.".to_owned(),
        (None, state) => format!("Running: {}.", state.name()),
    };
    if evidence.spend.turns > 0 {
        let _ = write!(text, " Spent: {}.", spend(&evidence.spend));
    }
    text
}

fn outcome_text(outcome: &JobOutcome) -> String {
    match outcome {
        JobOutcome::Proposed { pull_request: Some(PullRequestNumber(number)), .. } => {
            format!("Done: draft pull request #{number}.")
        }
        JobOutcome::Proposed { branch, .. } => format!("Done: the change is on {}.", code_span(branch)),
        JobOutcome::Held { .. } => {
            "Verified and waiting for approval: `/agent-fix publish` publishes it.".to_owned()
        }
        JobOutcome::Escalated { .. } => "Escalated: see the comment that explains why.".to_owned(),
        JobOutcome::Cancelled { why } => format!("Cancelled: {}.", inline(&cut(why, 500))),
        JobOutcome::Failed { why } => format!("Mendwright itself failed: {}.", inline(&cut(why, 500))),
    }
}

fn explanation(evidence: &Evidence) -> String {
    const CHARS_MAX: usize = 2_000;
    let mut text = status(evidence);
    if let Some(summary) = &evidence.summary {
        let _ = write!(text, "\n\nThe agent's summary: {}", inline(&cut(summary, CHARS_MAX)));
    }
    if let Some(verdict) = &evidence.verdict {
        let (sign, result) = match verdict.verified {
            true => ("✅", "verified"),
            false => ("❌", "not verified"),
        };
        let why = inline(&cut(&verdict.explanation, CHARS_MAX));
        let _ = write!(text, "\n\n{sign} The last verdict: {result}. {why}");
    }
    if !evidence.paths_written.is_empty() {
        let paths: Vec<String> = evidence.paths_written.iter().take(20).map(|path| code_span(path)).collect();
        let _ = write!(text, "\n\nFiles that the agent changed: {}.", paths.join(", "));
    }
    text
}

fn help(unknown: Option<&str>) -> String {
    let head = match unknown {
        Some(word) if word.starts_with('+') => {
            format!("{} is not an amount: after `continue`, write `+$2` or `+20 turns`.", code_span(word))
        }
        Some(word) => format!("Unknown command {}. Available commands:", code_span(word)),
        None => "Write a command at the start of a line in a new comment. It needs write access.".to_owned(),
    };
    format!("{head}\n\n{}", command_table())
}

#[cfg(test)]
mod tests {
    use super::super::test_evidence::fixed;
    use super::*;
    use crate::github::GitHubError;

    #[test]
    fn every_reply_is_short_and_begins_with_its_marker() {
        let (evidence, _) = fixed();
        let mut waiting = evidence.clone();
        waiting.outcome = None;
        waiting.state = JobState::Working;
        let to = ReplyTarget::Comment(CommentId(7));
        let commit: Sha = "c".repeat(40).parse().unwrap();
        let retry_after = std::time::Duration::from_secs(9);
        let (what, detail) = ("reading issue #7".to_owned(), "502".to_owned());
        let unavailable = GitHubError::Unavailable { what, detail, retry_after }.to_string();
        let replies = [
            CommandReply::Begun,
            CommandReply::UnderWay,
            CommandReply::Stopped,
            CommandReply::NothingToStop,
            CommandReply::Status(&waiting),
            CommandReply::Explained(&waiting),
            CommandReply::NoJob,
            CommandReply::Released,
            CommandReply::NothingHeld,
            CommandReply::ApprovalOutdated(&commit),
            CommandReply::OtherCommitHeld(&commit),
            CommandReply::Refused("the issue is locked, says @everyone"),
            CommandReply::Failed("forbidden by GitHub (reading issue #7): 403 @everyone"),
            CommandReply::Failed(&unavailable),
            CommandReply::NotOurs,
            CommandReply::Help(Some("me`nd")),
            CommandReply::Help(Some("+$0.001")),
            CommandReply::Help(None),
        ];
        let texts: Vec<String> = replies.iter().map(text).collect();
        insta::assert_snapshot!(texts.join("\n\n---\n"), @r"
        Working on it. A comment on the issue shows the progress.

        ---
        A job for this issue is already running. `/agent-fix status` shows its state, `/agent-fix stop` stops it.

        ---
        Stopping. Nothing more will be spent.

        ---
        No job is running here.

        ---
        Running: working. Spent: 3 turns, 4 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369.

        ---
        Running: working. Spent: 3 turns, 4 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369.

        The agent's summary: `total()` cut off the last item. - `items[:-1]` is now `items` - no other caller relied on it

        ✅ The last verdict: verified. The suite passes at the proposed tree: exit code 0.

        Files that the agent changed: `sums.py`.

        ---
        This issue has had no job yet. `/agent-fix` starts one.

        ---
        Publishing the change exactly as shown; a draft pull request follows.

        ---
        No change is waiting for approval here.

        ---
        Not published: this command was given before the change that waits now was shown, so it cannot be about it. Read that change. To publish it, comment `/agent-fix publish cccccccccc`.

        ---
        Not published: another commit waits for approval. Read the newest comment that shows a change. To publish it, comment `/agent-fix publish cccccccccc`.

        ---
        Not done: the issue is locked, says ＠everyone.

        ---
        This failed and will not be retried: forbidden by GitHub (reading issue ＃7): 403 ＠everyone. Fix the cause, then repeat the command.

        ---
        This failed and will not be retried: GitHub is unavailable (reading issue ＃7: 502). Fix the cause, then repeat the command.

        ---
        I did not open this pull request. I work on issues: use the command there.

        ---
        Unknown command ``me`nd``. Available commands:

        | Command | Effect |
        |---|---|
        | `/agent-fix` | start work on the issue as it is now, like the label |
        | `/agent-fix stop` | stop the work on the issue |
        | `/agent-fix retry` | start over on the newest base |
        | `/agent-fix continue` | resume an escalated or stopped job with a full new budget (or with `+$2`, `+20 turns`); the agent reads your comment |
        | `/agent-fix status` | show the state and the cost |
        | `/agent-fix explain` | show what was done and why it ended |
        | `/agent-fix publish` | publish the change that is waiting for approval, as it was shown last; with a commit, only that one |
        | `/agent-fix help` | show this list |

        ---
        `+$0.001` is not an amount: after `continue`, write `+$2` or `+20 turns`.

        | Command | Effect |
        |---|---|
        | `/agent-fix` | start work on the issue as it is now, like the label |
        | `/agent-fix stop` | stop the work on the issue |
        | `/agent-fix retry` | start over on the newest base |
        | `/agent-fix continue` | resume an escalated or stopped job with a full new budget (or with `+$2`, `+20 turns`); the agent reads your comment |
        | `/agent-fix status` | show the state and the cost |
        | `/agent-fix explain` | show what was done and why it ended |
        | `/agent-fix publish` | publish the change that is waiting for approval, as it was shown last; with a commit, only that one |
        | `/agent-fix help` | show this list |

        ---
        Write a command at the start of a line in a new comment. It needs write access.

        | Command | Effect |
        |---|---|
        | `/agent-fix` | start work on the issue as it is now, like the label |
        | `/agent-fix stop` | stop the work on the issue |
        | `/agent-fix retry` | start over on the newest base |
        | `/agent-fix continue` | resume an escalated or stopped job with a full new budget (or with `+$2`, `+20 turns`); the agent reads your comment |
        | `/agent-fix status` | show the state and the cost |
        | `/agent-fix explain` | show what was done and why it ended |
        | `/agent-fix publish` | publish the change that is waiting for approval, as it was shown last; with a commit, only that one |
        | `/agent-fix help` | show this list |
        ");
        let body = render(to, &replies[0]);
        assert!(to.is(&body) && !ReplyTarget::Comment(CommentId(8)).is(&body));
        let login: Login = "ada".parse().unwrap();
        let other: Login = "grace".parse().unwrap();
        assert!(ReplyTarget::Refused(&other).is(&render(ReplyTarget::Refused(&login), &replies[11])));
        assert!(!ReplyTarget::Refused(&other).is(&body));
    }
}
