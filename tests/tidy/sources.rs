//! The project's Rust files, and their tokens.

use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file of the project.
pub struct Source {
    /// From the repository's root.
    pub path: String,
    pub text: String,
}

/// An identifier or a punctuation mark. Comments and literals have no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    pub line: usize,
    pub text: &'a str,
}

impl Token<'_> {
    pub fn is_identifier(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

impl Source {
    /// Whether the whole file is a test.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The line on which the unit tests of the file begin. They are its last item.
    fn unit_tests_line(&self) -> usize {
        let first = self.text.lines().position(|line| line == "mod tests {");
        first.map_or(usize::MAX, |index| index + 1)
    }

    /// Lines of product code with their numbers: no comments, no unit tests.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.unit_tests_line();
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(move |(number, line)| *number < tests && !line.trim_start().starts_with("//"))
    }

    /// Every token.
    pub fn all_tokens(&self) -> Vec<Token<'_>> {
        tokens(&self.text)
    }

    /// Tokens of product code.
    pub fn code_tokens(&self) -> Vec<Token<'_>> {
        let tests = if self.is_test() { 0 } else { self.unit_tests_line() };
        tokens(&self.text).into_iter().filter(|token| token.line < tests).collect()
    }

    /// Tokens of tests: of the whole file, or of its unit tests.
    pub fn test_tokens(&self) -> Vec<Token<'_>> {
        let tests = if self.is_test() { 0 } else { self.unit_tests_line() };
        tokens(&self.text).into_iter().filter(|token| token.line >= tests).collect()
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `src` and `tests`.
pub fn sources() -> Vec<Source> {
    let files = files(&["src", "tests"], "rs");
    assert!(files.len() > 80, "only {} sources: is this the checkout?", files.len());
    files.into_iter().map(|(path, text)| Source { path, text }).collect()
}

/// Path and text of each file with this extension below the directories.
pub fn files(directories: &[&str], extension: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for directory in directories {
        collect(&root().join(directory), extension, &mut files);
    }
    files.sort();
    files
}

fn collect(directory: &Path, extension: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, extension, files);
        } else if path.extension().is_some_and(|own| own == extension) {
            let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            files.push((relative, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Splits Rust code. `::` is one token; every other punctuation mark is one of its own.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    while at < bytes.len() {
        let rest = &text[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = literal(rest) {
            length
        } else if is_word(bytes[at]) {
            let length = rest.bytes().take_while(|byte| is_word(*byte)).count();
            if !bytes[at].is_ascii_digit() {
                tokens.push(Token { line, text: &rest[..length] });
            }
            length
        } else {
            let length = if rest.starts_with("::") { 2 } else { 1 };
            if !bytes[at].is_ascii_whitespace() {
                tokens.push(Token { line, text: &rest[..length] });
            }
            length
        };
        line += rest[..length].matches('\n').count();
        at += length;
    }
    tokens
}

/// Comments may be nested.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let (change, length) = match (rest.starts_with(b"/*"), rest.starts_with(b"*/")) {
            (true, _) => (1, 2),
            (_, true) => (-1, 2),
            _ => (0, 1),
        };
        (depth, at) = (depth + change, at + length);
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string, character, lifetime or raw identifier that the text begins with.
fn literal(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| {
        let rest = text[..].strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with('"') || (prefix.ends_with('r') && rest.starts_with('#')))
    });
    let start = prefix.map_or(0, str::len);
    let rest = &text[start..];
    if prefix.is_some_and(|prefix| prefix.ends_with('r')) {
        let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
        if !rest[hashes..].starts_with('"') {
            // A raw identifier: its word follows as a token.
            return Some(start + hashes);
        }
        let end = format!("\"{}", "#".repeat(hashes));
        let body = &rest[hashes + 1..];
        return Some(start + hashes + 1 + body.find(&end).map_or(body.len(), |found| found + end.len()));
    }
    if rest.starts_with('"') {
        return Some(start + quoted(rest, b'"'));
    }
    let character = rest.strip_prefix('\'').or_else(|| rest.strip_prefix("b'"))?;
    let mut characters = character.chars();
    let first = characters.next()?;
    if first == '\\' || characters.next() == Some('\'') {
        return Some(
            start + quoted(rest.trim_start_matches('b'), b'\'') + usize::from(rest.starts_with('b')),
        );
    }
    // A lifetime.
    let word = character.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    Some(start + 1 + word)
}

/// The length of a literal with its quotes.
fn quoted(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

#[test]
fn tokens_leave_out_comments_and_literals() {
    let text = "let a = \"told // \\\"\"; // clerk\n/* x /* y */ z */ b::<'static>('c', b'\\'', r#\"purse\"#, r#type, '\\n');\nd";
    let words: Vec<&str> =
        tokens(text).iter().filter(|token| token.is_identifier()).map(|t| t.text).collect();
    assert_eq!(words, ["let", "a", "b", "type", "d"]);
    assert_eq!(tokens(text).last().unwrap().line, 3);
    assert_eq!(
        tokens("a::b.c").iter().map(|token| token.text).collect::<Vec<_>>(),
        ["a", "::", "b", ".", "c"]
    );
}
