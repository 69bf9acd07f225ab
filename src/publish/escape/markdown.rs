//! Foreign Markdown, parsed and rebuilt: paragraphs, lists, headings, code spans and code blocks stay; everything else
//! is shown as plain characters.

use super::{code_span, fenced, inert, visible, without_keywords};

/// Languages of code blocks that are kept. Others are dropped: GitHub renders some as diagrams and maps with links.
const LANGUAGES: [&str; 22] = [
    "rust",
    "rs",
    "python",
    "py",
    "javascript",
    "js",
    "typescript",
    "ts",
    "go",
    "java",
    "c",
    "cpp",
    "sh",
    "bash",
    "console",
    "diff",
    "json",
    "toml",
    "yaml",
    "ruby",
    "text",
    "txt",
];

/// Deepest level at which a list stays a list.
const LIST_DEPTH_MAX: usize = 4;

/// Several lines of foreign Markdown, inert.
pub fn prose(text: &str) -> String {
    let text = visible(text);
    let mut out = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        match Fence::opened_by(line) {
            Some(fence) => {
                let content: Vec<&str> =
                    lines.by_ref().take_while(|line| !fence.is_closed_by(line)).collect();
                out.push(
                    fenced(&without_keywords(&content.join("\n")), fence.language).trim_end().to_owned(),
                );
            }
            None => out.push(block_line(line)),
        }
    }
    out.join("\n")
}

/// [`prose`] as a quotation: every line begins with `>`.
pub fn quoted(text: &str) -> String {
    let prose = prose(text.trim());
    let line = |line: &str| if line.is_empty() { ">".to_owned() } else { format!("> {line}") };
    prose.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// One line of foreign Markdown, inert: only code spans are kept.
pub fn inline(text: &str) -> String {
    let text = visible(text).split_whitespace().collect::<Vec<_>>().join(" ");
    spans(&text, code_span)
}

/// [`inline`] for a table's cell.
pub fn cell(text: &str) -> String {
    let text = visible(text).split_whitespace().collect::<Vec<_>>().join(" ");
    spans(&text, super::code_cell)
}

struct Fence<'a> {
    sign: char,
    length: usize,
    language: &'a str,
}

impl<'a> Fence<'a> {
    fn opened_by(line: &'a str) -> Option<Self> {
        let line = line.trim_start();
        let sign = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let length = line.chars().take_while(|c| *c == sign).count();
        let info = line[length..].trim();
        if length < 3 || (sign == '`' && info.contains('`')) {
            return None;
        }
        let language = LANGUAGES.iter().find(|known| info.eq_ignore_ascii_case(known)).copied().unwrap_or("");
        Some(Self { sign, length, language })
    }

    fn is_closed_by(&self, line: &str) -> bool {
        let line = line.trim();
        line.len() >= self.length && line.chars().all(|c| c == self.sign)
    }
}

/// A line outside code blocks.
fn block_line(line: &str) -> String {
    let text = line.trim();
    let indent =
        line.chars().take_while(|c| c.is_whitespace()).map(|c| if c == '\t' { 4 } else { 1 }).sum::<usize>();
    if let Some((marker, item)) = list_item(text) {
        let depth = (indent / 2).min(LIST_DEPTH_MAX);
        return format!("{}{marker} {}", "  ".repeat(depth), paragraph_line(item));
    }
    let heading = text.trim_start_matches('#');
    let level = text.len() - heading.len();
    if (1..=6).contains(&level) && heading.starts_with(' ') && !heading.trim().is_empty() {
        return format!("**{}**", spans(heading.trim(), code_span));
    }
    paragraph_line(text)
}

/// The marker, written our way, and what follows it. A checkbox belongs to the marker.
fn list_item(text: &str) -> Option<(String, &str)> {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (marker, rest) = match (digits, text.get(digits..)?) {
        (0, rest) => ("-".to_owned(), rest.strip_prefix(['-', '*', '+'])?),
        (1..=9, rest) => (format!("{}.", &text[..digits]), rest.strip_prefix(['.', ')'])?),
        (_, _) => return None,
    };
    let item = rest.strip_prefix([' ', '\t'])?.trim_start();
    if item.is_empty() {
        return None;
    }
    let checkbox = [("[ ] ", " [ ]"), ("[x] ", " [x]"), ("[X] ", " [x]")];
    let found = checkbox.iter().find_map(|(theirs, ours)| Some((ours, item.strip_prefix(theirs)?)));
    Some(match found {
        Some((ours, item)) if !item.trim().is_empty() => (marker + ours, item.trim()),
        Some(_) | None => (marker, item),
    })
}

/// A line that must not be taken for a rule, an underline of a heading, a table's second row, or a
/// list.
fn paragraph_line(text: &str) -> String {
    let escaped = spans(text, code_span);
    let digits = escaped.chars().take_while(char::is_ascii_digit).count();
    match escaped.chars().nth(digits) {
        Some('-' | '+' | '=' | '#' | ':') if digits == 0 => format!("\\{escaped}"),
        Some('.' | ')') if (1..=9).contains(&digits) => {
            format!("{}\\{}", &escaped[..digits], &escaped[digits..])
        }
        Some(_) | None => escaped,
    }
}

/// A line with its code spans written our way, and everything between them escaped.
fn spans(line: &str, code: fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut text_from = 0;
    let mut at = 0;
    while let Some(offset) = line[at..].find('`') {
        let open = at + offset;
        let length = line[open..].chars().take_while(|c| *c == '`').count();
        let content_from = open + length;
        match closing(line, content_from, length) {
            Some(close) if !line[content_from..close].trim().is_empty() => {
                out.push_str(&escaped(&line[text_from..open], text_from == 0));
                out.push_str(&code(line[content_from..close].trim()));
                at = close + length;
                text_from = at;
            }
            Some(_) | None => at = content_from,
        }
    }
    out.push_str(&escaped(&line[text_from..], text_from == 0));
    out
}

/// Where a run of exactly `length` backticks begins, from `from` on.
fn closing(line: &str, from: usize, length: usize) -> Option<usize> {
    let mut at = from;
    while let Some(offset) = line[at..].find('`') {
        let start = at + offset;
        let run = line[start..].chars().take_while(|c| *c == '`').count();
        if run == length {
            return Some(start);
        }
        at = start + run;
    }
    None
}

/// Text without Markdown's, HTML's and GitHub's meanings. Entities are used where the raw text
/// must not look like a tag either; `&` goes first, or `&#64;` would become a mention.
fn escaped(text: &str, begins_line: bool) -> String {
    // `inert` takes the beginning of its text for the beginning of a line.
    let inert_text = if begins_line { inert(text) } else { inert(&format!("x{text}"))[1..].to_owned() };
    let mut out = String::with_capacity(inert_text.len());
    for c in inert_text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '|' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_markdown_is_kept_and_active_markdown_escaped() {
        let text = "# Cause\n\
            `sum()` left out the __last__ item, see [docs](https://x.example/?q=1) and <b>this</b>.\n\
            * one `a | b` @octocat\n  - [x] two, Fixes #12\n\
            3) three\n\
            ![pixel](https://x.example/p.png)\n\
            ---\n\
            /close\n\
            a lone ` backtick, &#64;octocat, $x$\n\
            ```mermaid\nclick A \"https://x.example\"\n@octocat stays\n";
        insta::assert_snapshot!(quoted(text), @r#"
        > **Cause**
        > `sum()` left out the \_\_last\_\_ item, see \[docs\](https:⁄/x.example/?q=1) and &lt;b&gt;this&lt;/b&gt;.
        > - one `a | b` ＠octocat
        >   - [x] two, Fixes ＃12
        > 3. three
        > !\[pixel\](https:⁄/x.example/p.png)
        > \---
        > ⁄close
        > a lone \` backtick, &amp;＃64;octocat, \$x\$
        > ```
        > click A "https://x.example"
        > @octocat stays
        > ```
        "#);
    }

    #[test]
    fn cell_stays_one_cell() {
        assert_eq!(cell("a | b\n`c|d` **e**"), "a \\| b `c\\|d` \\*\\*e\\*\\*");
    }
}
