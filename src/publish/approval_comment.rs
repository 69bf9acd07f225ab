//! The comment that shows a verified change which waits for approval before it is pushed, because the repository
//! or the operator requires it. One comment, or several if the patch is long.

use super::comment_split::comments_of;
use super::draft_pr::{self, sections};
use super::escape::code_span;
use super::evidence::Evidence;
use super::format::{spend, time};
use super::marker::MarkerKind;
use super::patch_blocks::patch;
use crate::domain::Sha;
use crate::verdict::Verified;

/// Stands in place of a patch's rest.
const LEFT_OUT: &str = "… the rest of the patch does not fit. Publish the change to read all of it.\n";

/// The comments, in order; each begins with its marker. `head` is the commit that waits.
pub fn render(evidence: &Evidence, verified: &Verified, head: &Sha, base_branch: &str) -> Vec<String> {
    let mut blocks = vec![opening(evidence, head, base_branch)];
    blocks.push(draft_pr::what_changed(evidence, 1) + "\n");
    blocks.push(sections::what_was_run(evidence, verified, 1) + "\n");
    blocks.extend(sections::flags(verified.flags()).map(|flags| flags + "\n"));
    blocks.extend(verified.proof().and_then(sections::proof).map(|proof| proof + "\n"));
    blocks.extend(patch(evidence, "The patch", "It is verified and **not pushed**."));
    comments_of(evidence, MarkerKind::Held, blocks, |_| LEFT_OUT.to_owned())
}

fn opening(evidence: &Evidence, head: &Sha, base_branch: &str) -> String {
    let branch = code_span(&evidence.job().branch());
    let base = code_span(base_branch);
    let label = code_span(&evidence.label);
    format!(
        "### A verified change is waiting for approval\n\nNothing was pushed: this repository, or the operator of this \
         App, requires approval first (`publish: hold`), because a push runs the branch's workflows.\n\n\
         **What you can do**\n\n\
         - **Publish it:** read the patch below. Then somebody with write access comments `/agent-fix publish`, and \
         Mendwright pushes commit `{}` to {branch} and opens a draft pull request against {base}.\n\
         - **Reject it:** do nothing. To start over, remove the {label} label from this issue and add it again.\n\n\
         **Spent:** {} in {}.\n",
        head.short(),
        spend(&evidence.spend),
        time(evidence.duration),
    )
}

#[cfg(test)]
mod tests {
    use super::super::comment_split::PAGE_CHARS_MAX;
    use super::super::escape::properties::{assert_text_is_inert, page};
    use super::super::marker::Marker;
    use super::super::test_evidence::{fixed, hostile};
    use super::*;
    use crate::workspace::{FileDiff, Patch, PatchStat};

    fn head() -> Sha {
        "c".repeat(40).parse().unwrap()
    }

    #[test]
    fn waiting_change_is_shown_with_its_evidence_and_how_to_publish_it() {
        let (evidence, verified) = fixed();
        let comments = render(&evidence, &verified, &head(), "main");
        assert_eq!(comments.len(), 1);
        insta::assert_snapshot!(comments[0], @r"
        <!-- mendwright:held:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
        ### A verified change is waiting for approval

        Nothing was pushed: this repository, or the operator of this App, requires approval first (`publish: hold`), because a push runs the branch's workflows.

        **What you can do**

        - **Publish it:** read the patch below. Then somebody with write access comments `/agent-fix publish`, and Mendwright pushes commit `cccccccccc` to `agent-fix/issue-7` and opens a draft pull request against `main`.
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
        | Failing tests | 1 | none named |

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
        for comment in render(&evidence, &verified, &head(), "main") {
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
            files: vec![FileDiff { path: "x".into(), added: 3_000, ..FileDiff::default() }],
            stat: PatchStat { files: 1, insertions: 3_000, deletions: 0 },
        };
        let comments = render(&evidence.with_patch(patch), &verified, &head(), "main");
        assert!(comments.len() > 1 && comments[0].contains("/agent-fix publish"));
        assert!(comments.iter().all(|comment| comment.chars().count() <= PAGE_CHARS_MAX));
        let parts: Vec<_> = comments.iter().filter_map(|comment| Marker::read(comment)).collect();
        assert_eq!(parts.len(), comments.len());
        assert!(comments.concat().contains("line number 2999 of a long change"));
    }
}
