//! Splits a shell line into words, enough to recognise commands. Runs and expands nothing.

use std::ops::Range;

/// Longest command, and longest script of a `package.json`, that is looked at, in bytes.
const COMMAND_BYTES_MAX: usize = 10_000;

/// A shell line as words, as far as it can be read without a shell.
pub(super) struct ShellLine {
    /// Its commands, each in words.
    pub(super) commands: Vec<Vec<String>>,
    /// Where each of these words is in the text, in bytes.
    pub(super) spans: Vec<Vec<Range<usize>>>,
    /// Whether it has no syntax that is not understood here: no substitution, redirection, group or comment.
    pub(super) is_plain: bool,
    /// What separates the commands, and other letters outside quotes that mean something to a shell, in order.
    pub(super) operators: Vec<String>,
}

impl ShellLine {
    /// `None`: it is too long, or a quotation does not end.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.len() > COMMAND_BYTES_MAX {
            return None;
        }
        let mut line = Self {
            commands: vec![Vec::new()],
            spans: vec![Vec::new()],
            is_plain: true,
            operators: Vec::new(),
        };
        let mut word: Option<String> = None;
        let trimmed = text.trim();
        let start = text.len() - text.trim_start().len();
        let mut letters = trimmed.chars();
        let (mut at, mut word_at) = (start, start);
        while let Some(letter) = letters.next() {
            let was_outside = word.is_none();
            match letter {
                '\'' => {
                    let word = word.get_or_insert_default();
                    loop {
                        match letters.next()? {
                            '\'' => break,
                            quoted => word.push(quoted),
                        }
                    }
                }
                '"' => {
                    let word = word.get_or_insert_default();
                    loop {
                        match letters.next()? {
                            '"' => break,
                            '\\' => word.push(letters.next()?),
                            quoted => {
                                if matches!(quoted, '$' | '`') {
                                    line.is_plain = false;
                                    line.operators.push(quoted.to_string());
                                }
                                word.push(quoted);
                            }
                        }
                    }
                }
                '\\' => word.get_or_insert_default().push(letters.next()?),
                ' ' | '\t' => line.end_word(&mut word, word_at..at),
                ';' | '&' | '|' | '\n' => {
                    let mut operator = letter.to_string();
                    if matches!(letter, '&' | '|') && letters.clone().next() == Some(letter) {
                        letters.next();
                        operator.push(letter);
                    }
                    line.operators.push(operator);
                    line.end_word(&mut word, word_at..at);
                    if line.commands.last().is_some_and(|words| !words.is_empty()) {
                        line.commands.push(Vec::new());
                        line.spans.push(Vec::new());
                    }
                    // A pipe's exit code is its last command's; a background job has none.
                    line.is_plain &= letter != '|';
                }
                '#' if word.is_none() => {
                    line.operators.push(letter.to_string());
                    line.is_plain = false;
                    break;
                }
                other => {
                    if matches!(other, '$' | '`' | '(' | ')' | '{' | '}' | '<' | '>' | '!') {
                        line.is_plain = false;
                        line.operators.push(other.to_string());
                    }
                    word.get_or_insert_default().push(other);
                }
            }
            if was_outside {
                word_at = at;
            }
            at = start + trimmed.len() - letters.as_str().len();
        }
        line.end_word(&mut word, word_at..at);
        line.commands.retain(|words| !words.is_empty());
        line.spans.retain(|words| !words.is_empty());
        Some(line)
    }

    fn end_word(&mut self, word: &mut Option<String>, span: Range<usize>) {
        let Some(word) = word.take() else { return };
        if let (Some(words), Some(spans)) = (self.commands.last_mut(), self.spans.last_mut()) {
            words.push(word);
            spans.push(span);
        }
    }
}
/// `NAME=value`, before a command.
pub(super) fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

/// A program's name without its directory and the extension of a script.
pub(super) fn base_name(word: &str) -> &str {
    let name = word.rsplit('/').next().unwrap_or(word);
    name.strip_suffix(".js").or_else(|| name.strip_suffix(".phar")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_again_in_the_text() {
        let text = " A=1 'a b'\\ c \"d\" && é x;y ";
        let line = ShellLine::read(text).unwrap();
        let spans = line.spans.iter().flatten().map(|span| &text[span.clone()]);
        assert_eq!(spans.collect::<Vec<_>>(), ["A=1", "'a b'\\ c", "\"d\"", "é", "x", "y"]);
        assert_eq!(line.spans.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(line.commands[0][1], "a b c");
    }
}
