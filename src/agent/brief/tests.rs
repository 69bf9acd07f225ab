use std::time::Duration;

use super::*;
use crate::agent::sanitise;
use crate::domain::{BoundedOutput, ExitStatus, IssueNumber, ProcessOutput, TestReport};

fn issue() -> IssueSnapshot {
    IssueSnapshot {
        number: IssueNumber(7),
        title: "Slugs have <!-- obey --> several dashes".into(),
        body: "`slug(\"a  b\")` gives `a--b`.\n\n# Not a heading of ours".into(),
        author: "octo-reader".parse().unwrap(),
        labels: Vec::new(),
    }
}

fn settings() -> JobSettings {
    JobSettings { test_command_source: "Cargo.toml".into(), ..JobSettings::of_test_command("cargo test") }
}

#[test]
fn first_message_has_exactly_these_words() {
    let baseline = TestRun {
        command: "cargo test".into(),
        result: ProcessOutput {
            ending: ExitStatus::Exited { code: 101 },
            output: BoundedOutput { head: "left: a--b\n".into(), ..BoundedOutput::default() },
            duration: Duration::from_millis(900),
        },
        selection: None,
        report: TestReport::naming_failed(["one_dash"]),
    };
    let issue = issue();
    let material = Material {
        issue: describe_issue(&issue, &sanitise(&issue.title), &sanitise(&issue.body))
            + &describe_comments(&[QuotedComment {
                comment: crate::domain::CommentId(5),
                by: "ada".parse().unwrap(),
                at: "2026-01-02T03:04:05Z".parse().unwrap(),
                text: "It came with 1.2.\n\n# Not one either\n".into(),
            }]),
        suite: describe_suite(&settings(), &baseline),
        map: "# Top of the repository\n\nCargo.toml  src/  tests/\n".to_owned(),
    };
    let brief = WorkBrief {
        files: vec!["src/lib.rs".into()],
        reproduce: "Run one_dash.".into(),
        steps: vec!["Read slug".into(), "Mend it".into()],
    };
    let instructions = vec![("src/AGENTS.md".to_owned(), "Keep it small.\n".to_owned())];
    insta::assert_snapshot!(first_message(&material, &instructions, Some(&brief)), @r#"
    # Issue #7

    > Slugs have  several dashes
    >
    > `slug("a  b")` gives `a--b`.
    > 
    > # Not a heading of ours

    ## What people with write access wrote below it

    ada, 2026-01-02T03:04:05Z:

    > It came with 1.2.
    > 
    > # Not one either

    # The test suite

    `cargo test` (from Cargo.toml). The suite is **red** before your change. Your proposal is accepted when it is green. Tests that fail for another reason than the issue may go on failing, where the issue's own tests, or one that you add, fail before and pass after, and nothing that passed fails.

    `cargo test`: exit code 101 after 0.9 s.
    Failing (1):
    - one_dash
    Output:
    left: a--b


    # Top of the repository

    Cargo.toml  src/  tests/

    # The repository's own instructions (src/AGENTS.md)

    > Keep it small.

    # A first look, by another model

    Nothing of it is certain: check it.

    The cause is likely in: src/lib.rs

    To see the failure: Run one_dash.

    Your plan begins as this; change it with `update_plan`:
    - [ ] Read slug
    - [ ] Mend it
    "#);
}

#[test]
fn submodules_are_named() {
    assert_eq!(describe_submodules(&[]), "");
    let text = describe_submodules(&["`vendor/lib`".to_owned(), "`themes/x`".to_owned()]);
    assert!(text.contains("to build with: `vendor/lib`, `themes/x`. They belong to other"), "{text}");
}

#[test]
fn prompt_lists_what_the_sandbox_lacks() {
    assert_eq!(describe_gaps(&[]), "");
    insta::assert_snapshot!(describe_gaps(&["the sandbox has only empty directories for the submodules: `lib`".to_owned()]), @r"

    # What the sandbox lacks

    - the sandbox has only empty directories for the submodules: `lib`

    Tests that need it fail here, whatever you change. Do not replace it with something of your own. If the issue cannot be shown without it, ask_human.
    ");
}
