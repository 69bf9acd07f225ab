//! `.gitattributes`: which conversions git makes between a file in a work tree and its content in the
//! repository. Source: gitattributes(5). Reads them from a tree; never from a configuration of this machine.

use std::collections::HashMap;
use std::rc::Rc;

use git2::{Repository, Tree};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The file that names attributes, in any directory.
pub(super) const ATTRIBUTES_FILE: &str = ".gitattributes";
/// Longer files are not read; git ignores files of over 100 MB.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Most lines of one file.
const LINES_MAX: usize = 10_000;
/// Longer lines are ignored, as git does.
const LINE_BYTES_MAX: usize = 2_048;

/// What git does with line ends of a file. On Linux, and without a configuration, text has LF.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// They stay as they are.
    #[default]
    Kept,
    /// CRLF becomes LF in the repository.
    Lf,
    /// LF in the repository, CRLF in the work tree.
    CrLf,
    /// As `Lf`, if the content is text.
    AutoLf,
    /// As `CrLf`, if the content is text.
    AutoCrLf,
}

/// The attributes of a file that decide how it is checked out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FileAttributes {
    pub(super) line_ends: LineEnds,
    /// The encoding in the work tree; `None`: as in the repository.
    pub(super) encoding: Option<String>,
    /// Whether `$Id$` is expanded.
    pub(super) expands_id: bool,
    /// The program that converts the content, such as `lfs`. It is never run here.
    pub(super) filter: Option<String>,
}

impl FileAttributes {
    /// Whether the work tree has the same bytes as the repository.
    pub(super) fn is_plain(&self) -> bool {
        !matches!(self.line_ends, LineEnds::CrLf | LineEnds::AutoCrLf)
            && self.encoding.is_none()
            && !self.expands_id
    }
}

/// The attributes of the files of one tree.
pub(super) struct TreeAttributes<'r> {
    repository: &'r Repository,
    tree: &'r Tree<'r>,
    /// The rules of each directory that was looked at; `""` is the root.
    rules: HashMap<Vec<u8>, Rc<[AttributeRule]>>,
    macros: HashMap<String, Vec<Assignment>>,
}

/// A line of a file.
struct AttributeRule {
    pattern: Gitignore,
    assignments: Vec<Assignment>,
}

/// An attribute and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assignment {
    name: String,
    state: AttributeState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum AttributeState {
    Set,
    Unset,
    Unspecified,
    Value(String),
}

/// The attributes that matter here.
const KNOWN: [&str; 6] = ["text", "crlf", "eol", "ident", "working-tree-encoding", "filter"];

impl<'r> TreeAttributes<'r> {
    /// The attributes of `tree`.
    pub(super) fn of(repository: &'r Repository, tree: &'r Tree<'r>) -> Self {
        let binary = ["diff", "merge", "text"]
            .map(|name| Assignment { name: name.to_owned(), state: AttributeState::Unset });
        let macros = HashMap::from([("binary".to_owned(), binary.to_vec())]);
        Self { repository, tree, rules: HashMap::new(), macros }
    }

    /// The attributes of the file at `path`. A later line counts more than an earlier one, and a deeper file
    /// more than a higher one.
    pub(super) fn of_file(&mut self, path: &[u8]) -> FileAttributes {
        let mut states: HashMap<&'static str, AttributeState> = HashMap::new();
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let directories: Vec<usize> = ends.collect();
        for end in std::iter::once(None).chain(directories.into_iter().map(Some)) {
            let (directory, below) = match end {
                None => (&path[..0], path),
                Some(end) => (&path[..end], &path[end + 1..]),
            };
            let below = String::from_utf8_lossy(below);
            for rule in self.rules_in(directory).iter() {
                if !rule.pattern.matched(below.as_ref(), false).is_ignore() {
                    continue;
                }
                for assignment in &rule.assignments {
                    if let Some(name) = KNOWN.iter().find(|known| **known == assignment.name) {
                        states.insert(name, assignment.state.clone());
                    }
                }
            }
        }
        decide(&states)
    }

    fn rules_in(&mut self, directory: &[u8]) -> Rc<[AttributeRule]> {
        if let Some(known) = self.rules.get(directory) {
            return known.clone();
        }
        let text = self.text_in(directory).unwrap_or_default();
        let rules: Rc<[AttributeRule]> = self.parse(&text, directory.is_empty()).into();
        self.rules.insert(directory.to_vec(), rules.clone());
        rules
    }

    fn text_in(&self, directory: &[u8]) -> Option<String> {
        use std::os::unix::ffi::OsStrExt;
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(directory)).join(ATTRIBUTES_FILE);
        let entry = self.tree.get_path(&path).ok()?;
        // As in git, a symbolic link does not count.
        if !matches!(entry.filemode(), 0o100_644 | 0o100_755) {
            return None;
        }
        let blob = self.repository.find_blob(entry.id()).ok()?;
        (blob.size() <= FILE_BYTES_MAX).then(|| String::from_utf8_lossy(blob.content()).into_owned())
    }

    fn parse(&mut self, text: &str, is_root: bool) -> Vec<AttributeRule> {
        let mut rules = Vec::new();
        for line in text.trim_start_matches('\u{feff}').lines().take(LINES_MAX) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || line.len() > LINE_BYTES_MAX {
                continue;
            }
            let (pattern, attributes) = split_pattern(line);
            let assignments = self.assignments(attributes);
            match pattern.strip_prefix("[attr]") {
                Some(name) if is_root => drop(self.macros.insert(name.to_owned(), assignments)),
                Some(_) => {}
                None if assignments.iter().any(|one| KNOWN.contains(&one.name.as_str())) => {
                    rules.extend(matcher(&pattern).map(|pattern| AttributeRule { pattern, assignments }));
                }
                None => {}
            }
        }
        rules
    }

    /// The attributes of a line, those of macros first, so that the line's own count more.
    fn assignments(&self, words: &str) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        let own: Vec<Assignment> = words.split_whitespace().map(assignment).collect();
        for one in &own {
            if one.state == AttributeState::Set {
                assignments.extend(self.macros.get(&one.name).into_iter().flatten().cloned());
            }
        }
        assignments.extend(own);
        assignments
    }
}

fn assignment(word: &str) -> Assignment {
    let (name, state) = match (word.chars().next(), word.split_once('=')) {
        (Some('-'), _) => (&word[1..], AttributeState::Unset),
        (Some('!'), _) => (&word[1..], AttributeState::Unspecified),
        (_, Some((name, value))) => (name, AttributeState::Value(value.to_owned())),
        (_, None) => (word, AttributeState::Set),
    };
    Assignment { name: name.to_owned(), state }
}

/// The pattern of a line, without its quotes, and the rest.
fn split_pattern(line: &str) -> (String, &str) {
    if let Some(quoted) = line.strip_prefix('"') {
        let mut pattern = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => return (pattern, &quoted[at + 1..]),
                '\\' => pattern.extend(characters.next().map(|(_, c)| c)),
                c => pattern.push(c),
            }
        }
    }
    let (pattern, attributes) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (pattern.to_owned(), attributes)
}

/// The pattern, which is written as in `.gitignore`, but has no exceptions and matches no directory.
fn matcher(pattern: &str) -> Option<Gitignore> {
    if pattern.starts_with('!') || pattern.ends_with('/') {
        return None;
    }
    let mut builder = GitignoreBuilder::new("");
    builder.add_line(None, pattern).ok()?;
    builder.build().ok()
}

/// As git's `convert_attrs`, with `core.autocrlf=false` on Linux.
fn decide(states: &HashMap<&'static str, AttributeState>) -> FileAttributes {
    use AttributeState::{Set, Unset, Value};
    let text = |name: &str| match states.get(name) {
        Some(Set) => Some(LineEnds::Lf),
        Some(Unset) => Some(LineEnds::Kept),
        Some(Value(value)) if value == "auto" => Some(LineEnds::AutoLf),
        Some(Value(value)) if value == "input" => Some(LineEnds::Lf),
        Some(Value(_) | AttributeState::Unspecified) | None => None,
    };
    let base = text("text").or_else(|| text("crlf"));
    let eol = match states.get("eol") {
        Some(Value(value)) if value == "lf" => Some(false),
        Some(Value(value)) if value == "crlf" => Some(true),
        _ => None,
    };
    let line_ends = match (base, eol) {
        (Some(LineEnds::Kept), _) => LineEnds::Kept,
        (Some(LineEnds::AutoLf), Some(true)) => LineEnds::AutoCrLf,
        (Some(LineEnds::AutoLf), _) => LineEnds::AutoLf,
        (_, Some(true)) => LineEnds::CrLf,
        (_, Some(false)) => LineEnds::Lf,
        (base, None) => base.unwrap_or_default(),
    };
    let value = |name: &str| match states.get(name) {
        Some(Value(value)) => Some(value.clone()),
        _ => None,
    };
    let is_utf8 = |encoding: &String| ["utf-8", "utf8"].contains(&encoding.to_lowercase().as_str());
    FileAttributes {
        line_ends,
        encoding: value("working-tree-encoding").filter(|encoding| !is_utf8(encoding)),
        expands_id: states.get("ident") == Some(&Set),
        filter: value("filter"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounded_walk::WalkedEntry;
    use super::super::reduced_tree::write_tree_of;
    use super::*;

    /// The attributes of files in a repository with these `.gitattributes`.
    fn attributes_of(files: &[(&str, &str)], path: &[u8]) -> FileAttributes {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(directory.path()).unwrap();
        let entry = |(path, text): &(&str, &str)| WalkedEntry {
            path: path.as_bytes().to_vec(),
            id: repository.blob(text.as_bytes()).unwrap(),
            mode: 0o100_644,
        };
        let files: Vec<WalkedEntry> = files.iter().map(entry).collect();
        let tree = repository.find_tree(write_tree_of(&repository, &files).unwrap()).unwrap();
        TreeAttributes::of(&repository, &tree).of_file(path)
    }

    fn line_ends(rules: &str, path: &str) -> LineEnds {
        attributes_of(&[(".gitattributes", rules)], path.as_bytes()).line_ends
    }

    #[test]
    fn line_ends_follow_from_text_and_eol() {
        for (rules, expected) in [
            ("", LineEnds::Kept),
            ("* text", LineEnds::Lf),
            ("* -text", LineEnds::Kept),
            ("* text=auto", LineEnds::AutoLf),
            ("* eol=crlf", LineEnds::CrLf),
            ("* text eol=crlf", LineEnds::CrLf),
            ("* text=auto eol=crlf", LineEnds::AutoCrLf),
            ("* -text eol=crlf", LineEnds::Kept),
            ("* eol=lf", LineEnds::Lf),
            ("* crlf", LineEnds::Lf),
            ("* -crlf", LineEnds::Kept),
            ("* crlf=input", LineEnds::Lf),
            ("* eol=crlf\n*.bat binary", LineEnds::Kept),
            ("* text eol=crlf\n*.bat !eol", LineEnds::Lf),
            ("[attr]windows text eol=crlf\n*.bat windows", LineEnds::CrLf),
            ("*.bat text eol=crlf\n# *.bat -text\n", LineEnds::CrLf),
            ("\"*.b\\at\" eol=crlf", LineEnds::CrLf),
        ] {
            assert_eq!(line_ends(rules, "a/x.bat"), expected, "{rules}");
        }
    }

    #[test]
    fn pattern_matches_as_in_gitignore_except_for_directories() {
        for (pattern, matches) in [
            ("*.bat", true),
            ("x.bat", true),
            ("/x.bat", false),
            ("a/*.bat", true),
            ("/a/**", true),
            ("a/", false),
            ("a", false),
            ("**/x.*", true),
            ("b/x.bat", false),
        ] {
            let expected = if matches { LineEnds::CrLf } else { LineEnds::Kept };
            assert_eq!(line_ends(&format!("{pattern} eol=crlf"), "a/x.bat"), expected, "{pattern}");
        }
    }

    #[test]
    fn deeper_file_counts_more_and_sees_paths_below_itself() {
        let files = [
            (".gitattributes", "* eol=crlf ident working-tree-encoding=UTF-16"),
            ("a/.gitattributes", "/x -text -ident working-tree-encoding=utf-8\n*.bin filter=lfs -text"),
        ];
        let deeper = attributes_of(&files, b"a/x");
        assert_eq!(deeper, FileAttributes::default());
        let higher = attributes_of(&files, b"x");
        assert_eq!(higher.line_ends, LineEnds::CrLf);
        assert!(higher.expands_id && higher.encoding.as_deref() == Some("UTF-16"));
        assert_eq!(attributes_of(&files, b"a/b/y.bin").filter.as_deref(), Some("lfs"));
        assert_eq!(attributes_of(&files, b"a/b\xe9/y.bin").filter.as_deref(), Some("lfs"));
    }
}
