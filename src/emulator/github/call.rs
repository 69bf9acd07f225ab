//! One request to the REST API, and the shapes of its answer. GitHub's ways to say no live here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::world::{Issue, Repository, World};

/// Titles, bodies and comments may have this many characters.
/// Source: the 422 GitHub answers beyond it.
pub(super) const BODY_CHARACTERS_MAX: usize = 65_536;
const DOCUMENTATION: &str = "https://docs.github.com/rest";

/// A request that was routed and may be carried out.
pub(super) struct Call<'a> {
    pub(super) world: &'a mut World,
    pub(super) caller: Caller,
    /// Index of the repository its path names; 0 where it names none.
    pub(super) repository: usize,
    pub(super) parameters: BTreeMap<&'static str, String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Value,
    /// The path as GitHub's links spell it, with the repository's id.
    pub(super) link_path: String,
    pub(super) now: Timestamp,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// Nobody known.
    Anonymous,
    /// The App itself, with its JWT.
    App,
    /// An installation, with this token.
    Installation(String),
}

/// What the caller gets.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `Null`: no body.
    pub(super) body: Value,
    pub(super) headers: Vec<(String, String)>,
}

impl Answer {
    pub(super) fn new(status: u16, body: Value) -> Self {
        Self { status, body, headers: Vec::new() }
    }
    pub(super) fn ok(body: Value) -> Self {
        Self::new(200, body)
    }
    pub(super) fn created(body: Value) -> Self {
        let location = body["url"].as_str().map(|url| ("location".to_owned(), url.to_owned()));
        Self { status: 201, body, headers: location.into_iter().collect() }
    }
    pub(super) fn no_content() -> Self {
        Self::new(204, Value::Null)
    }
}

/// A request that is refused.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Box<Answer>);

/// What a handler comes to.
pub(super) type Outcome = Result<Answer, Refusal>;

impl Refusal {
    pub(super) fn new(status: u16, message: &str) -> Self {
        let body = json!({
            "message": message, "documentation_url": DOCUMENTATION, "status": status.to_string()
        });
        Self(Box::new(Answer::new(status, body)))
    }

    /// GitHub hides what the caller may not see.
    pub(super) fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    /// It is at another address now.
    pub(super) fn moved(address: &str) -> Self {
        let mut refusal = Self::new(301, "Moved Permanently");
        refusal.0.body["url"] = Value::String(address.to_owned());
        refusal.0.headers.push(("location".to_owned(), address.to_owned()));
        refusal
    }

    pub(super) fn bad_credentials() -> Self {
        Self::new(401, "Bad credentials")
    }

    /// The token's permissions do not reach.
    pub(super) fn not_accessible() -> Self {
        Self::new(403, "Resource not accessible by integration")
    }

    /// 422 with a reason for one field.
    pub(super) fn invalid(resource: &str, field: &str, code: &str) -> Self {
        Self::validation(json!({"resource": resource, "field": field, "code": code}))
    }

    /// 422 in GitHub's own words.
    pub(super) fn custom(resource: &str, message: &str) -> Self {
        Self::validation(json!({"resource": resource, "code": "custom", "message": message}))
    }

    pub(super) fn too_long(resource: &str, field: &str) -> Self {
        let message = format!("{field} is too long (maximum is {BODY_CHARACTERS_MAX} characters)");
        Self::validation(json!({"resource": resource, "field": field, "code": "custom", "message": message}))
    }

    fn validation(error: Value) -> Self {
        let mut refusal = Self::new(422, "Validation Failed");
        refusal.0.body["errors"] = json!([error]);
        refusal
    }
}

impl From<crate::git::GitHttpError> for Refusal {
    fn from(error: crate::git::GitHttpError) -> Self {
        tracing::error!(%error, "the emulated repository failed");
        Self::new(500, "Server Error")
    }
}

impl Call<'_> {
    pub(super) fn repo(&self) -> &Repository {
        &self.world.repositories[self.repository]
    }

    pub(super) fn repo_mut(&mut self) -> &mut Repository {
        &mut self.world.repositories[self.repository]
    }

    /// The login this call acts as.
    pub(super) fn login(&self) -> String {
        self.world.app.bot_login()
    }

    /// A part of the path, decoded.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// A number in the path; what is none does not exist.
    pub(super) fn number(&self, name: &str) -> Result<u64, Refusal> {
        self.parameter(name).parse().map_err(|_| Refusal::not_found())
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The issue (or pull request) whose number is in the path.
    pub(super) fn issue(&self) -> Result<&Issue, Refusal> {
        let number = self.number("issue_number")?;
        self.repo().issues.get(&number).ok_or_else(|| match self.repo().gone.get(&number) {
            None => Refusal::not_found(),
            Some(None) => Refusal::new(410, "This issue was deleted"),
            Some(Some(address)) => Refusal::moved(address),
        })
    }

    /// Text of the body that must be there and not blank.
    pub(super) fn required_text(&self, resource: &str, field: &str) -> Result<String, Refusal> {
        match self.optional_text(resource, field)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(Refusal::invalid(resource, field, "missing_field")),
        }
    }

    /// Text of the body that may be absent; bounded as GitHub bounds it.
    pub(super) fn optional_text(&self, resource: &str, field: &str) -> Result<Option<String>, Refusal> {
        match &self.body[field] {
            Value::Null => Ok(None),
            Value::String(text) if text.chars().count() > BODY_CHARACTERS_MAX => {
                Err(Refusal::too_long(resource, field))
            }
            Value::String(text) => Ok(Some(text.clone())),
            Value::Number(number) => Ok(Some(number.to_string())),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err(Refusal::invalid(resource, field, "invalid"))
            }
        }
    }

    /// Strings in a list of the body; each may also be an object with a `name`.
    pub(super) fn names(&self, field: &str) -> Result<Vec<String>, Refusal> {
        let list = match &self.body {
            Value::Array(list) => list,
            body => match &body[field] {
                Value::Array(list) => list,
                Value::Null => return Ok(Vec::new()),
                _ => return Err(Refusal::new(422, "Invalid request.")),
            },
        };
        let name = |value: &Value| value.as_str().or_else(|| value["name"].as_str()).map(str::to_owned);
        list.iter().map(|value| name(value).ok_or_else(|| Refusal::new(422, "Invalid request."))).collect()
    }
}
