//! A patch as fenced code, in as many pieces as it needs.

use super::comment_split::split_lines;
use super::escape::fenced;
use super::evidence::Evidence;
use super::format::plural;

/// Longest patch that is shown whole.
const PATCH_CHARS_MAX: usize = 120_000;
/// Longest piece of a patch: with its fence it fits in a comment with other blocks.
const PATCH_PIECE_CHARS_MAX: usize = 40_000;

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
    let pieces = split_lines(&patch.text, PATCH_PIECE_CHARS_MAX);
    let of = pieces.len();
    pieces
        .iter()
        .enumerate()
        .map(|(index, piece)| {
            let heading = match index {
                0 => heading.clone(),
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
