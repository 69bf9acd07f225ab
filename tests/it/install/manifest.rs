//! The App asks for exactly what it needs: compared with the events that are handled, the operations that the
//! client calls, and GitHub's permissions for both.

use std::collections::BTreeMap;

use mendwright::github::OPERATIONS;
use mendwright::install::manifest;
use mendwright::webhook::subscribed_events;
use serde::Deserialize;

#[derive(Deserialize)]
struct Permissions {
    operations: BTreeMap<String, String>,
    events: BTreeMap<String, Option<String>>,
}

/// GitHub's permissions, from its documentation.
fn documented() -> Permissions {
    serde_json::from_str(include_str!("../../../fixtures/github-contract/permissions.json")).unwrap()
}

fn raise(needed: &mut BTreeMap<String, String>, permission: &str) {
    let (name, level) = permission.split_once(':').unwrap_or_else(|| panic!("{permission}"));
    let kept = needed.entry(name.to_owned()).or_default();
    if kept != "write" {
        *kept = level.to_owned();
    }
}

#[test]
fn app_subscribes_to_exactly_the_handled_events_that_do_not_come_unasked() {
    assert!(manifest().default_events.iter().map(String::as_str).eq(subscribed_events()));
}

#[test]
fn app_asks_for_exactly_the_permissions_that_its_calls_and_events_need() {
    let documented = documented();
    // Git itself: fetching the base and pushing the branch; and GraphQL's commits.
    let mut needed = BTreeMap::from([("contents".to_owned(), "write".to_owned())]);
    for operation in OPERATIONS.iter().filter(|operation| !operation.starts_with("graphql")) {
        let permission = documented.operations.get(*operation);
        let permission = permission.unwrap_or_else(|| panic!("GitHub has no operation {operation}"));
        if permission.starts_with("none") {
            continue;
        }
        // If one of two permissions suffices, the App has the issue's. What follows in parentheses is not
        // needed.
        raise(&mut needed, permission.split([' ', '(']).next().unwrap());
    }
    for event in subscribed_events() {
        if let Some(permission) = &documented.events[event] {
            raise(&mut needed, permission);
        }
    }
    assert_eq!(manifest().default_permissions, needed);
    for never in ["workflows", "administration", "secrets", "actions", "members"] {
        assert!(!manifest().default_permissions.contains_key(never), "{never}");
    }
}
