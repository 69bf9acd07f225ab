//! The draft pull request's words.

use super::super::escape::properties::{assert_text_is_inert, page};
use super::super::test_evidence::{fixed, hostile};
use super::*;
use crate::domain::TestReport;
use crate::provenance::ManifestSigner;
use crate::publish::evidence::EarlierRound;

#[test]
fn body_of_a_plain_fix() {
    let (evidence, verified) = fixed();
    let new = render(&evidence, &verified, "main");
    assert_eq!(new.title, "Fix: sum() forgets the last item");
    assert_eq!((new.head.as_str(), new.base.as_str()), ("agent-fix/issue-7", "main"));
    insta::assert_snapshot!(new.body, @r"
    <!-- mendwright:pr:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
    Fixes #7 · asked for by `grace`

    Written by a language model. Review it before you merge.

    ### What was wrong

    > sum() forgets the last item

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

    <details><summary>The agent's plan</summary>

    > - [x] find the cause
    > - [ ] run the tests

    </details>

    <details><summary>Cost and provenance</summary>

    | | |
    |---|---|
    | Spent | 3 turns, 4 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369 |
    | Time | 1 min 20 s |
    | Model | `claude-opus-5-5` |
    | Base | `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` of `main` |
    | Tree | `bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb` |
    | Test command | `python -m pytest -q`, from `.github/agent-fix.yml` |
    | Sandbox | work, verdict: bubblewrap: the host's /usr read-only, no network, 4 GiB, 1,024 processes |

    </details>

    <details><summary>Notes</summary>

    - left out of the issue's text: 1 HTML comment(s)

    </details>

    ### What to do next

    - **Looks good?** Mark it ready for review and merge it as usual. Mendwright never does either.
    - **Almost?** Request changes in a review, or mention the bot in a comment; it continues on this branch. You can also push to `agent-fix/issue-7` yourself; your commits stay.
    - **Not at all?** Close it. To start over, remove the `agent-fix` label from the issue and add it again.

    <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
    ");
}

#[test]
fn commit_message_of_a_plain_fix() {
    insta::assert_snapshot!(commit_message(&fixed().0.job().trigger, 1), @r"
    Fix: sum() forgets the last item

    For issue #7.

    Co-authored-by: grace <9+grace@users.noreply.github.com>
    ");
}

#[test]
fn hostile_text_is_shown_and_inert() {
    let (evidence, verified) = hostile();
    let new = render(&evidence, &verified, "main");
    insta::assert_snapshot!(new.title, @"Fix: Crash <img src=x> ＠octocat fixes ＃99 `a` ⟪U+200B⟫[x](https:⁄/evil.example) /approve");
    insta::assert_snapshot!(new.body, @r"
    <!-- mendwright:pr:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
    Fixes #7 · asked for by `grace`

    Written by a language model. Review it before you merge.

    > [!WARNING]
    > **Check these by hand.** Honest changes do this too, but a fake fix would have to.
    >
    > - `` a`|b @octocat ends the process in an added line: exit() # fixes ＃99 <img src=x> ` ``

    ### What was wrong

    > Crash &lt;img src=x&gt; ＠octocat fixes ＃99 `a` ⟪U+200B⟫\[x\](https:⁄/evil.example) /approve

    ### What changed

    The agent's summary:

    > Done. ＠octocat please merge. Fixes ＃99, closes octo/other＃1.
    > ⁄approve
    > !\[x\](https:⁄/evil.example/p.png) \[click\](https:⁄/evil.example) &lt;img src=x&gt; &lt;!-- hidden --&gt;
    > see https:⁄/github.com/octo/other/issues/3 ⟪U+202E⟫desrever⟪U+202C⟫ and &amp;＃64;octocat
    > ``````
    > open fence, </details> and `````
    > @octocat in code
    > ``````

    | File | Added | Removed |
    |---|--:|--:|
    | `` `x`\|@octocat `` | 2 | 0 |

    ### Evidence

    | | Before: base `aaaaaaaaaa` | After: tree `bbbbbbbbbb` |
    |---|---|---|
    | `python -m pytest -q` | ❌ fails (exit code 1, 1.4 s, 1 failing test named) | ✅ passes (exit code 0, 1.4 s) |
    | Failing tests | 1 | 0 |

    The run on the right is the verdict: Mendwright ran it itself, in a fresh sandbox with exactly this branch's tree.

    > The suite passes; it was tests/`a|b`&lt;script&gt;::＠octocat ＃99 before.

    Failed before and no longer fail:

    - ``tests/`a|b`<script>::@octocat #99``

    ### Proof

    New or changed tests that **fail on the base and pass here**:

    - ``tests/`a|b`<script>::@octocat #99``

    <details><summary>The agent's plan</summary>

    > - [x] ask ＠octocat
    > - [ ] &lt;b&gt;bold&lt;/b&gt; ＃99

    </details>

    <details><summary>Cost and provenance</summary>

    | | |
    |---|---|
    | Spent | 2 turns, 1 tool call, 4,860 tokens (240 out, 4,000 from the cache), $0.0246 |
    | Time | 35 s |
    | Model | `claude-opus-5-5` |
    | Base | `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` of `main` |
    | Tree | `bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb` |
    | Test command | `python -m pytest -q`, from `.github/agent-fix.yml` |
    | Sandbox | work: bubblewrap: the host's /usr read-only, no network, 4 GiB, 1,024 processes |

    </details>

    ### What to do next

    - **Looks good?** Mark it ready for review and merge it as usual. Mendwright never does either.
    - **Almost?** Request changes in a review, or mention the bot in a comment; it continues on this branch. You can also push to `agent-fix/issue-7` yourself; your commits stay.
    - **Not at all?** Close it. To start over, remove the `agent-fix` label from the issue and add it again.

    <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
    ");
    insta::assert_snapshot!(commit_message(&evidence.job().trigger, 1), @r"
    Fix: Crash <img src=x> ＠octocat fixes ＃99 `a` ⟪U+200B⟫[x](https:⁄/evil.…

    For issue #7.

    Co-authored-by: grace <9+grace@users.noreply.github.com>
    ");

    let page = page(&new.body);
    assert_text_is_inert(&page.text.replacen("Fixes #7", "", 1));
    assert!(page.alive.iter().all(|alive| matches!(*alive, "HTML" | "a table")), "{:?}", page.alive);
    let ours = ["<!-- mendwright:", "<details><summary>", "</details>", "<sub>", "</sub>"];
    let is_ours = |html: &String| ours.iter().any(|own| html.starts_with(own));
    assert!(page.html.iter().all(is_ours), "{:?}", page.html);
    assert_eq!(new.body.matches("Fixes #").count(), 1);
}

#[test]
fn local_issue_closes_nothing_and_body_stays_within_githubs_limit() {
    let (mut evidence, verified) = fixed();
    evidence.job.trigger.issue.number.0 = 0;
    assert!(!body(&evidence, &verified, "main").contains("Fixes #"));

    evidence.summary = Some("é |`".repeat(50_000));
    evidence.plan = Some("- [ ] @x <b>\n".repeat(50_000));
    evidence.notes = vec!["<".repeat(100_000); 1_000];
    evidence.paths_written = vec!["p/".repeat(2_000); 5_000];
    let failed = (0..5_000).map(|n| format!("{n}{}", "|".repeat(3_000)));
    evidence.baseline.as_mut().unwrap().report = TestReport::naming_failed(failed);
    let body = body(&evidence, &verified, "main");
    assert!(body.chars().count() < 65_536, "{}", body.chars().count());
}

#[test]
fn manifest_in_the_body_is_inert_and_keeps_its_digest() {
    let (evidence, verified) = hostile();
    let mut manifest = crate::provenance::tests::manifest();
    manifest.verdict.failed_before = vec!["fixes #9 [skip ci] @octocat \"[x]\"".to_owned()];
    let sealed = Sealed::new(manifest);
    let body = render(&evidence.with_manifest(sealed.clone(), None), &verified, "main").body;
    let json = body.split("```json\n").nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
    assert!(!json.contains(['#', '@']) && !json.contains("[skip"), "{json}");
    assert_eq!(Sealed::parse(json).unwrap(), sealed);
}

#[test]
fn signature_is_shown_with_the_place_of_the_keys_and_a_command_that_checks_it() {
    let (mut evidence, verified) = fixed();
    let settings = evidence.settings.as_mut().unwrap();
    settings.test_command = "pytest -k 'not slow' ```".to_owned();
    settings.test_command_source = "the command line".to_owned();
    let sealed = Sealed::new(crate::provenance::tests::manifest());
    let directory = tempfile::tempdir().unwrap();
    let signer = ManifestSigner::open(directory.path(), Some("https://bot.example")).unwrap();
    let signed = signer.sign(&sealed);
    let body = render(&evidence.with_manifest(sealed.clone(), Some(signed.clone())), &verified, "main").body;
    let command = format!(
        "````\nmendwright verify --manifest manifest.json --digest {} --repo . \\\n  --signature {} --public-key keys.pem \\\n  \
         --test 'pytest -k '\\''not slow'\\'' ```'\n````\n",
        sealed.sha256, signed.signature
    );
    assert!(body.contains(&command), "{command}\n{body}");
    let words = format!(
        "Signed (Ed25519) with the service's key `{}`. The service gives out its public keys at \
         `https://bot.example/.well-known/mendwright-public-keys.pem`; save them as `keys.pem`.",
        signed.key_id
    );
    assert!(body.contains(&words), "{words}\n{body}");
}

#[test]
fn summary_of_the_fix_stays_after_rounds_which_are_listed_below_it() {
    let (mut evidence, verified) = fixed();
    let of = |number: u32, summary: &str| EarlierRound { number, summary: summary.to_owned() };
    evidence.earlier_rounds =
        vec![of(1, "`total()` cut off the last item."), of(2, "Renamed `n`,\nas asked.")];
    (evidence.round, evidence.summary) = (4, Some("Spelled @octocat's name right.".to_owned()));
    let body = render(&evidence, &verified, "main").body;
    let section = body.split("### What changed").nth(1).unwrap().split("\n| ").next().unwrap();
    insta::assert_snapshot!(section, @r"


    The agent's summary:

    > `total()` cut off the last item.

    Changed after that, in answer to reviews and checks:

    - Round 2: Renamed `n`, as asked.
    - Round 4: Spelled ＠octocat's name right.
    ");
}
