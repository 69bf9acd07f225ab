//! The App and its installation: who it is, its tokens, its repositories, the manifest flow.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::call::{Answer, Call, Caller, Outcome, Refusal};
use super::credentials::{random_text, random_token};
use super::operations::Level;
use super::pages::counted_page;
use super::shapes::{self, stamp};
use super::world::Token;

/// At most this many repositories may be named for one token.
/// Source: docs.github.com, "Create an installation access token for an app".
const TOKEN_REPOSITORIES_MAX: usize = 500;

pub(super) fn get_app(call: &mut Call<'_>) -> Outcome {
    let mut shape = shapes::integration(call.world);
    shape["installations_count"] = json!(u8::from(call.world.app.installed));
    Ok(Answer::ok(shape))
}

pub(super) fn get_app_by_slug(call: &mut Call<'_>) -> Outcome {
    match call.parameter("app_slug") == call.world.app.slug {
        true => Ok(Answer::ok(shapes::integration(call.world))),
        false => Err(Refusal::not_found()),
    }
}

pub(super) fn list_installations(call: &mut Call<'_>) -> Outcome {
    let all = call.world.app.installed.then(|| shapes::installation(call.world)).into_iter().collect();
    Ok(super::pages::page(call, all))
}

/// By its id, or by a repository it covers.
pub(super) fn get_installation(call: &mut Call<'_>) -> Outcome {
    let by_id = call.parameter("installation_id");
    let named = by_id.is_empty() || by_id == call.world.app.installation.to_string();
    match named && call.world.app.installed {
        true => Ok(Answer::ok(shapes::installation(call.world))),
        false => Err(Refusal::not_found()),
    }
}

pub(super) fn create_token(call: &mut Call<'_>) -> Outcome {
    if call.number("installation_id")? != call.world.app.installation || !call.world.app.installed {
        return Err(Refusal::not_found());
    }
    if call.world.app.suspended_at.is_some() {
        return Err(Refusal::new(403, "This installation has been suspended"));
    }
    let permissions = narrowed_permissions(call)?;
    let repositories = narrowed_repositories(call)?;
    let expires_at = call.now + Token::LIFETIME;
    let text = random_token().map_err(|_| Refusal::new(500, "Server Error"))?;
    let mut shape = json!({
        "token": text,
        "expires_at": stamp(expires_at),
        "permissions": permissions,
        "repository_selection": if repositories.is_some() { "selected" } else { "all" },
    });
    if let Some(ids) = &repositories {
        let chosen = call.world.repositories.iter().filter(|repository| ids.contains(&repository.id));
        let chosen: Vec<Value> =
            chosen.map(|repository| shapes::repository(call.world, repository)).collect();
        shape["repositories"] = Value::Array(chosen);
    }
    call.world.tokens.insert(text, Token { expires_at, revoked: false, permissions, repositories });
    Ok(Answer::new(201, shape))
}

fn narrowed_permissions(call: &Call<'_>) -> Result<BTreeMap<String, String>, Refusal> {
    const REFUSED: &str = "The permissions requested are not granted to this installation.";
    let granted = &call.world.app.granted;
    let Value::Object(asked) = &call.body["permissions"] else {
        return match call.body["permissions"].is_null() {
            true => Ok(granted.clone()),
            false => Err(Refusal::new(422, "Invalid request.")),
        };
    };
    let mut narrowed = BTreeMap::new();
    for (name, level) in asked {
        let level = level.as_str().unwrap_or_default();
        let has = granted.get(name).and_then(|word| Level::named(word));
        if Level::named(level).is_none_or(|asked| has.is_none_or(|has| has < asked)) {
            return Err(Refusal::new(422, REFUSED));
        }
        narrowed.insert(name.clone(), level.to_owned());
    }
    // Metadata comes with every repository permission.
    narrowed.entry("metadata".to_owned()).or_insert_with(|| "read".to_owned());
    Ok(narrowed)
}

fn narrowed_repositories(call: &Call<'_>) -> Result<Option<Vec<u64>>, Refusal> {
    const UNKNOWN: &str = "There is at least one repository that does not exist or is not accessible \
                           to the parent installation.";
    let list = |field: &str| call.body[field].as_array().cloned().unwrap_or_default();
    let (names, ids) = (list("repositories"), list("repository_ids"));
    if names.is_empty() && ids.is_empty() {
        return Ok(None);
    }
    if names.len() + ids.len() > TOKEN_REPOSITORIES_MAX {
        return Err(Refusal::new(422, "Too many repositories for the installation."));
    }
    let all = &call.world.repositories;
    let covered = || all.iter().filter(|repository| repository.covered);
    let by_name =
        names.iter().map(|name| covered().find(|repository| Some(repository.name.as_str()) == name.as_str()));
    let by_id = ids.iter().map(|id| covered().find(|repository| Some(repository.id) == id.as_u64()));
    by_name
        .chain(by_id)
        .map(|found| found.map(|repository| repository.id).ok_or_else(|| Refusal::new(422, UNKNOWN)))
        .collect::<Result<Vec<u64>, Refusal>>()
        .map(Some)
}

pub(super) fn list_repositories(call: &mut Call<'_>) -> Outcome {
    let Caller::Installation(text) = &call.caller else { return Err(Refusal::bad_credentials()) };
    let token = call.world.tokens.get(text).ok_or_else(Refusal::bad_credentials)?;
    let selection = if token.repositories.is_some() { "selected" } else { "all" };
    let visible = call.world.repositories.iter().filter(|repository| token.reaches(repository));
    let all = visible.map(|repository| shapes::repository(call.world, repository)).collect();
    let mut answer = counted_page(call, "repositories", all);
    answer.body["repository_selection"] = json!(selection);
    Ok(answer)
}

pub(super) fn revoke_token(call: &mut Call<'_>) -> Outcome {
    if let Caller::Installation(text) = &call.caller
        && let Some(token) = call.world.tokens.get_mut(text)
    {
        token.revoked = true;
    }
    Ok(Answer::no_content())
}

pub(super) fn rate_limit(call: &mut Call<'_>) -> Outcome {
    let limit = &call.world.rate_limit;
    let used = limit.used.min(limit.max);
    let core = json!({
        "limit": limit.max, "used": used, "remaining": limit.max - used,
        "reset": limit.resets_at.as_second(), "resource": "core",
    });
    let search = json!({
        "limit": 30, "used": 0, "remaining": 30, "reset": limit.resets_at.as_second(),
        "resource": "search",
    });
    Ok(Answer::ok(json!({"resources": {"core": core, "search": search}, "rate": core})))
}

/// The manifest flow hands out the registration there is; the code works once.
pub(super) fn convert_manifest(call: &mut Call<'_>) -> Outcome {
    let code = call.parameter("code").to_owned();
    let Some(position) = call.world.app.manifest_codes.iter().position(|known| *known == code) else {
        return Err(Refusal::not_found());
    };
    call.world.app.manifest_codes.remove(position);
    let secret = random_text(40).map_err(|_| Refusal::new(500, "Server Error"))?;
    let mut shape = shapes::integration(call.world);
    use secrecy::ExposeSecret;
    let app = &call.world.app;
    shape["client_secret"] = json!(secret);
    shape["webhook_secret"] = json!(app.webhook_secret.expose_secret());
    shape["pem"] = json!(app.private_key_pem.expose_secret());
    Ok(Answer::new(201, shape))
}
