//! Reads a text: the paths, positions and names that it mentions, and its words. `rank` decides what of it is in
//! the tree.

use std::collections::BTreeMap;

use super::words::{each_part, each_word, is_empty_word, key};

/// Longest text that is read.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Most paths and names taken from it.
const MENTIONS_MAX: usize = 400;
/// What the words of the first line count, those of code blocks, and those of the headings that a
/// form for issues brings along; a line of prose counts one.
const TITLE_WEIGHT: f64 = 4.0;
const CODE_WEIGHT: f64 = 0.3;
const HEADING_WEIGHT: f64 = 0.1;
/// How sure it is that a name in a code block is one of this repository's, and a word of prose is a
/// name at all; one between back-ticks counts one.
const CODE_NAME: f64 = 0.3;
const PROSE_NAME: f64 = 0.1;

/// What a text mentions.
#[derive(Debug, Default, PartialEq)]
pub struct Query {
    /// What looks like a path, with how sure that is; parts by `/`.
    pub paths: BTreeMap<String, f64>,
    /// What looks like a name in code, with how sure that is.
    pub names: BTreeMap<String, f64>,
    /// Words by their key, with their weight.
    pub words: BTreeMap<u32, f64>,
}

impl Query {
    /// Reads a text.
    pub fn of(text: &str) -> Self {
        let mut query = Self::default();
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut in_code = false;
        let mut title_seen = false;
        for line in text[..end].lines() {
            if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
                in_code = !in_code;
                continue;
            }
            let is_title = !title_seen && !line.trim().is_empty();
            title_seen |= is_title;
            query.read_line(line, in_code, is_title);
        }
        // A word that occurs ten times is not ten times as important.
        for weight in query.words.values_mut() {
            *weight = weight.sqrt();
        }
        query
    }

    fn read_line(&mut self, line: &str, in_code: bool, is_title: bool) {
        for (at, piece) in line.split('`').enumerate() {
            // Between back-ticks is code.
            let quoted = at % 2 == 1 && !in_code;
            for token in piece.split(|c: char| c.is_whitespace() || "\"'<>()[]{},;|*=!?".contains(c)) {
                self.read_token(token, quoted);
            }
            self.read_names(piece, quoted, in_code);
        }
        let weight = match (is_title, in_code, line.starts_with('#')) {
            (true, _, _) => TITLE_WEIGHT,
            (false, true, _) => CODE_WEIGHT,
            (false, false, true) => HEADING_WEIGHT,
            (false, false, false) => 1.0,
        };
        let mut buffer = Vec::new();
        super::words::each_run(line.as_bytes(), |run| {
            each_word(run, &mut buffer, |word| {
                let text = String::from_utf8_lossy(word);
                if !is_empty_word(&text) {
                    *self.words.entry(key(word)).or_insert(0.0) += weight;
                }
            });
        });
    }

    /// A token that may be a path: `src/a.py`, `a.py:12`, `C:\x\a.py`, `a/b`, `package.module`.
    fn read_token(&mut self, token: &str, quoted: bool) {
        let token = token.trim_matches(|c: char| ".,:;".contains(c)).replace('\\', "/");
        let (token, has_line) = without_line(&token);
        let token = token.split(['#', '?']).next().unwrap_or_default().trim_end_matches('/');
        if token.len() < 3 || token.len() > 400 || self.paths.len() >= MENTIONS_MAX {
            return;
        }
        let is_file = has_ending(token);
        let sure = match (token.contains('/'), is_file) {
            (true, true) => 1.0,
            (false, true) => 0.8,
            (true, false) => 0.4,
            (false, false) => return self.read_module(token, quoted),
        };
        let sure = if has_line && is_file { 2.0 } else { sure };
        let at = self.paths.entry(token.to_owned()).or_insert(0.0);
        *at = at.max(sure);
    }

    /// `package.module.Name`: each beginning of it may be a file.
    fn read_module(&mut self, token: &str, quoted: bool) {
        let parts: Vec<&str> = token.split(['.', ':']).filter(|part| !part.is_empty()).collect();
        let named = |part: &&str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if parts.len() < 2
            || parts.len() > 8
            || !parts.iter().all(named)
            || token.starts_with(|c: char| c.is_ascii_digit())
        {
            return;
        }
        let at = self.paths.entry(parts.join("/")).or_insert(0.0);
        *at = at.max(if quoted { 0.6 } else { 0.4 });
    }

    fn read_names(&mut self, piece: &str, quoted: bool, in_code: bool) {
        let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        let mut rest = piece;
        let mut before = ' ';
        while let Some(from) = rest.find(of_name) {
            before = rest[..from].chars().next_back().unwrap_or(before);
            let run = &rest[from..];
            let length = run.find(|c| !of_name(c)).unwrap_or(run.len());
            let (name, after) = run.split_at(length);
            rest = after;
            if name.len() < 3 || name.len() > 80 || name.starts_with(|c: char| c.is_ascii_digit()) {
                before = 'a';
                continue;
            }
            let mut parts = 0;
            each_part(name.as_bytes(), |_| parts += 1);
            let looks_like_code = parts > 1
                || name.contains('_')
                || after.starts_with('(')
                || matches!(before, '.' | ':' | '@' | '#') && from > 0;
            let sure = match (quoted, looks_like_code, in_code) {
                (true, _, _) => 1.0,
                (false, true, false) => 0.9,
                (false, true, true) => CODE_NAME,
                // A word of prose may be a name, too; in a code block everything may.
                (false, false, _) => PROSE_NAME,
            };
            before = 'a';
            if self.names.len() < MENTIONS_MAX || self.names.contains_key(name) {
                let at = self.names.entry(name.to_owned()).or_insert(0.0);
                *at = at.max(sure);
            }
        }
    }
}

/// `a.py:12:3` is `a.py`, and has a line.
fn without_line(token: &str) -> (&str, bool) {
    let mut token = token;
    let mut has_line = false;
    for _ in 0..2 {
        match token.rsplit_once(':') {
            Some((before, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
                token = before;
                has_line = true;
            }
            _ => break,
        }
    }
    (token.trim_end_matches(':'), has_line)
}

fn has_ending(token: &str) -> bool {
    let name = token.rsplit('/').next().unwrap_or(token);
    name.rsplit_once('.').is_some_and(|(stem, ending)| {
        !stem.is_empty()
            && (super::language::of_path(name).is_some()
                || [
                    "html", "json", "toml", "yml", "yaml", "css", "scss", "md", "rst", "txt", "cfg", "vue",
                    "svelte",
                ]
                .contains(&ending))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lines_of_tracebacks_and_modules_are_seen() {
        let query = Query::of(
            "Crash in `flask.app`\n  File \"/usr/lib/python3/site-packages/flask/app.py\", line 12\n\
             src/lib.rs:10:5: panicked\nsee https://github.com/a/b/blob/main/src/x.ts#L10, version 3.1.2.",
        );
        let paths: Vec<(&str, f64)> = query.paths.iter().map(|(path, sure)| (path.as_str(), *sure)).collect();
        assert_eq!(
            paths,
            [
                ("/usr/lib/python3/site-packages/flask/app.py", 1.0),
                ("flask/app", 0.6),
                ("https://github.com/a/b/blob/main/src/x.ts", 1.0),
                ("src/lib.rs", 2.0),
            ]
        );
    }

    #[test]
    fn what_looks_like_code_is_a_name_above_all() {
        let query = Query::of("The parser drops `width` in formatRow, see split_words()");
        let sure = |name: &str| query.names.get(name).copied();
        assert_eq!(sure("width"), Some(1.0));
        assert_eq!(sure("formatRow"), Some(0.9));
        assert_eq!(sure("split_words"), Some(0.9));
        assert_eq!(sure("parser"), Some(0.1));
    }

    #[test]
    fn a_text_of_any_bytes_is_read() {
        Query::of(&"ü".repeat(100_000));
        Query::of("``` ` ``` \u{202e} \0 `");
    }
}
