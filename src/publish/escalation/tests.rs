//! The escalation's words, and how they are split.

use comrak::nodes::NodeValue;
use comrak::{Arena, Options, parse_document};

use super::super::comment_split::{COMMENT_CHARS_MAX, COMMENTS_MAX};
use super::super::escape::properties::{assert_text_is_inert, page};
use super::super::marker::Marker;
use super::super::test_evidence::{fixed, hostile, long, stuck};
use super::*;
use crate::domain::{
    BudgetExhausted, BudgetScope, DailyCapReached, ExitStatus, SecretFinding, Transcript, WritableMount,
};

mod for_operator;
mod handed_over;
mod sandbox_lacks;

fn budget() -> EscalationReason {
    EscalationReason::Budget { limit: BudgetExhausted::Turns { max: 3 } }
}

#[test]
fn escalation_says_why_what_was_tried_and_what_to_do() {
    let comments = render(&stuck(), &budget());
    assert_eq!(comments.len(), 1);
    insta::assert_snapshot!(comments[0], @r#"
    <!-- mendwright:escalation:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
    ### Stopped: budget exhausted

    No pull request was opened. The next step would exceed it: all 3 turns are used.

    **What you can do**

    - Look at what was tried and at the partial patch below. Is it on the right track?
    - If it is, comment `/agent-fix continue`: the job resumes with a full new budget (or with `+$2`, `+20 turns`). To give every job more, raise `budget` in `.github/agent-fix.yml` on the default branch (up to the operator's limit).
    - If it is not, say in the issue where to look or what to expect, then remove the `agent-fix` label from this issue and add it again.

    **Spent:** 3 turns, 5 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369 in 1 min 30 s.
    **Base:** `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` of `main`.
    **Last saved tree:** `bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb`.

    ### What was tried

    The agent's plan:

    > - [x] find the cause
    > - [ ] run the tests

    - **Turn 1:** `read_file` `sums.py`; `search` `total(` → error
    - **Turn 2:** `edit_file` `sums.py`; `run_tests`; tests: ✅ passes (exit code 0, 1.4 s)
    - **Turn 3:** `finish`; verdict: not verified, 1 test fails that passed before.

    ### The last failing run

    `python -m pytest -q`: ❌ fails (exit code 1, 1.4 s, 1 failing test named)

    - `tests/test_sum.py::test_sum`

    ```text
    F..
    === FAILURES ===
    ___ test_sum ___
    >       assert total([1, 2]) == 3
    E       assert 1 == 3
    FAILED tests/test_sum.py::test_sum - assert 1 == 3
    ```

    ### The partial patch

    1 file, +1 −1. It is **not verified**.

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

    ### Transcript

    <details><summary>Turn 1: read_file, search (2.6 s, $0.0123)</summary>

    > I look at `sums.py` first.

    `read_file` `sums.py`

    ```json
    {
      "path": "sums.py"
    }
    ```

    ```text
    def total(items):
        return sum(items[:-1])
    ```

    `search` `total(` → error

    ```json
    {
      "pattern": "total("
    }
    ```

    ```text
    error: the pattern is not valid
    ```

    </details>

    <details><summary>Turn 2: edit_file, run_tests (2.6 s, $0.0123)</summary>

    `edit_file` `sums.py`

    ```json
    {
      "edits": [],
      "path": "sums.py"
    }
    ```

    ```text
    done
    ```

    `run_tests`

    ```json
    {}
    ```

    ```text
    exit code 0
    ```

    Tests: ✅ passes (exit code 0, 1.4 s)

    ```text
    3 passed in 0.01s
    ```

    </details>

    <details><summary>Turn 3: finish (2.6 s, $0.0123)</summary>

    `finish`

    ```json
    {
      "summary": "`total()` cut off the last item.\n\n- `items[:-1]` is now `items`\n- no other caller relied on it"
    }
    ```

    ```text
    Verdict: not verified. 1 test fails that passed before.
    ```

    Verdict: not verified

    > 1 test fails that passed before.

    </details>

    <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
    "#);
}

#[test]
fn every_reason_has_its_own_text_and_steps() {
    let (evidence, _) = fixed();
    let why = || "because of `this`, @octocat".to_owned();
    let commit = || "c".repeat(40).parse().unwrap();
    let reasons = [
        EscalationReason::Question { question: why() },
        EscalationReason::NotVerified { why: why() },
        EscalationReason::Refused { why: why() },
        EscalationReason::Environment { why: why(), operator: None },
        EscalationReason::Model { why: why() },
        EscalationReason::NotShown { why: why(), commit: commit() },
        EscalationReason::NotPublished {
            why: why(),
            commit: commit(),
            branch: Some("agent-fix/issue-7".into()),
        },
        EscalationReason::NotPublished { why: why(), commit: commit(), branch: None },
    ];
    let openings: Vec<_> = reasons.iter().map(|reason| opening(&evidence, reason)).collect();
    let openings: Vec<_> =
        openings.iter().map(|text| text.split("\n\n**Spent").next().unwrap_or_default()).collect();
    insta::assert_snapshot!(openings.join("\n\n"), @r"
    ### The agent has a question

    No pull request was opened. Only a person can answer it:

    > because of `this`, ＠octocat

    **What you can do**

    - Answer in a comment with `/agent-fix continue` on a line of its own: the agent reads it and continues.
    - Or add the answer to the issue's text, then remove the `agent-fix` label from this issue and add it again.

    ### Not verified

    No pull request was opened. The agent reported that it was done, but the verification failed:

    > because of `this`, ＠octocat

    **What you can do**

    - Read the verdict above and the failing tests below, if there are any. Are the tests right, and do they concern this issue?
    - Say what is missing in a comment with `/agent-fix continue` on a line of its own, or take the partial patch and finish it by hand.

    ### Refused: the proposal breaks a protected rule

    No pull request was opened. It is not published, even if its tests pass:

    > because of `this`, ＠octocat

    **What you can do**

    - Read the transcript with care: text in the repository or the issue may have talked the agent into a proposal that breaks these rules.
    - If you want the change, a person has to make it. To try again, remove the `agent-fix` label from this issue and add it again.

    ### The test suite cannot be run

    No pull request was opened. Without a test run nothing can be verified:

    > because of `this`, ＠octocat

    **What you can do**

    - Check that the suite runs from a fresh clone with `setup` and `test` of `.github/agent-fix.yml`, or with the detected commands if there is no such file.
    - Then remove the `agent-fix` label from this issue and add it again.

    ### The language model could not be used

    No pull request was opened. The provider reported:

    > because of `this`, ＠octocat

    **What you can do**

    - Nothing is wrong with the issue. The operator of this App must check the model's configuration or wait for the provider.
    - Then comment `/agent-fix continue`.

    ### A verified change cannot be shown for approval

    No pull request was opened. Nothing was pushed. This repository, or the operator of this App, requires approval first (`publish: hold`), and only what a comment can show whole can be approved:

    > because of `this`, ＠octocat

    **What you can do**

    - Ask for a smaller change in a comment with `/agent-fix continue` on a line of its own: the agent reads it and continues.
    - The operator of this App has the whole change, in the service's data directory: `git -C mirrors/2.git show cccccccccccccccccccccccccccccccccccccccc`.

    ### A verified change could not be published

    No pull request was opened. The work is done and verified, but GitHub refused it:

    > because of `this`, ＠octocat

    **What you can do**

    - The verified commit `cccccccccc` is on the branch `agent-fix/issue-7`: open a pull request from it, or use it as it is.
    - Or remove the cause and comment `/agent-fix continue`: publishing is tried again, and the model is not asked.

    ### A verified change could not be published

    No pull request was opened. The work is done and verified, but GitHub refused it:

    > because of `this`, ＠octocat

    **What you can do**

    - Remove the cause and comment `/agent-fix continue`: publishing is tried again, and the model is not asked.
    - Or apply the patch below by hand.
    - The operator of this App has the whole change, in the service's data directory: `git -C mirrors/2.git show cccccccccccccccccccccccccccccccccccccccc`.
    ");
}

#[test]
fn job_without_a_model_answer_says_so() {
    let job = fixed().0.job().clone();
    let evidence = Evidence::from_transcript(&job, Transcript::default());
    let comments =
        render(&evidence, &EscalationReason::Environment { why: "no test command".into(), operator: None });
    assert_eq!(comments.len(), 1);
    assert!(comments[0].contains("Nothing: the job ended before the model's first answer."));
}

#[test]
fn hostile_text_is_shown_and_inert() {
    let (evidence, _) = hostile();
    let comments = render(&evidence, &EscalationReason::Refused { why: evidence.summary.clone().unwrap() });
    assert_eq!(comments.len(), 1);
    let page = page(&comments[0]);
    assert_text_is_inert(&page.text);
    assert!(page.alive.iter().all(|alive| *alive == "HTML"), "{:?}", page.alive);
    let ours = ["<!-- mendwright:", "<details><summary>", "</details>", "<sub>", "</sub>"];
    let is_ours = |html: &String| ours.iter().any(|own| html.starts_with(own));
    assert!(page.html.iter().all(is_ours), "{:?}", page.html);
    insta::assert_snapshot!(comments[0], @r#"
    <!-- mendwright:escalation:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
    ### Refused: the proposal breaks a protected rule

    No pull request was opened. It is not published, even if its tests pass:

    > Done. ＠octocat please merge. Fixes ＃99, closes octo/other＃1.
    > ⁄approve
    > !\[x\](https:⁄/evil.example/p.png) \[click\](https:⁄/evil.example) &lt;img src=x&gt; &lt;!-- hidden --&gt;
    > see https:⁄/github.com/octo/other/issues/3 ⟪U+202E⟫desrever⟪U+202C⟫ and &amp;＃64;octocat
    > ``````
    > open fence, </details> and `````
    > @octocat in code
    > ``````

    **What you can do**

    - Read the transcript with care: text in the repository or the issue may have talked the agent into a proposal that breaks these rules.
    - If you want the change, a person has to make it. To try again, remove the `agent-fix` label from this issue and add it again.

    **Spent:** 2 turns, 1 tool call, 4,860 tokens (240 out, 4,000 from the cache), $0.0246 in 35 s.
    **Base:** `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` of `main`.

    ### What was tried

    The agent's plan:

    > - [x] ask ＠octocat
    > - [ ] &lt;b&gt;bold&lt;/b&gt; ＃99

    - **Turn 1:** `` `rm`</summary>@octocat `` ``a` | @octocat #99``
    - **Turn 2:** `finish`; verdict: verified

    ### The last failing run

    `python -m pytest -q`: ❌ fails (exit code 1, 1.4 s, 1 failing test named)

    - ``tests/`a|b`<script>::@octocat #99``

    ````text
    ```
    </details>
    ⁄close
    @octocat fixes #99
    <!-- mendwright:escalation:x -->
    ````

    ### The partial patch

    1 file, +2 −0. It is **not verified**.

    <details><summary>Patch</summary>

    `````diff
    diff --git a/`x`|@octocat b/`x`|@octocat
    --- a/`x`|@octocat
    +++ b/`x`|@octocat
    @@ -0,0 +1,2 @@
    +````
    +/close @octocat
    `````

    </details>

    ### Transcript

    <details><summary>Turn 1: `rm`&lt;/summary&gt;＠octocat (2.6 s, $0.0123)</summary>

    > Done. ＠octocat please merge. Fixes ＃99, closes octo/other＃1.
    > ⁄approve
    > !\[x\](https:⁄/evil.example/p.png) \[click\](https:⁄/evil.example) &lt;img src=x&gt; &lt;!-- hidden --&gt;
    > see https:⁄/github.com/octo/other/issues/3 ⟪U+202E⟫desrever⟪U+202C⟫ and &amp;＃64;octocat
    > ``````
    > open fence, </details> and `````
    > @octocat in code
    > ``````

    `` `rm`</summary>@octocat `` ``a` | @octocat #99``

    ````json
    {
      "path": "a`\n| @octocat #99",
      "x": "```\n/close"
    }
    ````

    ````text
    ```
    ⁄close
    </details>
    ````

    </details>

    <details><summary>Turn 2: finish (2.5 s, $0.0123)</summary>

    `finish`

    ``````json
    {
      "summary": "Done. @octocat please merge. Fixes #99, closes octo/other#1.\n/approve\n![x](https://evil.example/p.png) [click](https://evil.example) <img src=x> <!-- hidden -->\nsee https://github.com/octo/other/issues/3 ⟪U+202E⟫desrever⟪U+202C⟫ and &#64;octocat\n```\nopen fence, </details> and `````\n@octocat in code"
    }
    ``````

    Verdict: verified

    > The suite passes; it was tests/`a|b`&lt;script&gt;::＠octocat ＃99 before.

    </details>

    <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
    "#);
}

#[test]
fn long_transcript_becomes_several_complete_comments() {
    let evidence = long();
    let comments = render(&evidence, &budget());
    assert!(comments.len() > 2 && comments.len() <= COMMENTS_MAX, "{}", comments.len());
    for (index, comment) in comments.iter().enumerate() {
        assert!(comment.chars().count() <= COMMENT_CHARS_MAX);
        let marker = Marker::read(comment).unwrap();
        assert_eq!(marker.part, (index + 1, comments.len()));
        assert_eq!(comment.matches("<details>").count(), comment.matches("</details>").count());
        assert!(comment.trim_end().ends_with("</sub>"));
        // Every fence is closed: the last thing on the page is our own line, outside code.
        let arena = Arena::new();
        let root = parse_document(&arena, comment, &Options::default());
        let last = root.last_child().unwrap();
        assert!(matches!(last.data.borrow().value, NodeValue::Paragraph), "{comment}");
    }
    assert!(comments.last().unwrap().contains("left out because they do not fit"));
}

#[test]
fn run_that_hit_a_limit_is_shown_with_advice_and_never_as_passed() {
    let mut evidence = stuck();
    let run = evidence.verdict.as_mut().and_then(|verdict| verdict.run.as_mut()).unwrap();
    run.result.ending = ExitStatus::DiskFull { place: WritableMount::Tmp };
    let comments = render(&evidence, &budget());
    let expected = "`python -m pytest -q`: ⚠ no result (disk full: /tmp had no room left, 1.4 s, 1 failing test \
                    named)\n\nWrite less or remove files that are no longer needed";
    assert!(comments[0].contains(expected), "{}", comments[0]);
}

#[test]
fn reached_daily_cap_is_shown_with_its_setting_and_when_there_is_room() {
    let reached = DailyCapReached {
        scope: BudgetScope::Repository,
        setting: "budget.repository_usd_per_day".into(),
        used: "$19.9100".into(),
        max: "$20.0000".into(),
        next: "$0.3120".into(),
        room_from: Some("2026-11-26T14:05:09Z".parse().unwrap()),
    };
    let never = DailyCapReached { room_from: None, ..reached.clone() };
    let beginning = |reached| {
        let comment =
            render(&stuck(), &EscalationReason::Budget { limit: BudgetExhausted::Day(reached) }).remove(0);
        comment.split("**Spent").next().unwrap_or_default().to_owned()
    };
    insta::assert_snapshot!(beginning(reached), @r"
    <!-- mendwright:escalation:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
    ### Stopped: budget exhausted

    No pull request was opened. The next step would exceed it: all jobs of this repository together may use \$20.0000 in 24 hours; \$19.9100 are spent or reserved, and the next call may need \$0.3120; there is room again from 2026-11-26 14:05 UTC.

    **What you can do**

    - Wait until 2026-11-26 14:05 UTC, when the daily cap has room again. Then remove the `agent-fix` label from this issue and add it again.
    - Or ask the operator to raise `budget.repository_usd_per_day` in the service's configuration, then remove the `agent-fix` label from this issue and add it again.
    ");
    assert!(beginning(never).contains("- Waiting does not help: one call may need more than the whole cap."));
}

#[test]
fn blocked_secret_is_shown_by_kind_and_location_only() {
    let line = |path: Option<&str>| SecretLocation::Line { path: path.map(str::to_owned), line: 12 };
    let found = [
        ("the App's private key, in base64", line(Some("docs/`@octocat`.md"))),
        ("a canary", line(None)),
        ("what looks like a GitHub token", SecretLocation::FileName),
        ("the webhook secret, reversed", SecretLocation::Text { of: "the commit message".into() }),
    ];
    let found = found.map(|(what, place)| SecretFinding { what: what.to_owned(), place }).to_vec();
    let comments = render(&stuck(), &EscalationReason::Secret { found });
    assert_eq!(comments.len(), 1);
    insta::assert_snapshot!(comments[0], @r"
    <!-- mendwright:escalation:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
    ### Blocked: the content contains a secret

    No pull request was opened. Nothing was published, and neither the change nor the transcript is shown here. Found:

    - the App's private key, in base64, in ``docs/`@octocat`.md:12``
    - a canary, in line 12 of a file whose name is not shown
    - what looks like a GitHub token, in the name of a file
    - the webhook secret, reversed, in the commit message

    **What you can do**

    - If it is a secret of this App or a canary, tell the operator immediately. Somebody or something may have escaped from its sandbox; `mendwright transcript` shows the operator how.
    - If it only looks like a secret (a made-up token in a test), a person can add it, or the issue can ask for it to be assembled from parts.
    - Then remove the `agent-fix` label from this issue and add it again.

    **Spent:** 3 turns, 5 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369 in 1 min 30 s.

    <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
    ");
}
