//! What GitHub does around every operation: credentials, routing, permissions, rate limit, ETags, headers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::access::{identify, permit};
use super::call::{ApiCall, Caller};
use super::operations::{Operation, route};
use super::request::ApiRequest;
use super::response::{ApiError, ApiResponse};
use crate::github::data::Database;

/// Answers a request, with GitHub's usual headers.
pub(crate) fn respond(db: &mut Database, request: &ApiRequest, now: Timestamp) -> ApiResponse {
    let mut response = match perform(db, request, now) {
        Ok(response) => response,
        Err(ApiError(response)) => *response,
    };
    if request.method == "GET" && response.status == 200 {
        add_etag(request, &mut response);
    }
    add_headers(db, &mut response);
    response
}

/// Adds the headers that every response of the API has.
pub(crate) fn add_headers(db: &Database, response: &mut ApiResponse) {
    let limit = &db.rate_limit;
    let remaining = limit.max.saturating_sub(limit.used);
    let usual = [
        ("x-ratelimit-limit", limit.max.to_string()),
        ("x-ratelimit-remaining", remaining.to_string()),
        ("x-ratelimit-used", limit.used.min(limit.max).to_string()),
        ("x-ratelimit-reset", limit.resets_at.as_second().to_string()),
        ("x-ratelimit-resource", "core".to_owned()),
        ("x-github-request-id", request_id()),
        ("x-github-media-type", "github.v3; format=json".to_owned()),
        ("server", "github.com".to_owned()),
    ];
    for (name, value) in usual {
        // A fault may have set its own value.
        if !response.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            response.headers.push((name.to_owned(), value));
        }
    }
}

/// `ABCD:12345:…`: five groups, as GitHub writes them.
fn request_id() -> String {
    let hex = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
    [&hex[..4], &hex[4..10], &hex[10..17], &hex[17..24], &hex[24..]].join(":")
}

fn perform(db: &mut Database, request: &ApiRequest, now: Timestamp) -> Result<ApiResponse, ApiError> {
    if request.headers.get("user-agent").is_none_or(|agent| agent.trim().is_empty()) {
        let message = "Request forbidden by administrative rules. Please make sure your request \
                       has a User-Agent header";
        return Err(ApiError::new(403, message));
    }
    let caller = identify(db, request.headers.get("authorization").map(String::as_str), now)?;
    let path = named_path(db, &request.path)?;
    let (operation, parameters) = route(&request.method, &path).ok_or_else(ApiError::not_found)?;
    db.count_call(operation.id);
    let repository = find_repository(db, &parameters)?;
    permit(db, &caller, operation.access, repository)?;
    spend_rate_limit(db, operation, &caller, now)?;
    let body = read_body(&request.body)?;
    let link_path = match repository {
        Some(index) => {
            let rest = path.splitn(5, '/').nth(4).map(|rest| format!("/{rest}")).unwrap_or_default();
            format!("/repositories/{}{rest}", db.repositories[index].id)
        }
        None => path,
    };
    let query = request.query.as_deref().unwrap_or_default();
    let mut call = ApiCall {
        login: db.app.bot_login(),
        db,
        caller,
        repository: repository.unwrap_or_default(),
        parameters,
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        body,
        link_path,
        now,
    };
    (operation.run)(&mut call)
}

/// The path with the repository's name: `/repositories/{id}/…` is the same as `/repos/{owner}/{repo}/…`. A
/// former name is answered with a redirect.
fn named_path(db: &Database, path: &str) -> Result<String, ApiError> {
    if let Some(rest) = path.strip_prefix("/repositories/") {
        let (id, rest) = rest.split_once('/').map_or((rest, String::new()), |(id, r)| (id, format!("/{r}")));
        let found = db.repositories.iter().find(|repository| repository.id.to_string() == id);
        let found = found.ok_or_else(ApiError::not_found)?;
        return Ok(format!("/repos/{}{rest}", found.full_name()));
    }
    let parts: Vec<&str> = path.splitn(5, '/').collect();
    if let ["", "repos", owner, name, rest @ ..] = &parts[..] {
        let full_name = format!("{owner}/{name}");
        if db.repository_named(&full_name).is_none()
            && let Some(index) = db.repository_formerly_named(&full_name)
        {
            let id = db.repositories[index].id;
            let rest = rest.first().map(|rest| format!("/{rest}")).unwrap_or_default();
            let location = format!("{}/repositories/{}{rest}", db.urls.api, id);
            return Err(ApiError::moved(&location));
        }
    }
    Ok(path.to_owned())
}

fn find_repository(
    db: &Database,
    parameters: &BTreeMap<&'static str, String>,
) -> Result<Option<usize>, ApiError> {
    let (Some(owner), Some(name)) = (parameters.get("owner"), parameters.get("repo")) else {
        return Ok(None);
    };
    match db.repository_named(&format!("{owner}/{name}")) {
        Some(index) => Ok(Some(index)),
        None => Err(ApiError::not_found()),
    }
}

fn spend_rate_limit(
    db: &mut Database,
    operation: &Operation,
    caller: &Caller,
    now: Timestamp,
) -> Result<(), ApiError> {
    db.rate_limit.renew(now);
    if operation.id == "rate-limit/get" || !matches!(caller, Caller::Installation(_)) {
        return Ok(());
    }
    db.rate_limit.used += 1;
    if db.rate_limit.used > db.rate_limit.max {
        let message = format!("API rate limit exceeded for installation ID {}.", db.app.installation);
        return Err(ApiError::new(403, &message));
    }
    Ok(())
}

fn read_body(bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    let body: Value =
        serde_json::from_slice(bytes).map_err(|_| ApiError::new(400, "Problems parsing JSON"))?;
    match body {
        Value::Object(_) | Value::Array(_) => Ok(body),
        _ => Err(ApiError::new(400, "Body should be a JSON object")),
    }
}

fn add_etag(request: &ApiRequest, response: &mut ApiResponse) {
    let digest = hex::encode(Sha256::digest(response.body.to_string()));
    let etag = format!("W/\"{digest}\"");
    let matches = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"') == digest;
    let known = request.headers.get("if-none-match").is_some_and(|tags| tags.split(',').any(matches));
    if known {
        response.status = 304;
        response.body = Value::Null;
    }
    response.headers.push(("etag".to_owned(), etag));
    response.headers.push(("cache-control".to_owned(), "private, max-age=60, s-maxage=60".to_owned()));
}
