//! A patch in fences, in as many pieces as it needs.

use super::escape::fenced;
use super::evidence::Evidence;
use super::pages::split_lines;
use super::words::plural;

/// Longest patch that is shown whole.
const PATCH_CHARS_MAX: usize = 120_000;
/// A piece of a patch: with its fence it fits on a page beside other things.
const PATCH_PIECE_CHARS_MAX: usize = 40_000;

/// The patch under a heading, with what it is worth; nothing where there is none.
pub(super) fn patch(evidence: &Evidence, name: &str, worth: &str) -> Vec<String> {
    let Some(patch) = evidence.patch.as_ref().filter(|patch| !patch.text().trim().is_empty()) else {
        return Vec::new();
    };
    let all = patch.totals();
    let (added, removed) = (all.insertions, all.deletions);
    let files = plural(all.files as u64, "file", "files");
    let cut = if patch.is_truncated() { " Only its beginning is shown." } else { "" };
    let heading = format!("### {name}\n\n{files}, +{added} −{removed}. {worth}{cut}\n\n");
    let whole = patch.text().chars().count();
    if whole > PATCH_CHARS_MAX {
        return vec![format!("{heading}It is too long to be shown here ({whole} characters).\n")];
    }
    let pieces = split_lines(patch.text(), PATCH_PIECE_CHARS_MAX);
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
