//! Who calls, and whether they may: App tokens, installation tokens, permissions and scope.

use base64::Engine;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::call::{Caller, Refusal};
use super::credentials::App;
use super::operations::{Access, Level};
use super::world::{Repository, Token, World};

/// An App's token may be valid for ten minutes.
/// Source: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App".
const JWT_SECONDS_MAX: i64 = 600;
/// How far the clocks may be apart.
const CLOCK_DRIFT_SECONDS: i64 = 60;
const UNREADABLE: &str = "A JSON web token could not be decoded";
const EXPIRED: &str = "'Expiration time' claim ('exp') must be a numeric value representing the \
                       future time at which the assertion expires";
const TOO_FAR: &str = "'Expiration time' claim ('exp') is too far in the future";
const ISSUED: &str = "'Issued at' claim ('iat') must be an Integer representing the time that the \
                      assertion was issued";
const ISSUER: &str = "'Issuer' claim ('iss') must be the App's id or client id";

/// Reads the `Authorization` header of an API request.
pub(super) fn identify(
    world: &World,
    authorization: Option<&str>,
    now: Timestamp,
) -> Result<Caller, Refusal> {
    let Some(header) = authorization else { return Ok(Caller::Anonymous) };
    let (scheme, secret) = header.split_once(' ').ok_or_else(Refusal::bad_credentials)?;
    if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("token") {
        return Err(Refusal::bad_credentials());
    }
    let secret = secret.trim();
    if secret.matches('.').count() == 2 {
        return check_jwt(&world.app, secret, now)
            .map(|()| Caller::App)
            .map_err(|why| Refusal::new(401, why));
    }
    live_token(world, secret, now)?;
    Ok(Caller::Installation(secret.to_owned()))
}

/// An installation token that is known, not revoked and not expired.
pub(super) fn live_token<'a>(world: &'a World, text: &str, now: Timestamp) -> Result<&'a Token, Refusal> {
    let token = world.tokens.get(text).filter(|token| !token.revoked && token.expires_at > now);
    let token = token.ok_or_else(Refusal::bad_credentials)?;
    match world.app.suspended_at {
        Some(_) => Err(Refusal::new(403, "This installation has been suspended")),
        None => Ok(token),
    }
}

/// The token in git's `Authorization: Basic`, whatever the user name.
pub(super) fn basic_token(authorization: Option<&str>) -> Option<String> {
    let encoded = authorization?.strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

fn check_jwt(app: &App, token: &str, now: Timestamp) -> Result<(), &'static str> {
    let mut rules = Validation::new(Algorithm::RS256);
    // The times are judged below, with GitHub's own rules and words.
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

/// Whether `caller` may do what needs `access` in a repository (its index).
pub(super) fn permit(
    world: &World,
    caller: &Caller,
    access: Access,
    repository: Option<usize>,
) -> Result<(), Refusal> {
    let token = match (access, caller) {
        (Access::Public, _) | (Access::App, Caller::App) => return Ok(()),
        (Access::App, _) => return Err(Refusal::new(401, UNREADABLE)),
        (_, Caller::Anonymous) => return Err(Refusal::new(401, "Requires authentication")),
        (_, Caller::App) => return Err(Refusal::bad_credentials()),
        (_, Caller::Installation(text)) => world.tokens.get(text).ok_or_else(Refusal::bad_credentials)?,
    };
    let Access::Any(permissions) = access else { return Ok(()) };
    let repository = repository.map(|index| &world.repositories[index]).ok_or_else(Refusal::not_found)?;
    if !token.reaches(repository) {
        return Err(Refusal::not_found());
    }
    match permissions.iter().any(|(name, level)| token.allows(name, *level)) {
        true if repository.archived && permissions.iter().any(|(_, level)| *level == Level::Write) => {
            Err(Refusal::new(403, "Repository was archived so is read-only."))
        }
        true => Ok(()),
        false => Err(Refusal::not_accessible()),
    }
}

impl Token {
    /// Installation tokens live for an hour.
    pub(super) const LIFETIME: SignedDuration = SignedDuration::from_hours(1);

    /// Whether it was made for this repository too.
    pub(super) fn reaches(&self, repository: &Repository) -> bool {
        repository.covered && self.repositories.as_ref().is_none_or(|ids| ids.contains(&repository.id))
    }

    /// Whether it has a permission of at least this level.
    pub(super) fn allows(&self, permission: &str, level: Level) -> bool {
        let has = self.permissions.get(permission).and_then(|word| Level::named(word));
        has.is_some_and(|has| has >= level)
    }
}
