//! Which GitHub the service talks to, and the App that it is there.

use octocrab::AuthState;
use octocrab::auth::AppAuth;
use octocrab::models::AppId;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// A GitHub server and the App's identity there.
#[derive(Debug, Clone)]
pub struct GitHubConnection {
    /// The REST API: `https://api.github.com`, `https://HOST/api/v3`.
    pub api_url: Url,
    /// The pages and git: `https://github.com`.
    pub web_url: Url,
    /// The App's id.
    pub app_id: u64,
    /// The App's private key: RSA, PEM, PKCS#1 as GitHub provides it, or PKCS#8.
    pub private_key_pem: SecretString,
}

/// A connection cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The private key is not usable.
    #[error(
        "the App's private key cannot be read ({0}): it must be the RSA key in PEM format that \
         GitHub let you download, from -----BEGIN to -----END"
    )]
    PrivateKey(String),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    HttpClient(String),
}

impl GitHubConnection {
    /// Authentication as the App: octocrab signs a JSON Web Token for each request.
    pub(super) fn app_auth(&self) -> Result<AuthState, ConnectionError> {
        let pem = self.private_key_pem.expose_secret().as_bytes();
        let key = octocrab::EncodingKey::from_rsa_pem(pem)
            .map_err(|error| ConnectionError::PrivateKey(error.to_string()))?;
        Ok(AuthState::App(AppAuth { app_id: AppId(self.app_id), key }))
    }
}
