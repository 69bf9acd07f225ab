//! Escaped text is inert for every input. A parser of GitHub's Markdown dialect decides, not the code that escapes.

use std::sync::LazyLock;

use comrak::nodes::{AstNode, NodeValue};
use comrak::{Arena, Options, parse_document};
use proptest::prelude::*;
use regex::Regex;

use super::*;

/// Everything that comrak knows and GitHub renders.
fn github() -> Options<'static> {
    let mut options = Options::default();
    let extension = &mut options.extension;
    extension.strikethrough = true;
    extension.table = true;
    extension.autolink = true;
    extension.tasklist = true;
    extension.footnotes = true;
    extension.math_dollars = true;
    extension.math_code = true;
    options
}

/// What a page shows: its text outside code, its code, and the kinds of its other parts.
#[derive(Default)]
pub(in crate::publish) struct Page {
    pub text: String,
    pub code: Vec<String>,
    pub alive: Vec<&'static str>,
    /// The HTML among it.
    pub html: Vec<String>,
}

/// The page that GitHub would show.
pub(in crate::publish) fn page(markdown: &str) -> Page {
    fn walk<'a>(node: &'a AstNode<'a>, page: &mut Page) {
        match &node.data.borrow().value {
            NodeValue::Text(text) => page.text.push_str(text),
            NodeValue::SoftBreak | NodeValue::LineBreak | NodeValue::Paragraph => page.text.push('\n'),
            NodeValue::Code(code) => {
                // Code is no part of a word for GitHub's filters.
                page.text.push('\u{1}');
                page.code.push(code.literal.clone());
            }
            NodeValue::CodeBlock(block) => page.code.push(block.literal.clone()),
            NodeValue::HtmlBlock(block) => {
                page.alive.push("HTML");
                page.html.push(block.literal.clone());
            }
            NodeValue::HtmlInline(html) => {
                page.alive.push("HTML");
                page.html.push(html.clone());
            }
            NodeValue::Link(_) => page.alive.push("a link"),
            NodeValue::Image(_) => page.alive.push("an image"),
            NodeValue::Math(_) => page.alive.push("mathematics"),
            NodeValue::FootnoteReference(_) | NodeValue::FootnoteDefinition(_) => {
                page.alive.push("a footnote");
            }
            NodeValue::ThematicBreak => page.alive.push("a rule"),
            NodeValue::Table(_) => page.alive.push("a table"),
            NodeValue::Strikethrough => page.alive.push("a deletion"),
            _ => {}
        }
        for child in node.children() {
            walk(child, page);
        }
    }
    let arena = Arena::new();
    let mut shown = Page::default();
    walk(parse_document(&arena, markdown, &github()), &mut shown);
    shown
}

/// What GitHub's filters, and bots that read raw comments, look for in text outside code.
pub(in crate::publish) fn assert_text_is_inert(text: &str) {
    static SIGNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        [
            r"@[a-zA-Z0-9]",
            r"#[a-zA-Z0-9]",
            r"(?i)\bgh-[0-9]",
            r"://",
            r"(?i)\bwww\.",
            r"(?m)^\s*/[a-zA-Z]",
            r"(?i)\[(?:skip|ci skip|no ci|actions skip)\b[^\]]*\]",
        ]
        .map(|sign| Regex::new(sign).unwrap())
        .to_vec()
    });
    for sign in SIGNS.iter() {
        let found = sign.find(text).map(|found| found.as_str().to_owned());
        assert_eq!(found, None, "{sign} in {text:?}");
    }
    let hidden: Vec<char> = text.chars().filter(|c| is_hidden(*c) && *c != '\u{1}').collect();
    assert!(hidden.is_empty(), "{hidden:?} in {text:?}");
}

/// Pieces that mean something to somebody, and some that do not, in any order.
fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![
            "@octocat", "@o/team", "#12", "fixes #7", "Closes: GH-3", "resolves o/r#9", "gh-1", "/close", "/lgtm now",
            "https://x.example/a?b=c&d", "www.x.example", "x@y.example", "mailto:x@y.example", "<b>", "</details>",
            "<!-- mendwright:pr:1 -->", "<!--", "-->", "<script>alert(1)</script>", "<img src=x onerror=y>", "<https://x>",
            "![a](b)", "[a](b)", "[a][b]", "[b]: https://x", "[^1]", "[^1]: note", "&#64;octocat", "&lt;", "&#35;12",
            "\\", "\\@octocat", "\\`", "```", "````", "~~~", "``", "`", "` `", "`code`", "``a`b``", "```sh", "~~~ mermaid",
            "$$", "$`x`$", "**", "__", "~~", "---", "===", "***", "|", "| a | b |", "|---|---|", ":-:", "> ", "# ", "#",
            "- ", "* ", "+ ", "- [ ] ", "1. ", "1) ", "12", "    ", "\t", "\u{202e}", "\u{200b}", "\u{e0041}", "\0", "\r",
            "\u{1b}[31m", "[skip ci]", "[CI-Skip]", "[no ci]", "***NO_CI***", "#close", "\u{2028}", "\u{85}", "＠", "é", "💥", "％",
        ]).prop_map(str::to_owned),
        1 => "[a-z#@/ ]{0,6}",
        1 => any::<char>().prop_map(String::from),
        2 => prop::sample::select(vec!["\n", " ", "\n\n", ""]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_quotation_is_inert_and_ends_where_it_ends(text in hostile_text()) {
        let rendered = format!("{}\n\nTHE END", quoted(&text));
        let page = page(&rendered);
        prop_assert_eq!(&page.alive, &Vec::<&str>::new(), "{}", rendered);
        assert_text_is_inert(&page.text);
        prop_assert!(page.text.ends_with("THE END"), "{}", rendered);
        prop_assert!(quoted(&text).lines().all(|line| line.starts_with('>')), "{}", rendered);
    }

    #[test]
    fn prose_is_inert_and_its_code_blocks_are_closed(text in hostile_text()) {
        let rendered = format!("{}\n\nTHE END", prose(&text));
        let page = page(&rendered);
        prop_assert_eq!(&page.alive, &Vec::<&str>::new(), "{}", rendered);
        assert_text_is_inert(&page.text);
        prop_assert!(page.text.ends_with("THE END"), "{}", rendered);
    }

    #[test]
    fn a_line_of_markdown_is_inert_anywhere_in_a_line(text in hostile_text()) {
        for rendered in [inline(&text), format!("Issue: {} (quoted)", inline(&text))] {
            prop_assert!(!rendered.contains('\n'));
            let page = page(&format!("x {rendered}"));
            prop_assert_eq!(&page.alive, &Vec::<&str>::new(), "{}", rendered);
            assert_text_is_inert(&page.text);
        }
    }

    #[test]
    fn a_cell_is_one_inert_cell(text in hostile_text(), code in hostile_text()) {
        let table = format!("| a | b |\n|---|---|\n| {} | {} |\n\nTHE END", cell(&text), code_cell(&code));
        let arena = Arena::new();
        let root = parse_document(&arena, &table, &github());
        let count = |wanted: fn(&NodeValue) -> bool| {
            root.descendants().filter(|node| wanted(&node.data.borrow().value)).count()
        };
        prop_assert_eq!(count(|value| matches!(value, NodeValue::TableRow(_))), 2, "{}", table);
        prop_assert_eq!(count(|value| matches!(value, NodeValue::TableCell)), 4, "{}", table);
        let page = page(&table);
        prop_assert_eq!(&page.alive, &vec!["a table"], "{}", table);
        assert_text_is_inert(&page.text);
    }

    #[test]
    fn a_code_block_holds_all_of_its_text_and_nothing_more(text in hostile_text()) {
        let page = page(&format!("{}\nTHE END", fenced(&text, "text")));
        prop_assert_eq!(&page.alive, &Vec::<&str>::new());
        prop_assert_eq!(page.code.len(), 1);
        let shown = without_commands(&visible(&text));
        prop_assert_eq!(page.code[0].trim_end_matches('\n'), shown.trim_end_matches('\n'));
        prop_assert_eq!(page.text.trim(), "THE END");
    }

    #[test]
    fn a_title_is_one_inert_line_and_html_text_has_no_tags(text in hostile_text()) {
        let title = line(&text, 120);
        prop_assert!(!title.contains('\n') && title.chars().count() <= 120);
        assert_text_is_inert(&title);
        let html = html_text(&text);
        prop_assert!(!html.contains(['<', '>', '"', '\n']));
        assert_text_is_inert(&html.replace("&amp;", "&"));
        assert_text_is_inert(&plain(&text));
    }
}

#[test]
fn command_after_a_blank_other_than_space_is_inert() {
    for blank in ["\u{a0}", "\u{2003}", "\u{3000}", "\t", "\n\u{a0} "] {
        assert_text_is_inert(&plain(&format!("{blank}/close")));
    }
}
