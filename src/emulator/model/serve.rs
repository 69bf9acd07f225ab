//! The provider's endpoints: check the request, choose the turn, send the answer.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::answer::ModelAnswer;
use super::body::body;
use super::conversation::{ScriptedTurn, TurnFault};
use super::provider::Provider;
use super::request::{ParsedRequest, tokens};
use super::shared::{RecordedRequest, Shared};

/// The largest request; Anthropic accepts 32 MB.
const REQUEST_BYTES_MAX: usize = 32 << 20;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new().route("/v1/models", get(models));
    for provider in Provider::ALL {
        let complete = async move |State(shared): State<Arc<Shared>>, headers: HeaderMap, request: Bytes| {
            complete(&shared, provider, &headers, &request)
        };
        router = router.route(provider.format().endpoint, post(complete));
    }
    router.layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX)).with_state(shared)
}

/// The list of models, with the fields that both providers' lists have.
async fn models(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let has_key = headers.contains_key("x-api-key") || headers.contains_key(AUTHORIZATION);
    let conversation = &shared.conversation;
    let names = [Some(&conversation.model), conversation.brief_model.as_ref()].into_iter().flatten();
    let listed: Vec<Value> = names.map(|name| serde_json::json!({"id": name, "object": "model"})).collect();
    let (status, body) = match has_key {
        true => (StatusCode::OK, serde_json::json!({ "data": listed })),
        false => (StatusCode::UNAUTHORIZED, serde_json::json!({"error": {"message": "no API key was sent"}})),
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn complete(shared: &Arc<Shared>, provider: Provider, headers: &HeaderMap, request: &[u8]) -> Response {
    let format = provider.format();
    if let Some(name) = format.required_header.filter(|name| !headers.contains_key(*name)) {
        return reject(shared, provider, Value::Null, 400, &format!("{name}: header is required"));
    }
    answer(shared, provider, (format.has_key)(headers), request)
}

fn answer(shared: &Arc<Shared>, provider: Provider, has_key: bool, request: &[u8]) -> Response {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    if !has_key {
        return reject(shared, provider, request, 401, "no API key was sent");
    }
    let parsed = match (provider.format().parse_request)(&request) {
        Ok(parsed) => parsed,
        Err(rule) => return reject(shared, provider, request, 400, &rule),
    };
    let conversation = &shared.conversation;
    let is_known =
        parsed.model == conversation.model || Some(&parsed.model) == conversation.brief_model.as_ref();
    if !is_known {
        let message = format!("model: {} does not exist", parsed.model);
        return reject(shared, provider, request, 404, &message);
    }
    if let Some(rule) = parsed.violated_rule(conversation) {
        return reject(shared, provider, request, 400, &rule);
    }
    if let Some(max) = conversation.context_tokens.filter(|max| tokens(&parsed.blocks) > *max) {
        let message = format!("prompt is too long: {} tokens > {max} maximum", tokens(&parsed.blocks));
        let mut memory = shared.memory();
        memory.overflows += 1;
        memory.record(RecordedRequest { provider, turn: None, status: 400, body: request });
        return error_response(provider, 400, &message);
    }
    let number = parsed.turn_index();
    let turn = match choose(shared, &parsed, number) {
        Ok(turn) => turn,
        Err(why) => return reject(shared, provider, request, 400, &why),
    };
    let mut memory = shared.memory();
    if let Err(rule) = memory.check_prefix(&parsed) {
        drop(memory);
        return reject(shared, provider, request, 400, &rule);
    }
    let fault = memory.fault(&parsed, number, turn);
    let counted = memory.cache.count(provider, &parsed, turn);
    let usage = turn.usage.unwrap_or(counted);
    let status = match fault {
        Some(TurnFault::Status { status, .. }) => *status,
        _ => 200,
    };
    memory.record(RecordedRequest { provider, turn: Some(number), status, body: request });
    drop(memory);
    send(shared, provider, &ModelAnswer::new(turn, number, &parsed, usage), fault)
}

/// The turn that answers the request. The error says why there is none.
fn choose<'a>(shared: &'a Shared, parsed: &ParsedRequest, number: usize) -> Result<&'a ScriptedTurn, String> {
    if parsed.tools.is_empty() {
        let brief = &shared.conversation.brief;
        return brief.iter().find(|turn| parsed.unmet_expectation(&turn.expect).is_none()).ok_or_else(|| {
            let why = brief.last().and_then(|turn| parsed.unmet_expectation(&turn.expect));
            let why = why.unwrap_or_else(|| "the conversation has no brief".to_owned());
            format!("no answer to a request without tools: {why}")
        });
    }
    let turn = shared.conversation.turn(number, parsed.is_of_setup_agent());
    let turn = turn.ok_or_else(|| format!("the conversation has no turn {number}: it has ended"))?;
    match parsed.unmet_expectation(&turn.expect) {
        None => Ok(turn),
        Some(why) => Err(format!("turn {number} has an unmet expectation: {why}")),
    }
}

fn send(
    shared: &Arc<Shared>,
    provider: Provider,
    answer: &ModelAnswer,
    fault: Option<&TurnFault>,
) -> Response {
    match fault {
        Some(TurnFault::Status { status, message, retry_after, .. }) => {
            let message = message.as_deref().unwrap_or("emulated");
            let mut response = error_response(provider, *status, message);
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, (*seconds).into());
            }
            response
        }
        Some(TurnFault::ContentType { content_type, .. }) => {
            response(200, content_type, Body::from("<html>Sign in to continue</html>"))
        }
        Some(
            TurnFault::Cut { .. }
            | TurnFault::Stall { .. }
            | TurnFault::Hold { .. }
            | TurnFault::StreamError { .. },
        )
        | None => {
            let format = provider.format();
            let body = body(shared, &(format.events)(answer), fault, format.error_event);
            response(200, "text/event-stream; charset=utf-8", body)
        }
    }
}

/// Answers with an error and records it as a violation.
fn reject(shared: &Shared, provider: Provider, body: Value, status: u16, rule: &str) -> Response {
    let mut memory = shared.memory();
    memory.violations.push(format!("{}: {rule}", provider.name()));
    memory.record(RecordedRequest { provider, turn: None, status, body });
    error_response(provider, status, rule)
}

fn error_response(provider: Provider, status: u16, message: &str) -> Response {
    let body = (provider.format().error_body)(status, message);
    response(status, "application/json", Body::from(body.to_string()))
}

fn response(status: u16, content_type: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}
