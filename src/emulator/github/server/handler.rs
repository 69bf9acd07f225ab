//! The entry point of every HTTP request: chooses the part of the emulator that answers, and applies faults.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use http::request::Parts;
use jiff::Timestamp;

use super::connection::ConnectionAborter;
use super::reply::{HttpReply, header_map};
use super::shared::Shared;
use super::{admin, app_pages, git};
use crate::github::data::{FaultKind, delay_of, take_fault};
use crate::github::mutations::apply_disruption;
use crate::github::rest::{ApiError, ApiRequest, add_headers, respond};

/// The largest API request: GitHub's bodies are far smaller.
const API_BYTES_MAX: usize = 10 << 20;
/// The largest push.
const PUSH_BYTES_MAX: usize = 512 << 20;
/// The path of the API on GitHub Enterprise Server.
pub(crate) const API_PREFIX: &str = "/api/v3";

/// Answers any request.
pub(crate) async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(aborter): ConnectInfo<ConnectionAborter>,
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
        return HttpReply::text(413, "the request is too large or incomplete\n").into_response();
    };
    if let Some(admin_path) = path.strip_prefix("/_emulator/") {
        return admin::handle(&shared, &parts, admin_path, &body).await.into_response();
    }
    let fault_path = api_path.as_deref().unwrap_or(&path);
    let fault = shared.with_db(|db| take_fault(&mut db.faults, parts.method.as_str(), fault_path));
    match &fault {
        Some(FaultKind::Drop) => {
            aborter.abort();
            return HttpReply::text(500, "").into_response();
        }
        Some(FaultKind::First(disruption)) => {
            let applied = shared.with_db(|db| apply_disruption(db, disruption, Timestamp::now()));
            if let Err(missing) = applied {
                return HttpReply::text(500, &format!("the emulator has no {missing}\n")).into_response();
            }
        }
        Some(FaultKind::Hold) => shared.gate.opened().await,
        _ => {}
    }
    tokio::time::sleep(delay_of(fault.as_ref())).await;
    let reply = match api_path {
        Some(api_path) => answer_api(&shared, &parts, &api_path, &body, fault.as_ref()).await,
        None => answer_web(&shared, &parts, body, fault.as_ref()).await,
    };
    match fault {
        Some(FaultKind::DropAfter) => {
            aborter.abort();
            reply.into_response()
        }
        Some(FaultKind::Truncate) => reply.into_truncated_response(aborter),
        Some(FaultKind::Halve) => reply.halved().into_response(),
        Some(
            FaultKind::Status { .. }
            | FaultKind::Drop
            | FaultKind::Hold
            | FaultKind::Delay { .. }
            | FaultKind::First(_),
        )
        | None => reply.into_response(),
    }
}

/// A request to the REST API or to GraphQL.
async fn answer_api(
    shared: &Arc<Shared>,
    parts: &Parts,
    path: &str,
    body: &Bytes,
    fault: Option<&FaultKind>,
) -> HttpReply {
    let request = ApiRequest {
        method: parts.method.to_string(),
        path: path.to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: header_map(parts),
        body: body.to_vec(),
    };
    let error = match fault {
        Some(FaultKind::Status { status, message, headers }) => {
            let ApiError(mut response) = ApiError::new(*status, message.as_deref().unwrap_or("Server Error"));
            response.headers.extend(headers.iter().cloned());
            Some(*response)
        }
        _ => None,
    };
    let shared = shared.clone();
    let answered = tokio::task::spawn_blocking(move || {
        let response = shared.with_db(|db| match error {
            Some(mut response) => {
                add_headers(db, &mut response);
                response
            }
            None => respond(db, &request, Timestamp::now()),
        });
        shared.recorder.write(&request, &response);
        response
    });
    match answered.await {
        Ok(response) => HttpReply::json(response),
        Err(error) => HttpReply::panicked(&error),
    }
}

/// A request to a page or to git.
async fn answer_web(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: Bytes,
    fault: Option<&FaultKind>,
) -> HttpReply {
    if let Some(FaultKind::Status { status, message, headers }) = fault {
        let text = message.as_deref().unwrap_or("emulated fault\n");
        return HttpReply { headers: headers.clone(), ..HttpReply::text(*status, text) };
    }
    match app_pages::handle(shared, parts, &body).await {
        Some(page) => page,
        None => git::handle(shared, parts, body).await,
    }
}
