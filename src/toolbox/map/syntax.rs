//! What an edit broke: places at which a file cannot be parsed, and could be before.

use tree_sitter::{Node, Parser};

use super::language;
use super::outline::parsed_best;
use mendwright_protocol::SyntaxError;

/// Largest file that is checked.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Most faults reported.
const FAULTS_MAX: usize = 5;
/// Most faults compared.
const COMPARED_MAX: usize = 1_000;
const LINE_CHARS_MAX: usize = 200;

/// The faults of `after` that `before` did not have. None where the language is not known, or the file
/// takes too long to parse.
pub fn new_faults(path: &str, before: &[u8], after: &[u8]) -> Vec<SyntaxError> {
    let Some(number) = language::of_path(path) else { return Vec::new() };
    if before.len().max(after.len()) > FILE_BYTES_MAX {
        return Vec::new();
    }
    let mut parser = Parser::new();
    let now = faults(&mut parser, number, after);
    if now.is_empty() {
        return now;
    }
    // A fault is known by its line's text: the edit may have moved it.
    let mut old: Vec<(String, String)> =
        faults(&mut parser, number, before).into_iter().map(|fault| (fault.what, fault.text)).collect();
    let mut new: Vec<SyntaxError> = Vec::new();
    for fault in now {
        match old.iter().position(|(what, text)| *what == fault.what && *text == fault.text) {
            Some(at) => drop(old.swap_remove(at)),
            None => new.push(fault),
        }
    }
    new.truncate(FAULTS_MAX);
    new
}

fn faults(parser: &mut Parser, number: u8, content: &[u8]) -> Vec<SyntaxError> {
    let Some((_, tree)) = parsed_best(parser, number, content) else { return Vec::new() };
    let text = String::from_utf8_lossy(content);
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut cursor = tree.walk();
    loop {
        let node = cursor.node();
        if let Some(what) = fault_of(node) {
            let row = node.start_position().row;
            let line = lines.get(row).map(|line| line.trim()).unwrap_or_default();
            found.push(SyntaxError {
                line: u32::try_from(row).unwrap_or(u32::MAX).saturating_add(1),
                what,
                text: line.chars().take(LINE_CHARS_MAX).collect(),
            });
        }
        if found.len() < COMPARED_MAX && node.has_error() && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return found;
            }
        }
        if found.len() >= COMPARED_MAX {
            return found;
        }
    }
}

fn fault_of(node: Node<'_>) -> Option<String> {
    if node.is_missing() {
        return Some(format!("a {:?} is missing", node.kind()));
    }
    if !node.is_error() {
        return None;
    }
    // The innermost says where.
    let mut cursor = node.walk();
    let nested = node.children(&mut cursor).any(|child| child.has_error());
    (!nested).then(|| "this does not fit".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(path: &str, before: &str, after: &str) -> Vec<String> {
        let faults = new_faults(path, before.as_bytes(), after.as_bytes());
        faults.into_iter().map(|f| format!("{}: {}: {}", f.line, f.what, f.text)).collect()
    }

    #[test]
    fn faults_of_an_edit_are_reported_by_line() {
        assert_eq!(
            reported("a.py", "def f():\n    return (1)\n", "def f():\n    return (1\n"),
            ["2: this does not fit: return (1"]
        );
        let broken = reported("a.rs", "fn a() {}\nfn b() {}\n", "fn a() {}}\nfn b() {}\n");
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert!(broken[0].starts_with("1: "), "{broken:?}");
    }

    #[test]
    fn earlier_faults_and_unknown_languages_are_not_reported() {
        let before = "def f(:\n    pass\n\ndef g():\n    pass\n";
        assert!(!reported("a.py", "", before).is_empty());
        assert_eq!(reported("a.py", before, &format!("import os\n{before}")), [""; 0]);
        assert_eq!(reported("a.unknown", "", "(((("), [""; 0]);
        assert_eq!(reported("a.py", "((((", "x = 1\n"), [""; 0]);
    }
}
