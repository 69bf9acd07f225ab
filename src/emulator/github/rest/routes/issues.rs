//! Issues. Pull requests are issues too.

use serde_json::Value;

use crate::github::data::Issue;
use crate::github::mutations::IssueEdit;
use crate::github::rest::call::ApiCall;
use crate::github::rest::pagination::page;
use crate::github::rest::response::{ApiError, ApiResponse, ApiResult};
use crate::github::shapes;

pub(crate) fn list(call: &mut ApiCall<'_>) -> ApiResult {
    let open = call.listed_state("Issue")?;
    let labels: Vec<&str> = call
        .query("labels")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let since = call.query("since").and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let is_listed = |issue: &&Issue| {
        let has = |label: &&str| issue.labels.iter().any(|own| own.eq_ignore_ascii_case(label));
        open.is_none_or(|open| issue.open == open)
            && labels.iter().all(has)
            && call.query("creator").is_none_or(|login| issue.author.eq_ignore_ascii_case(login))
            && since.is_none_or(|since| issue.updated_at >= since)
    };
    let mut found: Vec<&Issue> = call.repo().issues.values().filter(is_listed).collect();
    match call.query("sort") {
        Some("updated") => found.sort_by_key(|issue| issue.updated_at),
        Some("comments") => found.sort_by_key(|issue| issue.comments.len()),
        _ => {}
    }
    if call.query("direction") != Some("asc") {
        found.reverse();
    }
    let all = found.into_iter().map(|issue| shapes::issue(call.db, call.repo(), issue)).collect();
    Ok(page(call, all))
}

pub(crate) fn create(call: &mut ApiCall<'_>) -> ApiResult {
    let title = call.required_text("Issue", "title")?;
    let body = call.optional_text("Issue", "body")?;
    let labels = call.names("labels")?;
    let number = call.actor().open_issue(title, body);
    for label in labels {
        call.actor().add_label(number, &label);
    }
    show(call, number).map(ApiResponse::created)
}

pub(crate) fn get(call: &mut ApiCall<'_>) -> ApiResult {
    let number = call.issue()?.number;
    show(call, number).map(ApiResponse::ok)
}

pub(crate) fn update(call: &mut ApiCall<'_>) -> ApiResult {
    let issue = call.issue()?;
    let (number, before) = (issue.number, issue.labels.clone());
    let edit = IssueEdit {
        title: call.optional_text("Issue", "title")?,
        body: call.optional_text("Issue", "body")?,
        open: call.open_state("Issue")?,
        state_reason: call.optional_text("Issue", "state_reason")?,
        locked: None,
    };
    let labels = match call.body["labels"] {
        Value::Null => None,
        _ => Some(call.names("labels")?),
    };
    call.actor().edit_issue(number, edit);
    if let Some(labels) = labels {
        for removed in before.iter().filter(|label| !labels.contains(label)) {
            call.actor().remove_label(number, removed);
        }
        for label in &labels {
            call.actor().add_label(number, label);
        }
    }
    show(call, number).map(ApiResponse::ok)
}

/// The events of an issue that the emulator records: those of its labels.
pub(crate) fn events(call: &mut ApiCall<'_>) -> ApiResult {
    let issue = call.issue()?;
    let all = issue.events.iter().map(|event| shapes::label_event(call.db, call.repo(), event)).collect();
    Ok(page(call, all))
}

fn show(call: &ApiCall<'_>, number: u64) -> Result<Value, ApiError> {
    let issue = call.repo().issues.get(&number).ok_or_else(ApiError::not_found)?;
    Ok(shapes::issue(call.db, call.repo(), issue))
}
