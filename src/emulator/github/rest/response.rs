//! Responses and errors, with GitHub's messages.

use serde_json::{Value, json};

use crate::git::GitError;

/// Titles, bodies and comments may have this many characters.
/// Source: the 422 that GitHub answers beyond it.
pub(crate) const BODY_CHARACTERS_MAX: usize = 65_536;
const DOCUMENTATION: &str = "https://docs.github.com/rest";

/// What the caller receives.
#[derive(Debug, Clone)]
pub(crate) struct ApiResponse {
    pub(crate) status: u16,
    /// `Null` means no body.
    pub(crate) body: Value,
    pub(crate) headers: Vec<(String, String)>,
}

impl ApiResponse {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self { status, body, headers: Vec::new() }
    }
    pub(crate) fn ok(body: Value) -> Self {
        Self::new(200, body)
    }
    pub(crate) fn created(body: Value) -> Self {
        let location = body["url"].as_str().map(|url| ("location".to_owned(), url.to_owned()));
        Self { status: 201, body, headers: location.into_iter().collect() }
    }
    pub(crate) fn no_content() -> Self {
        Self::new(204, Value::Null)
    }
}

/// The response to a request that is rejected.
#[derive(Debug)]
pub(crate) struct ApiError(pub(crate) Box<ApiResponse>);

/// What a handler returns.
pub(crate) type ApiResult = Result<ApiResponse, ApiError>;

impl ApiError {
    pub(crate) fn new(status: u16, message: &str) -> Self {
        let body = json!({
            "message": message, "documentation_url": DOCUMENTATION, "status": status.to_string()
        });
        Self(Box::new(ApiResponse::new(status, body)))
    }

    /// GitHub answers 404 also for what exists but is not visible to the caller.
    pub(crate) fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    /// A redirect to another address.
    pub(crate) fn moved(address: &str) -> Self {
        let mut error = Self::new(301, "Moved Permanently");
        error.0.body["url"] = Value::String(address.to_owned());
        error.0.headers.push(("location".to_owned(), address.to_owned()));
        error
    }

    pub(crate) fn bad_credentials() -> Self {
        Self::new(401, "Bad credentials")
    }

    /// The token lacks the permission.
    pub(crate) fn not_accessible() -> Self {
        Self::new(403, "Resource not accessible by integration")
    }

    /// 422 for a reference that names no commit.
    pub(crate) fn no_commit(name: &str) -> Self {
        Self::new(422, &format!("No commit found for SHA: {name}"))
    }

    pub(crate) fn server_error() -> Self {
        Self::new(500, "Server Error")
    }

    /// 422 with a reason for one field.
    pub(crate) fn invalid(resource: &str, field: &str, code: &str) -> Self {
        Self::validation(json!({"resource": resource, "field": field, "code": code}))
    }

    /// 422 with one of GitHub's messages.
    pub(crate) fn custom(resource: &str, message: &str) -> Self {
        Self::validation(json!({"resource": resource, "code": "custom", "message": message}))
    }

    pub(crate) fn too_long(resource: &str, field: &str) -> Self {
        let message = format!("{field} is too long (maximum is {BODY_CHARACTERS_MAX} characters)");
        Self::validation(json!({"resource": resource, "field": field, "code": "custom", "message": message}))
    }

    fn validation(reason: Value) -> Self {
        let mut error = Self::new(422, "Validation Failed");
        error.0.body["errors"] = json!([reason]);
        error
    }
}

impl From<GitError> for ApiError {
    fn from(error: GitError) -> Self {
        tracing::error!(%error, "a git operation failed");
        Self::server_error()
    }
}
