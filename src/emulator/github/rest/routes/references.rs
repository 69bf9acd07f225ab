//! Git references.

use serde_json::Value;

use crate::git::{GitError, NO_COMMIT, RefUpdate, UpdateRefused};
use crate::github::rest::call::ApiCall;
use crate::github::rest::pagination::page;
use crate::github::rest::response::{ApiError, ApiResponse, ApiResult};
use crate::github::shapes;

pub(crate) fn get_ref(call: &mut ApiCall<'_>) -> ApiResult {
    let name = format!("refs/{}", call.parameter("ref"));
    let reference = call.repo().git.reference(&name)?.ok_or_else(ApiError::not_found)?;
    Ok(ApiResponse::ok(shapes::git_ref(call.db, call.repo(), &reference)))
}

pub(crate) fn matching_refs(call: &mut ApiCall<'_>) -> ApiResult {
    let prefix = format!("refs/{}", call.parameter("ref"));
    let found = call.repo().git.references(&prefix)?;
    let all: Vec<Value> =
        found.iter().map(|reference| shapes::git_ref(call.db, call.repo(), reference)).collect();
    Ok(page(call, all))
}

pub(crate) fn create_ref(call: &mut ApiCall<'_>) -> ApiResult {
    let name = call.required_text("Reference", "ref")?;
    let sha = call.required_text("Reference", "sha")?;
    if name.matches('/').count() < 2 || !name.starts_with("refs/") {
        let message = "Reference name must start with 'refs' and have at least two slashes.";
        return Err(ApiError::new(422, message));
    }
    call.repo().git.create_reference(&name, &sha).map_err(rejection)?;
    report_move(call, &name, NO_COMMIT, &sha)?;
    show(call, &name, ApiResponse::created)
}

pub(crate) fn update_ref(call: &mut ApiCall<'_>) -> ApiResult {
    let name = format!("refs/{}", call.parameter("ref"));
    let sha = call.required_text("Reference", "sha")?;
    let force = call.body["force"].as_bool().unwrap_or(false);
    let before = call.repo().git.reference(&name)?.map(|reference| reference.sha);
    call.repo().git.update_reference(&name, &sha, force).map_err(rejection)?;
    report_move(call, &name, before.as_deref().unwrap_or(NO_COMMIT), &sha)?;
    show(call, &name, ApiResponse::ok)
}

pub(crate) fn delete_ref(call: &mut ApiCall<'_>) -> ApiResult {
    let name = format!("refs/{}", call.parameter("ref"));
    let before = call.repo().git.reference(&name)?.map(|reference| reference.sha);
    call.repo().git.delete_reference(&name).map_err(rejection)?;
    report_move(call, &name, before.as_deref().unwrap_or(NO_COMMIT), NO_COMMIT)?;
    Ok(ApiResponse::no_content())
}

fn show(call: &ApiCall<'_>, name: &str, with: fn(Value) -> ApiResponse) -> ApiResult {
    let reference = call.repo().git.reference(name)?.ok_or_else(ApiError::not_found)?;
    Ok(with(shapes::git_ref(call.db, call.repo(), &reference)))
}

fn report_move(call: &mut ApiCall<'_>, name: &str, before: &str, after: &str) -> Result<(), ApiError> {
    let update = RefUpdate { name: name.to_owned(), before: before.to_owned(), after: after.to_owned() };
    Ok(call.actor().references_moved(&[update])?)
}

fn rejection(error: UpdateRefused) -> ApiError {
    match error {
        UpdateRefused::Git(error) => GitError::from(error).into(),
        UpdateRefused::BadName => ApiError::new(422, "Reference name is invalid"),
        UpdateRefused::Exists
        | UpdateRefused::Missing
        | UpdateRefused::UnknownObject
        | UpdateRefused::NotFastForward => ApiError::new(422, &error.to_string()),
    }
}
