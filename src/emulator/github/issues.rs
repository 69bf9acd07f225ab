//! Issues over REST. Pull requests are issues too.

use serde_json::Value;

use super::call::{Answer, Call, Outcome, Refusal};
use super::deeds::{IssueEdit, add_label, edit_issue, open_issue, remove_label};
use super::pages::page;
use super::shapes;
use super::world::Issue;

pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let state = call.query("state").unwrap_or("open");
    if !["open", "closed", "all"].contains(&state) {
        return Err(Refusal::invalid("Issue", "state", "invalid"));
    }
    let labels: Vec<&str> = call
        .query("labels")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let since = call.query("since").and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let wanted = |issue: &&Issue| {
        let has = |label: &&str| issue.labels.iter().any(|own| own.eq_ignore_ascii_case(label));
        (state == "all" || issue.open == (state == "open"))
            && labels.iter().all(has)
            && call.query("creator").is_none_or(|login| issue.author.eq_ignore_ascii_case(login))
            && since.is_none_or(|since| issue.updated_at >= since)
    };
    let mut found: Vec<&Issue> = call.repo().issues.values().filter(wanted).collect();
    match call.query("sort") {
        Some("updated") => found.sort_by_key(|issue| issue.updated_at),
        Some("comments") => found.sort_by_key(|issue| issue.comments.len()),
        _ => {}
    }
    if call.query("direction") != Some("asc") {
        found.reverse();
    }
    let all = found.into_iter().map(|issue| shapes::issue(call.world, call.repo(), issue)).collect();
    Ok(page(call, all))
}

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let title = call.required_text("Issue", "title")?;
    let body = call.optional_text("Issue", "body")?;
    let labels = call.names("labels")?;
    let (by, now, repository) = (call.login(), call.now, call.repository);
    let number = open_issue(call.world, repository, title, body, &by, now);
    for label in labels {
        add_label(call.world, repository, number, &label, &by, now);
    }
    show(call, number).map(Answer::created)
}

pub(super) fn get(call: &mut Call<'_>) -> Outcome {
    let number = call.issue()?.number;
    show(call, number).map(Answer::ok)
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let issue = call.issue()?;
    let (number, before) = (issue.number, issue.labels.clone());
    let edit = IssueEdit {
        title: call.optional_text("Issue", "title")?,
        body: call.optional_text("Issue", "body")?,
        open: open_state(call, "Issue")?,
        state_reason: call.optional_text("Issue", "state_reason")?,
        locked: None,
    };
    let labels = match call.body["labels"] {
        Value::Null => None,
        _ => Some(call.names("labels")?),
    };
    let (by, now, repository) = (call.login(), call.now, call.repository);
    edit_issue(call.world, repository, number, edit, &by, now);
    if let Some(labels) = labels {
        for gone in before.iter().filter(|label| !labels.contains(label)) {
            remove_label(call.world, repository, number, gone, &by, now);
        }
        for label in &labels {
            add_label(call.world, repository, number, label, &by, now);
        }
    }
    show(call, number).map(Answer::ok)
}

/// What happened to an issue, as far as the emulator keeps it: its labels.
pub(super) fn events(call: &mut Call<'_>) -> Outcome {
    let issue = call.issue()?;
    let all = issue.events.iter().map(|event| shapes::label_event(call.world, call.repo(), event)).collect();
    Ok(page(call, all))
}

/// `state` of a body: `open` or `closed`.
pub(super) fn open_state(call: &Call<'_>, resource: &str) -> Result<Option<bool>, Refusal> {
    match call.body["state"].as_str() {
        None if call.body["state"].is_null() => Ok(None),
        Some("open") => Ok(Some(true)),
        Some("closed") => Ok(Some(false)),
        _ => Err(Refusal::invalid(resource, "state", "invalid")),
    }
}

fn show(call: &Call<'_>, number: u64) -> Result<Value, Refusal> {
    let issue = call.repo().issues.get(&number).ok_or_else(Refusal::not_found)?;
    Ok(shapes::issue(call.world, call.repo(), issue))
}
