//! The App's webhook: its settings and its delivery log, over REST.

use serde_json::{Value, json};

use super::call::{Answer, Call, Outcome as CallOutcome, Refusal};
use super::pages::{link, link_header, per_page};
use super::shapes::stamp;
use super::webhooks;
use super::world::Delivery;

pub(super) fn get_config(call: &mut Call<'_>) -> CallOutcome {
    Ok(Answer::ok(config(call)))
}

pub(super) fn update_config(call: &mut Call<'_>) -> CallOutcome {
    if let Some(text) = call.optional_text("Hook", "url")? {
        let url = url::Url::parse(&text).map_err(|_| Refusal::invalid("Hook", "url", "invalid"))?;
        call.world.app.webhook_url = Some(url);
    }
    if let Some(secret) = call.optional_text("Hook", "secret")? {
        call.world.app.webhook_secret = secret.into();
    }
    Ok(Answer::ok(config(call)))
}

fn config(call: &Call<'_>) -> Value {
    json!({
        "url": call.world.app.webhook_url.as_ref().map(ToString::to_string).unwrap_or_default(),
        "content_type": "json",
        "insecure_ssl": "0",
        "secret": "********",
    })
}

/// Newest first, with a cursor instead of page numbers.
pub(super) fn list(call: &mut Call<'_>) -> CallOutcome {
    let cursor = match call.query("cursor") {
        Some(text) => Some(text.parse::<u64>().map_err(|_| Refusal::new(400, "Invalid cursor"))?),
        None => None,
    };
    let good = |delivery: &Delivery| {
        delivery.outcome.as_ref().is_some_and(|outcome| (200..400).contains(&outcome.status_code))
    };
    let wanted = |delivery: &&Delivery| {
        delivery.outcome.is_some()
            && cursor.is_none_or(|cursor| delivery.id <= cursor)
            && match call.query("status") {
                Some("success") => good(delivery),
                Some("failure") => !good(delivery),
                _ => true,
            }
    };
    let per_page = per_page(call);
    let mut found: Vec<&Delivery> =
        call.world.deliveries.iter().rev().filter(wanted).take(per_page + 1).collect();
    let next = if found.len() > per_page { found.pop() } else { None };
    let links = next.map(|next| link(call, "cursor", &next.id.to_string(), "next"));
    let body = found.into_iter().map(|delivery| item(call, delivery)).collect();
    Ok(Answer { status: 200, body, headers: link_header(links.into_iter().collect()) })
}

pub(super) fn get(call: &mut Call<'_>) -> CallOutcome {
    let delivery = find(call)?;
    let mut shape = item(call, delivery);
    let outcome = delivery.outcome.as_ref().ok_or_else(Refusal::not_found)?;
    let payload: Value = serde_json::from_str(&delivery.payload).unwrap_or_default();
    shape["url"] = json!(delivery.url);
    shape["request"] = json!({"headers": outcome.request_headers, "payload": payload});
    shape["response"] = json!({"headers": outcome.response_headers, "payload": outcome.response_body});
    Ok(Answer::ok(shape))
}

pub(super) fn redeliver(call: &mut Call<'_>) -> CallOutcome {
    let (id, now) = (find(call)?.id, call.now);
    webhooks::redeliver(call.world, id, now);
    Ok(Answer::new(202, json!({})))
}

fn find<'a>(call: &'a Call<'_>) -> Result<&'a Delivery, Refusal> {
    let id = call.number("delivery_id")?;
    call.world.deliveries.iter().find(|delivery| delivery.id == id).ok_or_else(Refusal::not_found)
}

fn item(call: &Call<'_>, delivery: &Delivery) -> Value {
    let outcome = delivery.outcome.as_ref();
    json!({
        "id": delivery.id,
        "guid": delivery.guid,
        "delivered_at": stamp(delivery.created_at),
        "redelivery": delivery.redelivery,
        "duration": outcome.map_or(0.0, |outcome| outcome.seconds),
        "status": outcome.map_or("PENDING", |outcome| outcome.status.as_str()),
        "status_code": outcome.map_or(0, |outcome| outcome.status_code),
        "event": delivery.event,
        "action": delivery.action,
        "installation_id": call.world.app.installation,
        "repository_id": delivery.repository,
        "throttled_at": null,
    })
}
