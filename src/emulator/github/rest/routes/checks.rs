//! Check runs, and the combined status, which only other integrations write.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::github::data::CheckRun;
use crate::github::rest::call::ApiCall;
use crate::github::rest::pagination::counted_page;
use crate::github::rest::response::{ApiError, ApiResponse, ApiResult, BODY_CHARACTERS_MAX};
use crate::github::shapes;

/// GitHub's limit for one request.
const ANNOTATIONS_MAX: usize = 50;
const STATUSES: [&str; 3] = ["queued", "in_progress", "completed"];
const CONCLUSIONS: [&str; 7] =
    ["action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out"];

pub(crate) fn create(call: &mut ApiCall<'_>) -> ApiResult {
    let name = call.required_text("CheckRun", "name")?;
    let head = call.required_text("CheckRun", "head_sha")?;
    let head_sha = call.repo().git.resolve(&head)?.filter(|sha| *sha == head);
    let head_sha = head_sha.ok_or_else(|| ApiError::no_commit(&head))?;
    let mut run = CheckRun::queued(call.db.next_id(), name, head_sha, call.now);
    apply(call, &mut run)?;
    let shape = shapes::check_run(call.db, call.repo(), &run);
    call.repo_mut().check_runs.push(run);
    Ok(ApiResponse::created(shape))
}

pub(crate) fn get(call: &mut ApiCall<'_>) -> ApiResult {
    let index = position(call)?;
    Ok(ApiResponse::ok(shapes::check_run(call.db, call.repo(), &call.repo().check_runs[index])))
}

pub(crate) fn update(call: &mut ApiCall<'_>) -> ApiResult {
    let index = position(call)?;
    let mut run = call.repo().check_runs[index].clone();
    if let Some(name) = call.optional_text("CheckRun", "name")? {
        run.name = name;
    }
    apply(call, &mut run)?;
    let shape = shapes::check_run(call.db, call.repo(), &run);
    call.repo_mut().check_runs[index] = run;
    Ok(ApiResponse::ok(shape))
}

pub(crate) fn list_for_ref(call: &mut ApiCall<'_>) -> ApiResult {
    let name = call.parameter("ref");
    let sha = call.repo().git.resolve(name)?.ok_or_else(|| ApiError::no_commit(name))?;
    let is_listed = |run: &&CheckRun| {
        run.head_sha == sha
            && call.query("check_name").is_none_or(|name| run.name == name)
            && call.query("status").is_none_or(|status| run.status == status)
    };
    let runs = call.repo().check_runs.iter().rev().filter(is_listed);
    let all: Vec<Value> = runs.map(|run| shapes::check_run(call.db, call.repo(), run)).collect();
    Ok(counted_page(call, "check_runs", all))
}

pub(crate) fn combined_status(call: &mut ApiCall<'_>) -> ApiResult {
    let name = call.parameter("ref");
    let sha = call.repo().git.resolve(name)?.ok_or_else(ApiError::not_found)?;
    let api = format!("{}/commits/{sha}", call.db.api_url(call.repo()));
    Ok(ApiResponse::ok(json!({
        "state": "pending",
        "statuses": [],
        "sha": sha,
        "total_count": 0,
        "repository": shapes::repository(call.db, call.repo()),
        "commit_url": api,
        "url": format!("{api}/status"),
    })))
}

fn position(call: &ApiCall<'_>) -> Result<usize, ApiError> {
    let id = call.number("check_run_id")?;
    call.repo().check_runs.iter().position(|run| run.id == id).ok_or_else(ApiError::not_found)
}

/// Validates the body and applies it to the run.
fn apply(call: &ApiCall<'_>, run: &mut CheckRun) -> Result<(), ApiError> {
    const RESOURCE: &str = "CheckRun";
    let chosen = |field: &str, known: &[&str]| match call.optional_text(RESOURCE, field)? {
        Some(text) if !known.contains(&text.as_str()) => Err(ApiError::invalid(RESOURCE, field, "invalid")),
        text => Ok(text),
    };
    if let Some(status) = chosen("status", &STATUSES)? {
        run.status = status;
    }
    if let Some(conclusion) = chosen("conclusion", &CONCLUSIONS)? {
        run.conclusion = Some(conclusion);
        run.status = "completed".to_owned();
    }
    if call.body["status"] == "completed" && call.body["conclusion"].is_null() {
        return Err(ApiError::invalid(RESOURCE, "conclusion", "missing_field"));
    }
    if run.status == "completed" {
        run.completed_at = Some(time(call, "completed_at")?.unwrap_or(call.now));
    }
    run.started_at = time(call, "started_at")?.unwrap_or(run.started_at);
    run.external_id = call.optional_text(RESOURCE, "external_id")?.or(run.external_id.take());
    run.details_url = call.optional_text(RESOURCE, "details_url")?.or(run.details_url.take());
    let output = &call.body["output"];
    if output.is_null() {
        return Ok(());
    }
    let text = |field: &str| match &output[field] {
        Value::String(text) if text.chars().count() > BODY_CHARACTERS_MAX => {
            Err(ApiError::too_long(RESOURCE, field))
        }
        Value::String(text) => Ok(Some(text.clone())),
        _ => Ok(None),
    };
    let annotations = output["annotations"].as_array().cloned().unwrap_or_default();
    if annotations.len() > ANNOTATIONS_MAX || !annotations.iter().all(is_annotation) {
        return Err(ApiError::invalid(RESOURCE, "annotations", "invalid"));
    }
    run.annotations.extend(annotations);
    run.title = text("title")?;
    run.summary = text("summary")?;
    run.text = text("text")?;
    match run.summary {
        Some(_) => Ok(()),
        None => Err(ApiError::invalid(RESOURCE, "summary", "missing_field")),
    }
}

/// Whether an annotation has the fields that GitHub requires.
fn is_annotation(given: &Value) -> bool {
    let line = |name: &str| given[name].as_u64().filter(|line| *line > 0);
    let level = given["annotation_level"].as_str();
    given["path"].as_str().is_some_and(|path| !path.is_empty() && !path.starts_with('/'))
        && line("start_line").zip(line("end_line")).is_some_and(|(start, end)| start <= end)
        && level.is_some_and(|level| ["notice", "warning", "failure"].contains(&level))
        && given["message"].as_str().is_some_and(|message| !message.is_empty())
}

fn time(call: &ApiCall<'_>, field: &str) -> Result<Option<Timestamp>, ApiError> {
    let text = call.optional_text("CheckRun", field)?;
    let parse = |text: String| text.parse().map_err(|_| ApiError::invalid("CheckRun", field, "invalid"));
    text.map(parse).transpose()
}
