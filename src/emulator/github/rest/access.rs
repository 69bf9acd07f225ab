//! Authentication and authorization: App tokens, installation tokens, permissions and repositories.

use base64::Engine;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::call::Caller;
use super::response::ApiError;
use crate::github::data::{AppRegistration, Database, InstallationToken, PermissionLevel};

/// Who may call an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access {
    /// Everybody.
    Public,
    /// The App, with its JWT.
    App,
    /// An installation with any permissions.
    Installation,
    /// An installation with one of these permissions, in the repository of the path.
    Any(&'static [(&'static str, PermissionLevel)]),
}

/// An App's token may be valid for ten minutes.
/// Source: docs.github.com, "Generating a JSON Web InstallationToken (JWT) for a GitHub App".
const JWT_SECONDS_MAX: i64 = 600;
/// How far the clocks may differ.
const CLOCK_DRIFT_SECONDS: i64 = 60;
const UNREADABLE: &str = "A JSON web token could not be decoded";
const EXPIRED: &str = "'Expiration time' claim ('exp') must be a numeric value representing the \
                       future time at which the assertion expires";
const TOO_FAR: &str = "'Expiration time' claim ('exp') is too far in the future";
const ISSUED: &str = "'Issued at' claim ('iat') must be an Integer representing the time that the \
                      assertion was issued";
const ISSUER: &str = "'Issuer' claim ('iss') must be the App's id or client id";

/// Reads the `Authorization` header of an API request.
pub(crate) fn identify(
    db: &Database,
    authorization: Option<&str>,
    now: Timestamp,
) -> Result<Caller, ApiError> {
    let Some(header) = authorization else { return Ok(Caller::Anonymous) };
    let (scheme, secret) = header.split_once(' ').ok_or_else(ApiError::bad_credentials)?;
    if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("token") {
        return Err(ApiError::bad_credentials());
    }
    let secret = secret.trim();
    if secret.matches('.').count() == 2 {
        return check_jwt(&db.app, secret, now).map(|()| Caller::App).map_err(|why| ApiError::new(401, why));
    }
    valid_token(db, secret, now)?;
    Ok(Caller::Installation(secret.to_owned()))
}

/// An installation token that is known, not revoked and not expired.
pub(crate) fn valid_token<'a>(
    db: &'a Database,
    text: &str,
    now: Timestamp,
) -> Result<&'a InstallationToken, ApiError> {
    let token = db.tokens.get(text).filter(|token| !token.revoked && token.expires_at > now);
    let token = token.ok_or_else(ApiError::bad_credentials)?;
    match db.app.suspended_at {
        Some(_) => Err(ApiError::new(403, "This installation has been suspended")),
        None => Ok(token),
    }
}

/// The token in git's `Authorization: Basic`, with any user name.
pub(crate) fn basic_token(authorization: Option<&str>) -> Option<String> {
    let encoded = authorization?.strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

fn check_jwt(app: &AppRegistration, token: &str, now: Timestamp) -> Result<(), &'static str> {
    let mut rules = Validation::new(Algorithm::RS256);
    // The times are checked below, with GitHub's own rules and messages.
    rules.validate_exp = false;
    rules.required_spec_claims.clear();
    let key = DecodingKey::from_rsa_der(&app.public_key);
    let claims = jsonwebtoken::decode::<Value>(token, &key, &rules).map_err(|_| UNREADABLE)?.claims;
    let now = now.as_second();
    let expires = claims["exp"].as_i64().filter(|at| *at > now).ok_or(EXPIRED)?;
    if expires > now + JWT_SECONDS_MAX {
        return Err(TOO_FAR);
    }
    claims["iat"].as_i64().filter(|at| *at <= now + CLOCK_DRIFT_SECONDS).ok_or(ISSUED)?;
    let issuer = match &claims["iss"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match issuer == app.id.to_string() || issuer == app.client_id {
        true => Ok(()),
        false => Err(ISSUER),
    }
}

/// Checks that `caller` has `access` to the repository with this index.
pub(crate) fn permit(
    db: &Database,
    caller: &Caller,
    access: Access,
    repository: Option<usize>,
) -> Result<(), ApiError> {
    let token = match (access, caller) {
        (Access::Public, _) | (Access::App, Caller::App) => return Ok(()),
        (Access::App, _) => return Err(ApiError::new(401, UNREADABLE)),
        (_, Caller::Anonymous) => return Err(ApiError::new(401, "Requires authentication")),
        (_, Caller::App) => return Err(ApiError::bad_credentials()),
        (_, Caller::Installation(text)) => db.tokens.get(text).ok_or_else(ApiError::bad_credentials)?,
    };
    let Access::Any(permissions) = access else { return Ok(()) };
    let repository = repository.map(|index| &db.repositories[index]).ok_or_else(ApiError::not_found)?;
    if !token.covers(repository) {
        return Err(ApiError::not_found());
    }
    match permissions.iter().any(|(name, level)| token.allows(name, *level)) {
        true if repository.archived
            && permissions.iter().any(|(_, level)| *level == PermissionLevel::Write) =>
        {
            Err(ApiError::new(403, "Repository was archived so is read-only."))
        }
        true => Ok(()),
        false => Err(ApiError::not_accessible()),
    }
}
