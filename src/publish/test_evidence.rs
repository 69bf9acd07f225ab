//! Transcripts for the tests of every text.

use std::time::Duration;

use serde_json::{Value, json};

use super::Evidence;
use crate::domain::{
    AssistantBlock, BoundedOutput, ExitStatus, FailedTest, Flag, InstallationId, IssueNumber, IssueSnapshot,
    Job, JobId, JobSettings, JobState, Message, ProcessOutput, RecordedEvent, RepositoryId, RepositoryRef,
    Sha, Suspicion, TestReport, TestRun, ToolArguments, ToolCall, ToolResult, Transcript, TranscriptEvent,
    Trigger, Usage,
};
use crate::verdict::Verified;
use crate::workspace::{FileDiff, Patch, PatchStat};

const JOB: &str = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0001";

pub(super) fn at() -> RepositoryRef {
    RepositoryRef {
        installation: InstallationId(1),
        id: RepositoryId(2),
        name: "octo/widgets".parse().unwrap(),
    }
}

fn job(title: &str) -> Job {
    let issue = IssueSnapshot {
        number: IssueNumber(7),
        title: title.into(),
        body: "It adds up wrongly.".into(),
        author: "ada".parse().unwrap(),
        labels: vec!["agent-fix".into()],
    };
    let trigger = Trigger { labeller_id: 9, ..Trigger::by("grace".parse().unwrap(), at(), issue) };
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    Job {
        id: JOB.parse::<JobId>().unwrap(),
        trigger,
        generation: 1,
        state: JobState::Publishing,
        outcome: None,
        created_at: now,
        updated_at: now,
    }
}

fn run(code: i32, output: &str, failed: &[&str]) -> TestRun {
    TestRun {
        command: "python -m pytest -q".into(),
        result: ProcessOutput {
            ending: ExitStatus::Exited { code },
            output: BoundedOutput { head: output.into(), ..BoundedOutput::default() },
            duration: Duration::from_millis(1_400),
        },
        selection: None,
        report: TestReport::naming_failed(failed.iter().copied()),
    }
}

pub(super) fn prepared() -> TranscriptEvent {
    let settings = JobSettings {
        test_command_source: "`.github/agent-fix.yml`".into(),
        ..JobSettings::of_test_command("python -m pytest -q")
    };
    let base = "a".repeat(40).parse().unwrap();
    TranscriptEvent::Prepared { base, base_branch: "main".into(), settings: Box::new(settings) }
}

fn assistant(text: &str, calls: &[(&str, Value)], number: usize) -> TranscriptEvent {
    let call = |(index, (name, arguments)): (usize, &(&str, Value))| {
        AssistantBlock::ToolCall(ToolCall {
            id: format!("c{number}_{index}"),
            name: (*name).into(),
            arguments: ToolArguments::Json(arguments.clone()),
        })
    };
    let mut blocks = vec![AssistantBlock::Text { text: text.into() }];
    blocks.extend(calls.iter().enumerate().map(call));
    TranscriptEvent::MessageAdded {
        message: Message::Assistant { blocks },
        usage: Some(Usage {
            input_tokens: 10,
            output_tokens: 120,
            cache_read_tokens: 2_000,
            cache_write_tokens: 300,
        }),
        usd: Some(0.0123),
        model: Some("claude-opus-5-5".into()),
        milliseconds: 2_500,
    }
}

fn results(texts: &[&str], number: usize) -> TranscriptEvent {
    let result = |(index, text): (usize, &&str)| ToolResult {
        call_id: format!("c{number}_{index}"),
        text: (*text).into(),
        is_error: text.starts_with("error"),
    };
    let message = Message::ToolResults { results: texts.iter().enumerate().map(result).collect() };
    TranscriptEvent::MessageAdded { message, usage: None, usd: None, model: None, milliseconds: 100 }
}

fn sandbox(purpose: &str) -> TranscriptEvent {
    let description = "bubblewrap: the host's /usr read-only, no network, 4 GiB, 1,024 processes".into();
    TranscriptEvent::SandboxStarted { purpose: purpose.into(), description, root: Some("sha256:0123".into()) }
}

pub(super) fn recorded(events: Vec<TranscriptEvent>) -> Vec<RecordedEvent> {
    let start: jiff::Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    let record = |(index, event): (usize, TranscriptEvent)| RecordedEvent {
        sequence: index as u64 + 1,
        at: start + jiff::SignedDuration::from_secs(5 * index as i64),
        event,
    };
    events.into_iter().enumerate().map(record).collect()
}

fn patch(path: &str, text: &str, insertions: usize, deletions: usize) -> Patch {
    let (added, removed) = (insertions as u64, deletions as u64);
    Patch {
        text: text.into(),
        truncated: false,
        is_lossy: false,
        files: vec![FileDiff { path: path.into(), added, removed, ..FileDiff::default() }],
        stat: PatchStat { files: 1, insertions, deletions },
    }
}

const FAILURE: &str = "\
F..
=== FAILURES ===
___ test_sum ___
>       assert total([1, 2]) == 3
E       assert 1 == 3
FAILED tests/test_sum.py::test_sum - assert 1 == 3
";

const PATCH: &str = "\
diff --git a/sums.py b/sums.py
--- a/sums.py
+++ b/sums.py
@@ -1,2 +1,2 @@
 def total(items):
-    return sum(items[:-1])
+    return sum(items)
";

/// Work on a red base, up to the agent's `finish`.
pub(super) fn work() -> Vec<TranscriptEvent> {
    let failing = || run(1, FAILURE, &["tests/test_sum.py::test_sum"]);
    vec![
        TranscriptEvent::StateChanged { state: JobState::Preparing },
        prepared(),
        sandbox("work"),
        TranscriptEvent::BaselineRun { run: failing() },
        TranscriptEvent::StateChanged { state: JobState::Working },
        TranscriptEvent::Note { text: "left out of the issue's text: 1 HTML comment(s)".into() },
        TranscriptEvent::MessageAdded {
            message: Message::User { text: "the task".into() },
            usage: None,
            usd: None,
            model: None,
            milliseconds: 0,
        },
        assistant(
            "I look at `sums.py` first.",
            &[("read_file", json!({"path": "sums.py"})), ("search", json!({"pattern": "total("}))],
            1,
        ),
        TranscriptEvent::PlanUpdated { plan: "- [x] find the cause\n- [ ] run the tests\n".into() },
        results(&["def total(items):\n    return sum(items[:-1])\n", "error: the pattern is not valid"], 1),
        assistant("", &[("edit_file", json!({"path": "sums.py", "edits": []})), ("run_tests", json!({}))], 2),
        TranscriptEvent::AgentTestRun { run: run(0, "3 passed in 0.01s\n", &[]) },
        results(&["done", "exit code 0"], 2),
        TranscriptEvent::Checkpoint { tree: tree(), paths: vec!["sums.py".into()], contents: vec![None] },
        assistant(
            "",
            &[(
                "finish",
                json!({"summary": "`total()` cut off the last item.\n\n- `items[:-1]` is now `items`\n- no other caller relied on it"}),
            )],
            3,
        ),
    ]
}

fn tree() -> Sha {
    "b".repeat(40).parse().unwrap()
}

/// A plain fix: red base, one wrong turn, green verdict.
pub(super) fn fixed() -> (Evidence, Verified) {
    let mut events = work();
    events.extend([
        sandbox("verdict"),
        TranscriptEvent::VerdictReached {
            verified: true,
            tree: tree(),
            explanation: "The suite passes at the proposed tree: exit code 0.".into(),
            run: Some(run(0, "3 passed in 0.01s\n", &[])),
            proof: Some(vec![FailedTest("tests/test_sum.py::test_sum".into())]),
            flags: Vec::new(),
        },
        TranscriptEvent::StateChanged { state: JobState::Publishing },
    ]);
    let transcript = recorded(events);
    let evidence =
        Evidence::from_transcript(&job("sum() forgets the last item"), Transcript::new(&transcript));
    (
        evidence.with_patch(patch("sums.py", PATCH, 1, 1)),
        Verified::from_transcript(Transcript::new(&transcript)).unwrap(),
    )
}

/// The same work, and a red verdict.
pub(super) fn stuck() -> Evidence {
    let mut events = work();
    events.extend([
        sandbox("verdict"),
        TranscriptEvent::VerdictReached {
            verified: false,
            tree: tree(),
            explanation: "1 test fails that passed before.".into(),
            run: Some(run(1, FAILURE, &["tests/test_sum.py::test_sum"])),
            proof: None,
            flags: Vec::new(),
        },
        results(&["Verdict: not verified. 1 test fails that passed before."], 3),
        TranscriptEvent::StateChanged { state: JobState::Working },
    ]);
    let evidence =
        Evidence::from_transcript(&job("sum() forgets the last item"), Transcript::new(&recorded(events)));
    evidence.with_patch(patch("sums.py", PATCH, 1, 1))
}

/// A hostile issue, repository and model.
pub(super) fn hostile() -> (Evidence, Verified) {
    let evil = "Done. @octocat please merge. Fixes #99, closes octo/other#1.\n\
        /approve\n\
        ![x](https://evil.example/p.png) [click](https://evil.example) <img src=x> <!-- hidden -->\n\
        see https://github.com/octo/other/issues/3 \u{202e}desrever\u{202c} and &#64;octocat\n\
        ```\nopen fence, </details> and `````\n@octocat in code";
    let output =
        "```\n</details>\n/close\n\u{1b}[31m@octocat fixes #99\u{1b}[0m\n<!-- mendwright:escalation:x -->\n";
    let name = "tests/`a|b`<script>::@octocat #99";
    let events = vec![
        prepared(),
        sandbox("work"),
        TranscriptEvent::BaselineRun { run: run(1, output, &[name]) },
        assistant(
            evil,
            &[("`rm`</summary>@octocat", json!({"path": "a`\n| @octocat #99", "x": "```\n/close"}))],
            1,
        ),
        results(&["```\n/close\n</details>"], 1),
        TranscriptEvent::PlanUpdated { plan: "- [x] ask @octocat\n- [ ] <b>bold</b> #99\n".into() },
        assistant("", &[("finish", json!({ "summary": evil }))], 2),
        TranscriptEvent::VerdictReached {
            verified: true,
            tree: tree(),
            explanation: format!("The suite passes; it was {name} before."),
            run: Some(run(0, "ok", &[])),
            proof: Some(vec![FailedTest(name.into())]),
            flags: vec![Flag::SuspiciousLine {
                what: Suspicion::EndsTheProcess,
                path: "a`|b @octocat".into(),
                text: "exit() # fixes #99 <img src=x> `".into(),
            }],
        },
    ];
    let transcript = recorded(events);
    let title = "Crash <img src=x> @octocat fixes #99 `a` \u{200b}[x](https://evil.example)\n/approve";
    let evidence = Evidence::from_transcript(&job(title), Transcript::new(&transcript));
    let patch = patch(
        "`x`|@octocat",
        "diff --git a/`x`|@octocat b/`x`|@octocat\n--- a/`x`|@octocat\n+++ b/`x`|@octocat\n@@ -0,0 +1,2 @@\n+````\n+/close @octocat\n",
        2,
        0,
    );
    (evidence.with_patch(patch), Verified::from_transcript(Transcript::new(&transcript)).unwrap())
}

/// A job with many turns.
pub(super) fn long() -> Evidence {
    let mut events = vec![prepared(), TranscriptEvent::BaselineRun { run: run(1, FAILURE, &["a"]) }];
    for number in 0..200 {
        let text = format!("Turn {number}: {}", "words `and` ``` fences ".repeat(100));
        events.push(assistant(&text, &[("read_file", json!({"path": format!("src/{number}.py")}))], number));
        events.push(results(&[&"a line of ``` a file\n".repeat(400)], number));
    }
    let evidence = Evidence::from_transcript(&job("it is long"), Transcript::new(&recorded(events)));
    let lines: String = (0..3_000).map(|n| format!("+line {n} with ``` in it\n")).collect();
    let diff = format!("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1,3000 @@\n{lines}");
    evidence.with_patch(patch("x", &diff, 3_000, 0))
}
