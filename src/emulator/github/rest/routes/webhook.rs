//! The App's webhook: its configuration and its delivery log.

use serde_json::{Value, json};

use crate::github::data::Delivery;
use crate::github::mutations;
use crate::github::rest::call::ApiCall;
use crate::github::rest::pagination::{link, link_header, per_page};
use crate::github::rest::response::{ApiError, ApiResponse, ApiResult};
use crate::github::shapes::timestamp;

pub(crate) fn get_config(call: &mut ApiCall<'_>) -> ApiResult {
    Ok(ApiResponse::ok(config(call)))
}

pub(crate) fn update_config(call: &mut ApiCall<'_>) -> ApiResult {
    if let Some(text) = call.optional_text("Hook", "url")? {
        let url = url::Url::parse(&text).map_err(|_| ApiError::invalid("Hook", "url", "invalid"))?;
        call.db.app.webhook_url = Some(url);
    }
    if let Some(secret) = call.optional_text("Hook", "secret")? {
        call.db.app.webhook_secret = secret.into();
    }
    Ok(ApiResponse::ok(config(call)))
}

fn config(call: &ApiCall<'_>) -> Value {
    json!({
        "url": call.db.app.webhook_url.as_ref().map(ToString::to_string).unwrap_or_default(),
        "content_type": "json",
        "insecure_ssl": "0",
        "secret": "********",
    })
}

/// Newest first, with a cursor instead of page numbers.
pub(crate) fn list(call: &mut ApiCall<'_>) -> ApiResult {
    let cursor = match call.query("cursor") {
        Some(text) => Some(text.parse::<u64>().map_err(|_| ApiError::new(400, "Invalid cursor"))?),
        None => None,
    };
    let succeeded = |delivery: &Delivery| {
        delivery.result.as_ref().is_some_and(|result| (200..400).contains(&result.status_code))
    };
    let wanted = |delivery: &&Delivery| {
        delivery.result.is_some()
            && cursor.is_none_or(|cursor| delivery.id <= cursor)
            && match call.query("status") {
                Some("success") => succeeded(delivery),
                Some("failure") => !succeeded(delivery),
                _ => true,
            }
    };
    let per_page = per_page(call);
    let mut found: Vec<&Delivery> =
        call.db.deliveries.iter().rev().filter(wanted).take(per_page + 1).collect();
    let next = if found.len() > per_page { found.pop() } else { None };
    let links = next.map(|next| link(call, "cursor", &next.id.to_string(), "next"));
    let body = found.into_iter().map(|delivery| item(call, delivery)).collect();
    Ok(ApiResponse { status: 200, body, headers: link_header(links.into_iter().collect()) })
}

pub(crate) fn get(call: &mut ApiCall<'_>) -> ApiResult {
    let delivery = find(call)?;
    let mut shape = item(call, delivery);
    let result = delivery.result.as_ref().ok_or_else(ApiError::not_found)?;
    let payload: Value = serde_json::from_str(&delivery.payload).unwrap_or_default();
    shape["url"] = json!(delivery.url);
    shape["request"] = json!({"headers": result.request_headers, "payload": payload});
    shape["response"] = json!({"headers": result.response_headers, "payload": result.response_body});
    Ok(ApiResponse::ok(shape))
}

pub(crate) fn redeliver(call: &mut ApiCall<'_>) -> ApiResult {
    let (id, now) = (find(call)?.id, call.now);
    mutations::redeliver(call.db, id, now);
    Ok(ApiResponse::new(202, json!({})))
}

fn find<'a>(call: &'a ApiCall<'_>) -> Result<&'a Delivery, ApiError> {
    let id = call.number("delivery_id")?;
    call.db.deliveries.iter().find(|delivery| delivery.id == id).ok_or_else(ApiError::not_found)
}

fn item(call: &ApiCall<'_>, delivery: &Delivery) -> Value {
    let result = delivery.result.as_ref();
    json!({
        "id": delivery.id,
        "guid": delivery.guid,
        "delivered_at": timestamp(delivery.created_at),
        "redelivery": delivery.redelivery,
        "duration": result.map_or(0.0, |result| result.seconds),
        "status": result.map_or("PENDING", |result| result.status.as_str()),
        "status_code": result.map_or(0, |result| result.status_code),
        "event": delivery.event,
        "action": delivery.action,
        "installation_id": call.db.app.installation,
        "repository_id": delivery.repository,
        "throttled_at": null,
    })
}
