//! What payloads ask for. The example payloads of `fixtures/webhooks-received/` are read in the
//! integration tests.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::{
    CheckFailure, DeliveryRequest, InstallationId, IssueNumber, IssueSnapshot, QueuedRequest, RepositoryId,
    RepositoryRef, ReviewKind, SlashCommand, Trigger,
};

fn payload(action: &str) -> Value {
    json!({
        "action": action,
        "label": {"name": "agent-fix"},
        "issue": {
            "number": 7, "title": "It breaks", "body": null, "state": "open",
            "user": {"login": "ada", "id": 1, "type": "User"},
            "labels": [{"name": "bug"}, {"name": "agent-fix"}],
        },
        "repository": {"id": 42, "full_name": "octo/repo", "owner": {"login": "octo"}},
        "installation": {"id": 9, "node_id": "x"},
        "sender": {"login": "grace", "id": 2, "type": "User"},
    })
}
fn interpret(payload: &Value) -> Interpretation {
    read_event("issues", payload.to_string().as_bytes(), "agent-fix").unwrap().interpretation
}
fn reason_to_ignore(payload: &Value) -> String {
    match interpret(payload) {
        Interpretation::Ignore { why } => why,
        other => panic!("{other:?}"),
    }
}
fn repository() -> RepositoryRef {
    RepositoryRef {
        installation: InstallationId(9),
        id: RepositoryId(42),
        name: "octo/repo".parse().unwrap(),
    }
}

#[test]
fn our_label_on_an_issue_starts_work_with_its_text() {
    let trigger = Trigger {
        repository: repository(),
        issue: IssueSnapshot {
            number: IssueNumber(7),
            title: "It breaks".to_owned(),
            body: String::new(),
            author: "ada".parse().unwrap(),
            labels: vec!["bug".to_owned(), "agent-fix".to_owned()],
        },
        labeller: "grace".parse().unwrap(),
        labeller_id: 2,
        labeller_is_bot: false,
        labelled_at: None,
        found: false,
        commanded: false,
    };
    assert_eq!(interpret(&payload("labeled")), Interpretation::Act(DeliveryRequest::Start(trigger)));
}

#[test]
fn our_label_in_another_case_starts_work() {
    let mut payload = payload("labeled");
    payload["label"]["name"] = json!("Agent-Fix");
    assert!(matches!(interpret(&payload), Interpretation::Act(DeliveryRequest::Start(_))));
}

#[test]
fn bot_is_recognised_by_its_account_type() {
    let mut payload = payload("labeled");
    payload["sender"] = json!({"login": "renovate[bot]", "id": 3, "type": "Bot"});
    let Interpretation::Act(DeliveryRequest::Start(trigger)) = interpret(&payload) else { panic!() };
    assert!(trigger.labeller_is_bot);
}

#[test]
fn label_removed_or_issue_ended_cancels_the_work() {
    let why = |action: &str| match interpret(&payload(action)) {
        Interpretation::Act(DeliveryRequest::Cancel { repository: at, issue, why, at: _ }) => {
            assert_eq!((at, issue), (repository(), IssueNumber(7)));
            why
        }
        other => panic!("{action}: {other:?}"),
    };
    insta::assert_snapshot!(why("unlabeled"), @"@grace removed the label `agent-fix`");
    insta::assert_snapshot!(why("closed"), @"the issue was closed by @grace");
    insta::assert_snapshot!(why("deleted"), @"the issue was deleted by @grace");
    insta::assert_snapshot!(why("transferred"), @"the issue was transferred to another repository by @grace");
}

#[test]
fn event_that_asks_for_nothing_is_ignored_with_a_reason() {
    assert_eq!(reason_to_ignore(&payload("opened")), "this action asks for nothing");
    let changed = |key: &str, value: Value| {
        let mut payload = payload("labeled");
        payload[key] = value;
        reason_to_ignore(&payload)
    };
    assert_eq!(changed("label", json!({"name": "bug"})), "the event is about another label");
    assert_eq!(changed("label", json!(null)), "the event is about another label");
    assert_eq!(
        changed("installation", json!(null)),
        "the delivery does not come through an installation of the App"
    );
    let mut on_pull_request = payload("labeled");
    on_pull_request["issue"]["pull_request"] = json!({"url": "x"});
    assert_eq!(reason_to_ignore(&on_pull_request), "the event is about a pull request");
    let other = read_event("push", br#"{"ref":"x"}"#, "agent-fix").unwrap();
    assert!(matches!(other.interpretation, Interpretation::Ignore { .. }));
}

#[test]
fn issue_of_a_deleted_account_has_the_author_ghost() {
    let mut payload = payload("labeled");
    payload["issue"]["user"] = json!(null);
    let Interpretation::Act(DeliveryRequest::Start(trigger)) = interpret(&payload) else { panic!() };
    assert_eq!(trigger.issue.author.as_str(), "ghost");
}

#[test]
fn payload_with_a_missing_field_or_a_malformed_name_is_an_error() {
    let mut no_issue = payload("labeled");
    no_issue.as_object_mut().unwrap().remove("issue");
    let error = read_event("issues", no_issue.to_string().as_bytes(), "agent-fix").unwrap_err();
    assert!(matches!(error, EventError::Unreadable { .. }), "{error}");
    let mut false_name = payload("labeled");
    false_name["repository"]["full_name"] = json!("../../etc");
    let error = read_event("issues", false_name.to_string().as_bytes(), "agent-fix").unwrap_err();
    assert!(matches!(error, EventError::Invalid { .. }), "{error}");
}

#[test]
fn deeply_nested_payload_is_an_error() {
    let deep = "[".repeat(1_000_000);
    let closed = deep.clone() + &"]".repeat(1_000_000);
    for text in [
        deep.clone(),
        closed.clone(),
        format!(r#"{{"action":"labeled","issue":{{"x":{closed}}}}}"#),
        format!(r#"{{"action":{closed}}}"#),
        r#"{"action":"#.repeat(1_000_000),
    ] {
        let _ = read_event("issues", text.as_bytes(), "agent-fix");
    }
    assert!(read_event("issues", deep.as_bytes(), "agent-fix").is_err());
}

proptest! {
    #[test]
    fn reading_never_panics(event in ".{0,40}", body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_event(&event, &body, "agent-fix");
        let _ = read_event("issues", &body, "agent-fix");
    }
}

fn interpret_event(event: &str, payload: &Value) -> Interpretation {
    read_event(event, payload.to_string().as_bytes(), "agent-fix").unwrap().interpretation
}

#[test]
fn closed_pull_request_or_deleted_branch_of_ours_cancels_its_work() {
    let common = payload("closed");
    let closed = |branch: &str, head: u64, merged: bool| {
        let mut closed = common.clone();
        closed["pull_request"] = json!({
            "number": 9, "merged": merged, "closed_at": "2026-01-02T03:04:05Z",
            "head": {"ref": branch, "repo": {"id": head}},
        });
        interpret_event("pull_request", &closed)
    };
    let deleted = |branch: &str, kind: &str| {
        let mut deleted = common.clone();
        deleted.as_object_mut().unwrap().remove("action");
        deleted["ref"] = json!(branch);
        deleted["ref_type"] = json!(kind);
        deleted["repository"]["pushed_at"] = json!("2026-01-02T03:04:06Z");
        interpret_event("delete", &deleted)
    };
    let why = |interpretation: Interpretation| match interpretation {
        Interpretation::Act(DeliveryRequest::CancelBranch { repository: at, branch, why, at: when }) => {
            assert_eq!((at, branch.as_str()), (repository(), "agent-fix/issue-7-2"));
            assert!(when.is_some());
            why
        }
        Interpretation::Ignore { why } => why,
        other => panic!("{other:?}"),
    };
    let ours = "agent-fix/issue-7-2";
    insta::assert_snapshot!(why(closed(ours, 42, false)), @"the pull request #9 was closed by @grace");
    insta::assert_snapshot!(why(closed(ours, 42, true)), @"the pull request #9 was merged by @grace");
    insta::assert_snapshot!(why(closed(ours, 43, false)), @"the pull request's branch is in another repository");
    insta::assert_snapshot!(why(closed("main", 42, false)), @"the event is about a branch that is not ours");
    insta::assert_snapshot!(why(deleted(ours, "branch")), @"the branch `agent-fix/issue-7-2` was deleted by @grace");
    insta::assert_snapshot!(why(deleted(ours, "tag")), @"the event is about a tag");
    insta::assert_snapshot!(why(deleted("feature", "branch")), @"the event is about a branch that is not ours");
}

fn on_pull_request(event: &str, action: &str, key: &str, comment: Value) -> Interpretation {
    let mut payload = payload(action);
    let opened_by_bot = json!({
        "number": 9, "title": "A fix", "body": null, "user": {"login": "mendwright[bot]", "id": 5, "type": "Bot"},
    });
    payload["pull_request"] = opened_by_bot.clone();
    if event == "issue_comment" {
        payload["issue"] = opened_by_bot;
        payload["issue"]["pull_request"] = json!({"url": "x"});
    }
    payload[key] = comment;
    interpret_event(event, &payload)
}

fn queued(interpretation: Interpretation) -> QueuedRequest {
    match interpretation {
        Interpretation::Act(DeliveryRequest::Queue(request)) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn command_comment_and_review_are_requests_of_their_own() {
    let by = json!({"login": "grace", "id": 2, "type": "User"});
    let comment = |body: &str| json!({"id": 5, "body": body, "user": by});
    let command = on_pull_request("issue_comment", "created", "comment", comment("/agent-fix stop"));
    assert!(matches!(queued(command), QueuedRequest::Command(request)
        if request.command == SlashCommand::Stop && request.comment.is_pull_request));
    let mention = on_pull_request("issue_comment", "created", "comment", comment("@mendwright rename it"));
    assert!(matches!(queued(mention), QueuedRequest::Review(request) if request.kind == ReviewKind::Comment));
    let mut submitted = comment("");
    submitted["state"] = json!("CHANGES_REQUESTED");
    let review = on_pull_request("pull_request_review", "submitted", "review", submitted.clone());
    assert!(matches!(queued(review), QueuedRequest::Review(request) if request.kind == ReviewKind::Review));
    let edited = on_pull_request("pull_request_review", "edited", "review", submitted);
    assert!(matches!(edited, Interpretation::Ignore { .. }));
    let at_line =
        on_pull_request("pull_request_review_comment", "created", "comment", comment("@mendwright why?"));
    assert!(
        matches!(queued(at_line), QueuedRequest::Review(request) if request.kind == ReviewKind::ReviewComment)
    );
}

#[test]
fn failed_check_of_a_branch_of_ours_is_a_request_of_its_own() {
    let check = |conclusion: &str, branch: &str| {
        let check = json!({
            "id": 8, "name": "lint", "head_sha": "a".repeat(40), "conclusion": conclusion,
            "pull_requests": [{"number": 9, "head": {"ref": branch}}],
        });
        on_pull_request("check_run", "completed", "check_run", check)
    };
    let request = queued(check("failure", "agent-fix/issue-7"));
    assert_eq!(request.source(), ("check_run", 8));
    let QueuedRequest::Event(request) = request else { panic!("{request:?}") };
    let failure: CheckFailure = request.read().unwrap();
    assert_eq!((failure.pull_request.0, failure.name.as_str()), (9, "lint"));
    assert!(matches!(check("success", "agent-fix/issue-7"), Interpretation::Ignore { .. }));
    assert!(matches!(check("failure", "main"), Interpretation::Ignore { .. }));
}

#[test]
fn meaning_of_issues_names_every_way_in_which_one_ends() {
    let issues = EVENTS.iter().find(|row| row.name == "issues").unwrap();
    for action in ["closed", "deleted", "transferred"] {
        assert!(issues.meaning.contains(action), "{}", issues.meaning);
    }
}

#[test]
fn every_handled_event_has_an_interpretation_of_its_own() {
    for event in HANDLED_EVENTS {
        let payload = json!({"action": "other"});
        match read_event(event, payload.to_string().as_bytes(), "agent-fix") {
            Ok(ParsedEvent { interpretation: Interpretation::Ignore { why }, .. }) => {
                assert!(!why.contains("events of the kind"), "{event}: {why}");
            }
            Ok(other) => panic!("{event}: {other:?}"),
            // `delete` has no actions.
            Err(error) => assert_eq!(*event, "delete", "{error}"),
        }
    }
}

#[test]
fn more_repositories_are_a_reason_to_search_for_labels() {
    let of = |event: &str, action: &str| {
        let payload = json!({ "action": action });
        read_event(event, payload.to_string().as_bytes(), "agent-fix").unwrap().interpretation
    };
    for (event, action) in [
        ("installation", "created"),
        ("installation", "unsuspend"),
        ("installation", "new_permissions_accepted"),
        ("installation_repositories", "added"),
    ] {
        assert_eq!(of(event, action), Interpretation::SearchLabels, "{event} {action}");
    }
    for (event, action) in [("installation", "deleted"), ("installation_repositories", "removed")] {
        assert!(matches!(of(event, action), Interpretation::Ignore { .. }), "{event} {action}");
    }
}
