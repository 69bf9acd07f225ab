//! Check runs, and the combined status (which only other integrations write).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::beginning::ensure_user;
use super::call::{Answer, Call, Outcome, Refusal};
use super::pages::counted_page;
use super::repositories::no_commit;
use super::shapes;
use super::webhooks::{Event, fire};
use super::world::{CheckRun, World};
use crate::git::GitHttpError;

/// In one request.
const ANNOTATIONS_MAX: usize = 50;
const STATUSES: [&str; 3] = ["queued", "in_progress", "completed"];
const CONCLUSIONS: [&str; 7] =
    ["action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out"];

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let name = call.required_text("CheckRun", "name")?;
    let head = call.required_text("CheckRun", "head_sha")?;
    let head_sha = call.repo().git.resolve(&head)?.filter(|sha| *sha == head);
    let head_sha = head_sha.ok_or_else(|| no_commit(&head))?;
    let mut run = CheckRun {
        id: call.world.next_id(),
        by: None,
        name,
        head_sha,
        status: "queued".to_owned(),
        conclusion: None,
        external_id: None,
        details_url: None,
        started_at: call.now,
        completed_at: None,
        title: None,
        summary: None,
        text: None,
        annotations: Vec::new(),
    };
    apply(call, &mut run)?;
    let shape = shapes::check_run(call.world, call.repo(), &run);
    call.repo_mut().check_runs.push(run);
    Ok(Answer::created(shape))
}

pub(super) fn get(call: &mut Call<'_>) -> Outcome {
    let index = place(call)?;
    Ok(Answer::ok(shapes::check_run(call.world, call.repo(), &call.repo().check_runs[index])))
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let index = place(call)?;
    let mut run = call.repo().check_runs[index].clone();
    if let Some(name) = call.optional_text("CheckRun", "name")? {
        run.name = name;
    }
    apply(call, &mut run)?;
    let shape = shapes::check_run(call.world, call.repo(), &run);
    call.repo_mut().check_runs[index] = run;
    Ok(Answer::ok(shape))
}

pub(super) fn list_for_ref(call: &mut Call<'_>) -> Outcome {
    let name = call.parameter("ref");
    let sha = call.repo().git.resolve(name)?.ok_or_else(|| no_commit(name))?;
    let wanted = |run: &&CheckRun| {
        run.head_sha == sha
            && call.query("check_name").is_none_or(|name| run.name == name)
            && call.query("status").is_none_or(|status| run.status == status)
    };
    let runs = call.repo().check_runs.iter().rev().filter(wanted);
    let all: Vec<Value> = runs.map(|run| shapes::check_run(call.world, call.repo(), run)).collect();
    Ok(counted_page(call, "check_runs", all))
}

pub(super) fn combined_status(call: &mut Call<'_>) -> Outcome {
    let name = call.parameter("ref");
    let sha = call.repo().git.resolve(name)?.ok_or_else(Refusal::not_found)?;
    let api = format!("{}/repos/{}/commits/{sha}", call.world.urls.api, call.repo().full_name());
    Ok(Answer::ok(json!({
        "state": "pending",
        "statuses": [],
        "sha": sha,
        "total_count": 0,
        "repository": shapes::repository(call.world, call.repo()),
        "commit_url": api,
        "url": format!("{api}/status"),
    })))
}

/// Another App says that a check failed on a branch's head. False: there is no such branch.
pub(super) fn fail_check(
    world: &mut World,
    repository: usize,
    branch: &str,
    (name, summary): (&str, &str),
    now: Timestamp,
) -> Result<bool, GitHttpError> {
    const APP: &str = "octo-ci";
    let Some(head_sha) = world.repositories[repository].git.branch(branch)? else { return Ok(false) };
    let run = CheckRun {
        id: world.next_id(),
        by: Some(APP.to_owned()),
        name: name.to_owned(),
        head_sha,
        status: "completed".to_owned(),
        conclusion: Some("failure".to_owned()),
        external_id: Some(String::new()),
        details_url: Some("https://ci.example.com/".to_owned()),
        started_at: now,
        completed_at: Some(now),
        title: Some(format!("{name} failed")),
        summary: Some(summary.to_owned()),
        text: None,
        annotations: Vec::new(),
    };
    let shape = shapes::check_run(world, &world.repositories[repository], &run);
    world.repositories[repository].check_runs.push(run);
    let by = format!("{APP}[bot]");
    ensure_user(world, &by);
    let fields = json!({"check_run": shape});
    fire(world, Event { name: "check_run", action: Some("completed"), repository, sender: &by, fields }, now);
    Ok(true)
}

fn place(call: &Call<'_>) -> Result<usize, Refusal> {
    let id = call.number("check_run_id")?;
    call.repo().check_runs.iter().position(|run| run.id == id).ok_or_else(Refusal::not_found)
}

/// What the body says, checked.
fn apply(call: &Call<'_>, run: &mut CheckRun) -> Result<(), Refusal> {
    const RESOURCE: &str = "CheckRun";
    let chosen = |field: &str, known: &[&str]| match call.optional_text(RESOURCE, field)? {
        Some(text) if !known.contains(&text.as_str()) => Err(Refusal::invalid(RESOURCE, field, "invalid")),
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
        return Err(Refusal::invalid(RESOURCE, "conclusion", "missing_field"));
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
        Value::String(text) if text.chars().count() > super::call::BODY_CHARACTERS_MAX => {
            Err(Refusal::too_long(RESOURCE, field))
        }
        Value::String(text) => Ok(Some(text.clone())),
        _ => Ok(None),
    };
    let annotations = output["annotations"].as_array().cloned().unwrap_or_default();
    if annotations.len() > ANNOTATIONS_MAX || !annotations.iter().all(is_annotation) {
        return Err(Refusal::invalid(RESOURCE, "annotations", "invalid"));
    }
    run.annotations.extend(annotations);
    run.title = text("title")?;
    run.summary = text("summary")?;
    run.text = text("text")?;
    match run.summary {
        Some(_) => Ok(()),
        None => Err(Refusal::invalid(RESOURCE, "summary", "missing_field")),
    }
}

/// Whether an annotation has what GitHub demands of it.
fn is_annotation(given: &Value) -> bool {
    let line = |name: &str| given[name].as_u64().filter(|line| *line > 0);
    let level = given["annotation_level"].as_str();
    given["path"].as_str().is_some_and(|path| !path.is_empty() && !path.starts_with('/'))
        && line("start_line").zip(line("end_line")).is_some_and(|(start, end)| start <= end)
        && level.is_some_and(|level| ["notice", "warning", "failure"].contains(&level))
        && given["message"].as_str().is_some_and(|message| !message.is_empty())
}

fn time(call: &Call<'_>, field: &str) -> Result<Option<Timestamp>, Refusal> {
    let text = call.optional_text("CheckRun", field)?;
    let parse = |text: String| text.parse().map_err(|_| Refusal::invalid("CheckRun", field, "invalid"));
    text.map(parse).transpose()
}
