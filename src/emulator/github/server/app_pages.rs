//! The pages on which people register and install an App: the browser's part of the manifest flow. The
//! person is always signed in. A new registration replaces the App.
//! Source: docs.github.com, "Registering a GitHub App from a manifest".

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use http::Method;
use http::request::Parts;
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::reply::{HttpReply, query_pairs};
use super::shared::Shared;
use crate::github::data::{
    AccountKind, AppRegistration, DEFAULT_ACTOR, Database, PermissionLevel, generate_key, random_text,
};
use crate::github::error::EmulatorError;

/// GitHub's limit on the name of an App.
const NAME_CHARACTERS_MAX: usize = 34;

/// One of the pages.
enum AppPage {
    /// Shows the manifest.
    Show { owner: Option<String> },
    /// Registers the App.
    Create { owner: Option<String> },
    /// Installs the App.
    Install { slug: String },
}

/// Answers a request to one of the pages; `None` means that the address is not one of theirs.
pub(super) async fn handle(shared: &Arc<Shared>, parts: &Parts, body: &Bytes) -> Option<HttpReply> {
    let requested = page_at(parts.uri.path())?;
    let is_post = parts.method == Method::POST;
    let query = query_pairs(parts);
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
    let shared = shared.clone();
    let answered = tokio::task::spawn_blocking(move || match requested {
        AppPage::Install { slug } => shared.with_db(|db| install(db, &slug, is_post)),
        _ if !is_post => html(200, "Register new GitHub App", "<p>Send a manifest here with POST.</p>"),
        AppPage::Show { owner } => shared.with_db(|db| show(db, owner.as_deref(), &query, &form)),
        AppPage::Create { owner } => match new_keys() {
            Ok(keys) => shared.with_db(|db| create(db, owner.as_deref(), &form, keys)),
            Err(error) => HttpReply::text(500, &error.to_string()),
        },
    });
    Some(answered.await.unwrap_or_else(|error| HttpReply::panicked(&error)))
}

fn page_at(path: &str) -> Option<AppPage> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments[..] {
        ["settings", "apps", "new"] => Some(AppPage::Show { owner: None }),
        ["settings", "apps"] => Some(AppPage::Create { owner: None }),
        ["organizations", owner, "settings", "apps", "new"] => {
            Some(AppPage::Show { owner: Some(owner.to_owned()) })
        }
        ["organizations", owner, "settings", "apps"] => {
            Some(AppPage::Create { owner: Some(owner.to_owned()) })
        }
        ["apps", slug, "installations", "new"] => Some(AppPage::Install { slug: slug.to_owned() }),
        _ => None,
    }
}

/// The fields of a manifest that the emulator uses.
struct AppManifest {
    name: String,
    webhook_url: Option<Url>,
    redirect_url: Url,
    permissions: BTreeMap<String, String>,
    events: Vec<String>,
}

/// Parses a manifest. The error lists every problem.
fn parse_manifest(text: &str) -> Result<AppManifest, Vec<String>> {
    let manifest: Value =
        serde_json::from_str(text).map_err(|_| vec!["manifest is not valid JSON".to_owned()])?;
    let mut problems = Vec::new();
    let mut address = |value: &Value, field: &str| {
        let url = value.as_str().and_then(|text| Url::parse(text).ok());
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        if url.is_none() {
            problems.push(format!("{field} must be a URL"));
        }
        url
    };
    let homepage = address(&manifest["url"], "url");
    let hook = &manifest["hook_attributes"];
    let webhook_url = if hook.is_null() { None } else { address(&hook["url"], "Hook url") };
    let redirect_url = address(&manifest["redirect_url"], "redirect_url");
    let permissions: BTreeMap<String, String> =
        serde_json::from_value(manifest["default_permissions"].clone()).unwrap_or_default();
    for (name, level) in &permissions {
        if PermissionLevel::named(level).is_none() {
            problems.push(format!("Default permission level for {name} is not included in the list"));
        }
    }
    let events: Vec<String> = serde_json::from_value(manifest["default_events"].clone()).unwrap_or_default();
    for event in &events {
        match permission_of(event) {
            None => problems.push(format!("Default events unsupported: {event}")),
            Some(name) if !permissions.contains_key(&name) => {
                problems.push(format!("Default events are not supported by permissions: {event}"));
            }
            Some(_) => {}
        }
    }
    let (Some(_), Some(redirect_url), true) = (homepage, redirect_url, problems.is_empty()) else {
        return Err(problems);
    };
    let active = hook["active"].as_bool().unwrap_or(true);
    Ok(AppManifest {
        name: manifest["name"].as_str().unwrap_or_default().to_owned(),
        webhook_url: webhook_url.filter(|_| active),
        redirect_url,
        permissions,
        events,
    })
}

/// The permissions that GitHub's events need, from its documentation.
const PERMISSIONS: &str = include_str!("../../../../fixtures/github-contract/permissions.json");

/// The permission that an event needs. `None`: no App can subscribe to it.
fn permission_of(event: &str) -> Option<String> {
    let documented: Value = serde_json::from_str(PERMISSIONS).ok()?;
    let permission = documented["events"].get(event)?.as_str()?;
    permission.split(':').next().map(str::to_owned)
}

fn show(
    db: &Database,
    owner: Option<&str>,
    query: &BTreeMap<String, String>,
    form: &BTreeMap<String, String>,
) -> HttpReply {
    if owner.is_some_and(|owner| db.account(owner).is_none()) {
        return html(404, "Not Found", "<p>There is no such organisation.</p>");
    }
    let text = form.get("manifest").map_or("", String::as_str);
    let manifest = match parse_manifest(text) {
        Ok(manifest) => manifest,
        Err(problems) => return invalid(&problems),
    };
    let form_action = match owner {
        Some(owner) => format!("/organizations/{}/settings/apps", escaped(owner)),
        None => "/settings/apps".to_owned(),
    };
    let body = format!(
        "<form method=\"post\" action=\"{form_action}\">\n\
         <input type=\"hidden\" name=\"manifest\" value=\"{}\">\n\
         <input type=\"hidden\" name=\"state\" value=\"{}\">\n\
         <p><label>GitHub App name <input name=\"name\" value=\"{}\"></label></p>\n\
         <p><button id=\"create\">Create GitHub App for {}</button></p>\n</form>",
        escaped(text),
        escaped(query.get("state").map_or("", String::as_str)),
        escaped(&manifest.name),
        escaped(owner.unwrap_or(DEFAULT_ACTOR)),
    );
    html(200, "Create GitHub App (emulated)", &body)
}

/// Keys and secrets, generated before the database is locked, since that takes a moment.
struct NewKeys {
    private_key_pem: secrecy::SecretString,
    public_key: Vec<u8>,
    client: String,
    secret: String,
    code: String,
}

fn new_keys() -> Result<NewKeys, EmulatorError> {
    let (private_key_pem, public_key) = generate_key()?;
    let (client, secret, code) = (random_text(14)?, random_text(40)?, random_text(40)?);
    Ok(NewKeys { private_key_pem, public_key, client, secret, code })
}

fn create(
    db: &mut Database,
    owner: Option<&str>,
    form: &BTreeMap<String, String>,
    keys: NewKeys,
) -> HttpReply {
    let manifest = match parse_manifest(form.get("manifest").map_or("", String::as_str)) {
        Ok(manifest) => manifest,
        Err(problems) => return invalid(&problems),
    };
    let name =
        form.get("name").filter(|name| !name.trim().is_empty()).unwrap_or(&manifest.name).trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX {
        return invalid(&["Name must have 1 to 34 characters".to_owned()]);
    }
    if name.eq_ignore_ascii_case(&db.app.name) {
        return invalid(&["Name is already taken".to_owned()]);
    }
    let slug: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let (id, hook_id, installation) = (db.next_id(), db.next_id(), db.next_id());
    db.app = AppRegistration {
        id,
        slug,
        client_id: format!("Iv23li{}", keys.client),
        name,
        description: String::new(),
        public_key: keys.public_key,
        private_key_pem: keys.private_key_pem,
        manifest_codes: vec![keys.code.clone()],
        webhook_secret: keys.secret.into(),
        webhook_url: manifest.webhook_url,
        hook_id,
        installation,
        suspended_at: None,
        owner: owner.unwrap_or(DEFAULT_ACTOR).to_owned(),
        permissions: manifest.permissions,
        granted: BTreeMap::new(),
        installed: false,
        events: manifest.events,
        created_at: Timestamp::now(),
    };
    db.tokens.clear();
    let bot = db.app.bot_login();
    db.ensure_account(&bot).kind = AccountKind::Bot;
    let mut redirect = manifest.redirect_url;
    redirect.query_pairs_mut().append_pair("code", &keys.code);
    if let Some(state) = form.get("state").filter(|state| !state.is_empty()) {
        redirect.query_pairs_mut().append_pair("state", state);
    }
    HttpReply { status: 302, headers: vec![("location".to_owned(), redirect.to_string())], body: Vec::new() }
}

fn install(db: &mut Database, slug: &str, confirmed: bool) -> HttpReply {
    if slug != db.app.slug {
        return html(404, "Not Found", "<p>There is no such App.</p>");
    }
    if confirmed {
        db.app.installed = true;
        db.app.granted = db.app.permissions.clone();
        return html(200, "Installed (emulated)", "<p id=\"installed\">Okay, the App was installed.</p>");
    }
    let requested: Vec<String> =
        db.app.permissions.iter().map(|(name, level)| format!("{level} {name}")).collect();
    let body = format!(
        "<p>It requests: {}.</p>\n<form method=\"post\"><button id=\"confirm\">Install</button></form>",
        escaped(&requested.join(", "))
    );
    html(200, "Install the App (emulated)", &body)
}

fn invalid(problems: &[String]) -> HttpReply {
    let list: String = problems.iter().map(|problem| format!("<li>{}</li>", escaped(problem))).collect();
    html(422, "Invalid GitHub App configuration", &format!("<ul>{list}</ul>"))
}

fn html(status: u16, title: &str, body: &str) -> HttpReply {
    let text = format!("<!doctype html>\n<title>{title}</title>\n<h1>{title}</h1>\n{body}\n");
    let headers = vec![("content-type".to_owned(), "text/html; charset=utf-8".to_owned())];
    HttpReply { status, headers, body: text.into_bytes() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
