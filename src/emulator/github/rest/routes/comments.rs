//! Comments on issues and pull requests.

use serde_json::Value;

use crate::github::rest::call::ApiCall;
use crate::github::rest::pagination::page;
use crate::github::rest::response::{ApiError, ApiResponse, ApiResult};
use crate::github::shapes;

pub(crate) fn list(call: &mut ApiCall<'_>) -> ApiResult {
    let issue = call.issue()?;
    let since = call.query("since").and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let all = issue
        .comments
        .iter()
        .filter(|comment| since.is_none_or(|since| comment.updated_at >= since))
        .map(|comment| shapes::comment(call.db, call.repo(), issue, comment))
        .collect();
    Ok(page(call, all))
}

pub(crate) fn create(call: &mut ApiCall<'_>) -> ApiResult {
    let issue = call.issue()?;
    let (number, locked) = (issue.number, issue.locked);
    let body = call.required_text("IssueComment", "body")?;
    if locked {
        return Err(ApiError::new(403, "Unable to create comment because issue is locked."));
    }
    let id = call.actor().add_comment(number, body).ok_or_else(ApiError::not_found)?;
    show(call, id).map(ApiResponse::created)
}

pub(crate) fn get(call: &mut ApiCall<'_>) -> ApiResult {
    let id = call.number("comment_id")?;
    show(call, id).map(ApiResponse::ok)
}

pub(crate) fn update(call: &mut ApiCall<'_>) -> ApiResult {
    let id = existing_comment(call)?;
    let body = call.required_text("IssueComment", "body")?;
    call.actor().edit_comment(id, body);
    show(call, id).map(ApiResponse::ok)
}

pub(crate) fn delete(call: &mut ApiCall<'_>) -> ApiResult {
    let id = existing_comment(call)?;
    call.actor().delete_comment(id);
    Ok(ApiResponse::no_content())
}

/// The comment in the path. On GitHub too, an App with write access may change every comment.
fn existing_comment(call: &ApiCall<'_>) -> Result<u64, ApiError> {
    let id = call.number("comment_id")?;
    call.repo().comment_position(id).map(|_| id).ok_or_else(ApiError::not_found)
}

fn show(call: &ApiCall<'_>, id: u64) -> Result<Value, ApiError> {
    let (number, index) = call.repo().comment_position(id).ok_or_else(ApiError::not_found)?;
    let issue = &call.repo().issues[&number];
    Ok(shapes::comment(call.db, call.repo(), issue, &issue.comments[index]))
}
