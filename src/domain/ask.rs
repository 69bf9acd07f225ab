//! What somebody asks for in a comment: `/agent-fix stop` and its like. Reading it decides nothing;
//! whether they may ask is asked of GitHub when it is carried out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CommentId, IssueNumber, IssueSnapshot, Login, RepositoryRef};

/// What a command begins with, at the beginning of a line.
pub const COMMAND: &str = "/agent-fix";
/// Lines of a comment that are looked at: more is no conversation.
const LINES_MAX: usize = 500;
/// Of a word that is no command, in characters.
const UNKNOWN_CHARS_MAX: usize = 40;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommentCommand {
    /// Work on the issue, as its label asks for it.
    Start,
    /// Stop working on it.
    Stop,
    /// Work on it anew.
    Retry,
    /// Say where it stands.
    Status,
    /// Say what was done, and why it ended so.
    Explain,
    /// Let a change go out that is held back.
    Publish,
    /// Say what the commands are.
    Help,
    /// Something else.
    Unknown {
        /// The word, cut.
        word: String,
    },
}

impl CommentCommand {
    /// The first command of a comment: at the beginning of a line that is neither quoted nor code.
    /// Whoever quotes a command, or shows one, gives none.
    pub fn read(body: &str) -> Option<Self> {
        let mut fence: Option<&str> = None;
        let mut is_hidden = false;
        for line in body.lines().take(LINES_MAX) {
            // Tabs and four spaces begin code; fewer do not (spec.commonmark.org, "Indented code blocks").
            let text = line.trim_start_matches(' ');
            let is_indented = line.len() - text.len() >= 4 || text.starts_with('\t');
            match fence {
                Some(open) if text.starts_with(open) => fence = None,
                Some(_) => {}
                None if is_hidden => is_hidden = !text.contains("-->"),
                None if text.starts_with("```") => fence = Some("```"),
                None if text.starts_with("~~~") => fence = Some("~~~"),
                None if text.starts_with("<!--") => is_hidden = !text.contains("-->"),
                None if is_indented => {}
                None => {
                    if let Some(command) = Self::of_line(text) {
                        return Some(command);
                    }
                }
            }
        }
        None
    }

    fn of_line(line: &str) -> Option<Self> {
        let start = line.get(..COMMAND.len()).filter(|start| start.eq_ignore_ascii_case(COMMAND))?;
        let rest = &line[start.len()..];
        if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
            return None;
        }
        let word = rest.split_whitespace().next().unwrap_or_default().to_lowercase();
        Some(match word.as_str() {
            "" | "start" => Self::Start,
            "stop" => Self::Stop,
            "retry" => Self::Retry,
            "status" => Self::Status,
            "explain" => Self::Explain,
            "publish" => Self::Publish,
            "help" => Self::Help,
            _ => Self::Unknown { word: word.chars().take(UNKNOWN_CHARS_MAX).collect() },
        })
    }
}

/// A command, and who gave it where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Where.
    pub repository: RepositoryRef,
    /// The issue or pull request that the comment is on.
    pub number: IssueNumber,
    /// Whether that is a pull request.
    pub is_pull_request: bool,
    /// What it said when the comment was made.
    pub issue: IssueSnapshot,
    /// Who wrote the comment.
    pub by: Login,
    /// GitHub's id of them.
    pub by_id: u64,
    /// Whether GitHub says that they are a bot.
    pub by_is_bot: bool,
    /// The comment.
    pub comment: CommentId,
    /// What it asks for.
    pub command: CommentCommand,
    /// When, by GitHub's clock; `None` where nobody said.
    pub at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_stands_at_the_beginning_of_a_line() {
        for (body, command) in [
            ("/agent-fix", CommentCommand::Start),
            ("/agent-fix stop", CommentCommand::Stop),
            ("Thanks!\r\n\r\n  /Agent-Fix  RETRY please\r\n", CommentCommand::Retry),
            ("/agent-fix status\n/agent-fix stop", CommentCommand::Status),
            ("<!-- note -->\n/agent-fix explain", CommentCommand::Explain),
            ("```\ncode\n```\n/agent-fix publish", CommentCommand::Publish),
            ("/agent-fix help", CommentCommand::Help),
            ("/agent-fix mend it", CommentCommand::Unknown { word: "mend".into() }),
        ] {
            assert_eq!(CommentCommand::read(body), Some(command), "{body:?}");
        }
    }

    #[test]
    fn what_is_quoted_shown_or_hidden_is_no_command() {
        for body in [
            "",
            "please /agent-fix stop",
            "> /agent-fix stop",
            "  > /agent-fix stop",
            "    /agent-fix stop",
            "\t/agent-fix stop",
            "```\n/agent-fix stop\n```",
            "~~~sh\n/agent-fix stop",
            "<!--\n/agent-fix stop\n-->",
            "<!-- /agent-fix stop -->",
            "`/agent-fix stop`",
            "- /agent-fix stop",
            "/agent-fixes stop",
            "/agent-fix-stop",
        ] {
            assert_eq!(CommentCommand::read(body), None, "{body:?}");
        }
    }
}
