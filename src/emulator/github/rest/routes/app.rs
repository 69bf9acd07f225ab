//! The App and its installation: registration, tokens, repositories, the manifest flow.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::github::data::{InstallationToken, PermissionLevel, random_text, random_token};
use crate::github::rest::call::{ApiCall, Caller};
use crate::github::rest::pagination::{counted_page, page};
use crate::github::rest::response::{ApiError, ApiResponse, ApiResult};
use crate::github::shapes::{self, timestamp};

/// At most this many repositories may be named for one token.
/// Source: docs.github.com, "Create an installation access token for an app".
const TOKEN_REPOSITORIES_MAX: usize = 500;

pub(crate) fn get_app(call: &mut ApiCall<'_>) -> ApiResult {
    let mut shape = shapes::integration(call.db);
    shape["installations_count"] = json!(u8::from(call.db.app.installed));
    Ok(ApiResponse::ok(shape))
}

pub(crate) fn get_app_by_slug(call: &mut ApiCall<'_>) -> ApiResult {
    match call.parameter("app_slug") == call.db.app.slug {
        true => Ok(ApiResponse::ok(shapes::integration(call.db))),
        false => Err(ApiError::not_found()),
    }
}

pub(crate) fn list_installations(call: &mut ApiCall<'_>) -> ApiResult {
    let all = call.db.app.installed.then(|| shapes::installation(call.db)).into_iter().collect();
    Ok(page(call, all))
}

/// Named by its id, or by a repository that it covers.
pub(crate) fn get_installation(call: &mut ApiCall<'_>) -> ApiResult {
    let by_id = call.parameter("installation_id");
    let named = by_id.is_empty() || by_id == call.db.app.installation.to_string();
    match named && call.db.app.installed {
        true => Ok(ApiResponse::ok(shapes::installation(call.db))),
        false => Err(ApiError::not_found()),
    }
}

pub(crate) fn create_token(call: &mut ApiCall<'_>) -> ApiResult {
    if call.number("installation_id")? != call.db.app.installation || !call.db.app.installed {
        return Err(ApiError::not_found());
    }
    if call.db.app.suspended_at.is_some() {
        return Err(ApiError::new(403, "This installation has been suspended"));
    }
    let permissions = narrowed_permissions(call)?;
    let repositories = narrowed_repositories(call)?;
    let expires_at = call.now + InstallationToken::LIFETIME;
    let text = random_token().map_err(|_| ApiError::server_error())?;
    let mut shape = json!({
        "token": text,
        "expires_at": timestamp(expires_at),
        "permissions": permissions,
        "repository_selection": if repositories.is_some() { "selected" } else { "all" },
    });
    if let Some(ids) = &repositories {
        let chosen = call.db.repositories.iter().filter(|repository| ids.contains(&repository.id));
        let chosen: Vec<Value> = chosen.map(|repository| shapes::repository(call.db, repository)).collect();
        shape["repositories"] = Value::Array(chosen);
    }
    call.db.tokens.insert(text, InstallationToken { expires_at, revoked: false, permissions, repositories });
    Ok(ApiResponse::new(201, shape))
}

fn narrowed_permissions(call: &ApiCall<'_>) -> Result<BTreeMap<String, String>, ApiError> {
    const NOT_GRANTED: &str = "The permissions requested are not granted to this installation.";
    let granted = &call.db.app.granted;
    let Value::Object(requested) = &call.body["permissions"] else {
        return match call.body["permissions"].is_null() {
            true => Ok(granted.clone()),
            false => Err(ApiError::new(422, "Invalid request.")),
        };
    };
    let mut narrowed = BTreeMap::new();
    for (name, level) in requested {
        let level = level.as_str().unwrap_or_default();
        let granted = granted.get(name).and_then(|word| PermissionLevel::named(word));
        if PermissionLevel::named(level).is_none_or(|wanted| granted.is_none_or(|granted| granted < wanted)) {
            return Err(ApiError::new(422, NOT_GRANTED));
        }
        narrowed.insert(name.clone(), level.to_owned());
    }
    // Every repository permission includes metadata.
    narrowed.entry("metadata".to_owned()).or_insert_with(|| "read".to_owned());
    Ok(narrowed)
}

fn narrowed_repositories(call: &ApiCall<'_>) -> Result<Option<Vec<u64>>, ApiError> {
    const UNKNOWN: &str = "There is at least one repository that does not exist or is not accessible \
                           to the parent installation.";
    let list = |field: &str| call.body[field].as_array().cloned().unwrap_or_default();
    let (names, ids) = (list("repositories"), list("repository_ids"));
    if names.is_empty() && ids.is_empty() {
        return Ok(None);
    }
    if names.len() + ids.len() > TOKEN_REPOSITORIES_MAX {
        return Err(ApiError::new(422, "Too many repositories for the installation."));
    }
    let all = &call.db.repositories;
    let covered = || all.iter().filter(|repository| repository.covered);
    let by_name =
        names.iter().map(|name| covered().find(|repository| Some(repository.name.as_str()) == name.as_str()));
    let by_id = ids.iter().map(|id| covered().find(|repository| Some(repository.id) == id.as_u64()));
    by_name
        .chain(by_id)
        .map(|found| found.map(|repository| repository.id).ok_or_else(|| ApiError::new(422, UNKNOWN)))
        .collect::<Result<Vec<u64>, ApiError>>()
        .map(Some)
}

pub(crate) fn list_repositories(call: &mut ApiCall<'_>) -> ApiResult {
    let Caller::Installation(text) = &call.caller else { return Err(ApiError::bad_credentials()) };
    let token = call.db.tokens.get(text).ok_or_else(ApiError::bad_credentials)?;
    let selection = if token.repositories.is_some() { "selected" } else { "all" };
    let visible = call.db.repositories.iter().filter(|repository| token.covers(repository));
    let all = visible.map(|repository| shapes::repository(call.db, repository)).collect();
    let mut response = counted_page(call, "repositories", all);
    response.body["repository_selection"] = json!(selection);
    Ok(response)
}

pub(crate) fn revoke_token(call: &mut ApiCall<'_>) -> ApiResult {
    if let Caller::Installation(text) = &call.caller
        && let Some(token) = call.db.tokens.get_mut(text)
    {
        token.revoked = true;
    }
    Ok(ApiResponse::no_content())
}

pub(crate) fn rate_limit(call: &mut ApiCall<'_>) -> ApiResult {
    let limit = &call.db.rate_limit;
    let used = limit.used.min(limit.max);
    let core = json!({
        "limit": limit.max, "used": used, "remaining": limit.max - used,
        "reset": limit.resets_at.as_second(), "resource": "core",
    });
    let search = json!({
        "limit": 30, "used": 0, "remaining": 30, "reset": limit.resets_at.as_second(),
        "resource": "search",
    });
    Ok(ApiResponse::ok(json!({"resources": {"core": core, "search": search}, "rate": core})))
}

/// The manifest flow returns the current registration; each code works once.
pub(crate) fn convert_manifest(call: &mut ApiCall<'_>) -> ApiResult {
    let code = call.parameter("code").to_owned();
    let Some(position) = call.db.app.manifest_codes.iter().position(|known| *known == code) else {
        return Err(ApiError::not_found());
    };
    call.db.app.manifest_codes.remove(position);
    let secret = random_text(40).map_err(|_| ApiError::server_error())?;
    let mut shape = shapes::integration(call.db);
    let app = &call.db.app;
    shape["client_secret"] = json!(secret);
    shape["webhook_secret"] = json!(app.webhook_secret.expose_secret());
    shape["pem"] = json!(app.private_key_pem.expose_secret());
    Ok(ApiResponse::new(201, shape))
}
