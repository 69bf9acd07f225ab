//! What somebody asks for in a comment: `/agent-fix stop` and its like. Reading it decides nothing;
//! whether they may ask is asked of GitHub when it is carried out.

use super::BudgetExtension;

/// What a command begins with, at the beginning of a line.
pub const COMMAND_PREFIX: &str = "/agent-fix";
/// Lines of a comment that are looked at: more is no conversation.
const LINES_MAX: usize = 500;
/// Of a word that is no command, in characters.
const UNKNOWN_CHARS_MAX: usize = 40;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlashCommand {
    /// Work on the issue, as its label asks for it.
    Start,
    /// Stop working on it.
    Stop,
    /// Work on it anew.
    Retry,
    /// Go on with what was handed to a person, with more to spend.
    Continue {
        /// What.
        grant: BudgetExtension,
    },
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

impl SlashCommand {
    /// The first command of a comment: at the beginning of a line that is neither quoted nor code.
    /// Whoever quotes a command, or shows one, gives none.
    pub fn read(body: &str) -> Option<Self> {
        spoken(body).find_map(Self::of_line)
    }

    fn of_line(line: &str) -> Option<Self> {
        let start =
            line.get(..COMMAND_PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(COMMAND_PREFIX))?;
        let rest = &line[start.len()..];
        if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
            return None;
        }
        let unknown = |word: &str| Self::Unknown { word: word.chars().take(UNKNOWN_CHARS_MAX).collect() };
        let mut words = rest.split_whitespace();
        let word = words.next().unwrap_or_default().to_lowercase();
        Some(match word.as_str() {
            "" | "start" => Self::Start,
            "stop" => Self::Stop,
            "retry" => Self::Retry,
            "continue" => match grant_of(words) {
                Ok(grant) => Self::Continue { grant },
                Err(word) => unknown(word),
            },
            "status" => Self::Status,
            "explain" => Self::Explain,
            "publish" => Self::Publish,
            "help" => Self::Help,
            _ => unknown(&word),
        })
    }
}

/// What `continue` is followed by: `+$3`, `+20 turns`, both, or words that are not looked at. `Err` is
/// what begins like one of them and is none.
fn grant_of<'w>(words: impl Iterator<Item = &'w str>) -> Result<BudgetExtension, &'w str> {
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

/// `3`, `0.50`, `2.5`: at least a cent.
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

/// Whether somebody is spoken to in a text, outside of quotes and code: by their login with an `@`, with
/// or without the `[bot]` that an App's has.
pub fn mentions_bot(body: &str, login: &str) -> bool {
    let name = login.strip_suffix("[bot]").unwrap_or(login).to_ascii_lowercase();
    let part_of_login = |c: char| c.is_ascii_alphanumeric() || c == '-';
    spoken(body).any(|line| {
        let line = line.to_ascii_lowercase();
        line.match_indices('@').any(|(at, _)| {
            let stands_alone = !line[..at].ends_with(|c: char| part_of_login(c) || matches!(c, '`' | '.'));
            let rest = line[at + 1..].strip_prefix(name.as_str());
            stands_alone && rest.is_some_and(|rest| !rest.starts_with(part_of_login))
        })
    })
}

/// The lines of a comment that are its author's own words: not quoted, not code, not hidden.
fn spoken(body: &str) -> impl Iterator<Item = &str> {
    let mut fence: Option<&str> = None;
    let mut is_hidden = false;
    body.lines().take(LINES_MAX).filter_map(move |line| {
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
            None if is_indented || text.starts_with('>') => {}
            None => return Some(text),
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_stands_at_the_beginning_of_a_line() {
        for (body, command) in [
            ("/agent-fix", SlashCommand::Start),
            ("/agent-fix stop", SlashCommand::Stop),
            ("Thanks!\r\n\r\n  /Agent-Fix  RETRY please\r\n", SlashCommand::Retry),
            ("/agent-fix status\n/agent-fix stop", SlashCommand::Status),
            ("<!-- note -->\n/agent-fix explain", SlashCommand::Explain),
            ("```\ncode\n```\n/agent-fix publish", SlashCommand::Publish),
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
            assert_eq!(SlashCommand::read(body), None, "{body:?}");
        }
    }

    #[test]
    fn who_is_spoken_to_is_named_and_not_quoted() {
        let login = "mendwright-dev[bot]";
        for body in ["@mendwright-dev rename it", "Please, @Mendwright-Dev[bot].", "> old\n(@mendwright-dev)"]
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
