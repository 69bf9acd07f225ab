//! The lines of a text that are its author's own words.

use comrak::Arena;
use comrak::nodes::NodeValue;

use super::html::HtmlFilter;
use super::{bounded, following, parse};

/// The lines that the author wrote and the page shows: those of top-level paragraphs and of visible raw
/// HTML, without indentation. Quotes, lists, tables, headings, code (a block or a span) and hidden text are
/// left out, in Markdown and in raw HTML. Marks of emphasis stay, so that a line that begins with one does not begin
/// with its text.
pub fn lines_outside_code(markdown: &str) -> Vec<String> {
    let arena = Arena::new();
    let Some(document) = parse(&arena, bounded(markdown).0) else { return Vec::new() };
    let (mut filter, mut elements, mut text) =
        (HtmlFilter::default(), OpenElements::default(), String::new());
    let mut is_own = false;
    let mut next = document.first_child().map(|first| (first, 0_usize));
    while let Some((node, depth)) = next {
        let data = node.data();
        if depth == 0 {
            is_own = matches!(data.value, NodeValue::Paragraph | NodeValue::HtmlBlock(_));
        }
        let shown = match &data.value {
            NodeValue::HtmlBlock(html) => {
                format!("\n{}", elements.own_part(&filter.visible_part(&html.literal)))
            }
            NodeValue::HtmlInline(html) => elements.own_part(&filter.visible_part(html)),
            _ if filter.is_hiding() || elements.is_inside() => String::new(),
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

/// Elements of raw HTML whose text is shown as code, a quotation, a list, a table or a heading.
const NOT_OWN: &[&str] = &[
    "blockquote",
    "code",
    "dl",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "kbd",
    "ol",
    "pre",
    "q",
    "samp",
    "table",
    "tt",
    "ul",
];

/// How many elements of [`NOT_OWN`] are open. What one piece of raw HTML opens, a later one closes.
#[derive(Default)]
struct OpenElements(usize);

impl OpenElements {
    fn is_inside(&self) -> bool {
        self.0 > 0
    }

    /// The tags of `html`, which have no attributes any more, and the text that is in none of the elements. A tag
    /// stays, so that a line that begins with one does not begin with its text.
    fn own_part(&mut self, html: &str) -> String {
        let mut own = String::new();
        for piece in html.split_inclusive('>').flat_map(split_before_tag) {
            match name_of_tag(piece) {
                None if self.is_inside() => {}
                None => own.push_str(piece),
                Some((name, is_end)) => {
                    own.push_str(piece);
                    if NOT_OWN.contains(&name.as_str()) {
                        self.0 = if is_end { self.0.saturating_sub(1) } else { self.0.saturating_add(1) };
                    }
                }
            }
        }
        own
    }
}

/// A piece that ends with `>`, as the text before its last `<` and the rest.
fn split_before_tag(piece: &str) -> [&str; 2] {
    let at = piece.rfind('<').filter(|_| piece.ends_with('>')).unwrap_or(piece.len());
    let (text, tag) = piece.split_at(at);
    [text, tag]
}

/// The name of an element, in small letters, and whether the tag ends it. `None`: it is no tag.
fn name_of_tag(piece: &str) -> Option<(String, bool)> {
    let inside = piece.strip_prefix('<')?.strip_suffix('>')?;
    let (name, is_end) = inside.strip_prefix('/').map_or((inside, false), |name| (name, true));
    let name: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
    (!name.is_empty()).then(|| (name.to_ascii_lowercase(), is_end))
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
