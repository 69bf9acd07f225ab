//! Reading windows of text files, and writing whole files.

use std::io::{BufRead, BufReader, Read};

use crate::map::CHECKED_BYTES_MAX;
use crate::tree::{Tree, TreeError};
use mendwright_protocol::{DeleteFile, FileWindow, MoveFile, ReadFile, WriteFile};

/// Largest file whose lines are counted.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Most lines of one window.
const WINDOW_LINES_MAX: u64 = 5_000;
/// Most text of one window. Lines that do not fit are left for the next.
const WINDOW_BYTES_MAX: usize = 512 << 10;
/// Characters after which a line is cut.
const LINE_CHARS_MAX: usize = 2_000;
/// A NUL among the first bytes makes a file binary, as for git.
const BINARY_CHECK_BYTES: usize = 8_000;
/// Names shown if a file does not exist.
const NAMES_SHOWN_MAX: usize = 40;

/// Reads a window of a text file.
pub fn read(tree: &Tree, request: &ReadFile) -> Result<FileWindow, String> {
    let path = &request.path;
    let open = tree.open_file(path).map_err(|e| explain(tree, path, e))?;
    if open.bytes > FILE_BYTES_MAX {
        return Err(format!("'{path}' has {} bytes, over the {FILE_BYTES_MAX} that can be read", open.bytes));
    }
    let mut reader = BufReader::with_capacity(64 << 10, open.file);
    let beginning = reader.fill_buf().map_err(|e| format!("'{path}': {e}"))?;
    if beginning.iter().take(BINARY_CHECK_BYTES).any(|byte| *byte == 0) {
        return Err(format!("'{path}' is a binary file of {} bytes", open.bytes));
    }
    let first = request.first_line.max(1);
    let mut window = Window {
        first,
        last: first.saturating_add(request.lines_max.min(WINDOW_LINES_MAX)).saturating_sub(1),
        text: String::new(),
        shown: 0,
        full: false,
    };
    let lines_total = window.fill(&mut reader).map_err(|e| format!("'{path}': {e}"))?;
    if first > lines_total.max(1) {
        return Err(format!("'{path}' has {lines_total} lines; line {first} is past its end"));
    }
    Ok(FileWindow { text: window.text, first_line: first, lines_shown: window.shown, lines_total })
}

struct Window {
    first: u64,
    last: u64,
    text: String,
    shown: u64,
    full: bool,
}

impl Window {
    /// Takes the wanted lines and counts all. Holds one cut line at most, however long it is.
    fn fill(&mut self, reader: &mut impl BufRead) -> std::io::Result<u64> {
        let keep_max = LINE_CHARS_MAX * 4 + 1;
        let (mut complete, mut line, mut line_bytes) = (0, Vec::new(), 0);
        loop {
            let chunk = reader.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let newline = chunk.iter().position(|byte| *byte == b'\n');
            let used = newline.map_or(chunk.len(), |at| at + 1);
            let wanted = (self.first..=self.last).contains(&(complete + 1)) && !self.full;
            if wanted && line.len() < keep_max {
                line.extend_from_slice(&chunk[..used.min(keep_max - line.len())]);
            }
            line_bytes += used;
            reader.consume(used);
            if newline.is_some() {
                complete += 1;
                if wanted {
                    self.take(&line, line_bytes);
                }
                line.clear();
                line_bytes = 0;
            }
        }
        if line_bytes > 0 {
            complete += 1;
            if (self.first..=self.last).contains(&complete) && !self.full {
                self.take(&line, line_bytes);
            }
        }
        Ok(complete)
    }

    fn take(&mut self, line: &[u8], line_bytes: usize) {
        let text = String::from_utf8_lossy(line);
        let cut = text.char_indices().nth(LINE_CHARS_MAX).map(|(at, _)| &text[..at]);
        let shown = match cut {
            Some(cut) if cut.len() < text.trim_end_matches(['\r', '\n']).len() || line.len() < line_bytes => {
                format!("{cut}[… line cut; it has {line_bytes} bytes …]\n")
            }
            Some(_) | None => text.into_owned(),
        };
        if self.text.len() + shown.len() > WINDOW_BYTES_MAX {
            self.full = true;
            return;
        }
        self.text.push_str(&shown);
        self.shown += 1;
    }
}

/// Creates or replaces a file. Returns whether it is new, and its content before, if it is small enough to be
/// compared.
pub fn write(tree: &Tree, request: &WriteFile) -> Result<(bool, Vec<u8>), String> {
    let mut before = Vec::new();
    if let Ok(open) = tree.open_file(&request.path) {
        // Only for the comparison: a file that cannot be read is not compared.
        let _ = open.file.take(CHECKED_BYTES_MAX as u64 + 1).read_to_end(&mut before);
    }
    let created = tree.write_file_as(&request.path, request.content.as_bytes(), request.executable)?;
    Ok((created, before))
}

/// Deletes a file.
pub fn delete(tree: &Tree, request: &DeleteFile) -> Result<(), String> {
    tree.remove_file(&request.path).map_err(|e| match e {
        TreeError::Directory(at) => format!("'{at}' is a directory; delete its files one by one"),
        other => explain(tree, &request.path, other),
    })
}

/// Moves a file.
pub fn move_to(tree: &Tree, request: &MoveFile) -> Result<(), String> {
    tree.move_file(&request.from, &request.to).map_err(|e| match e {
        TreeError::Missing(_) => explain(tree, &request.from, e),
        other => other.to_string(),
    })
}

/// An error about `path`, with the names that exist there instead.
pub fn explain(tree: &Tree, path: &str, error: TreeError) -> String {
    let TreeError::Missing(_) = error else { return error.to_string() };
    let Some((directory, names)) = tree.nearest_names(path, NAMES_SHOWN_MAX) else {
        return error.to_string();
    };
    let place = if directory.is_empty() { "the root".to_owned() } else { format!("'{directory}'") };
    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    format!("there is no '{path}'; {place} has: {names}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn window(content: &[u8], first_line: u64, lines_max: u64) -> Result<FileWindow, String> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("f"), content).unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        read(&tree, &ReadFile { path: "f".to_owned(), first_line, lines_max })
    }

    #[test]
    fn a_window_keeps_line_ends_and_counts_all_lines() {
        let got = window(b"a\r\nb\nc", 2, 10).unwrap();
        assert_eq!(
            got,
            FileWindow { text: "b\nc".to_owned(), first_line: 2, lines_shown: 2, lines_total: 3 }
        );
        let got = window(b"a\n\xff\nc\n", 1, 2).unwrap();
        assert_eq!((got.text.as_str(), got.lines_shown, got.lines_total), ("a\n\u{fffd}\n", 2, 3));
        let got = window(b"", 1, 2).unwrap();
        assert_eq!((got.lines_shown, got.lines_total), (0, 0));
    }

    #[test]
    fn long_lines_are_cut_and_say_so() {
        let content = [b"x".repeat(3_000_000), b"\nnext\n".to_vec()].concat();
        let got = window(&content, 1, 5).unwrap();
        assert!(got.text.ends_with("x[… line cut; it has 3000001 bytes …]\nnext\n"));
        assert_eq!((got.text.lines().count(), got.lines_total), (2, 2));
        let exactly = [b"x".repeat(LINE_CHARS_MAX), b"\n".to_vec()].concat();
        assert_eq!(window(&exactly, 1, 5).unwrap().text.len(), LINE_CHARS_MAX + 1);
    }

    #[test]
    fn file_that_cannot_be_shown_is_an_error() {
        assert_eq!(window(b"a\n", 7, 1).unwrap_err(), "'f' has 1 lines; line 7 is past its end");
        assert_eq!(window(b"a\0b", 1, 1).unwrap_err(), "'f' is a binary file of 3 bytes");
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("src")).unwrap();
        fs::write(directory.path().join("src/lib.rs"), "").unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        let request = ReadFile { path: "src/main/mod.rs".to_owned(), first_line: 1, lines_max: 1 };
        assert_eq!(read(&tree, &request).unwrap_err(), "there is no 'src/main/mod.rs'; 'src' has: lib.rs");
    }
}
