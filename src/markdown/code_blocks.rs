//! The blocks of code that a text shows.

use comrak::Arena;
use comrak::nodes::NodeValue;

use super::html::HtmlFilter;
use super::{bounded, following, parse};

/// A block of code between fences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeBlock {
    /// The word behind the fence; empty if there is none.
    pub language: String,
    /// Its text.
    pub text: String,
}

impl CodeBlock {
    /// Whether it is a record of a session with a shell or an interpreter, which no program can run as it stands.
    pub fn has_prompts(&self) -> bool {
        let prompts = [">>> ", "$ ", "> ", "irb("];
        self.text.lines().any(|line| prompts.iter().any(|prompt| line.trim_start().starts_with(prompt)))
    }
}

/// The blocks of code between fences that the page shows, in order, wherever they stand.
pub fn code_blocks(markdown: &str) -> Vec<CodeBlock> {
    let arena = Arena::new();
    let Some(document) = parse(&arena, bounded(markdown).0) else { return Vec::new() };
    let mut filter = HtmlFilter::default();
    let mut found = Vec::new();
    let mut next = document.first_child().map(|first| (first, 0_usize));
    while let Some((node, depth)) = next {
        match &node.data().value {
            NodeValue::HtmlBlock(html) => drop(filter.visible_part(&html.literal)),
            NodeValue::HtmlInline(html) => drop(filter.visible_part(html)),
            NodeValue::CodeBlock(block) if block.fenced && !filter.is_hiding() => found.push(CodeBlock {
                language: block.info.split_whitespace().next().unwrap_or_default().to_owned(),
                text: block.literal.clone(),
            }),
            _ => {}
        }
        next = match node.first_child() {
            Some(child) => Some((child, depth + 1)),
            None => following(node).map(|(next, levels)| (next, depth - levels)),
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_the_page_shows_are_found_in_order() {
        let text = "Intro `code`\n\n```python title=x\nprint(1)\n```\n\n- item\n  ~~~js\n  f()\n  ~~~\n\n    \
                    indented\n\n<!--\n```sh\nhidden\n```\n-->\n\n```\nplain\n```\n";
        let found: Vec<(String, String)> =
            code_blocks(text).into_iter().map(|block| (block.language, block.text)).collect();
        let block = |language: &str, text: &str| (language.to_owned(), text.to_owned());
        assert_eq!(found, [block("python", "print(1)\n"), block("js", "f()\n"), block("", "plain\n")]);
    }

    #[test]
    fn record_of_a_session_is_no_program() {
        let is_record =
            |text: &str| CodeBlock { language: String::new(), text: text.to_owned() }.has_prompts();
        assert!(is_record(">>> 1 + 1\n2\n") && is_record("  $ make\n"));
        assert!(!is_record("x = a > b\nif x:\n    print(1)\n"));
    }
}
