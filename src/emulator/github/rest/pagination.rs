//! Lists in pages, with GitHub's `Link` header.

use serde_json::{Map, Value, json};

use super::call::ApiCall;
use super::response::ApiResponse;

const PER_PAGE_DEFAULT: usize = 30;
/// GitHub lowers larger values silently.
const PER_PAGE_MAX: usize = 100;

/// One page of `all`.
pub(crate) fn page(call: &ApiCall<'_>, all: Vec<Value>) -> ApiResponse {
    let (items, headers) = page_of(call, all);
    ApiResponse { status: 200, body: Value::Array(items), headers }
}

/// One page of `all` in an object that counts them.
pub(crate) fn counted_page(call: &ApiCall<'_>, key: &str, all: Vec<Value>) -> ApiResponse {
    let total = all.len();
    let (items, headers) = page_of(call, all);
    let mut body = Map::new();
    body.insert("total_count".to_owned(), json!(total));
    body.insert(key.to_owned(), Value::Array(items));
    ApiResponse { status: 200, body: Value::Object(body), headers }
}

/// `per_page`, with GitHub's default and bound.
pub(crate) fn per_page(call: &ApiCall<'_>) -> usize {
    let requested = call.query("per_page").and_then(|text| text.parse().ok());
    requested.filter(|count| *count > 0).unwrap_or(PER_PAGE_DEFAULT).min(PER_PAGE_MAX)
}

fn page_of(call: &ApiCall<'_>, all: Vec<Value>) -> (Vec<Value>, Vec<(String, String)>) {
    let per_page = per_page(call);
    let requested = call.query("page").and_then(|text| text.parse().ok());
    let page = requested.filter(|page: &usize| *page > 0).unwrap_or(1);
    let last = all.len().div_ceil(per_page).max(1);
    let items = all.into_iter().skip((page - 1).saturating_mul(per_page)).take(per_page).collect();
    let mut links = Vec::new();
    if page > 1 {
        links.push(link(call, "page", &(page - 1).min(last).to_string(), "prev"));
    }
    if page < last {
        links.push(link(call, "page", &(page + 1).to_string(), "next"));
        links.push(link(call, "page", &last.to_string(), "last"));
    }
    if page > 1 {
        links.push(link(call, "page", "1", "first"));
    }
    (items, link_header(links))
}

/// The header, if there is a link.
pub(crate) fn link_header(links: Vec<String>) -> Vec<(String, String)> {
    match links.is_empty() {
        true => Vec::new(),
        false => vec![("link".to_owned(), links.join(", "))],
    }
}

/// One link: the same request with another page. GitHub names the repository by its id here.
pub(crate) fn link(call: &ApiCall<'_>, key: &str, value: &str, relation: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, text) in call.query.iter().filter(|(name, _)| name != key) {
        query.append_pair(name, text);
    }
    query.append_pair(key, value);
    format!("<{}{}?{}>; rel=\"{relation}\"", call.db.urls.api, call.link_path, query.finish())
}
