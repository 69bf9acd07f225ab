//! Commands in comments: `/agent-fix stop` and others. Reading one decides nothing: whether its author may give it is
//! decided when it is carried out.

use std::str::SplitWhitespace;

use serde::{Deserialize, Serialize};

use super::BudgetExtension;
use crate::markdown::lines_outside_code;

/// The beginning of every command, at the start of a line.
pub const COMMAND_PREFIX: &str = "/agent-fix";
/// Lines of a comment that are read.
const LINES_MAX: usize = 500;
/// A shorter word after `publish` is no commit's id.
const COMMIT_DIGITS_READ_MIN: usize = 4;
/// Longest unknown command that is kept, in characters.
const UNKNOWN_CHARS_MAX: usize = 40;

/// A command. Its serialised names are in the store and never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlashCommand {
    /// Work on the issue, as its label does.
    Start,
    /// Stop working on it.
    Stop,
    /// Start over.
    Retry,
    /// Resume an escalated or stopped job, with more to spend.
    Continue {
        /// How much more.
        grant: BudgetExtension,
    },
    /// Show the job's state.
    Status,
    /// Show what was done, and why it ended.
    Explain,
    /// Publish the change that waits for approval.
    Publish,
    /// Publish it only if it is this commit.
    PublishCommit {
        /// The beginning of the commit's id, in lower case.
        commit: String,
    },
    /// List the commands.
    Help,
    /// An unknown command.
    Unknown {
        /// Its word, cut.
        word: String,
    },
}

/// How a command is written and what people read about it. Lists of commands are made from these rows.
pub struct CommandRow {
    /// The words that give it, after the prefix. The first one is shown.
    words: &'static [&'static str],
    /// What it does, in Markdown: in the answer to `help` and in the guide.
    pub effect: &'static str,
    /// Reads its arguments. `Err` is a word that makes the command unknown.
    read: for<'w> fn(SplitWhitespace<'w>) -> Result<SlashCommand, &'w str>,
}

/// Every command, in the order in which they are listed.
pub const COMMANDS: &[CommandRow] = &[
    CommandRow {
        words: &["", "start"],
        effect: "start work on the issue as it is now, like the label",
        read: |_| Ok(SlashCommand::Start),
    },
    CommandRow { words: &["stop"], effect: "stop the work on the issue", read: |_| Ok(SlashCommand::Stop) },
    CommandRow {
        words: &["retry"],
        effect: "start over on the newest base",
        read: |_| Ok(SlashCommand::Retry),
    },
    CommandRow {
        words: &["continue"],
        effect: "resume an escalated or stopped job with a full new budget (or with `+$2`, `+20 turns`); \
                 the agent reads your comment",
        read: |arguments| Ok(SlashCommand::Continue { grant: grant_of(arguments)? }),
    },
    CommandRow {
        words: &["status"],
        effect: "show the state and the cost",
        read: |_| Ok(SlashCommand::Status),
    },
    CommandRow {
        words: &["explain"],
        effect: "show what was done and why it ended",
        read: |_| Ok(SlashCommand::Explain),
    },
    CommandRow {
        words: &["publish"],
        effect: "publish the change that is waiting for approval, as it was shown last; with a commit, only \
                 that one",
        read: |mut arguments| {
            let commit = arguments.next().and_then(commit_of);
            Ok(commit.map_or(SlashCommand::Publish, |commit| SlashCommand::PublishCommit { commit }))
        },
    },
    CommandRow { words: &["help"], effect: "show this list", read: |_| Ok(SlashCommand::Help) },
];

impl CommandRow {
    /// The command as it is written in a comment, without arguments.
    pub fn usage(&self) -> String {
        format!("{COMMAND_PREFIX} {}", self.words[0]).trim_end().to_owned()
    }
}

/// The table of all commands, in Markdown.
pub fn command_table() -> String {
    let rows = COMMANDS.iter().map(|row| format!("\n| `{}` | {} |", row.usage(), row.effect));
    "| Command | Effect |\n|---|---|".to_owned() + &rows.collect::<String>()
}

impl SlashCommand {
    /// The first command of a comment: at the start of a visible line that is neither quoted nor code. A
    /// quoted or displayed command is not carried out.
    pub fn read(body: &str) -> Option<Self> {
        lines_outside_code(body).iter().take(LINES_MAX).find_map(|line| Self::of_line(line))
    }

    /// Whether it makes a job work or publish. A later `stop` withdraws it while it waits.
    pub fn starts_work(&self) -> bool {
        match self {
            Self::Start
            | Self::Retry
            | Self::Continue { .. }
            | Self::Publish
            | Self::PublishCommit { .. } => true,
            Self::Stop | Self::Status | Self::Explain | Self::Help | Self::Unknown { .. } => false,
        }
    }

    /// Whether it goes before commands that were given earlier: it waits in a queue of its own.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::Stop => true,
            Self::Start
            | Self::Retry
            | Self::Continue { .. }
            | Self::Status
            | Self::Explain
            | Self::Publish
            | Self::PublishCommit { .. }
            | Self::Help
            | Self::Unknown { .. } => false,
        }
    }

    /// Whether a new job begins, with the issue as it is now.
    pub fn starts_job(&self) -> bool {
        matches!(self, Self::Start | Self::Retry)
    }

    fn of_line(line: &str) -> Option<Self> {
        let start =
            line.get(..COMMAND_PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(COMMAND_PREFIX))?;
        let rest = &line[start.len()..];
        if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
            return None;
        }
        let mut words = rest.split_whitespace();
        let word = words.next().unwrap_or_default().to_lowercase();
        let command = match COMMANDS.iter().find(|row| row.words.contains(&word.as_str())) {
            Some(row) => (row.read)(words),
            None => Err(word.as_str()),
        };
        Some(
            command.unwrap_or_else(|word| Self::Unknown {
                word: word.chars().take(UNKNOWN_CHARS_MAX).collect(),
            }),
        )
    }
}

/// A word that names a commit: hexadecimal digits. Whether it names the right one is
/// decided when the command is carried out.
fn commit_of(word: &str) -> Option<String> {
    const DIGITS_MAX: usize = 64;
    let is_id = (COMMIT_DIGITS_READ_MIN..=DIGITS_MAX).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| word.to_ascii_lowercase())
}

/// The amounts after `continue`: `+$3`, `+20 turns`, or both. Other words are ignored. `Err` is a word that begins
/// like an amount and is none.
fn grant_of(words: SplitWhitespace<'_>) -> Result<BudgetExtension, &str> {
    let mut grant = BudgetExtension::default();
    for word in words {
        let Some(amount) = word.strip_prefix('+') else { continue };
        match amount.strip_prefix('$') {
            Some(dollars) => grant.cents = Some(cents_of(dollars).ok_or(word)?),
            None => grant.turns = Some(amount.parse().ok().filter(|turns| *turns > 0).ok_or(word)?),
        }
    }
    Ok(grant)
}

/// The cents of `3`, `0.50` or `2.5`; at least one.
fn cents_of(dollars: &str) -> Option<u32> {
    let (whole, part) = dollars.split_once('.').unwrap_or((dollars, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 2 {
        return None;
    }
    let part: u32 = format!("{part:0<2}").parse().ok()?;
    let cents = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)?;
    (cents > 0).then_some(cents)
}

/// Whether a text mentions a login with `@`, outside quotes and code, with or without the `[bot]` of an App's login.
pub fn mentions_bot(body: &str, login: &str) -> bool {
    let name = login.strip_suffix("[bot]").unwrap_or(login).to_ascii_lowercase();
    let part_of_login = |c: char| c.is_ascii_alphanumeric() || c == '-';
    lines_outside_code(body).iter().take(LINES_MAX).any(|line| {
        let line = line.to_ascii_lowercase();
        line.match_indices('@').any(|(at, _)| {
            let stands_alone = !line[..at].ends_with(|c: char| part_of_login(c) || matches!(c, '`' | '.'));
            let rest = line[at + 1..].strip_prefix(name.as_str());
            stands_alone && rest.is_some_and(|rest| !rest.starts_with(part_of_login))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_at_the_start_of_a_line_is_read() {
        for (body, command) in [
            ("/agent-fix", SlashCommand::Start),
            ("/agent-fix stop", SlashCommand::Stop),
            ("Thanks!\r\n\r\n  /Agent-Fix  RETRY please\r\n", SlashCommand::Retry),
            ("/agent-fix status\n/agent-fix stop", SlashCommand::Status),
            ("<!-- note -->\n/agent-fix explain", SlashCommand::Explain),
            ("```\ncode\n```\n/agent-fix publish", SlashCommand::Publish),
            ("/agent-fix publish, please", SlashCommand::Unknown { word: "publish,".into() }),
            ("/agent-fix publish please", SlashCommand::Publish),
            ("/agent-fix publish C0FFEE1", SlashCommand::PublishCommit { commit: "c0ffee1".into() }),
            ("/agent-fix help", SlashCommand::Help),
            ("/agent-fix continue", SlashCommand::Continue { grant: BudgetExtension::default() }),
            (
                "/agent-fix continue +$2.50 +20 turns: the answer is no",
                SlashCommand::Continue { grant: BudgetExtension { cents: Some(250), turns: Some(20) } },
            ),
            ("/agent-fix continue +$", SlashCommand::Unknown { word: "+$".into() }),
            ("/agent-fix continue +0", SlashCommand::Unknown { word: "+0".into() }),
            ("/agent-fix continue +$0.001", SlashCommand::Unknown { word: "+$0.001".into() }),
            ("/agent-fix mend it", SlashCommand::Unknown { word: "mend".into() }),
        ] {
            assert_eq!(SlashCommand::read(body), Some(command), "{body:?}");
        }
    }

    #[test]
    fn quoted_shown_or_hidden_command_is_ignored() {
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
            "````md\n```\n/agent-fix stop\n```\n````",
            "Thanks <!--\n/agent-fix retry\n-->",
            "> quoted\n/agent-fix stop",
            "``\n/agent-fix stop\n``",
            "/agent-fix-stop",
        ] {
            assert_eq!(SlashCommand::read(body), None, "{body:?}");
        }
    }

    #[test]
    fn bot_is_mentioned_only_outside_quotes_and_code() {
        let login = "mendwright-dev[bot]";
        for body in
            ["@mendwright-dev rename it", "Please, @Mendwright-Dev[bot].", "> old\n\n(@mendwright-dev)"]
        {
            assert!(mentions_bot(body, login), "{body:?}");
        }
        for body in [
            "",
            "mendwright-dev",
            "> @mendwright-dev rename it",
            "```\n@mendwright-dev\n```",
            "`@mendwright-dev`",
            "me@mendwright-dev",
            "@mendwright-developer",
            "@mendwright",
        ] {
            assert!(!mentions_bot(body, login), "{body:?}");
        }
    }
}
