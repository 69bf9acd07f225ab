//! The provider's two endpoints: police the request, choose the turn, send the answer.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::answer::{Answer, body};
use super::conversation::{Fault, Turn};
use super::heard::Heard;
use super::{Memory, RecordedRequest, Shared, anthropic, openai, usage};
use crate::model::Provider;

/// Earlier requests of a conversation that are compared with.
const SAID_KEPT_MAX: usize = 1_000;
/// Largest request; Anthropic takes 32 MB.
const REQUEST_BYTES_MAX: usize = 32 << 20;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/messages", post(messages))
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/models", get(models))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(shared)
}

/// The list of models, in the fields that both providers' lists have.
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

async fn messages(State(shared): State<Arc<Shared>>, headers: HeaderMap, request: Bytes) -> Response {
    // Either header: the provider's own Python client sends the second one.
    let has_key = headers.get("x-api-key").is_some_and(|key| !key.is_empty()) || has_bearer(&headers);
    if headers.get("anthropic-version").is_none() {
        return refuse(
            &shared,
            Provider::Anthropic,
            Value::Null,
            400,
            "anthropic-version: header is required",
        );
    }
    answer(&shared, Provider::Anthropic, has_key, &request)
}

async fn chat_completions(State(shared): State<Arc<Shared>>, headers: HeaderMap, request: Bytes) -> Response {
    answer(&shared, Provider::OpenAi, has_bearer(&headers), &request)
}

fn has_bearer(headers: &HeaderMap) -> bool {
    let key = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    key.is_some_and(|key| !key.is_empty())
}

fn answer(shared: &Arc<Shared>, provider: Provider, has_key: bool, request: &[u8]) -> Response {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    if !has_key {
        return refuse(shared, provider, request, 401, "no API key was sent");
    }
    let heard = match provider {
        Provider::Anthropic => anthropic::hear(&request),
        Provider::OpenAi => openai::hear(&request),
    };
    let heard = match heard {
        Ok(heard) => heard,
        Err(rule) => return refuse(shared, provider, request, 400, &rule),
    };
    let conversation = &shared.conversation;
    let is_known =
        heard.model == conversation.model || Some(&heard.model) == conversation.brief_model.as_ref();
    if !is_known {
        let message = format!("model: {} does not exist", heard.model);
        return refuse(shared, provider, request, 404, &message);
    }
    if let Some(rule) = heard.broken_rule(conversation) {
        return refuse(shared, provider, request, 400, &rule);
    }
    if let Some(max) = conversation.context_tokens.filter(|max| usage::tokens(&heard.blocks) > *max) {
        let message = format!("prompt is too long: {} tokens > {max} maximum", usage::tokens(&heard.blocks));
        let mut memory = shared.memory();
        memory.overflows += 1;
        memory.record(RecordedRequest { provider, turn: None, status: 400, body: request });
        return error_response(provider, 400, &message);
    }
    let number = heard.turns();
    let turn = match choose(shared, &heard, number) {
        Ok(turn) => turn,
        Err(why) => return refuse(shared, provider, request, 400, &why),
    };
    let mut memory = shared.memory();
    if let Err(rule) = memory.keep_prefix(&heard) {
        drop(memory);
        return refuse(shared, provider, request, 400, &rule);
    }
    let fault = memory.fault(&heard, number, turn);
    let counted = memory.seen.count(provider, &heard, turn);
    let usage = turn.usage.unwrap_or(counted);
    let status = match fault {
        Some(Fault::Status { status, .. }) => *status,
        _ => 200,
    };
    memory.record(RecordedRequest { provider, turn: Some(number), status, body: request });
    drop(memory);
    send(shared, provider, &Answer::new(turn, number, &heard, usage), fault)
}

/// The turn that is due, or why there is none.
fn choose<'a>(shared: &'a Shared, heard: &Heard, number: usize) -> Result<&'a Turn, String> {
    if heard.tools.is_empty() {
        let brief = &shared.conversation.brief;
        return brief.iter().find(|turn| heard.unmet(&turn.expect).is_none()).ok_or_else(|| {
            let why = brief.last().and_then(|turn| heard.unmet(&turn.expect));
            let why = why.unwrap_or_else(|| "the conversation has no brief".to_owned());
            format!("no answer to a request without tools: {why}")
        });
    }
    let turn = shared.conversation.turn(number);
    let turn = turn.ok_or_else(|| format!("the conversation has no turn {number}: it is over"))?;
    match heard.unmet(&turn.expect) {
        None => Ok(turn),
        Some(why) => Err(format!("turn {number} expects something else: {why}")),
    }
}

impl Memory {
    /// Within a conversation, system prompt and tools must not change, and what was said only grows:
    /// nothing else survives in a cache. Results may become handles, which is counted.
    fn keep_prefix(&mut self, heard: &Heard) -> Result<(), String> {
        if heard.tools.is_empty() {
            return Ok(());
        }
        let earlier = self.said.entry(heard.conversation_key()).or_default();
        // The latest that it goes on from: with one before a change, each later one would be another.
        match earlier.iter().rev().find_map(|earlier| heard.continues(earlier)) {
            Some(rewritten) => self.rewrites += usize::from(rewritten),
            None if earlier.is_empty() => {}
            None => return Err("what was said before changed within a conversation".to_owned()),
        }
        if earlier.len() >= SAID_KEPT_MAX {
            earlier.remove(0);
        }
        earlier.push(heard.message_fingerprints());
        let prefix = heard.stable_prefix();
        let kept = self.prefixes.entry(heard.conversation_key()).or_insert_with(|| prefix.clone());
        if *kept == prefix {
            return Ok(());
        }
        Err("system prompt or tools changed within a conversation, which no cache survives".to_owned())
    }

    /// The turn's fault, while it lasts for this conversation.
    fn fault<'a>(&mut self, heard: &Heard, number: usize, turn: &'a Turn) -> Option<&'a Fault> {
        let fault = turn.fault.as_ref()?;
        let key = (heard.conversation_key(), heard.tools.is_empty(), number);
        let asked = self.asked.entry(key).or_default();
        *asked = asked.saturating_add(1);
        (*asked <= fault.times()).then_some(fault)
    }
}

fn send(shared: &Arc<Shared>, provider: Provider, answer: &Answer, fault: Option<&Fault>) -> Response {
    match fault {
        Some(Fault::Status { status, message, retry_after, .. }) => {
            let message = message.as_deref().unwrap_or("emulated");
            let mut response = error_response(provider, *status, message);
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, (*seconds).into());
            }
            response
        }
        Some(Fault::ContentType { content_type, .. }) => {
            response(200, content_type, Body::from("<html>Sign in to continue</html>"))
        }
        Some(Fault::Cut { .. } | Fault::Stall { .. } | Fault::Hold { .. } | Fault::StreamError { .. })
        | None => {
            let body = match provider {
                Provider::Anthropic => {
                    body(shared, &anthropic::events(answer), fault, anthropic::error_event)
                }
                Provider::OpenAi => body(shared, &openai::events(answer), fault, openai::error_event),
            };
            response(200, "text/event-stream; charset=utf-8", body)
        }
    }
}

/// Answers with an error and keeps it as a violation.
fn refuse(shared: &Shared, provider: Provider, body: Value, status: u16, rule: &str) -> Response {
    let mut memory = shared.memory();
    memory.violations.push(format!("{}: {rule}", provider.name()));
    memory.record(RecordedRequest { provider, turn: None, status, body });
    error_response(provider, status, rule)
}

fn error_response(provider: Provider, status: u16, message: &str) -> Response {
    let body = match provider {
        Provider::Anthropic => anthropic::error_body(status, message),
        Provider::OpenAi => openai::error_body(status, message),
    };
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
