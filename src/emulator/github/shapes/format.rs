//! Small parts that all shapes share: times, node ids, links.

use base64::Engine;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A time as GitHub writes it: UTC, whole seconds.
pub(crate) fn timestamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Seconds since 1970, in the same format.
pub(crate) fn timestamp_of_seconds(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| timestamp(Timestamp::UNIX_EPOCH), timestamp)
}

/// An opaque `node_id`: kind and number, so that two objects never share one.
pub(crate) fn node_id(kind: &str, id: u64) -> String {
    let text = format!("{kind}{id}");
    format!("{kind}_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text))
}

/// `{"href": …}`
pub(super) fn href(url: &str) -> Value {
    json!({ "href": url })
}

/// `base` with the fields of `more`.
pub(super) fn with_fields(base: Value, more: Value) -> Value {
    let (Value::Object(mut fields), Value::Object(added)) = (base, more) else { return Value::Null };
    fields.extend(added);
    Value::Object(Map::from_iter(fields))
}
