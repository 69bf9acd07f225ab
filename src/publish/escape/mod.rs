//! Makes text by a model, a repository or an issue's author inert: it can say anything and has no effect. No mention
//! notifies, no keyword closes an issue, no command runs, no image loads, no HTML or link works, nothing is hidden,
//! and nothing escapes from a fence or a table.
//!
//! There are two means. What Markdown would interpret is escaped. What GitHub, or a bot that reads raw comments,
//! interprets in *plain* text cannot be escaped: GitHub looks for mentions after it has rendered Markdown, so `\@` and
//! `&#64;` still notify. There a look-alike replaces the character. GitHub interprets nothing inside code, so code
//! stays as it is, except for invisible characters, commands at the start of a line, and words that close issues or
//! skip checks: a squash merge can turn a pull request's text into a commit message, which is not Markdown.

use std::sync::LazyLock;

use regex::{Captures, Regex};

mod markdown;

#[cfg(test)]
pub(super) mod properties;

pub use markdown::{cell, inline, prose, quoted};

/// The text with everything hidden made visible: terminal colours are dropped, and characters without a glyph
/// become their code points.
pub fn visible(text: &str) -> String {
    let text = without_terminal_sequences(text);
    // A lone carriage return writes over a line. Every state of it is shown, each on a line of its own.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut shown = String::with_capacity(text.len());
    let mut hidden: Vec<char> = Vec::new();
    for c in text.chars() {
        if is_hidden(c) {
            hidden.push(c);
            continue;
        }
        show_hidden(&mut shown, &mut hidden);
        // Other line ends would begin a line for GitHub, but not for us.
        match c {
            '\u{2028}' | '\u{2029}' | '\u{85}' => shown.push('\n'),
            _ => shown.push(c),
        }
    }
    show_hidden(&mut shown, &mut hidden);
    shown
}

/// Shows a run of hidden characters as one short note: a hidden message must not fill the page.
fn show_hidden(shown: &mut String, hidden: &mut Vec<char>) {
    // A single character that joins or colours an emoji hides nothing.
    let harmless = hidden.len() == 1 && matches!(hidden[0], '\u{200d}' | '\u{fe0f}');
    match hidden.first() {
        Some(first) if !harmless => {
            let more = if hidden.len() > 1 {
                format!(" and {} more hidden", hidden.len() - 1)
            } else {
                String::new()
            };
            shown.push_str(&format!("⟪U+{:04X}{more}⟫", u32::from(*first)));
        }
        Some(_) | None => {}
    }
    hidden.clear();
}

/// Characters without a glyph, or that turn the direction of others (Unicode categories Cc and Cf,
/// variation selectors, tags, and fillers that look like nothing). CVE-2021-42574 is their misuse
/// in source code.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{0600}'..='\u{0605}' | '\u{061c}' | '\u{06dd}' | '\u{070f}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || (c.is_control() && !matches!(c, '\n' | '\t' | '\u{85}'))
}

/// ECMA-48 control sequences (colours, cursor moves) and operating system commands (titles, links)
/// of terminals.
fn without_terminal_sequences(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        clean.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = match after.chars().next() {
            Some('[') => {
                let body = after[1..].trim_start_matches(|c| matches!(c, '\u{20}'..='\u{3f}'));
                let mut chars = body.chars();
                if chars.next().is_some_and(|c| matches!(c, '\u{40}'..='\u{7e}')) {
                    chars.as_str()
                } else {
                    body
                }
            }
            Some(']') => {
                let end = after.find(['\u{7}', '\u{1b}', '\n']);
                let end = end.unwrap_or(after.len());
                after[end..].trim_start_matches('\u{7}').trim_start_matches("\u{1b}\\")
            }
            Some(_) | None => after,
        };
    }
    clean.push_str(rest);
    clean
}

/// Plain text with look-alikes for every character that GitHub interprets outside code. Escapes no Markdown: for
/// titles and commit messages, and as the last step of everything else.
fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before: Option<char> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let after = rest.as_str();
        let is_line_start = before.is_none_or(|c| c == '\n');
        let replaced = match c {
            '@' => '＠',
            '[' if skips_checks(after) => '［',
            // `#12`, and `#close` of issue trackers that read commit messages.
            '#' if after.starts_with(|c: char| c.is_alphanumeric()) => '＃',
            '*' if is_no_ci(&out, after) => '＊',
            '/' if is_line_start => '⁄',
            '/' if before == Some(':') => '⁄',
            '-' if is_gh_reference(&out, after) => '‑',
            '.' if starts_www(&out) => '․',
            c => c,
        };
        out.push(replaced);
        // Spaces at the start of a line do not hide a command from bots that trim.
        if !(is_line_start && c.is_whitespace()) {
            before = Some(c);
        }
    }
    out
}

/// Whether `[` begins a phrase with which a commit skips checks: `[skip ci]`, `[ci-skip]`,
/// `[no ci]`, `[skip actions]`, `[skip netlify]`, and every other phrase about skipping.
/// Source: docs.github.com, "Skipping workflow runs"; GitLab, Netlify, Travis and CircleCI have their own.
fn skips_checks(after: &str) -> bool {
    let Some((words, _)) = after.split_once(']') else { return false };
    let words = words.to_lowercase();
    let mut words = words.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    match (words.next(), words.next()) {
        (Some("no"), Some(word)) => matches!(word, "ci" | "build" | "test" | "tests"),
        (Some(first), second) => first == "skip" || second == Some("skip"),
        (None, _) => false,
    }
}

/// Whether a `*` begins `***NO_CI***`, which skips Azure's pipelines.
fn is_no_ci(before: &str, after: &str) -> bool {
    let rest = after.trim_start_matches('*');
    !before.ends_with('*') && rest.len() + 2 == after.len() && rest.to_lowercase().starts_with("no_ci")
}

/// Whether a `-` belongs to `GH-12`, GitHub's other spelling of `#12`.
fn is_gh_reference(before: &str, after: &str) -> bool {
    after.starts_with(|c: char| c.is_numeric()) && ends_with_ignoring_case(before, "gh")
}

/// Whether a `.` belongs to `www.`, which becomes a link.
fn starts_www(before: &str) -> bool {
    ends_with_ignoring_case(before, "www")
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    text.len()
        .checked_sub(end.len())
        .and_then(|at| text.get(at..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// One line of plain text for titles and commit messages, cut to `chars_max`.
pub fn line(text: &str, chars_max: usize) -> String {
    let text = inert(&visible(text).split_whitespace().collect::<Vec<_>>().join(" "));
    cut(&text, chars_max)
}

/// Several lines of plain text, for commit messages.
pub fn plain(text: &str) -> String {
    inert(&visible(text))
}

/// Text for the inside of an HTML element on a line of HTML, which is not Markdown.
pub fn html_text(text: &str) -> String {
    line(text, usize::MAX)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// At most the first `chars_max` characters of `text`; an ellipsis marks the cut.
pub fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
            format!("{}…", kept.trim_end())
        }
    }
}

/// A code span that holds exactly `text`, on one line. For table cells use [`code_cell`].
pub fn code_span(text: &str) -> String {
    let text = without_keywords(&visible(text).replace(['\n', '\t'], " "));
    if text.trim().is_empty() {
        return "` `".to_owned();
    }
    let fence = "`".repeat(longest_run(&text, '`') + 1);
    let needs_padding = text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']);
    let padding = if needs_padding { " " } else { "" };
    format!("{fence}{padding}{text}{padding}{fence}")
}

/// A code span for a table's cell, where `|` ends the cell even in code.
pub fn code_cell(text: &str) -> String {
    code_span(text).replace('|', "\\|")
}

/// A code block whose fence is longer than anything in `text` that could close it. `language` is never foreign text.
pub fn fenced(text: &str, language: &str) -> String {
    let text = without_commands(&visible(text));
    let fence = "`".repeat((longest_run(&text, '`') + 1).max(3));
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{language}\n{text}{end}{fence}\n")
}

/// Code with look-alikes in phrases that would close an issue or skip checks in a commit message.
/// Source: docs.github.com, "Linking a pull request to an issue using a keyword".
fn without_keywords(text: &str) -> String {
    static CLOSES: LazyLock<Regex> = LazyLock::new(|| {
        let keyword = r"(?i)\b(?P<word>(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+)";
        let target = r"(?P<where>[\w.-]*(?:/[\w.-]+)?)(?:(?P<hash>#)|(?P<gh>gh)-|(?P<scheme>https?)://)";
        Regex::new(&format!("{keyword}{target}")).expect("it is a regular expression, as the tests show")
    });
    let closes = CLOSES.replace_all(text, |found: &Captures<'_>| {
        let part = |name: &str| found.name(name).map_or("", |part| part.as_str());
        let sign = match (found.name("hash"), found.name("gh")) {
            (Some(_), _) => "＃".to_owned(),
            (None, Some(gh)) => format!("{}‑", gh.as_str()),
            (None, None) => format!("{}:⁄/", part("scheme")),
        };
        format!("{}{}{sign}", part("word"), part("where"))
    });
    let mut out = String::with_capacity(closes.len());
    for (at, c) in closes.char_indices() {
        let skips = c == '[' && skips_checks(&closes[at + 1..]);
        out.push(if skips { '［' } else { c });
    }
    out
}

/// Replaces the slash by a look-alike in lines that a bot could take for a command (`/close`, not `/usr/bin/x`).
fn without_commands(text: &str) -> String {
    let is_command = |line: &str| {
        let word = line.split_whitespace().next().unwrap_or_default();
        word.strip_prefix('/')
            .is_some_and(|name| name.starts_with(char::is_alphabetic) && !name.contains('/'))
    };
    let line = |line: &str| if is_command(line) { line.replacen('/', "⁄", 1) } else { line.to_owned() };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn longest_run(text: &str, of: char) -> usize {
    let mut longest = 0;
    let mut current = 0;
    for c in text.chars() {
        current = if c == of { current + 1 } else { 0 };
        longest = longest.max(current);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown_and_terminal_colours_dropped() {
        assert_eq!(visible("a\u{202e}b"), "a⟪U+202E⟫b");
        assert_eq!(visible("x\u{e0041}\u{e0042}\u{e0043}y"), "x⟪U+E0041 and 2 more hidden⟫y");
        assert_eq!(visible("\u{1b}[1;31mFAILED\u{1b}[0m ok\u{1b}]8;;http://x\u{7}"), "FAILED ok");
        assert_eq!(visible("a\r\nb\0"), "a\nb⟪U+0000⟫");
        assert_eq!(visible("10 %\r20 %\r\n\rdone\r"), "10 %\n20 %\n\ndone\n");
        assert_eq!(visible("👩\u{200d}💻 ❤\u{fe0f}"), "👩💻 ❤");
    }

    #[test]
    fn title_cannot_notify_refer_close_or_link() {
        let title = "Fixes #12, closes GH-7 o/r#3 cc @octocat/team see https://x.example and www.x.example";
        insta::assert_snapshot!(line(title, 200), @"Fixes ＃12, closes GH‑7 o/r＃3 cc ＠octocat/team see https:⁄/x.example and www․x.example");
        assert_eq!(line("/close\n\n  now", 200), "⁄close now");
        assert_eq!(line("[bug] x [Skip CI] [no ci]", 200), "[bug] x ［Skip CI] ［no ci]");
        let skips =
            "[ci-skip] [skip netlify] [actions skip] [no-build] ***NO_CI*** [skipper] [no way] **bold**";
        assert_eq!(
            line(skips, 200),
            "［ci-skip] ［skip netlify] ［actions skip] ［no-build] ＊**NO_CI*** [skipper] [no way] **bold**"
        );
        assert_eq!(
            line("JRA-34 #resolve #time 2h, C# and # alone", 200),
            "JRA-34 ＃resolve ＃time 2h, C# and # alone"
        );
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(plain("ok\n  /lgtm\n"), "ok\n  ⁄lgtm\n");
    }

    #[test]
    fn fence_is_longer_than_every_run_inside_and_commands_in_it_are_inert() {
        assert_eq!(
            fenced("a\n````\n/close\n/usr/bin/x\n", "text"),
            "`````text\na\n````\n⁄close\n/usr/bin/x\n`````\n"
        );
        assert_eq!(fenced("", ""), "```\n```\n");
        assert_eq!(code_span("a`b``c"), "```a`b``c```");
        assert_eq!(code_span("`x"), "`` `x ``");
        assert_eq!(
            code_span("fixes #9, Closes: o/r#3 resolve GH-4 fix https://x.example # 5 #6 [skip ci]"),
            "`fixes ＃9, Closes: o/r＃3 resolve GH‑4 fix https:⁄/x.example # 5 #6 ［skip ci]`"
        );
        assert_eq!(code_cell("a|b"), "`a\\|b`");
        assert_eq!(html_text("</summary><b>&\n@x"), "&lt;/summary&gt;&lt;b&gt;&amp; ＠x");
    }
}
