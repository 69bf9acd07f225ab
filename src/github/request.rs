//! One request to GitHub's API and its response, without credentials.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::Value;
use url::Url;

use super::error::GitHubError;

/// A request, without its credentials.
#[derive(Debug, Clone)]
pub(super) struct ApiRequest {
    /// What it is for, for error messages: "reading issue octo/repo#7".
    pub(super) what: String,
    pub(super) method: Method,
    /// Path and query below the API's base URL. It begins with '/' and is percent-encoded.
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// Whether sending it twice has the same effect as sending it once.
    pub(super) repeatable: bool,
    /// The `ETag` of a response that the caller already has.
    pub(super) if_none_match: Option<String>,
    /// Whether its texts are file contents, which must arrive unchanged. Other texts are redacted.
    pub(super) verbatim: bool,
    /// Whether it is sent without waiting for the spacing of writes.
    pub(super) unspaced: bool,
}

impl ApiRequest {
    pub(super) fn get(what: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            method: Method::GET,
            path: path.into(),
            body: None,
            repeatable: true,
            if_none_match: None,
            verbatim: false,
            unspaced: false,
        }
    }

    pub(super) fn patch(what: impl Into<String>, path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::PATCH, body: Some(body), ..Self::get(what, path) }
    }

    pub(super) fn delete(what: impl Into<String>, path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(what, path) }
    }

    /// Not repeated by default: what it creates may exist although no response arrived.
    pub(super) fn post(what: impl Into<String>, path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::post_without_body(what, path) }
    }

    pub(super) fn post_without_body(what: impl Into<String>, path: impl Into<String>) -> Self {
        Self { method: Method::POST, repeatable: false, ..Self::get(what, path) }
    }

    /// For creations that GitHub deduplicates, and for those that nobody sees.
    pub(super) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    /// For file contents that were scanned for secrets before.
    pub(super) fn verbatim(self) -> Self {
        Self { verbatim: true, ..self }
    }

    /// For writes that notify nobody and that a person waits for.
    pub(super) fn unspaced(self) -> Self {
        Self { unspaced: true, ..self }
    }

    /// GitHub's response cannot be used for this request.
    pub(super) fn invalid_response(&self, detail: impl std::fmt::Display) -> GitHubError {
        invalid_response(&self.what, detail)
    }

    /// The request itself, or GitHub's answer to it, is wrong.
    pub(super) fn rejected(&self, detail: impl Into<String>) -> GitHubError {
        GitHubError::Rejected { what: self.what.clone(), detail: detail.into() }
    }
}

/// A response that was read and cannot be used.
pub(super) fn invalid_response(what: &str, detail: impl std::fmt::Display) -> GitHubError {
    GitHubError::Rejected { what: what.to_owned(), detail: format!("the response cannot be used: {detail}") }
}

/// GitHub's response, whatever its status.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The URL that answered, after redirects.
    pub(super) url: Url,
}

impl ApiResponse {
    pub(super) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// GitHub's own clock.
    pub(super) fn date(&self) -> Option<Timestamp> {
        Some(rfc2822::parse(self.header(http::header::DATE)?).ok()?.timestamp())
    }
}
