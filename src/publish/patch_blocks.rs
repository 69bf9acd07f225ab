//! A patch as fenced code, in as many pieces as it needs.

use super::comment_split::{COMMENT_CONTENT_CHARS_MAX, split_lines};
use super::escape::{code_cell, cut, fenced};
use super::evidence::Evidence;
use super::format::{plural, thousands};
use crate::workspace::{FileDiff, Patch};

/// Longest patch that is shown whole.
const PATCH_CHARS_MAX: usize = 120_000;
/// Longest path that is shown whole.
pub(super) const PATH_CHARS_MAX: usize = 200;
/// Rows of one table of files.
const TABLE_ROWS_MAX: usize = 50;
/// Longest piece of a patch: with its fence it fits in a comment with other blocks.
const PATCH_PIECE_CHARS_MAX: usize = 40_000;
const _: () = assert!(PATCH_PIECE_CHARS_MAX < COMMENT_CONTENT_CHARS_MAX);

/// The patch under a heading that says whether it is verified; nothing if there is no patch.
pub(super) fn patch(evidence: &Evidence, name: &str, status: &str) -> Vec<String> {
    let Some(patch) = evidence.patch.as_ref().filter(|patch| !patch.text.trim().is_empty()) else {
        return Vec::new();
    };
    let all = patch.stat;
    let (added, removed) = (all.insertions, all.deletions);
    let files = plural(all.files as u64, "file", "files");
    let cut = if patch.truncated { " Only the beginning is shown." } else { "" };
    let heading = format!("### {name}\n\n{files}, +{added} −{removed}. {status}{cut}\n\n");
    let whole = patch.text.chars().count();
    if whole > PATCH_CHARS_MAX {
        return vec![format!("{heading}It is too long to show here ({whole} characters).\n")];
    }
    pieces(name, &heading, &patch.text)
}

/// The whole patch, however long; `None` if there is none.
pub(super) fn whole_patch(evidence: &Evidence, name: &str, status: &str) -> Option<Vec<String>> {
    let patch = evidence.patch.as_ref().filter(|patch| !patch.truncated && !patch.text.trim().is_empty())?;
    let (all, files) = (patch.stat, plural(patch.stat.files as u64, "file", "files"));
    let heading = format!("### {name}\n\n{files}, +{} −{}. {status}\n\n", all.insertions, all.deletions);
    Some(pieces(name, &heading, &patch.text))
}

/// Every file of a change with its lines, in tables of some rows each.
pub(super) fn every_file(patch: &Patch) -> Vec<String> {
    let table = |files: &[FileDiff]| {
        let rows: Vec<String> = files.iter().map(file_row).collect();
        format!("{FILE_TABLE_HEAD}\n{}\n", rows.join("\n"))
    };
    patch.files.chunks(TABLE_ROWS_MAX).map(table).collect()
}

/// The head of a table of files.
pub(super) const FILE_TABLE_HEAD: &str = "| File | Added | Removed |\n|---|--:|--:|";

/// A file's row of the table.
pub(super) fn file_row(file: &FileDiff) -> String {
    let mut path = code_cell(&cut(&file.path, PATH_CHARS_MAX));
    if let Some(old) = &file.old_path {
        path += &format!(", renamed from {}", code_cell(&cut(old, PATH_CHARS_MAX)));
    }
    match file.is_binary {
        true => format!("| {path} | binary | binary |"),
        false => format!("| {path} | {} | {} |", thousands(file.added), thousands(file.removed)),
    }
}

fn pieces(name: &str, heading: &str, text: &str) -> Vec<String> {
    let pieces = split_lines(text, PATCH_PIECE_CHARS_MAX);
    let of = pieces.len();
    pieces
        .iter()
        .enumerate()
        .map(|(index, piece)| {
            let heading = match index {
                0 => heading.to_owned(),
                _ => format!("{name}, piece {} of {of}:\n\n", index + 1),
            };
            let summary =
                if of > 1 { format!("Patch, piece {} of {of}", index + 1) } else { "Patch".to_owned() };
            format!(
                "{heading}<details><summary>{summary}</summary>\n\n{}\n</details>\n",
                fenced(piece, "diff")
            )
        })
        .collect()
}
