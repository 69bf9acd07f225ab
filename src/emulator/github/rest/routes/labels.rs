//! Labels of the repository and of its issues.

use serde_json::Value;

use crate::github::data::Label;
use crate::github::rest::call::ApiCall;
use crate::github::rest::pagination::page;
use crate::github::rest::response::{ApiError, ApiResponse, ApiResult};
use crate::github::shapes;

/// GitHub's limit on the labels of an issue.
const LABELS_OF_ISSUE_MAX: usize = 100;
/// GitHub's limit on the name of a label.
const NAME_CHARACTERS_MAX: usize = 50;

pub(crate) fn list(call: &mut ApiCall<'_>) -> ApiResult {
    let all = call.repo().labels.iter().map(|label| shapes::label(call.db, call.repo(), label)).collect();
    Ok(page(call, all))
}

pub(crate) fn create(call: &mut ApiCall<'_>) -> ApiResult {
    let name = call.required_text("Label", "name")?;
    let color = call.optional_text("Label", "color")?.unwrap_or_else(|| "ededed".to_owned());
    let description = call.optional_text("Label", "description")?;
    if color.len() != 6 || !color.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::invalid("Label", "color", "invalid"));
    }
    if name.chars().count() > NAME_CHARACTERS_MAX {
        return Err(ApiError::invalid("Label", "name", "invalid"));
    }
    if find(call, &name).is_some() {
        return Err(ApiError::invalid("Label", "name", "already_exists"));
    }
    let label = Label { id: call.db.next_id(), name, color, description };
    let shape = shapes::label(call.db, call.repo(), &label);
    call.repo_mut().labels.push(label);
    Ok(ApiResponse::created(shape))
}

pub(crate) fn get(call: &mut ApiCall<'_>) -> ApiResult {
    let label = find(call, call.parameter("name")).ok_or_else(ApiError::not_found)?;
    Ok(ApiResponse::ok(shapes::label(call.db, call.repo(), label)))
}

pub(crate) fn list_on_issue(call: &mut ApiCall<'_>) -> ApiResult {
    let all = on_issue(call)?;
    Ok(page(call, all))
}

pub(crate) fn add(call: &mut ApiCall<'_>) -> ApiResult {
    let number = call.issue()?.number;
    let names = call.names("labels")?;
    if names.iter().any(|name| name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX) {
        return Err(ApiError::invalid("Label", "name", "invalid"));
    }
    if call.issue()?.labels.len() + names.len() > LABELS_OF_ISSUE_MAX {
        return Err(ApiError::custom("Issue", "an issue can have at most 100 labels"));
    }
    for name in names {
        call.actor().add_label(number, &name);
    }
    on_issue(call).map(|all| ApiResponse::ok(Value::Array(all)))
}

pub(crate) fn remove(call: &mut ApiCall<'_>) -> ApiResult {
    let number = call.issue()?.number;
    let name = call.parameter("name").to_owned();
    match call.actor().remove_label(number, &name) {
        true => on_issue(call).map(|all| ApiResponse::ok(Value::Array(all))),
        false => Err(ApiError::new(404, "Label does not exist")),
    }
}

fn find<'a>(call: &'a ApiCall<'_>, name: &str) -> Option<&'a Label> {
    call.repo().label(name)
}

fn on_issue(call: &ApiCall<'_>) -> Result<Vec<Value>, ApiError> {
    let names = &call.issue()?.labels;
    let found = names.iter().filter_map(|name| find(call, name));
    Ok(found.map(|label| shapes::label(call.db, call.repo(), label)).collect())
}
