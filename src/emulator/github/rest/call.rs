//! One routed request to the REST API, and what handlers read from it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::response::{ApiError, BODY_CHARACTERS_MAX};
use crate::github::data::{Database, Issue, PullRequest, Repository};
use crate::github::mutations::Actor;

/// A request that was routed and may be carried out.
pub(crate) struct ApiCall<'a> {
    pub(crate) db: &'a mut Database,
    pub(crate) caller: Caller,
    /// The login that the call acts as.
    pub(crate) login: String,
    /// The index of the repository that the path names; 0 if it names none.
    pub(crate) repository: usize,
    pub(crate) parameters: BTreeMap<&'static str, String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Value,
    /// The path as GitHub's links spell it, with the repository's id.
    pub(crate) link_path: String,
    pub(crate) now: Timestamp,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A request without credentials.
    Anonymous,
    /// The App itself, with its JWT.
    App,
    /// An installation, with this token.
    Installation(String),
}

impl ApiCall<'_> {
    pub(crate) fn repo(&self) -> &Repository {
        &self.db.repositories[self.repository]
    }

    pub(crate) fn repo_mut(&mut self) -> &mut Repository {
        &mut self.db.repositories[self.repository]
    }

    /// The bot account, acting on the repository.
    pub(crate) fn actor(&mut self) -> Actor<'_> {
        Actor::new(self.db, self.repository, &self.login, self.now)
    }

    /// A parameter of the path, decoded.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// A number in the path. Anything else is not found.
    pub(crate) fn number(&self, name: &str) -> Result<u64, ApiError> {
        self.parameter(name).parse().map_err(|_| ApiError::not_found())
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The issue (or pull request) whose number is in the path.
    pub(crate) fn issue(&self) -> Result<&Issue, ApiError> {
        let number = self.number("issue_number")?;
        self.repo().issues.get(&number).ok_or_else(|| match self.repo().removed_issues.get(&number) {
            None => ApiError::not_found(),
            Some(None) => ApiError::new(410, "This issue was deleted"),
            Some(Some(address)) => ApiError::moved(address),
        })
    }

    /// The pull request whose number is in the path.
    pub(crate) fn pull_request(&self) -> Result<(&Issue, &PullRequest), ApiError> {
        let number = self.number("pull_number")?;
        self.repo().pull_request(number).ok_or_else(ApiError::not_found)
    }

    /// `state` of the body: `open` or `closed`.
    pub(crate) fn open_state(&self, resource: &str) -> Result<Option<bool>, ApiError> {
        match &self.body["state"] {
            Value::Null => Ok(None),
            state if state == "open" => Ok(Some(true)),
            state if state == "closed" => Ok(Some(false)),
            _ => Err(ApiError::invalid(resource, "state", "invalid")),
        }
    }

    /// `state` of the query: whether the listed issues must be open; `None` lists both. `resource` is named
    /// in the error.
    pub(crate) fn listed_state(&self, resource: &str) -> Result<Option<bool>, ApiError> {
        match self.query("state").unwrap_or("open") {
            "open" => Ok(Some(true)),
            "closed" => Ok(Some(false)),
            "all" => Ok(None),
            _ => Err(ApiError::invalid(resource, "state", "invalid")),
        }
    }

    /// Text of the body that must be present and not blank.
    pub(crate) fn required_text(&self, resource: &str, field: &str) -> Result<String, ApiError> {
        match self.optional_text(resource, field)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(ApiError::invalid(resource, field, "missing_field")),
        }
    }

    /// Text of the body that may be absent; limited to GitHub's maximum length.
    pub(crate) fn optional_text(&self, resource: &str, field: &str) -> Result<Option<String>, ApiError> {
        match &self.body[field] {
            Value::Null => Ok(None),
            Value::String(text) if text.chars().count() > BODY_CHARACTERS_MAX => {
                Err(ApiError::too_long(resource, field))
            }
            Value::String(text) => Ok(Some(text.clone())),
            Value::Number(number) => Ok(Some(number.to_string())),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err(ApiError::invalid(resource, field, "invalid"))
            }
        }
    }

    /// Strings in a list of the body; each may also be an object with a `name`.
    pub(crate) fn names(&self, field: &str) -> Result<Vec<String>, ApiError> {
        let list = match &self.body {
            Value::Array(list) => list,
            body => match &body[field] {
                Value::Array(list) => list,
                Value::Null => return Ok(Vec::new()),
                _ => return Err(ApiError::new(422, "Invalid request.")),
            },
        };
        let name = |value: &Value| value.as_str().or_else(|| value["name"].as_str()).map(str::to_owned);
        list.iter().map(|value| name(value).ok_or_else(|| ApiError::new(422, "Invalid request."))).collect()
    }
}
