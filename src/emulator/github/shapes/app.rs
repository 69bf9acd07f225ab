//! Accounts, the App and its installation.

use serde_json::{Value, json};

use super::format::{node_id, timestamp, with_fields};
use crate::github::data::{Account, AccountKind, Database, Role};

/// `simple-user`. An unknown login is shown as `ghost`, as on GitHub.
pub(crate) fn account(db: &Database, login: &str) -> Value {
    let ghost = Account {
        id: 10_137,
        login: "ghost".to_owned(),
        kind: AccountKind::User,
        role: Role::None,
        membership_is_hidden: false,
    };
    let account = db.account(login).unwrap_or(&ghost);
    let encoded = account.login.replace('[', "%5B").replace(']', "%5D");
    let url = format!("{}/users/{encoded}", db.urls.api);
    let page = match account.login.strip_suffix("[bot]") {
        Some(slug) => format!("{}/apps/{slug}", db.urls.web),
        None => format!("{}/{}", db.urls.web, account.login),
    };
    json!({
        "login": account.login,
        "id": account.id,
        "node_id": node_id("U", account.id),
        "avatar_url": format!("{}/avatars/u/{}?v=4", db.urls.web, account.id),
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
        "type": account.kind.as_str(),
        "user_view_type": "public",
        "site_admin": false,
    })
}

/// `public-user`
pub(crate) fn public_user(db: &Database, login: &str) -> Value {
    let created = timestamp(db.app.created_at);
    with_fields(
        account(db, login),
        json!({
            "name": login, "company": null, "blog": "", "location": null, "email": null,
            "hireable": null, "bio": null, "twitter_username": null, "public_repos": 0,
            "public_gists": 0, "followers": 0, "following": 0, "created_at": created,
            "updated_at": created,
        }),
    )
}

/// `integration`: the App.
pub(crate) fn integration(db: &Database) -> Value {
    let app = &db.app;
    json!({
        "id": app.id,
        "client_id": app.client_id,
        "slug": app.slug,
        "node_id": node_id("A", app.id),
        "owner": account(db, &app.owner),
        "name": app.name,
        "description": app.description,
        "external_url": "https://example.com/",
        "html_url": format!("{}/apps/{}", db.urls.web, app.slug),
        "created_at": timestamp(app.created_at),
        "updated_at": timestamp(app.created_at),
        "permissions": app.permissions,
        "events": app.events,
    })
}

/// `installation`
pub(crate) fn installation(db: &Database) -> Value {
    let app = &db.app;
    let owner = account(db, &app.owner);
    let id = app.installation;
    json!({
        "id": id,
        "account": owner,
        "repository_selection": "all",
        "access_tokens_url": format!("{}/app/installations/{id}/access_tokens", db.urls.api),
        "repositories_url": format!("{}/installation/repositories", db.urls.api),
        "html_url": format!("{}/settings/installations/{id}", db.urls.web),
        "app_id": app.id,
        "app_slug": app.slug,
        "client_id": app.client_id,
        "target_id": owner["id"],
        "target_type": "User",
        "permissions": app.granted,
        "events": app.events,
        "created_at": timestamp(app.created_at),
        "updated_at": timestamp(app.created_at),
        "single_file_name": null,
        "has_multiple_single_files": false,
        "single_file_paths": [],
        "suspended_by": app.suspended_at.map(|_| account(db, &app.owner)),
        "suspended_at": app.suspended_at.map(timestamp),
    })
}
