//! Repositories that the App can work in from now on. They may have issues that were labelled before.

use serde_json::Value;

use super::interpretation::{EventRead, ignore, search_labels};

pub(super) fn read_installation(action: Option<&str>, _payload: Value, _label: &str) -> EventRead {
    Ok(match action {
        Some("created" | "unsuspend" | "new_permissions_accepted") => search_labels(),
        Some(_) | None => ignore("the App can do no more than before"),
    })
}

pub(super) fn read_repositories(action: Option<&str>, _payload: Value, _label: &str) -> EventRead {
    Ok(match action {
        Some("added") => search_labels(),
        Some(_) | None => ignore("no repository was added"),
    })
}
