//! What a page shows of a Markdown text. The parsed document is stripped of everything that is not shown
//! and written again. The words of the source that are not in what was written are hidden, whatever syntax
//! hides them: a text without such words is given as it is.

use std::collections::HashMap;
use std::sync::LazyLock;

use comrak::nodes::{Node, NodeCodeBlock, NodeLink, NodeValue};
use comrak::{Arena, format_commonmark};
use regex::Regex;

use super::characters::without_invisible_characters;
use super::html::{HtmlFilter, is_plain_address};
use super::{INPUT_CHARS_MAX, bounded, dialect, following, parse};

/// Blocks and inlines within each other; deeper ones are dropped. Writing a document costs its lines times
/// its depth.
const DEPTH_MAX: usize = 60;
/// The longest language of a code block, in bytes.
const LANGUAGE_BYTES_MAX: usize = 20;

/// The visible part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// What is shown, as Markdown. The source itself if all of it is shown.
    pub text: String,
    /// What was removed, a phrase for each kind; empty if nothing was.
    pub removed: Vec<String>,
}

/// Takes out of a Markdown text what a reader of the rendered page does not see.
pub fn visible_text(markdown: &str) -> Visible {
    let (bounded, is_whole) = bounded(markdown);
    let (source, invisible) = without_invisible_characters(bounded);
    let mut removed = Removed { characters: invisible, cut: usize::from(!is_whole), ..Removed::default() };
    let arena = Arena::new();
    let Some(document) = parse(&arena, &source) else {
        let removed = vec!["the whole text, which is too complex to be read".to_owned()];
        return Visible { text: String::new(), removed };
    };
    let is_changed = strip(&arena, document, &mut removed);
    let mut written = String::new();
    // Writing to a string does not fail.
    let mut options = dialect();
    options.render.prefer_fenced = true;
    let _ = format_commonmark(document, &options, &mut written);
    removed.words = hidden_words(&source, &written);
    let text = match is_changed || removed.words > 0 {
        true => written.trim_end().to_owned(),
        false => source,
    };
    Visible { text, removed: removed.phrases() }
}

/// How much was removed.
#[derive(Debug, Default)]
struct Removed {
    html: super::html::RemovedHtml,
    alternatives: usize,
    titles: usize,
    addresses: usize,
    infos: usize,
    comments: usize,
    characters: usize,
    deep: usize,
    words: usize,
    cut: usize,
}

impl Removed {
    fn phrases(&self) -> Vec<String> {
        let counted = [
            (self.html.comments + self.comments, "HTML comment(s)"),
            (self.html.attributes, "hidden HTML attribute(s)"),
            (self.html.tags, "HTML tag(s) that the page does not show"),
            (self.html.elements, "hidden HTML element(s)"),
            (self.alternatives, "alternative text(s) of images"),
            (self.titles, "title(s) of links"),
            (self.addresses, "address(es) of links that hold words"),
            (self.infos, "description(s) of code blocks"),
            (self.characters + self.html.characters, "invisible or direction-changing character(s)"),
            (self.deep, "part(s) nested too deeply"),
        ];
        let mut phrases: Vec<String> = counted
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        // The words of what is counted above are among these.
        if phrases.is_empty() && self.words > 0 {
            phrases.push(format!("{} word(s) that the page does not show", self.words));
        }
        if self.cut > 0 {
            phrases.push(format!("everything after {INPUT_CHARS_MAX} characters"));
        }
        phrases
    }
}

/// Where to go on after a node.
enum Visit {
    Inside,
    Past,
    /// The node is to be dropped.
    Drop,
}

/// Strips one document, in order.
struct Stripper<'r> {
    removed: &'r mut Removed,
    filter: HtmlFilter,
    /// Whether the rest of the present paragraph is dropped.
    hides_rest: bool,
    footnotes: HashMap<String, usize>,
    is_changed: bool,
}

/// Drops from the document what is not shown. Answers whether anything was.
fn strip<'a>(arena: &'a Arena<'a>, document: Node<'a>, removed: &mut Removed) -> bool {
    let mut stripper = Stripper {
        removed,
        filter: HtmlFilter::default(),
        hides_rest: false,
        footnotes: HashMap::new(),
        is_changed: false,
    };
    let mut links = Vec::new();
    let mut next = document.first_child().map(|first| (first, 0_usize));
    while let Some((node, depth)) = next {
        let visit = match depth < DEPTH_MAX {
            true => stripper.visit(node),
            false => {
                stripper.removed.deep += 1;
                Visit::Drop
            }
        };
        let inside = node.first_child().filter(|_| matches!(visit, Visit::Inside));
        next = match inside {
            Some(child) => Some((child, depth + 1)),
            None => following(node).map(|(next, levels)| (next, depth - levels)),
        };
        match visit {
            Visit::Drop => {
                stripper.is_changed = true;
                node.detach();
            }
            Visit::Inside if matches!(node.data().value, NodeValue::Link(_)) => links.push(node),
            Visit::Inside if is_list_before_list_or_code(node) => {
                // The writer would separate the two with a comment.
                node.insert_after(arena.alloc(NodeValue::Raw(String::new()).into()));
            }
            Visit::Inside | Visit::Past => {}
        }
    }
    stripper.is_changed |= stripper.filter.removed != super::html::RemovedHtml::default();
    stripper.removed.html = stripper.filter.removed;
    let is_changed = stripper.is_changed;
    // Nobody can see, or follow, a link without text. An inner node comes after the one it is in.
    let empty: Vec<Node<'_>> = links.into_iter().rev().filter(|link| !has_content(link)).collect();
    empty.iter().for_each(|link| link.detach());
    is_changed || !empty.is_empty()
}

impl Stripper<'_> {
    fn visit(&mut self, node: Node<'_>) -> Visit {
        let data = &mut *node.data_mut();
        if data.value.block() {
            self.hides_rest = false;
        }
        match &mut data.value {
            NodeValue::HtmlBlock(html) => {
                html.literal = self.filter.visible_part(&html.literal);
                if html.literal.trim().is_empty() { Visit::Drop } else { Visit::Past }
            }
            NodeValue::HtmlInline(html) => {
                let shown = self.filter.visible_part(html);
                if shown.is_empty() || self.hides_rest {
                    return Visit::Drop;
                }
                data.value = NodeValue::Raw(shown);
                Visit::Past
            }
            value if self.hides_rest && !value.block() => Visit::Drop,
            value if self.filter.is_hiding() => match node.first_child() {
                Some(_) => Visit::Inside,
                None if matches!(value, NodeValue::Paragraph | NodeValue::TableCell) => Visit::Past,
                None => Visit::Drop,
            },
            NodeValue::Text(text) => {
                let (mut text, invisible) = without_invisible_characters(text);
                self.removed.characters += invisible;
                self.is_changed |= invisible > 0;
                // The page shows it, but other programs that render the text may take it for a comment.
                if let Some(comment) = text.find("<!--") {
                    text.truncate(comment);
                    self.removed.comments += 1;
                    (self.hides_rest, self.is_changed) = (true, true);
                }
                // As it is shown: without the escapes that the writer would put in.
                data.value = NodeValue::Raw(text);
                Visit::Past
            }
            NodeValue::CodeBlock(block) => {
                self.strip_code_block(block);
                Visit::Past
            }
            NodeValue::Link(link) => {
                self.strip_link(link);
                if let Some(text) = autolink_text(node, &link.url) {
                    while let Some(child) = node.first_child() {
                        child.detach();
                    }
                    data.value = NodeValue::Raw(text);
                    return Visit::Past;
                }
                Visit::Inside
            }
            NodeValue::Image(image) => {
                self.strip_link(image);
                let has_address = !image.url.is_empty();
                self.removed.alternatives += usize::from(node.first_child().is_some());
                while let Some(child) = node.first_child() {
                    child.detach();
                    self.is_changed = true;
                }
                if has_address { Visit::Past } else { Visit::Drop }
            }
            NodeValue::FootnoteDefinition(footnote) => {
                footnote.name = self.footnote_name(&footnote.name);
                Visit::Inside
            }
            NodeValue::FootnoteReference(footnote) => {
                footnote.name = self.footnote_name(&footnote.name);
                Visit::Past
            }
            _ => Visit::Inside,
        }
    }

    fn strip_link(&mut self, link: &mut NodeLink) {
        if !link.title.is_empty() {
            link.title.clear();
            self.removed.titles += 1;
            self.is_changed = true;
        }
        if !link.url.is_empty() && !is_plain_address(&link.url) {
            link.url.clear();
            self.removed.addresses += 1;
            self.is_changed = true;
        }
    }

    /// The page shows neither the words after a fence nor, where it draws a diagram, comments in it.
    fn strip_code_block(&mut self, block: &mut NodeCodeBlock) {
        let language = block.info.split_whitespace().next().unwrap_or_default();
        let is_language = language.len() <= LANGUAGE_BYTES_MAX
            && language.chars().all(|c| c.is_ascii_alphanumeric() || "+#._-".contains(c));
        let kept = if is_language { language.to_owned() } else { String::new() };
        if kept == "mermaid" && block.literal.contains("%%") {
            let lines = block.literal.lines().filter(|line| !line.trim_start().starts_with("%%"));
            block.literal = lines.map(|line| format!("{line}\n")).collect();
            self.removed.comments += 1;
            self.is_changed = true;
        }
        if kept != block.info.trim() {
            block.info = kept;
            self.removed.infos += 1;
            self.is_changed = true;
        }
    }

    /// The page numbers footnotes; their names are not shown.
    fn footnote_name(&mut self, name: &str) -> String {
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            return name.to_owned();
        }
        let next = self.footnotes.len() + 1;
        format!("note{}", self.footnotes.entry(name.to_lowercase()).or_insert(next))
    }
}

fn is_list_before_list_or_code(node: Node<'_>) -> bool {
    matches!(node.data().value, NodeValue::List(_))
        && node
            .next_sibling()
            .is_some_and(|next| matches!(next.data().value, NodeValue::CodeBlock(_) | NodeValue::List(_)))
}

/// The text of a link that was written as an address alone.
fn autolink_text(link: Node<'_>, address: &str) -> Option<String> {
    let child = link.first_child().filter(|child| child.next_sibling().is_none())?;
    let NodeValue::Text(text) = &child.data().value else { return None };
    let bare =
        ["", "mailto:", "http://"].iter().any(|scheme| address.strip_prefix(scheme) == Some(text.as_ref()));
    bare.then(|| text.to_string())
}

/// Whether a link shows anything.
fn has_content(link: Node<'_>) -> bool {
    link.descendants().skip(1).any(|node| match &node.data().value {
        NodeValue::Raw(text) => !text.trim().is_empty(),
        NodeValue::Code(code) => !code.literal.trim().is_empty(),
        NodeValue::Image(_) => true,
        _ => false,
    })
}

/// How many words of the source are in nothing that was written. Numbers are no words: lists are
/// numbered again.
fn hidden_words(source: &str, written: &str) -> usize {
    static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new("&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});")
            .expect("a valid expression")
    });
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in words(written) {
        *counts.entry(word).or_default() += 1;
    }
    let source = REFERENCE.replace_all(source, " ");
    let is_hidden = |word: &&str| match counts.get_mut(*word) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        Some(_) | None => true,
    };
    words(&source).filter(is_hidden).count()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().any(|c| !c.is_numeric()))
}
