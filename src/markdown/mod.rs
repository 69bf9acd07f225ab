//! Markdown as GitHub shows it: what a reader of the rendered page sees ([`visible_text`]), which lines are its
//! author's own words ([`lines_outside_code`]), and its blocks of code ([`code_blocks()`]). A CommonMark parser with
//! GitHub's extensions decides; no regular expression guesses. Plain functions on text, bounded in input and steps.
//! Knows nothing about issues, commands or models.
//!
//! Sources: <https://github.github.com/gfm/> for the syntax; for raw HTML, the HTML standard's
//! "Tokenization", and the elements that GitHub lets through
//! (<https://github.com/gjtorikian/html-pipeline>, "SanitizationFilter").

use std::cell::Cell;

use comrak::nodes::Node;
use comrak::{Arena, Options, try_parse_document};

mod characters;
mod code_blocks;
mod html;
mod lines;
mod visible;

pub use characters::without_invisible_characters;
pub use code_blocks::{CodeBlock, code_blocks};
pub use lines::lines_outside_code;
pub use visible::{Visible, visible_text};

/// The longest text that is parsed, in characters: GitHub accepts no longer one. The rest is dropped.
pub const INPUT_CHARS_MAX: usize = 65_536;

/// How often the parser asks whether it may go on, once for each 256 of its steps. A step is a line, an
/// inline or a node. The parser is linear: the worst texts of the greatest length have a quarter of this.
const PARSER_CHECKS_MAX: u32 = 8_000;

/// GitHub's dialect.
fn dialect() -> Options<'static> {
    let mut options = Options::default();
    let extension = &mut options.extension;
    extension.strikethrough = true;
    extension.table = true;
    extension.autolink = true;
    extension.tasklist = true;
    extension.footnotes = true;
    options
}

/// The document. `None`: it takes more steps than any honest text of this length.
fn parse<'a>(arena: &'a Arena<'a>, text: &str) -> Option<Node<'a>> {
    parse_counting_checks(arena, text).0
}

/// The document, and how often the parser asked whether it may go on.
fn parse_counting_checks<'a>(arena: &'a Arena<'a>, text: &str) -> (Option<Node<'a>>, u32) {
    let checks = Cell::new(0_u32);
    let is_too_much = || {
        checks.set(checks.get() + 1);
        checks.get() > PARSER_CHECKS_MAX
    };
    let document = try_parse_document(arena, text, &dialect(), &is_too_much).ok();
    (document, checks.get())
}

/// The beginning of a text, and whether that is all of it.
fn bounded(text: &str) -> (&str, bool) {
    match text.char_indices().nth(INPUT_CHARS_MAX) {
        Some((end, _)) => (&text[..end], false),
        None => (text, true),
    }
}

/// The node that follows in the document once `node` and everything in it are done with, and how many
/// levels higher it is.
fn following<'a>(node: Node<'a>) -> Option<(Node<'a>, usize)> {
    let (mut node, mut levels) = (node, 0);
    loop {
        if let Some(next) = node.next_sibling() {
            return Some((next, levels));
        }
        node = node.parent()?;
        levels += 1;
    }
}

#[cfg(test)]
mod tests;
