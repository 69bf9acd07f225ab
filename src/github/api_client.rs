//! A client of GitHub's API that authenticates, respects the rate limits, and turns refusals into
//! errors. Every request of a job and of reconciliation goes
//! through [`ApiClient::send`].

use std::sync::Arc;

use http::StatusCode;
use secrecy::SecretString;
use serde::de::DeserializeOwned;

use super::connection::{ConnectionError, GitHubConnection};
use super::error::GitHubError;
use super::paths::repository_id_in;
use super::rate_limits::RateLimits;
use super::request::{ApiRequest, ApiResponse};
use super::response::{read, require_success};
use super::tokens::{InstallationTokens, TokenScope};
use super::transport::{Credential, Transport};
use crate::domain::{InstallationId, RepositoryRef};

/// Who sends a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sender<'a> {
    /// The App itself.
    App,
    /// A job, with a token for its repository only.
    Repository(&'a RepositoryRef),
    /// A job, with a token that reads this submodule's repository.
    Submodule(&'a RepositoryRef),
    /// Reconciliation, with a token that reads what an installation covers.
    Installation(InstallationId),
}

pub(super) struct ApiClient {
    pub(super) transport: Transport,
    pub(super) limits: Arc<RateLimits>,
    pub(super) app_id: u64,
    tokens: InstallationTokens,
}

impl ApiClient {
    /// Sends nothing. Must be called within a tokio runtime.
    pub(super) fn new(connection: &GitHubConnection) -> Result<Self, ConnectionError> {
        Ok(Self {
            transport: Transport::new(&connection.api_url, connection.app_auth()?)?,
            limits: Arc::default(),
            app_id: connection.app_id,
            tokens: InstallationTokens::default(),
        })
    }

    /// The response, if GitHub accepted the request or the caller has it already (304).
    pub(super) async fn send(
        &self,
        sender: Sender<'_>,
        request: &ApiRequest,
    ) -> Result<ApiResponse, GitHubError> {
        let scope = match sender {
            Sender::App => return self.send_as(&Credential::App, request).await,
            Sender::Repository(repository) => TokenScope::Repository(repository),
            Sender::Submodule(repository) => TokenScope::Submodule(repository),
            Sender::Installation(installation) => TokenScope::Installation(installation),
        };
        let installation = scope.installation();
        self.limits.admit(installation, request, || self.transport.now()).await?;
        let response = self.send_with_token(scope, request).await?;
        let now = self.transport.now();
        let wait = self.limits.record(installation, &response, now).await;
        if response.status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let response =
            require_success(request, response, now).await.map_err(|error| error.with_retry_after(wait))?;
        match (scope, repository_id_in(&response.url)) {
            (TokenScope::Repository(repository) | TokenScope::Submodule(repository), Some(id))
                if id != repository.id =>
            {
                Err(GitHubError::NotFound {
                    what: request.what.clone(),
                    detail: format!("it has moved to another repository (id {id})"),
                })
            }
            (TokenScope::Repository(_) | TokenScope::Submodule(_) | TokenScope::Installation(_), _) => {
                Ok(response)
            }
        }
    }

    /// The response of a request that counts against no installation's rate limit.
    pub(super) async fn send_as(
        &self,
        credential: &Credential,
        request: &ApiRequest,
    ) -> Result<ApiResponse, GitHubError> {
        let response = self.transport.send(request, credential).await?;
        require_success(request, response, self.transport.now()).await
    }

    /// The response's JSON.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        sender: Sender<'_>,
        request: &ApiRequest,
    ) -> Result<T, GitHubError> {
        read(request, &self.send(sender, request).await?)
    }

    /// Sends a request with a token. A refused token is replaced once: it may have been revoked, or
    /// the App's key may have changed.
    async fn send_with_token(
        &self,
        scope: TokenScope<'_>,
        request: &ApiRequest,
    ) -> Result<ApiResponse, GitHubError> {
        let token = self.token(scope).await?;
        let response = self.transport.send(request, &Credential::Token(token.clone())).await?;
        if response.status != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.tokens.discard(scope, &token).await;
        let token = self.token(scope).await?;
        self.transport.send(request, &Credential::Token(token)).await
    }

    /// A token for the scope with at least five minutes left.
    pub(super) async fn token(&self, scope: TokenScope<'_>) -> Result<SecretString, GitHubError> {
        self.tokens.get(&self.transport, scope).await
    }

    /// A credential for what everybody may read. On github.com nobody needs one.
    pub(super) fn any_credential(&self) -> Credential {
        self.tokens.any(self.transport.now()).map_or(Credential::Anonymous, Credential::Token)
    }
}
