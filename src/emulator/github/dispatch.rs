//! One REST request from bytes to answer: faults aside, everything GitHub does around an
//! operation: credentials, routing, permissions, rate limit, ETags, headers. Synchronous; runs
//! with the world's lock held.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::access::{identify, permit};
use super::call::{Answer, Call, Caller, Refusal};
use super::operations::{Operation, route};
use super::world::World;

/// A request as it came in.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) method: String,
    /// Without the API's prefix; still percent-encoded.
    pub(super) path: String,
    pub(super) query: Option<String>,
    /// Lower-case names.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// Answers a request, with GitHub's usual headers.
pub(super) fn respond(world: &mut World, request: &Incoming, now: Timestamp) -> Answer {
    let mut answer = match perform(world, request, now) {
        Ok(answer) => answer,
        Err(Refusal(answer)) => *answer,
    };
    if request.method == "GET" && answer.status == 200 {
        tag(request, &mut answer);
    }
    add_headers(world, &mut answer);
    answer
}

/// The headers every answer of the API has.
pub(super) fn add_headers(world: &World, answer: &mut Answer) {
    let limit = &world.rate_limit;
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
        // A fault may have set its own.
        if !answer.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            answer.headers.push((name.to_owned(), value));
        }
    }
}

/// `ABCD:12345:…`: five groups, as GitHub writes them.
fn request_id() -> String {
    let hex = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
    [&hex[..4], &hex[4..10], &hex[10..17], &hex[17..24], &hex[24..]].join(":")
}

fn perform(world: &mut World, request: &Incoming, now: Timestamp) -> Result<Answer, Refusal> {
    if request.headers.get("user-agent").is_none_or(|agent| agent.trim().is_empty()) {
        let message = "Request forbidden by administrative rules. Please make sure your request \
                       has a User-Agent header";
        return Err(Refusal::new(403, message));
    }
    let caller = identify(world, request.headers.get("authorization").map(String::as_str), now)?;
    let path = named_path(world, &request.path)?;
    let (operation, parameters) = route(&request.method, &path).ok_or_else(Refusal::not_found)?;
    *world.calls.entry(operation.id.to_owned()).or_default() += 1;
    let repository = find_repository(world, &parameters)?;
    permit(world, &caller, operation.access, repository)?;
    spend_rate_limit(world, operation, &caller, now)?;
    let body = read_body(&request.body)?;
    let link_path = match repository {
        Some(index) => {
            let rest = path.splitn(5, '/').nth(4).map(|rest| format!("/{rest}")).unwrap_or_default();
            format!("/repositories/{}{rest}", world.repositories[index].id)
        }
        None => path,
    };
    let query = request.query.as_deref().unwrap_or_default();
    let mut call = Call {
        world,
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

/// `/repositories/{id}/…` is the same as `/repos/{owner}/{repo}/…`; a former name is answered by
/// the way to the present one.
fn named_path(world: &World, path: &str) -> Result<String, Refusal> {
    if let Some(rest) = path.strip_prefix("/repositories/") {
        let (id, rest) = rest.split_once('/').map_or((rest, String::new()), |(id, r)| (id, format!("/{r}")));
        let found = world.repositories.iter().find(|repository| repository.id.to_string() == id);
        let found = found.ok_or_else(Refusal::not_found)?;
        return Ok(format!("/repos/{}{rest}", found.full_name()));
    }
    let parts: Vec<&str> = path.splitn(5, '/').collect();
    if let ["", "repos", owner, name, rest @ ..] = &parts[..] {
        let full_name = format!("{owner}/{name}");
        if world.repository_named(&full_name).is_none()
            && let Some(repository) = world.repository_formerly(&full_name)
        {
            let rest = rest.first().map(|rest| format!("/{rest}")).unwrap_or_default();
            let location = format!("{}/repositories/{}{rest}", world.urls.api, repository.id);
            return Err(Refusal::moved(&location));
        }
    }
    Ok(path.to_owned())
}

fn find_repository(
    world: &World,
    parameters: &BTreeMap<&'static str, String>,
) -> Result<Option<usize>, Refusal> {
    let (Some(owner), Some(name)) = (parameters.get("owner"), parameters.get("repo")) else {
        return Ok(None);
    };
    match world.repository_named(&format!("{owner}/{name}")) {
        Some(index) => Ok(Some(index)),
        None => Err(Refusal::not_found()),
    }
}

fn spend_rate_limit(
    world: &mut World,
    operation: &Operation,
    caller: &Caller,
    now: Timestamp,
) -> Result<(), Refusal> {
    const WINDOW: SignedDuration = SignedDuration::from_hours(1);
    if now >= world.rate_limit.resets_at {
        world.rate_limit.used = 0;
        world.rate_limit.resets_at = whole_seconds(now + WINDOW);
    }
    if operation.id == "rate-limit/get" || !matches!(caller, Caller::Installation(_)) {
        return Ok(());
    }
    world.rate_limit.used += 1;
    if world.rate_limit.used > world.rate_limit.max {
        let message = format!("API rate limit exceeded for installation ID {}.", world.app.installation);
        return Err(Refusal::new(403, &message));
    }
    Ok(())
}

/// The header that tells of it has no fractions.
pub(super) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn read_body(bytes: &[u8]) -> Result<Value, Refusal> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    let body: Value =
        serde_json::from_slice(bytes).map_err(|_| Refusal::new(400, "Problems parsing JSON"))?;
    match body {
        Value::Object(_) | Value::Array(_) => Ok(body),
        _ => Err(Refusal::new(400, "Body should be a JSON object")),
    }
}

fn tag(request: &Incoming, answer: &mut Answer) {
    let digest = hex::encode(Sha256::digest(answer.body.to_string()));
    let etag = format!("W/\"{digest}\"");
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"') == digest;
    let known = request.headers.get("if-none-match").is_some_and(|tags| tags.split(',').any(strong));
    if known {
        answer.status = 304;
        answer.body = Value::Null;
    }
    answer.headers.push(("etag".to_owned(), etag));
    answer.headers.push(("cache-control".to_owned(), "private, max-age=60, s-maxage=60".to_owned()));
}
