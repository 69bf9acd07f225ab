//! `/_emulator/…`: actions of people on GitHub's pages, for scripts and for tests in other processes. Not
//! part of GitHub, not recorded, and without authentication, since the emulator listens on loopback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::request::Parts;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::reply::{HttpReply, query_pairs};
use super::shared::Shared;
use crate::github::data::{ActiveFault, DEFAULT_ACTOR, Database, Disruption, FaultRule, Role};
use crate::github::mutations::{
    Actor, IssueEdit, NewReview, NewReviewComment, apply_disruption, redeliver_newest, rename_repository,
};
use crate::github::rest::ApiResponse;
use crate::github::snapshot::snapshot;

/// Why an admin request failed: status and message.
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
struct AddLabel {
    label: String,
    #[serde(default = "default_actor")]
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddComment {
    body: String,
    #[serde(default = "default_actor")]
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitReview {
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
pub(super) async fn handle(shared: &Arc<Shared>, parts: &Parts, path: &str, body: &Bytes) -> HttpReply {
    let decoded = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(decoded).collect();
    let query = query_pairs(parts);
    let (shared, method, body) = (shared.clone(), parts.method.to_string(), body.clone());
    let done = tokio::task::spawn_blocking(move || {
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        shared.with_db(|db| {
            let last_id = db.last_id;
            let request = AdminRequest::new(db, &query, &body, Timestamp::now());
            let mut response = request.carry_out(&method, &names)?;
            // The webhooks of this request, so that a script can wait for them.
            let queued = db.deliveries.iter().filter(|delivery| delivery.id > last_id);
            response["deliveries_queued"] = json!(queued.map(|d| d.guid.clone()).collect::<Vec<_>>());
            Ok(response)
        })
    });
    match done.await {
        Ok(Ok(response)) => HttpReply::json(ApiResponse::ok(response)),
        Ok(Err((status, message))) => {
            HttpReply::json(ApiResponse::new(status, json!({ "message": message })))
        }
        Err(error) => HttpReply::panicked(&error),
    }
}

/// One request and what it works on.
struct AdminRequest<'a> {
    db: &'a mut Database,
    /// The index of the repository: the one that the query names, else the first.
    repository: Option<usize>,
    /// The login in the query.
    by: &'a str,
    body: &'a [u8],
    now: Timestamp,
}

impl<'a> AdminRequest<'a> {
    fn new(
        db: &'a mut Database,
        query: &'a BTreeMap<String, String>,
        body: &'a [u8],
        now: Timestamp,
    ) -> Self {
        let repository = match query.get("repository") {
            Some(name) => db.repository_named(name),
            None => (!db.repositories.is_empty()).then_some(0),
        };
        let by = query.get("by").map_or(DEFAULT_ACTOR, String::as_str);
        Self { db, repository, by, body, now }
    }

    fn carry_out(mut self, method: &str, segments: &[&str]) -> Result<Value, Problem> {
        match (method, segments) {
            ("GET", ["state"]) => {
                let mut state = snapshot(self.db);
                state["settled"] = json!(self.db.deliveries_settled());
                Ok(state)
            }
            (_, ["issues", rest @ ..]) => self.change_issue(method, rest),
            ("POST", ["pulls", number, action]) => self.change_pull(number, action),
            ("PUT", ["users", login, "permission"]) => {
                let SetRole { permission } = self.read()?;
                self.db.ensure_account(login).role = permission;
                Ok(json!({}))
            }
            ("POST", ["faults"]) => {
                let rule: FaultRule = self.read()?;
                self.db.faults.push(ActiveFault::new(rule).map_err(|why| (422, why))?);
                Ok(json!({}))
            }
            // `upheavals` is the former name, which scripts may use.
            ("POST", ["disruptions" | "upheavals"]) => {
                let disruption: Disruption = self.read()?;
                apply_disruption(self.db, &disruption, self.now)
                    .map_err(|missing| (404, format!("the emulator has no {missing}")))?;
                Ok(json!({}))
            }
            ("POST", ["deliveries", guid, "redeliver"]) => {
                let id = redeliver_newest(self.db, guid, self.now);
                id.map(|id| json!({ "id": id })).ok_or_else(|| (404, format!("there is no delivery {guid}")))
            }
            ("POST", ["tokens", "expire"]) => {
                self.db.expire_tokens(self.now);
                Ok(json!({}))
            }
            ("PUT", ["webhook" | "installation" | "rate_limit"]) => self.configure(segments[0]),
            ("PATCH", ["repository"]) => self.edit_repository(),
            _ => Err(unknown_route(method, segments)),
        }
    }

    fn change_issue(&mut self, method: &str, segments: &[&str]) -> Result<Value, Problem> {
        match (method, segments) {
            ("POST", []) => {
                let OpenIssue { title, body, labels, by } = self.read()?;
                let mut actor = self.actor(&by)?;
                let number = actor.open_issue(title, body);
                labels.iter().for_each(|label| actor.add_label(number, label));
                Ok(json!({ "number": number }))
            }
            ("PATCH", [number]) => {
                let EditIssue { title, body, state, locked, by } = self.read()?;
                let number = self.issue_number(number)?;
                let open = state.map(|state| matches!(state, OpenState::Open));
                let edit = IssueEdit { title, body, open, locked, state_reason: None };
                self.actor(&by)?.edit_issue(number, edit);
                Ok(json!({ "number": number }))
            }
            ("POST", [number, "labels"]) => {
                let AddLabel { label, by } = self.read()?;
                let number = self.issue_number(number)?;
                self.actor(&by)?.add_label(number, &label);
                Ok(json!({ "number": number }))
            }
            ("DELETE", [number, "labels", label]) => {
                let number = self.issue_number(number)?;
                match self.actor(self.by)?.remove_label(number, label) {
                    true => Ok(json!({ "number": number })),
                    false => Err((404, format!("issue {number} has no label {label:?}"))),
                }
            }
            ("POST", [number, "comments"]) => {
                let AddComment { body, by } = self.read()?;
                let number = self.issue_number(number)?;
                let id = self.actor(&by)?.add_comment(number, body);
                Ok(json!({ "id": id }))
            }
            _ => Err(unknown_route(method, &[&["issues"][..], segments].concat())),
        }
    }

    fn change_pull(&mut self, number: &str, action: &str) -> Result<Value, Problem> {
        match action {
            "reviews" => {
                let SubmitReview { state, body, comments, by } = self.read()?;
                let number = self.issue_number(number)?;
                let state = match state {
                    ReviewState::Approved => "APPROVED",
                    ReviewState::ChangesRequested => "CHANGES_REQUESTED",
                    ReviewState::Commented => "COMMENTED",
                };
                let review = NewReview { state: state.to_owned(), body, comments };
                let id = self.actor(&by)?.submit_review(number, review);
                id.map(|id| json!({ "id": id }))
                    .ok_or_else(|| (404, format!("{number} is not a pull request")))
            }
            "ready" => {
                let number = self.issue_number(number)?;
                self.actor(DEFAULT_ACTOR)?.set_draft(number, false);
                Ok(json!({ "number": number }))
            }
            "merge" => {
                let number = self.issue_number(number)?;
                let merged = self.actor(DEFAULT_ACTOR)?.merge_pull(number);
                let merged = merged.map_err(|error| (500, error.to_string()))?;
                merged
                    .map(|sha| json!({ "sha": sha }))
                    .ok_or_else(|| (409, format!("{number} cannot be merged")))
            }
            _ => Err(unknown_route("POST", &["pulls", number, action])),
        }
    }

    fn configure(&mut self, what: &str) -> Result<Value, Problem> {
        match what {
            "webhook" => {
                let SetWebhook { url, secret } = self.read()?;
                self.db.app.webhook_url = url;
                if let Some(secret) = secret {
                    self.db.app.webhook_secret = secret.into();
                }
            }
            "installation" => {
                let SetInstallation { suspended, permissions } = self.read()?;
                if let Some(suspended) = suspended {
                    self.db.app.suspended_at = suspended.then_some(self.now);
                }
                if let Some(permissions) = permissions {
                    self.db.app.granted = permissions;
                }
            }
            _ => {
                let SetRateLimit { max, used, resets_in_seconds } = self.read()?;
                let resets_in = resets_in_seconds.map(Duration::from_secs);
                self.db.rate_limit.set(max, used, resets_in, self.now);
            }
        }
        Ok(json!({}))
    }

    fn edit_repository(&mut self) -> Result<Value, Problem> {
        let EditRepository { name, archived } = self.read()?;
        let index = self.repository()?;
        if let Some(name) = name {
            let owner = self.db.repositories[index].owner.clone();
            rename_repository(self.db, index, &owner, &name).map_err(|error| (422, error.to_string()))?;
        }
        let repository = &mut self.db.repositories[index];
        repository.archived = archived.unwrap_or(repository.archived);
        Ok(json!({ "full_name": repository.full_name() }))
    }

    fn repository(&self) -> Result<usize, Problem> {
        self.repository.ok_or_else(|| (404, "the emulator has no such repository".to_owned()))
    }

    /// An account, which is created if there is none, acting on the repository.
    fn actor<'b>(&'b mut self, login: &'b str) -> Result<Actor<'b>, Problem> {
        self.db.ensure_account(login);
        let repository = self.repository()?;
        Ok(Actor::new(self.db, repository, login, self.now))
    }

    fn issue_number(&self, text: &str) -> Result<u64, Problem> {
        let issues = &self.db.repositories[self.repository()?].issues;
        let number = text.parse().ok().filter(|number| issues.contains_key(number));
        number.ok_or_else(|| (404, format!("there is no issue {text}")))
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(self.body).map_err(|error| (422, format!("the body is invalid: {error}")))
    }
}

fn unknown_route(method: &str, segments: &[&str]) -> Problem {
    (404, format!("the emulator has no {method} /_emulator/{}", segments.join("/")))
}
