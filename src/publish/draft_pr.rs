//! The draft pull request: its title, its body, and the message of its commit. There is none
//! without a [`Verified`].

use super::evidence::Evidence;
use super::marker::MarkerKind;
use super::neutralise::{cell, code_cell, code_span, cut, fenced, inline, line, quoted, visible};
use super::pages::PAGE_CHARS_MAX;
use super::patch::Diff;
use super::words::{failing_count, provenance, run_in_cell, spend, test_list, thousands, time};
use crate::domain::{FailedTest, Flag, Sha, TestRun, Trigger};
use crate::github::NewPullRequest;
use crate::provenance::Sealed;
use crate::verdict::Verified;

/// GitHub's limit for titles is 256 characters.
const TITLE_CHARS_MAX: usize = 200;
/// What git's own tools show of a commit's first line.
const SUBJECT_CHARS_MAX: usize = 72;
/// Longest summary by the agent.
const SUMMARY_CHARS_MAX: usize = 12_000;
/// Longest plan.
const PLAN_CHARS_MAX: usize = 6_000;
/// Longest explanation of the verdict.
const EXPLANATION_CHARS_MAX: usize = 4_000;
/// Files in the table of changes; more are counted.
const FILES_LISTED_MAX: usize = 40;
/// Longest path that is shown whole.
const PATH_CHARS_MAX: usize = 200;
/// Flags that are listed, and the longest.
const FLAGS_LISTED_MAX: usize = 20;
const FLAG_CHARS_MAX: usize = 600;
/// Notes that are listed.
const NOTES_LISTED_MAX: usize = 10;
/// Longest manifest that is shown.
const MANIFEST_CHARS_MAX: usize = 12_000;
/// Longest note.
const NOTE_CHARS_MAX: usize = 400;
/// What is left of all these lengths in a body that came out too long: escaping makes five
/// characters of one at worst.
const SHARE_OF_LONG: usize = 5;

/// The pull request to open for a verified proposal: always a draft, from the job's branch.
pub fn render(evidence: &Evidence, verified: &Verified, base_branch: &str) -> NewPullRequest {
    NewPullRequest {
        title: title(evidence),
        body: body(evidence, verified, base_branch),
        head: evidence.job().branch(),
        base: base_branch.to_owned(),
    }
}

/// The title: the issue's, inert.
pub fn title(evidence: &Evidence) -> String {
    let issue = evidence.issue();
    match line(&issue.title, TITLE_CHARS_MAX) {
        title if title.trim().is_empty() => format!("Fix issue {}", issue.number),
        title => format!("Fix: {title}"),
    }
}

/// The commit's message: what was wrong, the issue, and the labeller as co-author. It closes
/// nothing by itself; the pull request does, when a person merges it.
pub fn commit_message(trigger: &Trigger) -> String {
    let issue = &trigger.issue;
    let subject = match line(&issue.title, SUBJECT_CHARS_MAX - "Fix: ".len()) {
        title if title.trim().is_empty() => format!("Fix issue {}", issue.number),
        title => format!("Fix: {title}"),
    };
    if issue.number.0 == 0 {
        return format!("{subject}\n");
    }
    let (login, id) = (&trigger.labeller, trigger.labeller_id);
    let co_author = format!("Co-authored-by: {login} <{id}+{login}@users.noreply.github.com>");
    format!("{subject}\n\nFor issue #{}.\n\n{co_author}\n", issue.number)
}

/// The body, with foreign text cut shorter where escaping made it longer than GitHub takes.
fn body(evidence: &Evidence, verified: &Verified, base_branch: &str) -> String {
    let whole = body_with(evidence, verified, base_branch, 1);
    match whole.chars().count() > PAGE_CHARS_MAX {
        true => body_with(evidence, verified, base_branch, SHARE_OF_LONG),
        false => whole,
    }
}

/// The body with foreign text cut to one part in `share` of its usual length.
fn body_with(evidence: &Evidence, verified: &Verified, base_branch: &str, share: usize) -> String {
    let marker = evidence.marker(MarkerKind::PullRequest);
    let parts = [
        Some(format!("{marker}\n{}", opening(evidence))),
        Some(what_changed(evidence, share)),
        Some(what_was_run(evidence, verified, share)),
        flags(verified.flags()),
        verified.proof().and_then(proof),
        plan(evidence, share),
        Some(account(evidence, verified.tree(), base_branch)),
        evidence.manifest.as_ref().map(manifest),
        notes(evidence, share),
        Some(how_to_go_on(evidence)),
        Some(provenance(evidence)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n") + "\n"
}

fn opening(evidence: &Evidence) -> String {
    let issue = evidence.issue();
    let asked = format!("Asked for by {}.", code_span(evidence.labeller().as_str()));
    let closes = if issue.number.0 == 0 { String::new() } else { format!("Fixes #{}\n\n", issue.number) };
    format!(
        "{closes}A draft by Mendwright: a language model wrote it, and a person must review it. {asked}\n\n\
         ### What was wrong\n\n> {}",
        inline(&issue.title)
    )
}

fn what_changed(evidence: &Evidence, share: usize) -> String {
    let summary = match evidence.summary.as_deref().map(str::trim) {
        Some(summary) if !summary.is_empty() => {
            format!("In the agent's words:\n\n{}", quoted(&cut(summary, SUMMARY_CHARS_MAX / share)))
        }
        Some(_) | None => "The agent left no summary.".to_owned(),
    };
    let changes = match &evidence.patch {
        Some(patch) if !patch.files().is_empty() => format!("\n\n{}", change_table(patch)),
        Some(_) | None if evidence.paths_written.is_empty() => String::new(),
        Some(_) | None => {
            let paths = evidence.paths_written.iter().take(FILES_LISTED_MAX);
            let list: Vec<String> =
                paths.map(|path| format!("- {}", code_span(&cut(path, PATH_CHARS_MAX)))).collect();
            format!("\n\nFiles written to:\n\n{}", list.join("\n"))
        }
    };
    format!("### What changed\n\n{summary}{changes}")
}

fn change_table(patch: &Diff) -> String {
    let mut rows = vec!["| File | Added | Removed |".to_owned(), "|---|--:|--:|".to_owned()];
    for file in patch.files().iter().take(FILES_LISTED_MAX) {
        let path = code_cell(&cut(&file.path, PATH_CHARS_MAX));
        rows.push(if file.binary {
            format!("| {path} | binary | binary |")
        } else {
            format!("| {path} | {} | {} |", thousands(file.added), thousands(file.removed))
        });
    }
    let more = patch.files().len().saturating_sub(FILES_LISTED_MAX) as u64;
    if more > 0 {
        let all = patch.totals();
        let (added, removed) = (thousands(all.insertions as u64), thousands(all.deletions as u64));
        rows.push(format!(
            "| … {more} more; all {} files | {added} | {removed} |",
            thousands(all.files as u64)
        ));
    }
    rows.join("\n")
}

fn what_was_run(evidence: &Evidence, verified: &Verified, share: usize) -> String {
    let base = evidence.base.as_ref().map(|base| format!("`{}`", base.sha.short()));
    let before = evidence.baseline.as_ref().map_or_else(|| "not run".to_owned(), run_in_cell);
    let after = verified.run();
    let failing = |run: Option<&TestRun>| run.map_or_else(|| "?".to_owned(), failing_count);
    let table = format!(
        "| | Before: base {} | After: tree `{}` |\n|---|---|---|\n\
         | {} | {before} | {} |\n| Failing tests | {} | {} |",
        base.as_deref().unwrap_or("unknown"),
        verified.tree().short(),
        code_cell(&cut(&after.command, PATH_CHARS_MAX)),
        run_in_cell(after),
        failing(evidence.baseline.as_ref()),
        failing(Some(after)),
    );
    let explanation = quoted(&cut(verified.explanation(), EXPLANATION_CHARS_MAX / share));
    let mended = mended(evidence.baseline.as_ref(), after);
    format!(
        "### Evidence\n\n{table}\n\nThe run on the right is the verdict: Mendwright made it itself, in a fresh \
         sandbox that held exactly the tree on this branch.\n\n{explanation}{mended}"
    )
}

/// The tests that failed before and do not fail now.
fn mended(baseline: Option<&TestRun>, after: &TestRun) -> String {
    let mended: Vec<FailedTest> = baseline
        .map(|run| run.failed().into_iter().filter(|test| !after.failed().contains(test)).collect())
        .unwrap_or_default();
    if mended.is_empty() {
        return String::new();
    }
    format!("\n\nFailed before, and no longer:\n\n{}", test_list(&mended))
}

/// What must not be overlooked. Names, paths and lines are foreign, so they are shown as code.
fn flags(flags: &[Flag]) -> Option<String> {
    let lines: Vec<String> = flags
        .iter()
        .take(FLAGS_LISTED_MAX)
        .map(|flag| format!("- ⚠ {}", code_span(&cut(&visible(&flag.in_words()), FLAG_CHARS_MAX))))
        .collect();
    let more = flags.len().saturating_sub(FLAGS_LISTED_MAX);
    let rest = if more > 0 { format!("\n- ⚠ … and {more} more") } else { String::new() };
    (!flags.is_empty()).then(|| {
        format!(
            "### Look at this first\n\nAn honest change can do this, and one that only looks right needs it:\n\n{}{rest}",
            lines.join("\n")
        )
    })
}

fn proof(tests: &[FailedTest]) -> Option<String> {
    (!tests.is_empty()).then(|| {
        format!(
            "### Proof\n\nNew or changed tests that **fail on the base and pass here**:\n\n{}",
            test_list(tests)
        )
    })
}

fn plan(evidence: &Evidence, share: usize) -> Option<String> {
    let plan = evidence.plan.as_deref().map(str::trim).filter(|plan| !plan.is_empty())?;
    let quoted = quoted(&cut(plan, PLAN_CHARS_MAX / share));
    Some(format!("<details><summary>The agent's plan</summary>\n\n{quoted}\n\n</details>"))
}

fn account(evidence: &Evidence, tree: &Sha, base_branch: &str) -> String {
    let models = evidence.models.iter().map(|model| code_cell(model)).collect::<Vec<_>>().join(", ");
    let sandboxes: Vec<String> = evidence
        .sandboxes
        .iter()
        .map(|used| format!("{}: {}", cell(&used.purposes.join(", ")), cell(&cut(&used.description, 600))))
        .collect();
    let suite = evidence.settings.as_ref().map_or_else(String::new, |settings| {
        let command = code_cell(&cut(&settings.test_command, PATH_CHARS_MAX));
        format!("| Test command | {command}, from {} |\n", cell(&settings.test_command_source))
    });
    let surroundings: String = [
        ("Set-up", evidence.surroundings.set_up()),
        ("Network", evidence.surroundings.network().map(|network| network.replace('|', "\\|"))),
    ]
    .into_iter()
    .filter_map(|(name, words)| words.map(|words| format!("| {name} | {words} |\n")))
    .collect();
    let base_sha =
        evidence.base.as_ref().map_or_else(|| "unknown".to_owned(), |base| format!("`{}`", base.sha));
    format!(
        "<details><summary>Cost and provenance</summary>\n\n| | |\n|---|---|\n\
         | Spent | {} |\n| Time | {} |\n| Model | {} |\n| Base | {base_sha} of {} |\n| Tree | `{tree}` |\n\
         {suite}| Sandbox | {} |\n{surroundings}\n</details>",
        spend(&evidence.spend),
        time(evidence.duration),
        if models.is_empty() { "unknown".to_owned() } else { models },
        code_cell(base_branch),
        if sandboxes.is_empty() { "unknown".to_owned() } else { sandboxes.join("<br>") },
    )
}

/// The manifest, for whoever wants to check it; its digest also where no reader looks.
fn manifest(manifest: &Sealed) -> String {
    let digest = &manifest.sha256;
    let text = manifest.to_text();
    let body = match text.chars().count() > MANIFEST_CHARS_MAX {
        true => {
            "It is too long to be shown here; the operator has it: `mendwright transcript JOB --manifest`.\n"
                .to_owned()
        }
        false => fenced(&text, "json"),
    };
    format!(
        "<!-- mendwright:manifest:{digest} -->\n<details><summary>Manifest {}…: check it yourself</summary>\n\n\
         SHA-256 `{digest}`. Save what follows as `manifest.json`, and see whether the verdict still holds:\n\n\
         ```\nmendwright verify --manifest manifest.json --digest {digest} --repo .\n```\n\n{body}\n</details>",
        &digest[..12]
    )
}

fn notes(evidence: &Evidence, share: usize) -> Option<String> {
    let notes: Vec<String> = evidence
        .notes
        .iter()
        .take(NOTES_LISTED_MAX)
        .map(|note| format!("- {}", inline(&cut(note, NOTE_CHARS_MAX / share))))
        .collect();
    (!notes.is_empty()).then(|| format!("Worth knowing:\n\n{}", notes.join("\n")))
}

fn how_to_go_on(evidence: &Evidence) -> String {
    let label = code_span(&evidence.label);
    let branch = code_span(&evidence.job().branch());
    format!(
        "### How to go on\n\n\
         - Good? Mark it as ready for review and merge it as any other. Mendwright never does.\n\
         - Nearly? Push to {branch} yourself; it is an ordinary branch.\n\
         - Not at all? Close it. To have it tried anew, take {label} off the issue and put it on again."
    )
}

#[cfg(test)]
mod tests {
    use super::super::neutralise::properties::{assert_text_is_inert, page};
    use super::super::samples::{fixed, hostile};
    use super::*;
    use crate::domain::TestReport;

    #[test]
    fn the_body_of_a_plain_fix() {
        let (evidence, verified) = fixed();
        let new = render(&evidence, &verified, "main");
        assert_eq!(new.title, "Fix: sum() forgets the last item");
        assert_eq!((new.head.as_str(), new.base.as_str()), ("agent-fix/issue-7", "main"));
        insta::assert_snapshot!(new.body, @r"
        <!-- mendwright:pr:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
        Fixes #7

        A draft by Mendwright: a language model wrote it, and a person must review it. Asked for by `grace`.

        ### What was wrong

        > sum() forgets the last item

        ### What changed

        In the agent's words:

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

        The run on the right is the verdict: Mendwright made it itself, in a fresh sandbox that held exactly the tree on this branch.

        > The suite passes at the proposed tree: exit code 0.

        Failed before, and no longer:

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
        | Time | 1 min 25 s |
        | Model | `claude-opus-5-5` |
        | Base | `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` of `main` |
        | Tree | `bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb` |
        | Test command | `python -m pytest -q`, from `.github/agent-fix.yml` |
        | Sandbox | work, verdict: bubblewrap: the host's /usr read-only, no network, 4 GiB, 1,024 processes |

        </details>

        Worth knowing:

        - left out of the issue's text: 1 HTML comment(s)

        ### How to go on

        - Good? Mark it as ready for review and merge it as any other. Mendwright never does.
        - Nearly? Push to `agent-fix/issue-7` yourself; it is an ordinary branch.
        - Not at all? Close it. To have it tried anew, take `agent-fix` off the issue and put it on again.

        <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
        ");
    }

    #[test]
    fn the_commit_message_of_a_plain_fix() {
        insta::assert_snapshot!(commit_message(&fixed().0.job().trigger), @r"
        Fix: sum() forgets the last item

        For issue #7.

        Co-authored-by: grace <9+grace@users.noreply.github.com>
        ");
    }

    #[test]
    fn hostile_words_are_shown_and_do_nothing() {
        let (evidence, verified) = hostile();
        let new = render(&evidence, &verified, "main");
        insta::assert_snapshot!(new.title, @"Fix: Crash <img src=x> ＠octocat fixes ＃99 `a` ⟪U+200B⟫[x](https:⁄/evil.example) /approve");
        insta::assert_snapshot!(new.body, @r"
        <!-- mendwright:pr:0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001:1:1/1 -->
        Fixes #7

        A draft by Mendwright: a language model wrote it, and a person must review it. Asked for by `grace`.

        ### What was wrong

        > Crash &lt;img src=x&gt; ＠octocat fixes ＃99 `a` ⟪U+200B⟫\[x\](https:⁄/evil.example) /approve

        ### What changed

        In the agent's words:

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
        | Failing tests | 1 | none named |

        The run on the right is the verdict: Mendwright made it itself, in a fresh sandbox that held exactly the tree on this branch.

        > The suite passes; it was tests/`a|b`&lt;script&gt;::＠octocat ＃99 before.

        Failed before, and no longer:

        - ``tests/`a|b`<script>::@octocat #99``

        ### Look at this first

        An honest change can do this, and one that only looks right needs it:

        - ⚠ `` a`|b @octocat ends the process in an added line: exit() # fixes #99 <img src=x> ` ``

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

        ### How to go on

        - Good? Mark it as ready for review and merge it as any other. Mendwright never does.
        - Nearly? Push to `agent-fix/issue-7` yourself; it is an ordinary branch.
        - Not at all? Close it. To have it tried anew, take `agent-fix` off the issue and put it on again.

        <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
        ");
        insta::assert_snapshot!(commit_message(&evidence.job().trigger), @r"
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
    fn a_local_issue_closes_nothing_and_nothing_grows_beyond_githubs_limit() {
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
}
