//! Raw HTML in Markdown, read as a browser's tokenizer reads it: comments, attributes, unknown tags and
//! hidden elements are not shown. What one piece opens (a comment, a quoted attribute, an element) hides
//! everything up to where a later piece closes it, so one filter reads a whole document in order.

use super::characters::without_invisible_references;

/// The elements that GitHub renders; the tags of others are dropped, and their text stays.
const RENDERED: &[&str] = &[
    "a",
    "abbr",
    "b",
    "bdo",
    "blockquote",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "mark",
    "ol",
    "p",
    "picture",
    "pre",
    "q",
    "rp",
    "rt",
    "ruby",
    "s",
    "samp",
    "small",
    "source",
    "span",
    "strike",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "time",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
    "video",
    "wbr",
];
/// Elements whose content is no text of the page.
const CONTENT_HIDDEN: &[&str] = &["script", "style", "template"];
/// Elements without content, and so without an end tag.
const VOID: &[&str] = &["br", "hr", "img", "input", "source", "wbr"];
/// The longest address that is kept, in bytes.
const ADDRESS_BYTES_MAX: usize = 2_000;

/// How much was removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct RemovedHtml {
    pub(super) comments: usize,
    pub(super) attributes: usize,
    pub(super) tags: usize,
    pub(super) elements: usize,
    pub(super) characters: usize,
}

/// Reads the raw HTML of one document, piece by piece.
#[derive(Debug, Default)]
pub(super) struct HtmlFilter {
    state: State,
    hidden: Option<HiddenElement>,
    pub(super) removed: RemovedHtml,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    Comment,
    /// A declaration, a processing instruction or the like, which browsers read as a comment up to `>`.
    BogusComment,
    Tag {
        /// Everything after `<` so far.
        source: String,
        quote: Option<char>,
    },
}

/// An element that is not shown, with all that is in it.
#[derive(Debug)]
struct HiddenElement {
    name: String,
    /// How many elements of this name are open, itself included.
    depth: usize,
}

impl HtmlFilter {
    /// Whether what follows is not shown.
    pub(super) fn is_hiding(&self) -> bool {
        self.hidden.is_some() || !matches!(self.state, State::Text)
    }

    /// What is shown of one piece of raw HTML.
    pub(super) fn visible_part(&mut self, html: &str) -> String {
        let mut shown = String::new();
        let mut rest = html;
        while !rest.is_empty() {
            rest = match &mut self.state {
                State::Text => self.read_text(rest, &mut shown),
                State::Comment => self.skip_past(rest, "-->"),
                State::BogusComment => self.skip_past(rest, ">"),
                State::Tag { .. } => self.read_tag(rest, &mut shown),
            };
        }
        // The markup that is rendered next ends what waits for `>`, and not a quotation or a comment.
        if matches!(self.state, State::BogusComment | State::Tag { quote: None, .. }) {
            self.state = State::Text;
        }
        shown
    }

    fn read_text<'h>(&mut self, html: &'h str, shown: &mut String) -> &'h str {
        let (text, markup) = html.split_at(html.find('<').unwrap_or(html.len()));
        if self.hidden.is_none() {
            let (text, invisible) = without_invisible_references(text);
            self.removed.characters += invisible;
            shown.push_str(&text);
        }
        let Some(after) = markup.strip_prefix('<') else { return markup };
        let begins_name = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
        if let Some(comment) = after.strip_prefix("!--") {
            self.removed.comments += 1;
            // Both of these are whole comments.
            if let Some(rest) = comment.strip_prefix('>').or_else(|| comment.strip_prefix("->")) {
                return rest;
            }
            self.state = State::Comment;
            return comment;
        }
        if begins_name(after) || after.strip_prefix('/').is_some_and(begins_name) {
            self.state = State::Tag { source: String::new(), quote: None };
            return after;
        }
        if after.starts_with(['!', '?', '/']) {
            self.removed.comments += 1;
            self.state = State::BogusComment;
            return after;
        }
        if self.hidden.is_none() {
            shown.push('<');
        }
        after
    }

    fn skip_past<'h>(&mut self, html: &'h str, end: &str) -> &'h str {
        match html.find(end) {
            Some(at) => {
                self.state = State::Text;
                &html[at + end.len()..]
            }
            None => "",
        }
    }

    fn read_tag<'h>(&mut self, html: &'h str, shown: &mut String) -> &'h str {
        let State::Tag { source, quote } = &mut self.state else { return html };
        let end = match quote {
            Some(quote) => html.find(*quote),
            None => html.find(['>', '"', '\'']),
        };
        let Some((part, found)) = end.and_then(|end| Some((&html[..end], html[end..].chars().next()?)))
        else {
            source.push_str(html);
            return "";
        };
        source.push_str(part);
        if quote.is_some() {
            *quote = None;
        } else if found == '>' {
            let tag = std::mem::take(source);
            self.state = State::Text;
            self.end_tag(&tag, shown);
            return &html[part.len() + 1..];
        } else if source.trim_end().ends_with('=') {
            *quote = Some(found);
        }
        source.push(found);
        &html[part.len() + 1..]
    }

    /// A whole tag, without its angle brackets.
    fn end_tag(&mut self, source: &str, shown: &mut String) {
        let (is_end, source) = match source.strip_prefix('/') {
            Some(source) => (true, source),
            None => (false, source),
        };
        let end_of_name = source.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(source.len());
        let (written, rest) = source.split_at(end_of_name);
        let name = written.to_ascii_lowercase();
        if let Some(hidden) = &mut self.hidden {
            if hidden.name == name {
                hidden.depth = if is_end { hidden.depth - 1 } else { hidden.depth + 1 };
            }
            if hidden.depth == 0 {
                self.hidden = None;
            }
            return;
        }
        let attributes = attributes(rest);
        let is_hidden = CONTENT_HIDDEN.contains(&name.as_str())
            || attributes.iter().any(|(name, _)| name.eq_ignore_ascii_case("hidden"));
        if is_hidden && !is_end {
            self.removed.elements += 1;
            if !VOID.contains(&name.as_str()) {
                self.hidden = Some(HiddenElement { name, depth: 1 });
            }
            return;
        }
        if !RENDERED.contains(&name.as_str()) {
            self.removed.tags += 1;
            return;
        }
        shown.push_str(if is_end { "</" } else { "<" });
        shown.push_str(written);
        for (attribute, value) in &attributes {
            let is_address = matches!(
                (name.as_str(), attribute.to_ascii_lowercase().as_str()),
                ("a", "href") | ("img" | "source" | "video", "src")
            );
            match value.filter(|value| is_address && is_plain_address(value)) {
                Some(value) => shown.push_str(&format!(" {attribute}={value}")),
                None => self.removed.attributes += 1,
            }
        }
        shown.push('>');
    }
}

/// Whether an address holds no words: no white space, written as it is or encoded, and no quotes.
pub(super) fn is_plain_address(address: &str) -> bool {
    let lower = address.to_ascii_lowercase();
    !address.is_empty()
        && address.len() <= ADDRESS_BYTES_MAX
        && !address.contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"'`".contains(c))
        && !["%20", "%09", "%0a", "%0d", "&#", "data:", "javascript:"].iter().any(|part| lower.contains(part))
}

/// The attributes of a tag, in order, each with its value without quotes.
fn attributes(source: &str) -> Vec<(&str, Option<&str>)> {
    let mut attributes = Vec::new();
    let between = |c: char| c.is_whitespace() || c == '/';
    let mut rest = source.trim_start_matches(between);
    while !rest.is_empty() {
        // A name may begin with `=`.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = rest[first..].find(|c: char| between(c) || c == '=').map_or(rest.len(), |at| first + at);
        let (name, after) = rest.split_at(end);
        let mut value = None;
        rest = after;
        if let Some(after) = after.trim_start().strip_prefix('=') {
            let after = after.trim_start();
            let quoted = after.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (inner, end) = match quoted {
                Some(quote) => {
                    let inner = &after[1..];
                    let end = inner.find(quote).unwrap_or(inner.len());
                    (&inner[..end], (end + 2).min(after.len()))
                }
                None => {
                    let end = after.find(char::is_whitespace).unwrap_or(after.len());
                    (&after[..end], end)
                }
            };
            value = Some(inner);
            rest = &after[end..];
        }
        attributes.push((name, value));
        rest = rest.trim_start_matches(between);
    }
    attributes
}
