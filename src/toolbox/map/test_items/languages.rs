//! What a test item is in each language. Languages that are not named here have none.

use std::ops::Range;

use tree_sitter::Node;

use super::{InsertionPoint, Item, VersionItems, whole_lines};

/// How deep modules, classes and implementations are followed.
const DEPTH_MAX: usize = 40;

/// Finds the test items of a file, and the places where such items can stand.
pub(super) fn find(language: &str, content: &str, root: Node<'_>, found: &mut VersionItems) {
    let end = InsertionPoint { at: content.len(), after: String::new() };
    found.places.insert(end_of(""), end);
    let mut finder = Finder { content, found };
    match language {
        "rust" => finder.rust(root, "", 0),
        "python" => finder.python(root, "", 0),
        "go" => finder.go(root),
        "javascript" | "typescript" | "tsx" => finder.vitest(root),
        _ => {}
    }
}

fn end_of(container: &str) -> String {
    format!("end of {container}")
}

fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

struct Finder<'a> {
    content: &'a str,
    found: &'a mut VersionItems,
}

impl Finder<'_> {
    fn text(&self, node: Node<'_>) -> &str {
        self.content.get(node.byte_range()).unwrap_or_default()
    }

    fn field(&self, node: Node<'_>, name: &str) -> &str {
        node.child_by_field_name(name).map(|child| self.text(child)).unwrap_or_default()
    }

    /// An item of whole lines, to be inserted at the end of `container`. The statements of its `body` are
    /// items, too.
    fn add_lines(&mut self, name: &str, container: &str, range: Range<usize>, body: Option<Node<'_>>) {
        let range = whole_lines(self.content, range);
        let has_parts = body.is_some();
        let whole =
            Item { range, place: end_of(container), is_lines: true, blank: "", within: None, has_parts };
        let name = self.found.add(name, whole);
        let Some(body) = body else { return };
        // A block without braces ends with its last line.
        let at = if self.text(body).starts_with('{') {
            let closing = body.end_byte().saturating_sub(1);
            whole_lines(self.content, closing..closing).start
        } else {
            whole_lines(self.content, body.byte_range()).end
        };
        self.found.places.insert(end_of(&name), InsertionPoint { at, after: String::new() });
        let mut start = None;
        for part in children(body) {
            if matches!(part.kind(), "attribute_item" | "line_comment" | "block_comment" | "comment") {
                start.get_or_insert(part.start_byte());
                continue;
            }
            let own = self.field(part, "name");
            let own = if own.is_empty() { self.text(part) } else { own };
            let part_name = format!("{name} / {} {own}", part.kind().trim_end_matches("_item"));
            let range = start.take().unwrap_or(part.start_byte())..part.end_byte();
            let range = whole_lines(self.content, range);
            let within = Some(name.clone());
            let place = end_of(&name);
            let item = Item { range, place, is_lines: true, blank: "", within, has_parts: false };
            self.found.add(&part_name, item);
        }
    }

    /// Documentation that holds tests.
    fn add_docs(&mut self, name: &str, range: Range<usize>, is_lines: bool, blank: &'static str) {
        let place = name.to_owned();
        self.found.add(name, Item { range, place, is_lines, blank, within: None, has_parts: false });
    }

    fn rust(&mut self, container: Node<'_>, within: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let mut leading = Leading::default();
        let mut inner_docs: Option<Range<usize>> = None;
        for child in children(container) {
            match child.kind() {
                "attribute_item" => {
                    leading.extend(child.byte_range());
                    leading.is_test |= is_rust_test(self.text(child));
                }
                "inner_attribute_item" => {
                    let is_test = is_rust_test(self.text(child));
                    self.found.is_all_test |= is_test && within.is_empty();
                }
                "line_comment" | "block_comment" => {
                    let text = self.text(child);
                    let (is_outer, is_inner) = (
                        (text.starts_with("///") && !text.starts_with("////")) || text.starts_with("/**"),
                        text.starts_with("//!") || text.starts_with("/*!"),
                    );
                    if is_outer {
                        leading.extend(child.byte_range());
                        leading.docs = Some(joined(leading.docs.take(), child.byte_range()));
                    } else if is_inner {
                        inner_docs = Some(joined(inner_docs.take(), child.byte_range()));
                    }
                }
                _ => self.rust_item(child, within, std::mem::take(&mut leading), depth),
            }
        }
        if let Some(docs) = inner_docs {
            self.rust_docs(&format!("module docs of {within}"), docs);
        }
    }

    fn rust_item(&mut self, item: Node<'_>, within: &str, leading: Leading, depth: usize) {
        let name = match item.kind() {
            "impl_item" => format!("{} {}", self.field(item, "trait"), self.field(item, "type")),
            "use_declaration" | "macro_invocation" => self.text(item).to_owned(),
            _ => self.field(item, "name").to_owned(),
        };
        let kind = item.kind().trim_end_matches("_item");
        let name = format!("{within}{kind} {} / ", name.trim());
        let start = leading.range.as_ref().map_or(item.start_byte(), |range| range.start);
        if leading.is_test {
            let body = item.child_by_field_name("body").filter(|_| item.kind() == "mod_item");
            self.add_lines(name.trim_end_matches(" / "), within, start..item.end_byte(), body);
            return;
        }
        let docs = format!("docs of {}", name.trim_end_matches(" / "));
        let line = whole_lines(self.content, start..item.end_byte()).start;
        self.found.places.insert(docs.clone(), InsertionPoint { at: line, after: String::new() });
        if let Some(range) = leading.docs {
            self.rust_docs(&docs, range);
        }
        let body = item.child_by_field_name("body");
        let is_container = |body: &Node<'_>| {
            matches!(body.kind(), "declaration_list" | "field_declaration_list" | "enum_variant_list")
        };
        if let Some(body) = body.filter(is_container) {
            let closing = body.end_byte().saturating_sub(1).max(body.start_byte());
            let at = whole_lines(self.content, closing..closing).start;
            self.found.places.insert(end_of(&name), InsertionPoint { at, after: String::new() });
            let first = whole_lines(self.content, body.start_byte()..body.start_byte() + 1).end;
            let module_docs = format!("module docs of {name}");
            self.found.places.insert(module_docs, InsertionPoint { at: first, after: String::new() });
            self.rust(body, &name, depth + 1);
        } else if within.is_empty() {
            self.found
                .places
                .entry("module docs of ".to_owned())
                .or_insert(InsertionPoint { at: 0, after: String::new() });
        }
    }

    /// Documentation with code, which is compiled and run as a test.
    fn rust_docs(&mut self, name: &str, range: Range<usize>) {
        let text = self.content.get(range.clone()).unwrap_or_default();
        let is_indented = |line: &str| {
            let line = line.trim_start();
            let line = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).unwrap_or_default();
            line.starts_with("     ")
        };
        if text.contains("```") || text.contains("~~~") || text.lines().any(is_indented) {
            let range = whole_lines(self.content, range);
            self.add_docs(name, range, true, "");
        }
    }

    fn python(&mut self, body: Node<'_>, within: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let children = children(body);
        let first = children.iter().find(|child| child.kind() != "comment");
        if let Some(first) = first {
            let name = format!("docstring of {within}");
            let after = format!("\n{}", " ".repeat(first.start_position().column));
            self.found.places.insert(name.clone(), InsertionPoint { at: first.start_byte(), after });
            let string = (first.kind() == "expression_statement").then(|| first.named_child(0)).flatten();
            if let Some(string) = string.filter(|node| self.text(*node).contains(">>>")) {
                let range = string.byte_range();
                self.add_docs(&name, range, false, "\"\"");
            }
        }
        for child in children {
            let definition = match child.kind() {
                "decorated_definition" => child.child_by_field_name("definition"),
                "function_definition" | "class_definition" => Some(child),
                _ => None,
            };
            let Some(definition) = definition else { continue };
            let is_class = definition.kind() == "class_definition";
            let own = self.field(definition, "name").to_owned();
            let name = format!("{within}{}{own}", if is_class { "class " } else { "def " });
            let is_test = match is_class {
                // A class without tests is a base for other classes, as a test framework has them.
                true => {
                    self.field(definition, "superclasses").contains("TestCase")
                        && self.field(definition, "body").contains("def test")
                }
                false => {
                    own.starts_with("test") && depth == 0 && self.field(definition, "body").contains("assert")
                }
            };
            if is_test {
                let body = definition.child_by_field_name("body").filter(|_| is_class);
                self.add_lines(&name, within, child.byte_range(), body);
            } else if let Some(body) = definition.child_by_field_name("body") {
                self.python(body, &format!("{name} / "), depth + 1);
            }
        }
    }

    fn go(&mut self, root: Node<'_>) {
        for child in children(root) {
            if child.kind() != "function_declaration" {
                continue;
            }
            let (name, parameters) = (self.field(child, "name"), self.field(child, "parameters"));
            let is_test = ["Test", "Benchmark", "Fuzz"].iter().any(|word| name.starts_with(word))
                && parameters.contains("testing.")
                || name.starts_with("Example") && parameters == "()";
            if is_test {
                let name = format!("func {name}");
                self.add_lines(&name, "", child.byte_range(), None);
            }
        }
    }

    /// `if (import.meta.vitest) { … }`.
    fn vitest(&mut self, root: Node<'_>) {
        for child in children(root) {
            if child.kind() == "if_statement" && self.field(child, "condition").contains("import.meta.vitest")
            {
                let body = child.child_by_field_name("consequence");
                self.add_lines("if (import.meta.vitest)", "", child.byte_range(), body);
            }
        }
    }
}

/// What stands before an item and belongs to it.
#[derive(Default)]
struct Leading {
    range: Option<Range<usize>>,
    docs: Option<Range<usize>>,
    is_test: bool,
}

impl Leading {
    fn extend(&mut self, range: Range<usize>) {
        self.range = Some(joined(self.range.take(), range));
    }
}

fn joined(first: Option<Range<usize>>, second: Range<usize>) -> Range<usize> {
    first.map_or(second.start, |range| range.start)..second.end
}

/// Whether an attribute makes an item a test, or one that only tests see: `#[test]`, `#[tokio::test]`,
/// `#[rstest]`, `#[cfg(test)]`, `#[cfg(all(test, unix))]`.
fn is_rust_test(attribute: &str) -> bool {
    let inner = attribute.trim_start_matches(['#', '!', '[', ' ']).trim_end_matches([']', ' ']);
    if let Some(condition) = inner.strip_prefix("cfg(") {
        // What is quoted is a feature's name.
        let unquoted: String = condition.split('"').step_by(2).collect();
        let plain: String = unquoted.chars().filter(|c| !c.is_whitespace()).collect();
        let words =
            |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "test");
        return words(&plain.replace("not(test)", ""));
    }
    let path = inner.split(['(', '=', '{', ' ']).next().unwrap_or_default();
    let last = path.rsplit("::").next().unwrap_or_default().trim();
    last.ends_with("_test")
        || matches!(
            last,
            "test" | "bench" | "rstest" | "test_case" | "test_matrix" | "quickcheck" | "test_log"
        )
}
