//! Splits a shell line into words, enough to recognise commands. Runs and expands nothing.

/// Longest command, and longest script of a `package.json`, that is looked at, in bytes.
const COMMAND_BYTES_MAX: usize = 10_000;

/// A shell line as words, as far as it can be read without a shell.
pub(super) struct ShellLine {
    /// Its commands, each in words.
    pub(super) commands: Vec<Vec<String>>,
    /// Whether it has no syntax that is not understood here: no substitution, redirection, group or comment.
    pub(super) is_plain: bool,
}

impl ShellLine {
    /// `None`: it is too long, or a quotation does not end.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.len() > COMMAND_BYTES_MAX {
            return None;
        }
        let mut line = Self { commands: vec![Vec::new()], is_plain: true };
        let mut word: Option<String> = None;
        let mut letters = text.trim().chars();
        while let Some(letter) = letters.next() {
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
                                line.is_plain &= !matches!(quoted, '$' | '`');
                                word.push(quoted);
                            }
                        }
                    }
                }
                '\\' => word.get_or_insert_default().push(letters.next()?),
                ' ' | '\t' => line.end_word(&mut word),
                ';' | '&' | '|' | '\n' => {
                    line.end_word(&mut word);
                    if line.commands.last().is_some_and(|words| !words.is_empty()) {
                        line.commands.push(Vec::new());
                    }
                    // A pipe's exit code is its last command's; a background job has none.
                    line.is_plain &= letter != '|';
                }
                '#' if word.is_none() => {
                    line.is_plain = false;
                    break;
                }
                other => {
                    line.is_plain &= !matches!(other, '$' | '`' | '(' | ')' | '{' | '}' | '<' | '>' | '!');
                    word.get_or_insert_default().push(other);
                }
            }
        }
        line.end_word(&mut word);
        line.commands.retain(|words| !words.is_empty());
        Some(line)
    }

    fn end_word(&mut self, word: &mut Option<String>) {
        if let (Some(word), Some(words)) = (word.take(), self.commands.last_mut()) {
            words.push(word);
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
