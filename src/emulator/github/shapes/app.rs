//! Accounts, the App and its installation.

use serde_json::{Map, Value, json};

use super::{node_id, stamp};
use crate::github::people::{User, UserKind};
use crate::github::world::World;

/// `simple-user`. An unknown login is the ghost, as on GitHub.
pub(in crate::github) fn user(world: &World, login: &str) -> Value {
    let ghost = User {
        id: 10_137,
        login: "ghost".to_owned(),
        kind: UserKind::User,
        role: crate::github::people::Role::None,
    };
    let user = world.users.get(&login.to_lowercase()).unwrap_or(&ghost);
    let encoded = user.login.replace('[', "%5B").replace(']', "%5D");
    let url = format!("{}/users/{encoded}", world.urls.api);
    let page = match user.login.strip_suffix("[bot]") {
        Some(slug) => format!("{}/apps/{slug}", world.urls.web),
        None => format!("{}/{}", world.urls.web, user.login),
    };
    json!({
        "login": user.login,
        "id": user.id,
        "node_id": node_id("U", user.id),
        "avatar_url": format!("{}/avatars/u/{}?v=4", world.urls.web, user.id),
        "gravatar_id": "",
        "url": url,
        "html_url": page,
        "followers_url": format!("{url}/followers"),
        "following_url": format!("{url}/following{{/other_user}}"),
        "gists_url": format!("{url}/gists{{/gist_id}}"),
        "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
        "subscriptions_url": format!("{url}/subscriptions"),
        "organizations_url": format!("{url}/orgs"),
        "repos_url": format!("{url}/repos"),
        "events_url": format!("{url}/events{{/privacy}}"),
        "received_events_url": format!("{url}/received_events"),
        "type": user.kind.as_str(),
        "user_view_type": "public",
        "site_admin": false,
    })
}

/// `public-user`
pub(in crate::github) fn public_user(world: &World, login: &str) -> Value {
    let created = stamp(world.app.created_at);
    with(
        user(world, login),
        json!({
            "name": login, "company": null, "blog": "", "location": null, "email": null,
            "hireable": null, "bio": null, "twitter_username": null, "public_repos": 0,
            "public_gists": 0, "followers": 0, "following": 0, "created_at": created,
            "updated_at": created,
        }),
    )
}

/// `integration`: the App.
pub(in crate::github) fn integration(world: &World) -> Value {
    let app = &world.app;
    json!({
        "id": app.id,
        "client_id": app.client_id,
        "slug": app.slug,
        "node_id": node_id("A", app.id),
        "owner": user(world, &app.owner),
        "name": app.name,
        "description": app.description,
        "external_url": "https://example.com/",
        "html_url": format!("{}/apps/{}", world.urls.web, app.slug),
        "created_at": stamp(app.created_at),
        "updated_at": stamp(app.created_at),
        "permissions": app.permissions,
        "events": app.events,
    })
}

/// `installation`
pub(in crate::github) fn installation(world: &World) -> Value {
    let app = &world.app;
    let account = user(world, &app.owner);
    let id = app.installation;
    json!({
        "id": id,
        "account": account,
        "repository_selection": "all",
        "access_tokens_url": format!("{}/app/installations/{id}/access_tokens", world.urls.api),
        "repositories_url": format!("{}/installation/repositories", world.urls.api),
        "html_url": format!("{}/settings/installations/{id}", world.urls.web),
        "app_id": app.id,
        "app_slug": app.slug,
        "client_id": app.client_id,
        "target_id": account["id"],
        "target_type": "User",
        "permissions": app.granted,
        "events": app.events,
        "created_at": stamp(app.created_at),
        "updated_at": stamp(app.created_at),
        "single_file_name": null,
        "has_multiple_single_files": false,
        "single_file_paths": [],
        "suspended_by": app.suspended_at.map(|_| user(world, &app.owner)),
        "suspended_at": app.suspended_at.map(stamp),
    })
}

/// `base` with the fields of `more`.
pub(super) fn with(base: Value, more: Value) -> Value {
    let (Value::Object(mut fields), Value::Object(added)) = (base, more) else { return Value::Null };
    fields.extend(added);
    Value::Object(Map::from_iter(fields))
}
