//! Splits long texts into several comments: blocks that are complete in themselves, packed onto pages.

use super::evidence::Evidence;
use super::marker::{Marker, MarkerKind};

/// GitHub rejects longer bodies.
const GITHUB_CHARS_MAX: usize = 65_536;
/// Longest comment. The rest is room for GitHub's own additions.
pub(super) const COMMENT_CHARS_MAX: usize = 60_000;
const _: () = assert!(COMMENT_CHARS_MAX < GITHUB_CHARS_MAX);
/// Most comments for one text: more would be noise and cost requests.
pub(super) const COMMENTS_MAX: usize = 6;
/// What blocks may fill of a page: 1,000 characters are room for its first and last lines.
pub(super) const COMMENT_CONTENT_CHARS_MAX: usize = 59_000;
const _: () = assert!(COMMENT_CONTENT_CHARS_MAX + 1_000 <= COMMENT_CHARS_MAX);

/// Packs `blocks`, in order, onto at most [`COMMENTS_MAX`] pages. A note replaces a block that does not fit on a page
/// of its own, which is the caller's mistake. `left_out(count)` at the end of the last page replaces blocks for which
/// no page is left.
pub(super) fn pack(blocks: Vec<String>, left_out: impl Fn(usize) -> String) -> Vec<String> {
    let mut pages: Vec<(String, usize)> = vec![(String::new(), 0)];
    let mut dropped = 0;
    for block in blocks {
        let block = if block.chars().count() > COMMENT_CONTENT_CHARS_MAX {
            "… a section is left out because it is longer than a comment may be.\n".to_owned()
        } else {
            block
        };
        let chars = block.chars().count() + 1;
        let fits = pages.last().is_some_and(|(_, used)| used + chars <= COMMENT_CONTENT_CHARS_MAX);
        if dropped > 0 || (!fits && pages.len() >= COMMENTS_MAX) {
            dropped += 1;
            continue;
        }
        if !fits {
            pages.push((String::new(), 0));
        }
        if let Some((page, used)) = pages.last_mut() {
            page.push_str(&block);
            page.push('\n');
            *used += chars;
        }
    }
    if dropped > 0
        && let Some((page, _)) = pages.last_mut()
    {
        page.push_str(&left_out(dropped));
        page.push('\n');
    }
    pages.into_iter().map(|(page, _)| page).collect()
}

/// The [`pack`]ed blocks as comments: each begins with its marker and says which part it is.
pub(super) fn comments_of(
    evidence: &Evidence,
    kind: MarkerKind,
    blocks: Vec<String>,
    left_out: impl Fn(usize) -> String,
) -> Vec<String> {
    let pages = pack(blocks, left_out);
    let of = pages.len();
    let page = |(index, text): (usize, String)| {
        let marker = Marker { part: (index + 1, of), ..evidence.marker(kind) };
        let head =
            if index == 0 { String::new() } else { format!("_Continued: part {} of {of}._\n\n", index + 1) };
        let end = evidence.footer();
        let part = if of > 1 { format!(" · part {} of {of}", index + 1) } else { String::new() };
        format!(
            "{marker}\n{head}{}\n\n{}\n",
            text.trim_end(),
            end.replace("</sub>", &format!("{part}</sub>"))
        )
    };
    pages.into_iter().enumerate().map(page).collect()
}

/// The blocks as comments; `None` if they do not fit whole.
pub(super) fn whole_comments_of(
    evidence: &Evidence,
    kind: MarkerKind,
    blocks: Vec<String>,
) -> Option<Vec<String>> {
    let is_whole = std::cell::Cell::new(true);
    let fits = blocks.iter().all(|block| block.chars().count() <= COMMENT_CONTENT_CHARS_MAX);
    let comments = comments_of(evidence, kind, blocks, |_| {
        is_whole.set(false);
        String::new()
    });
    (fits && is_whole.get()).then_some(comments)
}

/// Splits text at line ends into pieces of at most `chars_max` characters; longer lines are cut.
pub(super) fn split_lines(text: &str, chars_max: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut used = 0;
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        loop {
            let chars = rest.chars().count();
            if used + chars <= chars_max {
                break;
            }
            if used > 0 {
                pieces.push(String::new());
                used = 0;
                continue;
            }
            let end = rest.char_indices().nth(chars_max).map_or(rest.len(), |(end, _)| end);
            if let Some(piece) = pieces.last_mut() {
                piece.push_str(&rest[..end]);
            }
            rest = &rest[end..];
            used = chars_max;
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push_str(rest);
        }
        used += rest.chars().count();
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guide_says_where_a_comment_is_split() {
        let guide = include_str!("../guide/develop/where.md");
        let [content, page] = [COMMENT_CONTENT_CHARS_MAX, COMMENT_CHARS_MAX].map(|chars| chars / 1_000);
        assert!(guide.contains(&format!("at {content},000 characters of content")));
        assert!(guide.contains(&format!("at most {page},000 of GitHub's 65,536")));
    }

    #[test]
    fn pages_keep_order_bound_and_whole_blocks() {
        let blocks: Vec<String> = (0..200).map(|n| format!("{n}:{}", "é".repeat(5_000))).collect();
        let pages = pack(blocks.clone(), |dropped| format!("{dropped} left out"));
        assert_eq!(pages.len(), COMMENTS_MAX);
        assert!(pages.iter().all(|page| page.chars().count() <= COMMENT_CHARS_MAX));
        let shown: usize = pages.iter().map(|page| page.matches(':').count()).sum();
        assert!(pages[5].ends_with(&format!("{} left out\n", 200 - shown)));
        let kept = pages.concat();
        assert!(blocks[..shown].iter().all(|block| kept.contains(&format!("{block}\n"))));
        let huge = pack(vec!["x".repeat(COMMENT_CHARS_MAX)], |_| String::new());
        assert!(huge[0].contains("longer than a comment"));
    }

    #[test]
    fn split_lines_loses_nothing() {
        let text = "one\ntwo\n".to_owned() + &"é".repeat(25) + "\nlast";
        let pieces = split_lines(&text, 10);
        assert_eq!(pieces.concat(), text);
        assert!(pieces.iter().all(|piece| piece.chars().count() <= 10), "{pieces:?}");
        assert_eq!(split_lines("", 10), [""]);
    }
}
