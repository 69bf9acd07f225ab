//! Installation tokens: asked for one repository and the permissions a job needs, kept until
//! shortly before they expire, never written anywhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::GitHubError;
use super::app_jwt::AppKey;
use super::refusal::{accepted, read};
use super::transport::{Call, Transport};
use crate::domain::{InstallationId, RepositoryId, RepositoryRef};
use crate::secrets::{SecretKind, register_until};

/// What a token may do, beside reading metadata. Every one of these is in `app-manifest.yml`.
pub(super) const PERMISSIONS: [(&str, &str); 5] = [
    ("checks", "write"),
    ("contents", "write"),
    ("issues", "write"),
    ("metadata", "read"),
    ("pull_requests", "write"),
];

/// A token with less life than this is not handed out any more: it must outlive a fetch or a push.
const LIFE_LEFT_MIN: SignedDuration = SignedDuration::from_mins(5);
/// Repositories whose tokens are kept; beyond it, tokens that nobody waits for are let go.
const REPOSITORIES_KEPT_MAX: usize = 1000;

#[derive(Clone)]
struct InstallationToken {
    secret: SecretString,
    expires_at: Timestamp,
}

/// A place for one repository's token. Its lock is held while the token is minted, so that many
/// callers at once cause one request.
type Slot = Arc<tokio::sync::Mutex<Option<InstallationToken>>>;

#[derive(Default)]
pub(super) struct InstallationTokens {
    slots: Mutex<HashMap<(InstallationId, RepositoryId), Slot>>,
}

#[derive(Deserialize)]
struct Minted {
    token: SecretString,
    expires_at: Timestamp,
}

impl InstallationTokens {
    /// A token for the repository with at least five minutes to live.
    pub(super) async fn get(
        &self,
        transport: &Transport,
        app: &AppKey,
        at: &RepositoryRef,
    ) -> Result<SecretString, GitHubError> {
        let slot = self.slot(at);
        let mut token = slot.lock().await;
        if let Some(kept) = &*token
            && kept.expires_at.duration_since(transport.now()) >= LIFE_LEFT_MIN
        {
            return Ok(kept.secret.clone());
        }
        let minted = mint(transport, app, at).await?;
        let secret = minted.secret.clone();
        *token = Some(minted);
        Ok(secret)
    }

    /// Lets go of a token that GitHub refused, unless another caller has replaced it already.
    pub(super) async fn forget(&self, at: &RepositoryRef, refused: &SecretString) {
        let slot = self.slot(at);
        let mut token = slot.lock().await;
        if token.as_ref().is_some_and(|kept| kept.secret.expose_secret() == refused.expose_secret()) {
            *token = None;
        }
    }

    /// Any token that still lives, for what every token may read.
    pub(super) fn any(&self, now: Timestamp) -> Option<SecretString> {
        self.lock().values().find_map(|slot| {
            let kept = slot.try_lock().ok()?;
            kept.as_ref().filter(|kept| kept.expires_at > now).map(|kept| kept.secret.clone())
        })
    }

    fn slot(&self, at: &RepositoryRef) -> Slot {
        let mut slots = self.lock();
        if slots.len() >= REPOSITORIES_KEPT_MAX {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry((at.installation, at.id)).or_default().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(InstallationId, RepositoryId), Slot>> {
        // A panic elsewhere leaves the map whole: every change to it is one call.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Source: docs.github.com, "Create an installation access token for an app".
async fn mint(
    transport: &Transport,
    app: &AppKey,
    at: &RepositoryRef,
) -> Result<InstallationToken, GitHubError> {
    let what = format!("getting a token for {} (installation {})", at.name, at.installation);
    let permissions: HashMap<&str, &str> = PERMISSIONS.into_iter().collect();
    let body = json!({"repository_ids": [at.id], "permissions": permissions});
    let path = format!("/app/installations/{}/access_tokens", at.installation);
    // A second token beside one whose answer was lost harms nobody.
    let call = Call::post(what, path, body).repeatable();
    let jwt = app.jwt(transport.now()).map_err(|error| GitHubError::Forbidden {
        what: call.what.clone(),
        detail: format!("the App's private key cannot sign: {error}"),
    })?;
    let answer = transport.send(&call, Some(&jwt)).await?;
    let answer = accepted(&call, answer, transport.now()).map_err(|error| match error {
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
    let minted: Minted = read(&call, &answer)?;
    register_until(SecretKind::InstallationToken, &minted.token, minted.expires_at, transport.now());
    Ok(InstallationToken { secret: minted.token, expires_at: minted.expires_at })
}
