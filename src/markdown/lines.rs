//! The lines of a text that are its author's own words.

use comrak::Arena;
use comrak::nodes::NodeValue;

use super::html::HtmlFilter;
use super::{bounded, following, parse};

/// The lines that the author wrote and the page shows: those of top-level paragraphs and of visible raw
/// HTML, without indentation. Quotes, lists, tables, headings, code (a block or a span) and hidden text are
/// left out. Marks of emphasis stay, so that a line that begins with one does not begin with its text.
pub fn lines_outside_code(markdown: &str) -> Vec<String> {
    let arena = Arena::new();
    let Some(document) = parse(&arena, bounded(markdown).0) else { return Vec::new() };
    let (mut filter, mut text) = (HtmlFilter::default(), String::new());
    let mut is_own = false;
    let mut next = document.first_child().map(|first| (first, 0_usize));
    while let Some((node, depth)) = next {
        let data = node.data();
        if depth == 0 {
            is_own = matches!(data.value, NodeValue::Paragraph | NodeValue::HtmlBlock(_));
        }
        let shown = match &data.value {
            NodeValue::HtmlBlock(html) => format!("\n{}", filter.visible_part(&html.literal)),
            NodeValue::HtmlInline(html) => filter.visible_part(html),
            _ if filter.is_hiding() => String::new(),
            NodeValue::Text(words) => words.to_string(),
            value => mark_of(value).to_owned(),
        };
        if is_own {
            text.push_str(&shown);
        }
        // The text that stands for an image is not shown.
        let inside = node.first_child().filter(|_| !matches!(data.value, NodeValue::Image(_)));
        next = match inside {
            Some(child) => Some((child, depth + 1)),
            None => following(node).map(|(next, levels)| (next, depth - levels)),
        };
    }
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// What stands in a line for the beginning of something that is no plain text.
fn mark_of(value: &NodeValue) -> &'static str {
    match value {
        NodeValue::Paragraph | NodeValue::SoftBreak | NodeValue::LineBreak => "\n",
        NodeValue::Code(_) => "`",
        NodeValue::Emph => "*",
        NodeValue::Strong => "**",
        NodeValue::Strikethrough => "~~",
        NodeValue::Link(_) => "[",
        NodeValue::Image(_) => "![",
        _ => "",
    }
}
