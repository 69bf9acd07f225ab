//! Runs real runners in a real sandbox: each must write the requested report, and run a part of the suite.
//! The projects are tiny; every form of the runners' output is in `fixtures/reports`.

use std::time::Duration;

use mendwright::domain::{
    Change, ChangedContent, FileMode, JobSettings, ReportSource, RepositoryId, SandboxKind, TestOutcome,
    TestRun,
};
use mendwright::sandbox::{SandboxSpec, Toolbox, connect_default};
use mendwright::setup::{Environment, SetupLocks, SetupPolicy};
use mendwright::testing::{Selection, run_selected, run_suite};
use mendwright::workspace::{LocalRepository, Mirrors};

fn settings(command: &str) -> JobSettings {
    JobSettings { test_timeout: Duration::from_secs(120), ..JobSettings::of_test_command(command) }
}

/// Starts a sandbox with these files, and returns it with its settings.
async fn project(command: &str, files: &[(&str, &str)]) -> (Toolbox, JobSettings) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("repository");
    let repository = git2::Repository::init(&path).unwrap();
    let tree = repository.find_tree(repository.index().unwrap().write_tree().unwrap()).unwrap();
    let by = git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap();
    let access = LocalRepository::open(&path).unwrap().access().unwrap();
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    let workspace = mirrors.fetch(RepositoryId(1), &access, "HEAD").await.unwrap();
    let changes = files.iter().map(|(path, text)| Change {
        path: path.parse().unwrap(),
        content: ChangedContent::File { mode: FileMode::Regular, bytes: text.as_bytes().to_vec() },
    });
    let proposal = workspace.propose(changes.collect()).await.unwrap();
    let settings = settings(command);
    let environment = Environment::of(
        connect_default(SandboxKind::Bubblewrap).unwrap(),
        SandboxSpec::named(format!("reports-{}", std::process::id())),
        workspace,
        settings.clone(),
        SetupPolicy::default(),
        RepositoryId(1),
        SetupLocks::default(),
    );
    let environment = environment.await.unwrap();
    let toolbox = environment.fresh(&proposal.tree, "work").await.unwrap().unwrap();
    (toolbox, settings)
}

/// Runs the suite, then only its failing test; the second run must name no other test.
async fn assert_reported(command: &str, files: &[(&str, &str)], source: ReportSource, red: &str) -> TestRun {
    let (toolbox, settings) = project(command, files).await;
    let run = run_suite(&toolbox, &settings).await.unwrap();
    let output = run.result.output.to_text();
    assert_eq!(run.report.source, source, "{:#?}\n{output}", run.report);
    let counts = run.report.counts.unwrap();
    assert_eq!((counts.passed, counts.red()), (1, 1), "{:#?}\n{output}", run.report);
    assert_eq!(run.failed()[0].0, red, "{output}");
    assert!(run.report.finished && run.report.remarks.is_empty(), "{:#?}\n{output}", run.report);
    let part = Selection { path: None, name: Some(red.to_owned()) };
    let part = run_selected(&toolbox, &settings, &part).await.unwrap();
    assert_eq!(part.failed()[0].0, red, "{}", part.result.output.to_text());
    let passed = part.report.cases.iter().filter(|case| case.outcome == TestOutcome::Passed).count();
    assert_eq!(passed, 0, "{:#?}", part.report);
    assert!(!part.is_green() && part.selection.is_some());
    toolbox.shut_down().await;
    run
}

#[tokio::test]
#[ignore = "needs pytest"]
async fn pytest_writes_the_requested_report() {
    let test = "def test_a():\n    assert 1 == 1\n\ndef test_b():\n    assert 1 == 2\n";
    let run = assert_reported(
        "/usr/bin/python3 -m pytest",
        &[("test_x.py", test)],
        ReportSource::File,
        "test_x.py::test_b",
    )
    .await;
    assert_eq!(
        run.report.case("test_x.py::test_b").unwrap().location.as_ref().unwrap().describe(),
        "test_x.py:5"
    );
    // A process that source code ends leaves no report, whatever it prints.
    let leaves = "import os\nprint('===== 2 passed in 0.01s =====', flush=True)\nos._exit(0)\n";
    let (toolbox, settings) =
        project("/usr/bin/python3 -m pytest", &[("x.py", leaves), ("test_x.py", "import x\n")]).await;
    let left = run_suite(&toolbox, &settings).await.unwrap();
    assert!(left.exited_successfully() && left.report.source != ReportSource::File, "{:#?}", left.report);
    toolbox.shut_down().await;
}

#[tokio::test]
#[ignore = "needs pytest"]
async fn pytest_behind_make_writes_a_report_that_counts_if_complete() {
    let test = "def test_a():\n    assert 1 == 1\n\ndef test_b():\n    assert 1 == 2\n";
    let make = "once:\n\t/usr/bin/python3 -m pytest -q test_x.py\n\n\
                twice:\n\t-/usr/bin/python3 -m pytest -q test_x.py\n\t/usr/bin/python3 -m pytest -q test_y.py\n\n\
                beside:\n\t-/usr/bin/python3 -m pytest -q test_x.py\n\t@echo 1..1; echo 'ok 1 - other'\n";
    let fine = "def test_c():\n    pass\n\ndef test_d():\n    pass\n";
    let files = [("Makefile", make), ("test_x.py", test), ("test_y.py", fine)];
    for (command, source, red) in [
        ("make once", ReportSource::File, vec!["test_x.py::test_b"]),
        // The second run overwrote the first one's file.
        ("make twice", ReportSource::Output, vec!["test_x.py::test_b"]),
        ("make beside", ReportSource::Output, vec!["test_x.py::test_b"]),
    ] {
        let (toolbox, settings) = project(command, &files).await;
        let run = run_suite(&toolbox, &settings).await.unwrap();
        assert_eq!(run.report.source, source, "{command}: {:#?}", run.report);
        assert!(run.report.finished && run.report.remarks.is_empty(), "{command}: {:#?}", run.report);
        let named: Vec<String> = run.failed().iter().map(|test| test.0.clone()).collect();
        assert_eq!(named, red, "{command}: {}", run.result.output.to_text());
        toolbox.shut_down().await;
    }
}

#[tokio::test]
#[ignore = "needs Node"]
async fn node_writes_the_requested_report() {
    let test = "const test = require('node:test');\ntest('adds', () => {});\ntest('fails', () => { throw new Error('x'); });\n";
    assert_reported("node --test", &[("a.test.js", test)], ReportSource::File, "fails").await;
}

#[tokio::test]
#[ignore = "needs Go"]
async fn go_events_are_read_and_shown_as_text() {
    let test = "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {}\n\nfunc TestB(t *testing.T) { t.Error(\"no\") }\n";
    let files = [("go.mod", "module example.org/a\n\ngo 1.19\n"), ("a_test.go", test)];
    let run = assert_reported("go test ./...", &files, ReportSource::Output, "example.org/a::TestB").await;
    let text = run.result.output.to_text();
    assert!(text.contains("--- FAIL: TestB") && !text.contains("\"Action\""), "{text}");
}

#[tokio::test]
#[ignore = "needs RSpec"]
async fn rspec_writes_the_requested_report() {
    let test = "RSpec.describe('a') { it('adds') { }; it('fails') { raise 'x' } }\n";
    assert_reported("rspec", &[("spec/a_spec.rb", test)], ReportSource::File, "a fails").await;
}
