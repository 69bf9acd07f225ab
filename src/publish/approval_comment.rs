//! The comment that shows a verified change which waits for approval before it is pushed, because the repository
//! or the operator requires it. One comment, or several if the patch is long.

use super::command_reply::publish_command;
use super::comment_split::{COMMENTS_MAX, whole_comments_of};
use super::draft_pr::{self, sections};
use super::escape::code_span;
use super::evidence::Evidence;
use super::format::{spend, time};
use super::marker::{Marker, MarkerKind};
use super::patch_blocks::{PATH_CHARS_MAX, every_file, whole_patch as patch};
use crate::domain::{JobId, Sha};
use crate::github::Comment;
use crate::verdict::Verified;
use crate::workspace::Patch;

/// Why a change cannot be shown whole, so that nobody could approve it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWhole {
    /// The patch is too long.
    #[error("its patch has {lines} changed lines and is too long for {COMMENTS_MAX} comments")]
    TooLong {
        /// Added and removed lines.
        lines: usize,
    },
    /// Files of which git shows no text.
    #[error("{} and cannot be shown as text: {}", is_or_are_binary(paths.len()), some_of(paths))]
    Binary {
        /// Their paths.
        paths: Vec<String>,
    },
    /// Text that is not UTF-8.
    #[error("the patch contains bytes that are not UTF-8 text, which a comment cannot show")]
    NotText,
    /// A path that is too long for a table.
    #[error("the path of a changed file is longer than {PATH_CHARS_MAX} characters")]
    LongPath,
    /// There is no patch to show.
    #[error("it has no patch")]
    NoPatch,
}

/// Paths that are named in a reason.
const PATHS_NAMED_MAX: usize = 10;

fn is_or_are_binary(files: usize) -> &'static str {
    if files == 1 { "a file is binary" } else { "files are binary" }
}

fn some_of(paths: &[String]) -> String {
    let named: Vec<&str> = paths.iter().take(PATHS_NAMED_MAX).map(String::as_str).collect();
    let more = paths.len().saturating_sub(PATHS_NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

/// The comments, in order; each begins with its marker. `head` is the commit that waits. The list of files comes
/// from the trees, never from the patch's text.
///
/// # Errors
/// The change cannot be shown whole. Then it must not wait for approval: what nobody can read nobody can approve.
pub fn render(
    evidence: &Evidence,
    verified: &Verified,
    head: &Sha,
    base_branch: &str,
) -> Result<Vec<String>, NotWhole> {
    let shown = evidence.patch.as_ref().ok_or(NotWhole::NoPatch)?;
    check_is_whole(shown)?;
    let too_long = NotWhole::TooLong { lines: shown.stat.insertions + shown.stat.deletions };
    let mut blocks = vec![opening(evidence, head, base_branch)];
    blocks.extend(sections::flags(verified.flags()).map(|flags| flags + "\n"));
    blocks.push(draft_pr::summary(evidence, 1) + "\n");
    blocks.extend(every_file(shown));
    blocks.push(sections::what_was_run(evidence, verified, 1) + "\n");
    blocks.extend(verified.proof().and_then(sections::proof).map(|proof| proof + "\n"));
    blocks
        .extend(patch(evidence, "The patch", "It is verified and **not pushed**.").ok_or(too_long.clone())?);
    whole_comments_of(evidence, MarkerKind::Held, blocks).ok_or(too_long)
}

fn check_is_whole(patch: &Patch) -> Result<(), NotWhole> {
    let binary: Vec<String> =
        patch.files.iter().filter(|file| file.is_binary).map(|file| file.path.clone()).collect();
    if !binary.is_empty() {
        return Err(NotWhole::Binary { paths: binary });
    }
    if patch.truncated {
        return Err(NotWhole::TooLong { lines: patch.stat.insertions + patch.stat.deletions });
    }
    if patch.is_lossy {
        return Err(NotWhole::NotText);
    }
    let is_long = |path: &String| path.chars().count() > PATH_CHARS_MAX;
    if patch.files.iter().any(|file| is_long(&file.path) || file.old_path.as_ref().is_some_and(is_long)) {
        return Err(NotWhole::LongPath);
    }
    match patch.text.trim().is_empty() || patch.files.is_empty() {
        true => Err(NotWhole::NoPatch),
        false => Ok(()),
    }
}

/// Our comments that show this commit of a job: every part of them.
pub fn comments_with_change<'c>(ours: &'c [Comment], job: JobId, head: &Sha) -> Vec<&'c Comment> {
    let held: Vec<(&Comment, Marker)> = ours
        .iter()
        .filter_map(|comment| Some((comment, Marker::read(&comment.body)?)))
        .filter(|(_, marker)| marker.kind == MarkerKind::Held && marker.job == job)
        .collect();
    let command = format!("`{}`", publish_command(head));
    let first =
        held.iter().rev().find(|(comment, marker)| marker.part.0 == 1 && comment.body.contains(&command));
    let Some((_, first)) = first else { return Vec::new() };
    let parts: Vec<&Comment> = held
        .iter()
        .filter(|(_, marker)| marker.round == first.round && marker.part.0 <= first.part.1)
        .map(|(comment, _)| *comment)
        .collect();
    match parts.len() == first.part.1 {
        true => parts,
        false => Vec::new(),
    }
}

fn opening(evidence: &Evidence, head: &Sha, base_branch: &str) -> String {
    let branch = code_span(&evidence.job().branch());
    let base = code_span(base_branch);
    let label = code_span(&evidence.label);
    format!(
        "### A verified change is waiting for approval\n\nNothing was pushed: this repository, or the operator of this \
         App, requires approval first (`publish: hold`), because a push runs the branch's workflows.\n\n\
         **What you can do**\n\n\
         - **Publish it:** read the patch below. Then somebody with write access comments `{}`, and Mendwright pushes \
         this commit to {branch} and opens a draft pull request against {base}. Without the commit, the command \
         counts only if it is younger than this comment.\n\
         - **Reject it:** do nothing. To start over, remove the {label} label from this issue and add it again.\n\n\
         **Spent:** {} in {}.\n",
        publish_command(head),
        spend(&evidence.spend),
        time(evidence.duration),
    )
}

#[cfg(test)]
mod tests {
    use super::super::comment_split::COMMENT_CHARS_MAX;
    use super::super::escape::properties::{assert_text_is_inert, page};
    use super::super::marker::Marker;
    use super::super::test_evidence::{fixed, hostile};
    use super::*;
    use crate::domain::CommentId;
    use crate::workspace::{FileDiff, PatchStat};

    fn head() -> Sha {
        "c".repeat(40).parse().unwrap()
    }

    #[test]
    fn waiting_change_is_shown_with_its_evidence_and_how_to_publish_it() {
        let (evidence, verified) = fixed();
        let comments = render(&evidence, &verified, &head(), "main").unwrap();
        assert_eq!(comments.len(), 1);
        insta::assert_snapshot!(comments[0], @r"
        <!-- mendwright:held:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
        ### A verified change is waiting for approval

        Nothing was pushed: this repository, or the operator of this App, requires approval first (`publish: hold`), because a push runs the branch's workflows.

        **What you can do**

        - **Publish it:** read the patch below. Then somebody with write access comments `/agent-fix publish cccccccccc`, and Mendwright pushes this commit to `agent-fix/issue-7` and opens a draft pull request against `main`. Without the commit, the command counts only if it is younger than this comment.
        - **Reject it:** do nothing. To start over, remove the `agent-fix` label from this issue and add it again.

        **Spent:** 3 turns, 4 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369 in 1 min 20 s.

        ### What changed

        The agent's summary:

        > `total()` cut off the last item.
        >
        > - `items[:-1]` is now `items`
        > - no other caller relied on it

        | File | Added | Removed |
        |---|--:|--:|
        | `sums.py` | 1 | 1 |

        ### Evidence

        | | Before: base `aaaaaaaaaa` | After: tree `bbbbbbbbbb` |
        |---|---|---|
        | `python -m pytest -q` | ❌ fails (exit code 1, 1.4 s, 1 failing test named) | ✅ passes (exit code 0, 1.4 s) |
        | Failing tests | 1 | 0 |

        The run on the right is the verdict: Mendwright ran it itself, in a fresh sandbox with exactly this branch's tree.

        > The suite passes at the proposed tree: exit code 0.

        Failed before and no longer fail:

        - `tests/test_sum.py::test_sum`

        ### Proof

        New or changed tests that **fail on the base and pass here**:

        - `tests/test_sum.py::test_sum`

        ### The patch

        1 file, +1 −1. It is verified and **not pushed**.

        <details><summary>Patch</summary>

        ```diff
        diff --git a/sums.py b/sums.py
        --- a/sums.py
        +++ b/sums.py
        @@ -1,2 +1,2 @@
         def total(items):
        -    return sum(items[:-1])
        +    return sum(items)
        ```

        </details>

        <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
        ");
    }

    #[test]
    fn hostile_text_is_inert() {
        let (evidence, verified) = hostile();
        for comment in render(&evidence, &verified, &head(), "main").unwrap() {
            let page = page(&comment);
            assert_text_is_inert(&page.text);
            assert!(page.alive.iter().all(|alive| matches!(*alive, "HTML" | "a table")), "{:?}", page.alive);
        }
    }

    #[test]
    fn long_patch_takes_several_comments_and_the_first_says_what_to_do() {
        let (evidence, verified) = fixed();
        let lines: String = (0..3_000).map(|n| format!("+line number {n} of a long change\n")).collect();
        let text = format!("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1,3000 @@\n{lines}");
        let patch = Patch {
            text,
            truncated: false,
            is_lossy: false,
            files: vec![FileDiff { path: "x".into(), added: 3_000, ..FileDiff::default() }],
            stat: PatchStat { files: 1, insertions: 3_000, deletions: 0 },
        };
        let comments = render(&evidence.with_patch(patch), &verified, &head(), "main").unwrap();
        assert!(comments.len() > 1 && comments[0].contains("/agent-fix publish"));
        assert!(comments.iter().all(|comment| comment.chars().count() <= COMMENT_CHARS_MAX));
        let parts: Vec<_> = comments.iter().filter_map(|comment| Marker::read(comment)).collect();
        assert_eq!(parts.len(), comments.len());
        assert!(comments.concat().contains("line number 2999 of a long change"));
    }

    fn refused(change: impl FnOnce(&mut Patch)) -> NotWhole {
        let (evidence, verified) = fixed();
        let mut patch = evidence.patch.clone().unwrap();
        change(&mut patch);
        render(&evidence.with_patch(patch), &verified, &head(), "main").unwrap_err()
    }

    #[test]
    fn what_cannot_be_shown_whole_is_refused_with_the_reason() {
        let long = |patch: &mut Patch| patch.text = "+a line of a long change\n".repeat(20_000);
        let reasons = [
            refused(|patch| patch.truncated = true),
            refused(long),
            refused(|patch| patch.files[0].is_binary = true),
            refused(|patch| patch.is_lossy = true),
            refused(|patch| patch.files[0].path = "x".repeat(201)),
            refused(|patch| patch.text.clear()),
        ];
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(reasons.join("\n"), @r"
        its patch has 2 changed lines and is too long for 6 comments
        its patch has 2 changed lines and is too long for 6 comments
        a file is binary and cannot be shown as text: sums.py
        the patch contains bytes that are not UTF-8 text, which a comment cannot show
        the path of a changed file is longer than 200 characters
        it has no patch
        ");
    }

    #[test]
    fn every_changed_file_is_listed() {
        let (evidence, verified) = fixed();
        let mut patch = evidence.patch.clone().unwrap();
        let file = patch.files[0].clone();
        patch.files = (0..300).map(|n| FileDiff { path: format!("src/{n}.py"), ..file.clone() }).collect();
        let comments = render(&evidence.with_patch(patch), &verified, &head(), "main").unwrap().concat();
        assert!((0..300).all(|n| comments.contains(&format!("`src/{n}.py`"))), "{comments}");
    }

    fn comment(id: u64, body: &str) -> Comment {
        Comment {
            id: CommentId(id),
            html_url: String::new(),
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            is_edited: false,
            body: body.to_owned(),
        }
    }

    #[test]
    fn comments_of_a_change_are_found_only_with_all_their_parts_and_for_their_commit() {
        let (evidence, verified) = fixed();
        let mut patch = evidence.patch.clone().unwrap();
        patch.text = "+a line of a long change\n".repeat(5_000);
        let job = evidence.job().id;
        let pages = render(&evidence.with_patch(patch), &verified, &head(), "main").unwrap();
        assert!(pages.len() > 1);
        let mut comments = vec![comment(1, "something else")];
        comments.extend((2..).zip(&pages).map(|(id, page)| comment(id, page)));
        assert_eq!(comments_with_change(&comments, job, &head()).len(), pages.len());
        assert!(comments_with_change(&comments, JobId::new(), &head()).is_empty());
        let other: Sha = "d".repeat(40).parse().unwrap();
        assert!(comments_with_change(&comments, job, &other).is_empty());
        comments.pop();
        assert!(comments_with_change(&comments, job, &head()).is_empty(), "a part is missing");
    }
}
