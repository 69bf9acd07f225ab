//! A whole transcript as one Markdown document: the sections of an escalation without GitHub's limits on length.
//! All of it is inert.

use super::escape::{code_span, cut, fenced, inline, quoted};
use super::evidence::Evidence;
use super::format::{output_tail, plural, run_in_cell, spend, test_list, time};
use crate::domain::{JobOutcome, Origin, StoredEvent, TestRun};

/// Longest issue, plan or explanation that is shown whole.
const TEXT_CHARS_MAX: usize = 20_000;
/// Longest unknown event that is shown whole.
const EVENT_CHARS_MAX: usize = 4_000;
/// Unknown events that are shown; more are counted.
const EVENTS_SHOWN_MAX: usize = 100;

/// The document. `unknown` are events that this version does not know; they are shown as JSON.
pub fn render(evidence: &Evidence, unknown: &[&StoredEvent]) -> String {
    let mut parts = vec![heading(evidence), issue(evidence)];
    parts.extend(evidence.baseline.as_ref().map(|run| test_run("Before any change", run)));
    parts.extend(plan(evidence));
    let sections = evidence.timeline.sections();
    if sections.is_empty() {
        parts.push("### Turns\n\nThe model never answered.".to_owned());
    } else {
        parts.push(format!("### Turns\n\n{}", evidence.timeline.short_list()));
        parts.push(sections.join("\n"));
    }
    parts.extend(verdict(evidence));
    parts.extend(notes(evidence));
    parts.extend(later(unknown));
    parts.push(evidence.footer());
    parts.iter().map(|part| part.trim_end()).collect::<Vec<_>>().join("\n\n") + "\n"
}

fn heading(evidence: &Evidence) -> String {
    let issue = evidence.issue();
    let number = match issue.origin() {
        Origin::Local => String::new(),
        Origin::GitHub { issue } => format!(" {issue}"),
    };
    let end = match &evidence.outcome {
        None => format!("not ended: {}", evidence.state.name()),
        Some(JobOutcome::Proposed { branch, head, .. }) => {
            format!("proposed, on {} at `{}`", code_span(branch), head.short())
        }
        Some(JobOutcome::Held { head, .. }) => format!("waiting for approval, at `{}`", head.short()),
        Some(JobOutcome::Escalated { reason }) => format!("escalated ({})", reason.name()),
        Some(JobOutcome::Cancelled { why }) => format!("cancelled: {}", inline(&cut(why, 500))),
        Some(JobOutcome::Failed { why }) => format!("failed: {}", inline(&cut(why, 500))),
    };
    let mut rows = vec![
        ("Ended", end),
        ("Repository", code_span(&evidence.repository().to_string())),
        ("Requested by", code_span(evidence.labeller().as_str())),
        ("Spent", spend(&evidence.spend)),
        ("Time", time(evidence.duration)),
    ];
    if !evidence.models.is_empty() {
        let models: Vec<String> = evidence.models.iter().map(|model| code_span(model)).collect();
        rows.push(("Model", models.join(", ")));
    }
    if let Some(base) = &evidence.base {
        rows.push(("Base", format!("`{}` of {}", base.sha, code_span(&base.branch))));
    }
    rows.extend(evidence.environment.rows());
    let list: Vec<String> = rows.into_iter().map(|(name, words)| format!("- **{name}:** {words}")).collect();
    format!("## Issue{number}: {}\n\n{}", inline(&cut(&issue.title, 300)), list.join("\n"))
}

fn issue(evidence: &Evidence) -> String {
    match evidence.issue().body.trim() {
        "" => "The issue has no text but its title.".to_owned(),
        body => collapsed("The issue when the work was requested", &quoted(&cut(body, TEXT_CHARS_MAX))),
    }
}

fn test_run(title: &str, run: &TestRun) -> String {
    let named =
        if run.failed().is_empty() { String::new() } else { format!("\n\n{}", test_list(&run.failed())) };
    let output = collapsed("The end of its output", &fenced(&output_tail(run), "text"));
    let command = code_span(&cut(&run.command, 300));
    format!("### {title}\n\n{command}: {}{named}\n\n{output}", run_in_cell(run))
}

fn plan(evidence: &Evidence) -> Option<String> {
    let plan = evidence.plan.as_deref().map(str::trim).filter(|plan| !plan.is_empty())?;
    Some(format!("### The agent's plan\n\n{}", quoted(&cut(plan, TEXT_CHARS_MAX))))
}

fn verdict(evidence: &Evidence) -> Option<String> {
    let verdict = evidence.verdict.as_ref()?;
    let word = if verdict.verified { "verified" } else { "not verified" };
    let run = verdict.run.as_ref().map(|run| format!("\n\n{}", run_in_cell(run))).unwrap_or_default();
    let proof = match verdict.proof.as_deref() {
        Some(tests) if !tests.is_empty() => {
            format!("\n\nThese tests fail on the base and pass on the proposal:\n\n{}", test_list(tests))
        }
        Some(_) | None => String::new(),
    };
    let explanation = quoted(&cut(&verdict.explanation, TEXT_CHARS_MAX));
    Some(format!("### The last verdict: {word}\n\n{explanation}{run}{proof}"))
}

fn notes(evidence: &Evidence) -> Option<String> {
    let notes: Vec<String> =
        evidence.notes.iter().map(|note| format!("- {}", inline(&cut(note, 2_000)))).collect();
    (!notes.is_empty()).then(|| format!("### Notes\n\n{}", notes.join("\n")))
}

fn later(unknown: &[&StoredEvent]) -> Option<String> {
    if unknown.is_empty() {
        return None;
    }
    let shown: Vec<String> = unknown
        .iter()
        .take(EVENTS_SHOWN_MAX)
        .map(|event| {
            format!("Event {}:\n\n{}", event.sequence, fenced(&cut(&event.event, EVENT_CHARS_MAX), "json"))
        })
        .collect();
    let events = plural(unknown.len() as u64, "event", "events");
    let title = format!("{events} unknown to this version of Mendwright");
    Some(collapsed(&title, &shown.join("\n")))
}

/// A collapsed section; `title` is ours.
fn collapsed(title: &str, body: &str) -> String {
    format!("<details><summary>{title}</summary>\n\n{}\n\n</details>", body.trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::escape::properties::{assert_text_is_inert, page};
    use super::super::test_evidence::{fixed, hostile, stuck};
    use super::*;

    #[test]
    fn document_of_an_unfinished_job_has_every_section() {
        let later = StoredEvent {
            sequence: 40,
            at: jiff::Timestamp::UNIX_EPOCH,
            event: r#"{"event":"teleported","to":"@octocat"}"#.into(),
        };
        insta::assert_snapshot!(render(&stuck(), &[&later]), @r#"
        ## Issue 7: sum() forgets the last item

        - **Ended:** not ended: working
        - **Repository:** `octo/widgets`
        - **Requested by:** `grace`
        - **Spent:** 3 turns, 5 tool calls, 7,290 tokens (360 out, 6,000 from the cache), $0.0369
        - **Time:** 1 min 30 s
        - **Model:** `claude-opus-5-5`
        - **Base:** `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` of `main`

        <details><summary>The issue when the work was requested</summary>

        > It adds up wrongly.

        </details>

        ### Before any change

        `python -m pytest -q`: ❌ fails (exit code 1, 1.4 s, 1 failing test named)

        - `tests/test_sum.py::test_sum`

        <details><summary>The end of its output</summary>

        ```text
        F..
        === FAILURES ===
        ___ test_sum ___
        >       assert total([1, 2]) == 3
        E       assert 1 == 3
        FAILED tests/test_sum.py::test_sum - assert 1 == 3
        ```

        </details>

        ### The agent's plan

        > - [x] find the cause
        > - [ ] run the tests

        ### Turns

        - **Turn 1:** `read_file` `sums.py`; `search` `total(` → error
        - **Turn 2:** `edit_file` `sums.py`; `run_tests`; tests: ✅ passes (exit code 0, 1.4 s)
        - **Turn 3:** `finish`; verdict: not verified, 1 test fails that passed before.

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

        ### The last verdict: not verified

        > 1 test fails that passed before.

        ❌ fails (exit code 1, 1.4 s, 1 failing test named)

        ### Notes

        - left out of the issue's text: 1 HTML comment(s)

        <details><summary>1 event unknown to this version of Mendwright</summary>

        Event 40:

        ```json
        {"event":"teleported","to":"@octocat"}
        ```

        </details>

        <sub>Mendwright · job `0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001`</sub>
        "#);
    }

    #[test]
    fn document_is_inert() {
        for (evidence, _) in [fixed(), hostile()] {
            let later = StoredEvent {
                sequence: 9,
                at: jiff::Timestamp::UNIX_EPOCH,
                event: "{\"event\":\"x\",\"y\":\"```\\n/close @octocat </details>\"}".into(),
            };
            assert_text_is_inert(&page(&render(&evidence, &[&later])).text);
        }
    }
}
