//! Installation tokens, in one cache for the process. They are narrowed to what their use needs, kept
//! until shortly before they expire, and never written anywhere.
//!
//! octocrab signs for the App and describes the request. Its model of the response is not used: it demands
//! fields of the repositories that a token opens, which not every server sends. Its own token cache is not
//! used: it cannot narrow the permissions of a token, requests one token per caller when many ask
//! together, and does not tell when a token expires, which redaction must know.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use octocrab::models::apps::CreateInstallationAccessToken;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::error::GitHubError;
use super::request::ApiRequest;
use super::response::{read, require_success};
use super::transport::{Credential, Transport};
use crate::domain::{InstallationId, RepositoryId, RepositoryRef};
use crate::secrets::{SecretKind, register_until};

/// What a job's token may do. Each of these is in `app-manifest.yml`.
const JOB_PERMISSIONS: &[(&str, &str)] = &[
    ("checks", "write"),
    ("contents", "write"),
    ("issues", "write"),
    ("metadata", "read"),
    ("pull_requests", "write"),
];
/// What the token for the repository of a submodule may do: read.
const SUBMODULE_PERMISSIONS: &[(&str, &str)] = &[("contents", "read"), ("metadata", "read")];
/// What reconciliation's token may do: read.
const RECONCILIATION_PERMISSIONS: &[(&str, &str)] = &[("issues", "read"), ("metadata", "read")];

/// A token with less time left is replaced: it must outlive a fetch or a push.
const TIME_LEFT_MIN: SignedDuration = SignedDuration::from_mins(5);
/// The number of tokens to keep. Above it, tokens that nobody waits for are dropped.
const TOKENS_KEPT_MAX: usize = 1000;

/// What a token is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum TokenScope<'a> {
    /// A job in one repository.
    Repository(&'a RepositoryRef),
    /// Reading another repository, which is a submodule of a job's.
    Submodule(&'a RepositoryRef),
    /// Reconciliation of everything that an installation covers.
    Installation(InstallationId),
}

type Key = (InstallationId, Option<RepositoryId>, &'static [(&'static str, &'static str)]);

#[derive(Clone)]
struct InstallationToken {
    secret: SecretString,
    expires_at: Timestamp,
}

/// The part of GitHub's response that matters. A token without an end is an invalid response.
#[derive(Deserialize)]
struct CreatedToken {
    token: SecretString,
    expires_at: Timestamp,
}

/// The place of one token. Its lock is held while the token is requested, so that many callers together
/// cause one request.
type Slot = Arc<tokio::sync::Mutex<Option<InstallationToken>>>;

#[derive(Default)]
pub(super) struct InstallationTokens {
    slots: Mutex<HashMap<Key, Slot>>,
}

impl TokenScope<'_> {
    pub(super) fn installation(self) -> InstallationId {
        match self {
            Self::Repository(repository) | Self::Submodule(repository) => repository.installation,
            Self::Installation(installation) => installation,
        }
    }

    fn key(self) -> Key {
        let permissions = self.permissions();
        match self {
            Self::Repository(repository) | Self::Submodule(repository) => {
                (repository.installation, Some(repository.id), permissions)
            }
            Self::Installation(installation) => (installation, None, permissions),
        }
    }

    fn permissions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Repository(_) => JOB_PERMISSIONS,
            Self::Submodule(_) => SUBMODULE_PERMISSIONS,
            Self::Installation(_) => RECONCILIATION_PERMISSIONS,
        }
    }
}

impl std::fmt::Display for TokenScope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repository(repository) | Self::Submodule(repository) => {
                write!(f, "{} (installation {})", repository.name, repository.installation)
            }
            Self::Installation(installation) => write!(f, "installation {installation}"),
        }
    }
}

impl InstallationTokens {
    /// A token for the scope with at least five minutes left.
    pub(super) async fn get(
        &self,
        transport: &Transport,
        scope: TokenScope<'_>,
    ) -> Result<SecretString, GitHubError> {
        let slot = self.slot(scope);
        let mut token = slot.lock().await;
        if let Some(cached) = &*token
            && cached.expires_at.duration_since(transport.now()) >= TIME_LEFT_MIN
        {
            return Ok(cached.secret.clone());
        }
        let created = create(transport, scope).await?;
        let secret = created.secret.clone();
        *token = Some(created);
        Ok(secret)
    }

    /// Drops a token that GitHub refused, unless another caller has replaced it already.
    pub(super) async fn discard(&self, scope: TokenScope<'_>, refused: &SecretString) {
        let slot = self.slot(scope);
        let mut token = slot.lock().await;
        if token.as_ref().is_some_and(|cached| cached.secret.expose_secret() == refused.expose_secret()) {
            *token = None;
        }
    }

    /// Any token that is still valid, for what every token may read.
    pub(super) fn any(&self, now: Timestamp) -> Option<SecretString> {
        self.slots.lock().values().find_map(|slot| {
            let token = slot.try_lock().ok()?;
            token.as_ref().filter(|cached| cached.expires_at > now).map(|cached| cached.secret.clone())
        })
    }

    fn slot(&self, scope: TokenScope<'_>) -> Slot {
        let mut slots = self.slots.lock();
        if slots.len() >= TOKENS_KEPT_MAX {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(scope.key()).or_default().clone()
    }
}

/// Source: docs.github.com, "Create an installation access token for an app".
async fn create(transport: &Transport, scope: TokenScope<'_>) -> Result<InstallationToken, GitHubError> {
    let owned = |(name, level): &(&str, &str)| ((*name).to_owned(), (*level).to_owned());
    let (installation, repository, permissions) = scope.key();
    let body = CreateInstallationAccessToken {
        repository_ids: repository.map(|id| vec![octocrab::models::RepositoryId(id.0)]),
        permissions: Some(permissions.iter().map(owned).collect()),
        ..CreateInstallationAccessToken::default()
    };
    let path = format!("/app/installations/{installation}/access_tokens");
    // A second token does no harm if the response with the first one was lost.
    let request = ApiRequest::post(format!("getting a token for {scope}"), path, json!(body)).repeatable();
    let response = transport.send(&request, &Credential::App).await?;
    let response =
        require_success(&request, response, transport.now()).await.map_err(|error| match error {
            GitHubError::Rejected { what, detail } => GitHubError::Forbidden {
                what,
                detail: format!(
                    "{detail}; is the App still installed on this repository, and are its newest \
                 permissions accepted there?"
                ),
            },
            GitHubError::NotFound { what, detail } => {
                GitHubError::NotFound { what, detail: format!("{detail}; the App may have been uninstalled") }
            }
            other @ (GitHubError::Unavailable { .. }
            | GitHubError::Forbidden { .. }
            | GitHubError::ContainsSecret { .. }) => other,
        })?;
    let CreatedToken { token: secret, expires_at } = read(&request, &response)?;
    register_until(SecretKind::InstallationToken, &secret, expires_at, transport.now());
    Ok(InstallationToken { secret, expires_at })
}
