//! Answers to commands in comments: short, and one for each.

use std::fmt::Write as _;

use super::escape::{code_span, cut, inline};
use super::evidence::Evidence;
use super::words::spend;
use crate::domain::{CommentId, JobOutcome, JobState, Login, PullRequestNumber};

/// What an answer is told apart by: its hidden first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyTarget<'a> {
    /// A command: each comment is answered once.
    Comment(CommentId),
    /// Somebody who may give none: they are told once on an issue.
    Refused(&'a Login),
}

impl ReplyTarget<'_> {
    /// The line.
    pub fn marker(&self) -> String {
        match self {
            Self::Comment(id) => format!("<!-- mendwright:answer:{id} -->"),
            Self::Refused(login) => format!("<!-- mendwright:refused:{login} -->"),
        }
    }

    /// Whether `body` is this answer.
    pub fn is(&self, body: &str) -> bool {
        body.lines().next().is_some_and(|line| line.trim_end() == self.marker())
    }
}

/// What came of a command.
#[derive(Debug)]
pub enum CommandReply<'a> {
    /// A job begins.
    Begun,
    /// There is one already.
    UnderWay,
    /// The job is told to stop.
    Stopped,
    /// There is none to stop.
    NothingToStop,
    /// Where the newest job stands.
    Status(&'a Evidence),
    /// What the newest job did.
    Explained(&'a Evidence),
    /// There was never a job.
    NoJob,
    /// What was held back goes out.
    Released,
    /// Nothing is held back.
    NothingHeld,
    /// What was held back is, still.
    StillHeld,
    /// What was handed to a person goes on.
    Continued,
    /// There is nothing to go on from.
    NothingToContinue,
    /// It is proposed, and nobody said what is missing.
    SayWhatToChange,
    /// There may be no further round; the limit.
    RoundsUsedUp(u32),
    /// A review without a word.
    NothingAsked,
    /// The issue has a later job.
    Superseded,
    /// It is refused; why.
    Refused(&'a str),
    /// It could not be carried out, for this reason.
    Failed(&'a str),
    /// The comment is on a pull request that is none of ours.
    NotOurs,
    /// What the commands are; with a word that is none.
    Help(Option<&'a str>),
}

/// The comment.
pub fn render(to: ReplyTarget<'_>, answer: &CommandReply<'_>) -> String {
    format!("{}\n{}\n", to.marker(), words(answer))
}

fn words(answer: &CommandReply<'_>) -> String {
    match answer {
        CommandReply::Begun => "On it. The progress is told in a comment on the issue.".to_owned(),
        CommandReply::UnderWay => {
            "There is a job under way for this issue; `/agent-fix status` says where it stands, `/agent-fix stop` \
             ends it."
                .to_owned()
        }
        CommandReply::Stopped => "Stopping. Nothing more is spent on it.".to_owned(),
        CommandReply::NothingToStop => "Nothing is under way here.".to_owned(),
        CommandReply::Status(evidence) => status(evidence),
        CommandReply::Explained(evidence) => explained(evidence),
        CommandReply::NoJob => "There was no job for this issue yet; `/agent-fix` begins one.".to_owned(),
        CommandReply::Released => "It goes out as it was shown. The draft pull request follows.".to_owned(),
        CommandReply::NothingHeld => "Nothing is held back here.".to_owned(),
        CommandReply::StillHeld => {
            "A verified change is held back: `/agent-fix publish` lets it go out, and then it can be reviewed; \
             `/agent-fix retry` begins anew."
                .to_owned()
        }
        CommandReply::Continued => "Going on from where it ended. The progress is told in a comment on the issue.".to_owned(),
        CommandReply::NothingToContinue => {
            "It ended before the agent's first step, so there is nothing to go on from; `/agent-fix retry` begins \
             anew."
                .to_owned()
        }
        CommandReply::SayWhatToChange => {
            "It is proposed. To have it changed, review the pull request and request changes, or speak to me in a \
             comment there."
                .to_owned()
        }
        CommandReply::RoundsUsedUp(max) => format!(
            "This pull request has had its {max} rounds of changes. Push to its branch yourself, or close it and say \
             `/agent-fix retry` on the issue."
        ),
        CommandReply::NothingAsked => "The review does not say what to change.".to_owned(),
        CommandReply::Superseded => {
            "The issue has been taken up anew since; this pull request is not worked on any more.".to_owned()
        }
        CommandReply::Refused(why) => format!("Not done: {}.", inline(&cut(why, 500))),
        CommandReply::Failed(why) => format!(
            "This failed and is not tried again: {}. Remove the cause, then give the command again.",
            inline(&cut(why, 500))
        ),
        CommandReply::NotOurs => {
            "This is no pull request of mine. I work on issues: give the command there.".to_owned()
        }
        CommandReply::Help(unknown) => help(*unknown),
    }
}

fn status(evidence: &Evidence) -> String {
    let mut text = match (&evidence.outcome, evidence.state) {
        (Some(outcome), _) => ended(outcome),
        (None, JobState::Queued) => "Waiting for a worker.".to_owned(),
        (None, state) => format!("Under way: {}.", state.name()),
    };
    if evidence.spend.turns > 0 {
        let _ = write!(text, " Spent: {}.", spend(&evidence.spend));
    }
    text
}

fn ended(outcome: &JobOutcome) -> String {
    match outcome {
        JobOutcome::Proposed { pull_request: Some(PullRequestNumber(number)), .. } => {
            format!("Done: the draft pull request is #{number}.")
        }
        JobOutcome::Proposed { branch, .. } => format!("Done: the change is on {}.", code_span(branch)),
        JobOutcome::Held { .. } => "Done, and held back: `/agent-fix publish` lets it go out.".to_owned(),
        JobOutcome::Escalated { .. } => "It needs a person: see the comment that says why.".to_owned(),
        JobOutcome::Cancelled { why } => format!("Called off: {}.", inline(&cut(why, 500))),
        JobOutcome::Failed { why } => format!("Mendwright itself failed: {}.", inline(&cut(why, 500))),
    }
}

fn explained(evidence: &Evidence) -> String {
    const CHARS_MAX: usize = 2_000;
    let mut text = status(evidence);
    if let Some(summary) = &evidence.summary {
        let _ = write!(text, "\n\nWhat the agent said of it: {}", inline(&cut(summary, CHARS_MAX)));
    }
    if let Some(verdict) = &evidence.verdict {
        let (sign, said) = match verdict.verified {
            true => ("✅", "verified"),
            false => ("❌", "not verified"),
        };
        let why = inline(&cut(&verdict.explanation, CHARS_MAX));
        let _ = write!(text, "\n\n{sign} The last verdict: {said}. {why}");
    }
    if !evidence.paths_written.is_empty() {
        let paths: Vec<String> = evidence.paths_written.iter().take(20).map(|path| code_span(path)).collect();
        let _ = write!(text, "\n\nFiles that it wrote to: {}.", paths.join(", "));
    }
    text
}

fn help(unknown: Option<&str>) -> String {
    let head = match unknown {
        Some(word) => format!("{} is no command. These are:", code_span(word)),
        None => "At the beginning of a line of a new comment, by somebody with write access:".to_owned(),
    };
    format!(
        "{head}\n\n\
         | | |\n|---|---|\n\
         | `/agent-fix` | works on the issue as it stands now; the label does the same |\n\
         | `/agent-fix stop` | stops it |\n\
         | `/agent-fix retry` | begins anew, on the newest base |\n\
         | `/agent-fix continue` | goes on where it was handed to you, with a new budget (`+$2`, `+20 turns`: with that \
         much) and with what you write in the comment |\n\
         | `/agent-fix status` | where it stands, and what was spent |\n\
         | `/agent-fix explain` | what was done, and why it ended so |\n\
         | `/agent-fix publish` | lets a change go out that is held back |\n\
         | `/agent-fix help` | this |"
    )
}

#[cfg(test)]
mod tests {
    use super::super::samples::fixed;
    use super::*;

    #[test]
    fn answers_are_short_and_marked() {
        let (evidence, _) = fixed();
        let mut waiting = evidence.clone();
        waiting.outcome = None;
        waiting.state = JobState::Working;
        let to = ReplyTarget::Comment(CommentId(7));
        let answers = [
            CommandReply::Begun,
            CommandReply::UnderWay,
            CommandReply::Stopped,
            CommandReply::NothingToStop,
            CommandReply::Status(&waiting),
            CommandReply::Explained(&waiting),
            CommandReply::NoJob,
            CommandReply::Released,
            CommandReply::NothingHeld,
            CommandReply::Refused("the issue is locked, says @everyone"),
            CommandReply::Failed("forbidden by GitHub (reading issue #7): 403 @everyone"),
            CommandReply::NotOurs,
            CommandReply::Help(Some("me`nd")),
            CommandReply::Help(None),
        ];
        let told: Vec<String> = answers.iter().map(words).collect();
        insta::assert_snapshot!(told.join("\n\n---\n"), @r"
        On it. The progress is told in a comment on the issue.

        ---
        There is a job under way for this issue; `/agent-fix status` says where it stands, `/agent-fix stop` ends it.

        ---
        Stopping. Nothing more is spent on it.

        ---
        Nothing is under way here.

        ---
        Under way: working. Spent: 3 turns, 4 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369.

        ---
        Under way: working. Spent: 3 turns, 4 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369.

        What the agent said of it: `total()` cut off the last item. - `items[:-1]` is now `items` - no other caller relied on it

        ✅ The last verdict: verified. The suite passes at the proposed tree: exit code 0.

        Files that it wrote to: `sums.py`.

        ---
        There was no job for this issue yet; `/agent-fix` begins one.

        ---
        It goes out as it was shown. The draft pull request follows.

        ---
        Nothing is held back here.

        ---
        Not done: the issue is locked, says ＠everyone.

        ---
        This failed and is not tried again: forbidden by GitHub (reading issue ＃7): 403 ＠everyone. Remove the cause, then give the command again.

        ---
        This is no pull request of mine. I work on issues: give the command there.

        ---
        ``me`nd`` is no command. These are:

        | | |
        |---|---|
        | `/agent-fix` | works on the issue as it stands now; the label does the same |
        | `/agent-fix stop` | stops it |
        | `/agent-fix retry` | begins anew, on the newest base |
        | `/agent-fix continue` | goes on where it was handed to you, with a new budget (`+$2`, `+20 turns`: with that much) and with what you write in the comment |
        | `/agent-fix status` | where it stands, and what was spent |
        | `/agent-fix explain` | what was done, and why it ended so |
        | `/agent-fix publish` | lets a change go out that is held back |
        | `/agent-fix help` | this |

        ---
        At the beginning of a line of a new comment, by somebody with write access:

        | | |
        |---|---|
        | `/agent-fix` | works on the issue as it stands now; the label does the same |
        | `/agent-fix stop` | stops it |
        | `/agent-fix retry` | begins anew, on the newest base |
        | `/agent-fix continue` | goes on where it was handed to you, with a new budget (`+$2`, `+20 turns`: with that much) and with what you write in the comment |
        | `/agent-fix status` | where it stands, and what was spent |
        | `/agent-fix explain` | what was done, and why it ended so |
        | `/agent-fix publish` | lets a change go out that is held back |
        | `/agent-fix help` | this |
        ");
        let body = render(to, &answers[0]);
        assert!(to.is(&body) && !ReplyTarget::Comment(CommentId(8)).is(&body));
        let login: Login = "ada".parse().unwrap();
        assert!(ReplyTarget::Refused(&login).is(&render(ReplyTarget::Refused(&login), &answers[9])));
    }
}
