//! `/_emulator/…`: what people do on GitHub's pages, for scripts and for other processes' tests.
//! Not part of GitHub, not recorded, without authentication: the emulator listens on loopback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::request::Parts;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Shared;
use super::call::Answer;
use super::deeds::{self, IssueEdit};
use super::faults::{Fault, FaultRule};
use super::operations::percent_decode;
use super::people::Role;
use super::pull_deeds::{NewReview, NewReviewComment, merge_pull, set_draft, submit_review};
use super::server::Reply;
use super::upheavals::{Disruption, disrupt};
use super::webhooks;
use super::world::World;
use super::{DEFAULT_ACTOR, beginning::ensure_user, state};
use crate::repository_name::{InvalidRepositoryName, RepositoryName};

/// Why an admin request failed: status and words.
type Problem = (u16, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenIssue {
    title: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default = "default_actor")]
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutLabel {
    label: String,
    #[serde(default = "default_actor")]
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteComment {
    body: String,
    #[serde(default = "default_actor")]
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Review {
    state: ReviewState,
    #[serde(default)]
    body: String,
    #[serde(default)]
    comments: Vec<NewReviewComment>,
    #[serde(default = "default_actor")]
    by: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReviewState {
    Approved,
    ChangesRequested,
    Commented,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditIssue {
    title: Option<String>,
    body: Option<String>,
    state: Option<OpenState>,
    locked: Option<bool>,
    #[serde(default = "default_actor")]
    by: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OpenState {
    Open,
    Closed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetRole {
    permission: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetWebhook {
    url: Option<url::Url>,
    secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetInstallation {
    suspended: Option<bool>,
    permissions: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetRateLimit {
    max: u64,
    used: u64,
    resets_in_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditRepository {
    name: Option<String>,
    archived: Option<bool>,
}

fn default_actor() -> String {
    DEFAULT_ACTOR.to_owned()
}

/// Answers a request below `/_emulator/`.
pub(super) async fn handle(shared: &Arc<Shared>, parts: &Parts, path: &str, body: &Bytes) -> Reply {
    let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(percent_decode).collect();
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let (shared, method, body) = (shared.clone(), parts.method.to_string(), body.clone());
    let done = tokio::task::spawn_blocking(move || {
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        shared.with_world(|world| {
            let first_delivery = world.ids;
            let mut answer = act(world, &method, &names, &query, &body, Timestamp::now())?;
            // Which webhooks this set off, so that a script can wait for them.
            let fired = world.deliveries.iter().filter(|delivery| delivery.id > first_delivery);
            answer["deliveries_queued"] = json!(fired.map(|d| d.guid.clone()).collect::<Vec<_>>());
            Ok(answer)
        })
    });
    match done.await {
        Ok(Ok(answer)) => Reply::json(Answer::ok(answer)),
        Ok(Err((status, message))) => Reply::json(Answer::new(status, json!({ "message": message }))),
        Err(error) => Reply::text(500, &format!("the emulator failed: {error}\n")),
    }
}

fn act(
    world: &mut World,
    method: &str,
    segments: &[&str],
    query: &[(String, String)],
    body: &[u8],
    now: Timestamp,
) -> Result<Value, Problem> {
    let asked = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let repository = match asked("repository") {
        Some(name) => world.repository_named(name),
        None => (!world.repositories.is_empty()).then_some(0),
    };
    let place = || repository.ok_or_else(|| (404, "the emulator has no such repository".to_owned()));
    match (method, segments) {
        ("GET", ["state"]) => {
            let mut state = state::describe(world);
            state["settled"] = json!(world.deliveries.iter().all(|delivery| delivery.outcome.is_some()));
            Ok(state)
        }
        ("POST", ["issues"]) => {
            let OpenIssue { title, body, labels, by } = read(body)?;
            ensure_user(world, &by);
            let at = place()?;
            let number = deeds::open_issue(world, at, title, body, &by, now);
            for label in labels {
                deeds::add_label(world, at, number, &label, &by, now);
            }
            Ok(json!({ "number": number }))
        }
        ("PATCH", ["issues", number]) => {
            let edit: EditIssue = read(body)?;
            let (at, number) = issue(world, place()?, number)?;
            let open = edit.state.map(|state| matches!(state, OpenState::Open));
            let EditIssue { title, body, locked, by, .. } = edit;
            let edit = IssueEdit { title, body, open, locked, state_reason: None };
            deeds::edit_issue(world, at, number, edit, &by, now);
            Ok(json!({ "number": number }))
        }
        ("POST", ["issues", number, "labels"]) => {
            let PutLabel { label, by } = read(body)?;
            ensure_user(world, &by);
            let (at, number) = issue(world, place()?, number)?;
            deeds::add_label(world, at, number, &label, &by, now);
            Ok(json!({ "number": number }))
        }
        ("DELETE", ["issues", number, "labels", label]) => {
            let (at, number) = issue(world, place()?, number)?;
            let by = asked("by").unwrap_or(DEFAULT_ACTOR).to_owned();
            match deeds::remove_label(world, at, number, label, &by, now) {
                true => Ok(json!({ "number": number })),
                false => Err((404, format!("issue {number} has no label {label:?}"))),
            }
        }
        ("POST", ["issues", number, "comments"]) => {
            let WriteComment { body, by } = read(body)?;
            ensure_user(world, &by);
            let (at, number) = issue(world, place()?, number)?;
            let id = deeds::add_comment(world, at, number, body, &by, now);
            Ok(json!({ "id": id }))
        }
        ("POST", ["pulls", number, "reviews"]) => {
            let Review { state, body, comments, by } = read(body)?;
            ensure_user(world, &by);
            let (at, number) = issue(world, place()?, number)?;
            let state = match state {
                ReviewState::Approved => "APPROVED",
                ReviewState::ChangesRequested => "CHANGES_REQUESTED",
                ReviewState::Commented => "COMMENTED",
            };
            let review = NewReview { state: state.to_owned(), body, comments };
            let id = submit_review(world, at, number, review, &by, now);
            id.map(|id| json!({ "id": id })).ok_or_else(|| (404, format!("{number} is not a pull request")))
        }
        ("POST", ["pulls", number, "ready"]) => {
            let (at, number) = issue(world, place()?, number)?;
            set_draft(world, at, number, false, DEFAULT_ACTOR, now);
            Ok(json!({ "number": number }))
        }
        ("POST", ["pulls", number, "merge"]) => {
            let (at, number) = issue(world, place()?, number)?;
            let merged =
                merge_pull(world, at, number, DEFAULT_ACTOR, now).map_err(|e| (500, e.to_string()))?;
            merged.map(|sha| json!({ "sha": sha })).ok_or_else(|| (409, format!("{number} cannot be merged")))
        }
        ("PUT", ["users", login, "permission"]) => {
            let SetRole { permission } = read(body)?;
            ensure_user(world, login).role = permission;
            Ok(json!({}))
        }
        ("POST", ["faults"]) => {
            let rule: FaultRule = read(body)?;
            world.faults.push(Fault::new(rule).map_err(|why| (422, why))?);
            Ok(json!({}))
        }
        ("POST", ["upheavals"]) => {
            let upheaval: Disruption = read(body)?;
            disrupt(world, &upheaval, now).map_err(|what| (404, format!("the emulator has no {what}")))?;
            Ok(json!({}))
        }
        ("POST", ["deliveries", guid, "redeliver"]) => redeliver(world, guid, now),
        ("PUT", ["webhook"]) => {
            let SetWebhook { url, secret } = read(body)?;
            world.app.webhook_url = url;
            if let Some(secret) = secret {
                world.app.webhook_secret = secret.into();
            }
            Ok(json!({}))
        }
        ("PUT", ["installation"]) => {
            let SetInstallation { suspended, permissions } = read(body)?;
            if let Some(suspended) = suspended {
                world.app.suspended_at = suspended.then_some(now);
            }
            if let Some(permissions) = permissions {
                world.app.granted = permissions;
            }
            Ok(json!({}))
        }
        ("POST", ["tokens", "expire"]) => {
            world.tokens.values_mut().for_each(|token| token.expires_at = now);
            Ok(json!({}))
        }
        ("PUT", ["rate_limit"]) => {
            let SetRateLimit { max, used, resets_in_seconds } = read(body)?;
            world.set_rate_limit(max, used, resets_in_seconds.map(Duration::from_secs), now);
            Ok(json!({}))
        }
        ("PATCH", ["repository"]) => {
            let EditRepository { name, archived } = read(body)?;
            let at = place()?;
            let new: Option<RepositoryName> = match name {
                Some(name) => {
                    let full_name = format!("{}/{name}", world.repositories[at].owner);
                    Some(full_name.parse().map_err(|error: InvalidRepositoryName| (422, error.to_string()))?)
                }
                None => None,
            };
            let repository = &mut world.repositories[at];
            repository.archived = archived.unwrap_or(repository.archived);
            if let Some(new) = new {
                repository.former_names.push(repository.full_name());
                repository.name = new.name().to_owned();
            }
            Ok(json!({ "full_name": repository.full_name() }))
        }
        _ => Err((404, format!("the emulator has no {method} /_emulator/{}", segments.join("/")))),
    }
}

/// Sends the newest delivery with this GUID again.
pub(super) fn redeliver(world: &mut World, guid: &str, now: Timestamp) -> Result<Value, Problem> {
    let found = world.deliveries.iter().rev().find(|delivery| delivery.guid == guid);
    let id =
        found.map(|delivery| delivery.id).ok_or_else(|| (404, format!("there was no delivery {guid}")))?;
    Ok(json!({ "id": webhooks::redeliver(world, id, now) }))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| (422, format!("the body is not what is expected: {error}")))
}

fn issue(world: &World, repository: usize, number: &str) -> Result<(usize, u64), Problem> {
    let known = number.parse().ok().filter(|n| world.repositories[repository].issues.contains_key(n));
    known.map(|number| (repository, number)).ok_or_else(|| (404, format!("there is no issue {number}")))
}
