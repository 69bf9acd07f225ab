//! Proves to GitHub that we are the App: short-lived JSON Web Tokens signed with its private key.
//!
//! Source: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App".

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

/// GitHub's advice against clocks that run ahead of its own.
const ISSUED_BEFORE_SECONDS: i64 = 60;
/// GitHub refuses more than 600; the rest is for clocks that run ahead.
const EXPIRES_AFTER_SECONDS: i64 = 540;

/// The App's id with its private key.
pub(super) struct AppKey {
    app_id: u64,
    key: EncodingKey,
}

#[derive(Serialize)]
struct Claims {
    iss: String,
    iat: i64,
    exp: i64,
}

impl AppKey {
    pub(super) fn new(
        app_id: u64,
        private_key_pem: &SecretString,
    ) -> Result<Self, jsonwebtoken::errors::Error> {
        let key = EncodingKey::from_rsa_pem(private_key_pem.expose_secret().as_bytes())?;
        Ok(Self { app_id, key })
    }

    pub(super) fn app_id(&self) -> u64 {
        self.app_id
    }

    /// A token that GitHub accepts from a minute before `now` until nine minutes after.
    pub(super) fn jwt(&self, now: Timestamp) -> Result<SecretString, jsonwebtoken::errors::Error> {
        let now = now.as_second();
        let claims = Claims {
            iss: self.app_id.to_string(),
            iat: now - ISSUED_BEFORE_SECONDS,
            exp: now + EXPIRES_AFTER_SECONDS,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key).map(Into::into)
    }
}
