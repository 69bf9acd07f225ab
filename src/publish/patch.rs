//! A proposal's unified diff, and what it changes, file by file.

use crate::workspace::{Patch, PatchStat};

/// A unified diff as git writes it, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    text: String,
    files: Vec<FileStat>,
    totals: PatchStat,
    truncated: bool,
}

/// What a diff does to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// The path after the change, or before it where the file is gone.
    pub path: String,
    /// Lines added.
    pub added: u64,
    /// Lines removed.
    pub removed: u64,
    /// Whether git sees no text in it.
    pub binary: bool,
}

impl Diff {
    /// Reads a diff. Whatever is not a diff has no files.
    pub fn read(patch: &Patch) -> Self {
        let Patch { text, truncated, stat } = patch.clone();
        let mut files: Vec<FileStat> = Vec::new();
        // Lines left in the present hunk, before and after: `--- x` inside one is a removed line.
        let mut left = (0_u64, 0_u64);
        for line in text.lines() {
            if left != (0, 0) {
                let Some(file) = files.last_mut() else { break };
                match line.as_bytes().first() {
                    Some(b'+') => {
                        file.added += 1;
                        left.1 = left.1.saturating_sub(1);
                    }
                    Some(b'-') => {
                        file.removed += 1;
                        left.0 = left.0.saturating_sub(1);
                    }
                    Some(b'\\') => {}
                    Some(_) | None => left = (left.0.saturating_sub(1), left.1.saturating_sub(1)),
                }
            } else if let Some(paths) = line.strip_prefix("diff --git ") {
                let path = path_of_header(paths);
                files.push(FileStat { path, added: 0, removed: 0, binary: false });
            } else if let Some(file) = files.last_mut() {
                match line.split_once(' ') {
                    Some(("---" | "+++", path)) if path != "/dev/null" => file.path = path_of(path),
                    Some(("rename", to)) if to.starts_with("to ") => file.path = path_of(&to[3..]),
                    Some(("Binary", _)) | Some(("GIT", "binary patch")) => file.binary = true,
                    Some(("@@", ranges)) => left = hunk(ranges),
                    Some(_) | None => {}
                }
            }
        }
        Self { text, files, totals: stat, truncated }
    }

    /// The diff.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The files, in the diff's order.
    pub fn files(&self) -> &[FileStat] {
        &self.files
    }

    /// Files, and lines added and removed, of the whole diff, also where its text was cut.
    pub fn totals(&self) -> PatchStat {
        self.totals
    }

    /// Whether the text was cut because it is too long.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

/// `a/x b/x`, for files whose `---` and `+++` lines are missing (mode changes, binaries).
fn path_of_header(paths: &str) -> String {
    let second = paths.find(" b/").map_or(paths, |at| &paths[at + 1..]);
    path_of(second)
}

/// A path without git's `a/` or `b/`, quotes and what follows a tab.
fn path_of(path: &str) -> String {
    let path = path.split('\t').next().unwrap_or(path).trim_matches('"');
    path.strip_prefix("a/").or_else(|| path.strip_prefix("b/")).unwrap_or(path).to_owned()
}

/// The lengths in `-12,3 +14 @@`.
fn hunk(ranges: &str) -> (u64, u64) {
    let mut lengths = ranges.split(' ').take(2).map(|range| match range.split_once(',') {
        Some((_, length)) => length.parse().unwrap_or(0),
        None => 1,
    });
    (lengths.next().unwrap_or(0), lengths.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_counted_by_its_hunks_and_not_by_what_its_lines_look_like() {
        let text = "diff --git a/src/a.rs b/src/a.rs\nindex 1..2 100644\n--- a/src/a.rs\n+++ b/src/a.rs\n\
            @@ -1,3 +1,4 @@ fn x\n context\n--- a removed line\n+++ b/an added line\n+and one\n \n\
            @@ -9 +10 @@\n-x\n+y\n\\ No newline at end of file\n\
            diff --git a/old b/new\nsimilarity index 100%\nrename from old\nrename to new\n\
            diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n\
            diff --git a/p.png b/p.png\nBinary files a/p.png and b/p.png differ\n";
        let read = |text: &str| {
            Diff::read(&Patch { text: text.to_owned(), truncated: false, stat: PatchStat::default() })
        };
        let patch = read(text);
        let files: Vec<_> =
            patch.files().iter().map(|f| (f.path.as_str(), f.added, f.removed, f.binary)).collect();
        assert_eq!(
            files,
            [("src/a.rs", 3, 2, false), ("new", 0, 0, false), ("gone", 0, 2, false), ("p.png", 0, 0, true)]
        );
        assert_eq!(read("not a diff").files(), []);
    }
}
