//! What payloads mean. The example payloads of `fixtures/webhooks-received/` are read in the
//! story tests.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

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
fn meaning(payload: &Value) -> Meaning {
    read_event("issues", payload.to_string().as_bytes(), &"agent-fix".into()).unwrap().meaning
}
fn why_nothing(payload: &Value) -> String {
    match meaning(payload) {
        Meaning::Nothing { why } => why,
        Meaning::Request(request) => panic!("{request:?}"),
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
fn our_label_starts_work_with_the_issue_as_it_was() {
    let trigger = Trigger {
        repository: repository(),
        issue: IssueSnapshot {
            number: IssueNumber(7),
            title: "It breaks".to_owned(),
            body: String::new(),
            author: "ada".parse().unwrap(),
            labels: vec!["bug".into(), "agent-fix".into()],
        },
        labeller: "grace".parse().unwrap(),
        labeller_id: 2,
        labeller_is_bot: false,
        labelled_at: None,
        found: false,
        commanded: false,
    };
    assert_eq!(meaning(&payload("labeled")), Meaning::Request(DeliveryRequest::Start(trigger)));
}

#[test]
fn the_label_is_ours_in_any_case_because_githubs_labels_are_unique_so() {
    let mut payload = payload("labeled");
    payload["label"]["name"] = json!("Agent-Fix");
    assert!(matches!(meaning(&payload), Meaning::Request(DeliveryRequest::Start(_))));
}

#[test]
fn a_bot_is_known_by_its_account_type() {
    let mut payload = payload("labeled");
    payload["sender"] = json!({"login": "renovate[bot]", "id": 3, "type": "Bot"});
    let Meaning::Request(DeliveryRequest::Start(trigger)) = meaning(&payload) else { panic!() };
    assert!(trigger.labeller_is_bot);
}

#[test]
fn taking_the_label_off_or_ending_the_issue_cancels() {
    let why = |action: &str| match meaning(&payload(action)) {
        Meaning::Request(DeliveryRequest::Cancel { repository: at, issue, why, at: _ }) => {
            assert_eq!((at, issue), (repository(), IssueNumber(7)));
            why
        }
        other => panic!("{action}: {other:?}"),
    };
    insta::assert_snapshot!(why("unlabeled"), @"@grace took the label `agent-fix` off");
    insta::assert_snapshot!(why("closed"), @"the issue was closed by @grace");
    insta::assert_snapshot!(why("deleted"), @"the issue was deleted by @grace");
    insta::assert_snapshot!(why("transferred"), @"the issue was transferred to another repository by @grace");
}

#[test]
fn what_is_not_for_us_is_nothing_and_says_why() {
    assert_eq!(why_nothing(&payload("opened")), "this action asks for nothing here");
    let changed = |key: &str, value: Value| {
        let mut payload = payload("labeled");
        payload[key] = value;
        why_nothing(&payload)
    };
    assert_eq!(changed("label", json!({"name": "bug"})), "it is about another label");
    assert_eq!(changed("label", json!(null)), "it is about another label");
    assert_eq!(changed("installation", json!(null)), "it does not come through an installation of the App");
    let mut on_pull_request = payload("labeled");
    on_pull_request["issue"]["pull_request"] = json!({"url": "x"});
    assert_eq!(why_nothing(&on_pull_request), "it is about a pull request");
    let other = read_event("push", br#"{"ref":"x"}"#, &"agent-fix".into()).unwrap();
    assert!(matches!(other.meaning, Meaning::Nothing { .. }));
}

#[test]
fn an_author_whose_account_is_gone_is_a_ghost() {
    let mut payload = payload("labeled");
    payload["issue"]["user"] = json!(null);
    let Meaning::Request(DeliveryRequest::Start(trigger)) = meaning(&payload) else { panic!() };
    assert_eq!(trigger.issue.author.as_str(), "ghost");
}

#[test]
fn what_lacks_a_needed_field_or_carries_a_false_name_is_an_error_not_a_guess() {
    let mut no_issue = payload("labeled");
    no_issue.as_object_mut().unwrap().remove("issue");
    let error = read_event("issues", no_issue.to_string().as_bytes(), &"agent-fix".into()).unwrap_err();
    assert!(matches!(error, EventError::Unreadable { .. }), "{error}");
    let mut false_name = payload("labeled");
    false_name["repository"]["full_name"] = json!("../../etc");
    let error = read_event("issues", false_name.to_string().as_bytes(), &"agent-fix".into()).unwrap_err();
    assert!(matches!(error, EventError::Invalid { .. }), "{error}");
}

#[test]
fn a_million_brackets_do_not_end_the_process() {
    let deep = "[".repeat(1_000_000);
    let closed = deep.clone() + &"]".repeat(1_000_000);
    for text in [
        deep.clone(),
        closed.clone(),
        format!(r#"{{"action":"labeled","issue":{{"x":{closed}}}}}"#),
        format!(r#"{{"action":{closed}}}"#),
        r#"{"action":"#.repeat(1_000_000),
    ] {
        let _ = read_event("issues", text.as_bytes(), &"agent-fix".into());
    }
    assert!(read_event("issues", deep.as_bytes(), &"agent-fix".into()).is_err());
}

proptest! {
    #[test]
    fn no_payload_and_no_event_name_makes_it_panic(event in ".{0,40}", body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_event(&event, &body, &"agent-fix".into());
        let _ = read_event("issues", &body, &"agent-fix".into());
    }
}

fn ended(event: &str, payload: &Value) -> Meaning {
    read_event(event, payload.to_string().as_bytes(), &"agent-fix".into()).unwrap().meaning
}

#[test]
fn a_branch_of_ours_that_goes_away_cancels_its_work() {
    let common = payload("closed");
    let closed = |branch: &str, head: u64, merged: bool| {
        let mut closed = common.clone();
        closed["pull_request"] = json!({
            "number": 9, "merged": merged, "closed_at": "2026-01-02T03:04:05Z",
            "head": {"ref": branch, "repo": {"id": head}},
        });
        ended("pull_request", &closed)
    };
    let deleted = |branch: &str, kind: &str| {
        let mut deleted = common.clone();
        deleted.as_object_mut().unwrap().remove("action");
        deleted["ref"] = json!(branch);
        deleted["ref_type"] = json!(kind);
        deleted["repository"]["pushed_at"] = json!("2026-01-02T03:04:06Z");
        ended("delete", &deleted)
    };
    let why = |meaning: Meaning| match meaning {
        Meaning::Request(DeliveryRequest::CancelBranch { repository: at, branch, why, at: when }) => {
            assert_eq!((at, branch.as_str()), (repository(), "agent-fix/issue-7-2"));
            assert!(when.is_some());
            why
        }
        Meaning::Nothing { why } => why,
        other => panic!("{other:?}"),
    };
    let ours = "agent-fix/issue-7-2";
    insta::assert_snapshot!(why(closed(ours, 42, false)), @"the pull request #9 was closed by @grace");
    insta::assert_snapshot!(why(closed(ours, 42, true)), @"the pull request #9 was merged by @grace");
    insta::assert_snapshot!(why(closed(ours, 43, false)), @"its branch is in another repository");
    insta::assert_snapshot!(why(closed("main", 42, false)), @"it is about a branch that is not ours");
    insta::assert_snapshot!(why(deleted(ours, "branch")), @"the branch `agent-fix/issue-7-2` was deleted by @grace");
    insta::assert_snapshot!(why(deleted(ours, "tag")), @"it is about a tag");
    insta::assert_snapshot!(why(deleted("feature", "branch")), @"it is about a branch that is not ours");
}
