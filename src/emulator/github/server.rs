//! The HTTP side: which part of the emulator a request is for, faults on the way, and the answer
//! as bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde_json::Value;

use super::Shared;
use super::call::{Answer, Refusal};
use super::connection::Scissors;
use super::dispatch::{Incoming, add_headers, respond};
use super::faults::{FaultKind, delay_of, take_fault};
use super::upheavals::disrupt;
use super::{admin, git_routes, settings};

/// The most bytes of a request to the API: GitHub's bodies are far smaller.
const API_BYTES_MAX: usize = 10 << 20;
/// The most bytes of a push.
const PUSH_BYTES_MAX: usize = 512 << 20;
/// Where GitHub Enterprise Server has its API.
pub(super) const API_PREFIX: &str = "/api/v3";

/// What every request ends in.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn text(status: u16, text: &str) -> Self {
        let headers = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
        Self { status, headers, body: text.as_bytes().to_vec() }
    }

    pub(super) fn json(answer: Answer) -> Self {
        let mut headers = answer.headers;
        let body = match answer.body {
            Value::Null => Vec::new(),
            body => {
                headers.push(("content-type".to_owned(), "application/json; charset=utf-8".to_owned()));
                body.to_string().into_bytes()
            }
        };
        Self { status: answer.status, headers, body }
    }
}

/// Answers any request.
pub(super) async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let api_path = match path.as_str() {
        "/api/graphql" => Some("/graphql".to_owned()),
        _ => path.strip_prefix(API_PREFIX).filter(|rest| rest.starts_with('/')).map(str::to_owned),
    };
    let bytes_max = if api_path.is_some() { API_BYTES_MAX } else { PUSH_BYTES_MAX };
    let Ok(body) = axum::body::to_bytes(body, bytes_max).await else {
        return whole(Reply::text(413, "the request is too large, or was cut short\n"));
    };
    if let Some(admin_path) = path.strip_prefix("/_emulator/") {
        return whole(admin::handle(&shared, &parts, admin_path, &body).await);
    }
    let named = api_path.as_deref().unwrap_or(&path);
    let fault = shared.with_world(|world| take_fault(&mut world.faults, parts.method.as_str(), named));
    if matches!(fault, Some(FaultKind::Drop)) {
        scissors.cut();
        return whole(Reply::text(500, ""));
    }
    if let Some(FaultKind::First(upheaval)) = &fault
        && let Err(unknown) = shared.with_world(|world| disrupt(world, upheaval, jiff::Timestamp::now()))
    {
        return whole(Reply::text(500, &format!("the emulator has no {unknown}\n")));
    }
    if matches!(fault, Some(FaultKind::Hold)) {
        shared.gate.opened().await;
    }
    tokio::time::sleep(delay_of(fault.as_ref())).await;
    let reply = match api_path {
        Some(api_path) => rest(&shared, &parts, &api_path, &body, fault.as_ref()).await,
        None => match &fault {
            Some(FaultKind::Status { status, message, headers }) => Reply {
                headers: headers.clone(),
                ..Reply::text(*status, message.as_deref().unwrap_or("emulated fault\n"))
            },
            _ => match settings::handle(&shared, &parts, &body).await {
                Some(page) => page,
                None => git_routes::handle(&shared, &parts, body).await,
            },
        },
    };
    match fault {
        Some(FaultKind::DropAfter) => {
            scissors.cut();
            whole(reply)
        }
        Some(FaultKind::Truncate) => truncated(reply, scissors),
        Some(FaultKind::Halve) => {
            let half = reply.body.len() / 2;
            whole(Reply { body: reply.body[..half].to_vec(), ..reply })
        }
        Some(
            FaultKind::Status { .. }
            | FaultKind::Drop
            | FaultKind::Hold
            | FaultKind::Delay { .. }
            | FaultKind::First(_),
        )
        | None => whole(reply),
    }
}

/// Headers with lower-case names; of several with one name the last.
pub(super) fn header_map(parts: &Parts) -> BTreeMap<String, String> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

async fn rest(
    shared: &Arc<Shared>,
    parts: &Parts,
    path: &str,
    body: &Bytes,
    fault: Option<&FaultKind>,
) -> Reply {
    let request = Incoming {
        method: parts.method.to_string(),
        path: path.to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: header_map(parts),
        body: body.to_vec(),
    };
    let faulty = match fault {
        Some(FaultKind::Status { status, message, headers }) => {
            let Refusal(mut answer) = Refusal::new(*status, message.as_deref().unwrap_or("Server Error"));
            answer.headers.extend(headers.iter().cloned());
            Some(*answer)
        }
        _ => None,
    };
    let shared = shared.clone();
    let answered = tokio::task::spawn_blocking(move || {
        let now = jiff::Timestamp::now();
        let answer = shared.with_world(|world| match faulty {
            Some(mut answer) => {
                add_headers(world, &mut answer);
                answer
            }
            None => respond(world, &request, now),
        });
        shared.recorder.write(&request, &answer);
        answer
    });
    match answered.await {
        Ok(answer) => Reply::json(answer),
        Err(error) => Reply::text(500, &format!("the emulator failed: {error}\n")),
    }
}

fn whole(reply: Reply) -> Response {
    let Reply { status, headers, body } = reply;
    assemble(status, &headers, Body::from(body))
}

/// Promises all of the body, sends half of it, and cuts the connection.
fn truncated(reply: Reply, scissors: Scissors) -> Response {
    let Reply { status, mut headers, mut body } = reply;
    headers.push(("content-length".to_owned(), body.len().to_string()));
    body.truncate(body.len() / 2);
    let pieces = futures_util::stream::unfold(Some(body), move |state| {
        let scissors = scissors.clone();
        async move {
            match state {
                Some(body) => Some((Ok(Bytes::from(body)), None)),
                None => {
                    // The first half must have left before the cut.
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    scissors.cut();
                    Some((Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted)), None))
                }
            }
        }
    });
    assemble(status, &headers, Body::from_stream(pieces))
}

fn assemble(status: u16, headers: &[(String, String)], body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        match (http::HeaderName::try_from(name), http::HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => {
                response.headers_mut().append(name, value);
            }
            _ => tracing::warn!(%name, "a header of the emulator's answer is not a header"),
        }
    }
    response
}
