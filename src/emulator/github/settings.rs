//! The pages on which people register and install an App: the browser's half of the manifest flow.
//! The person is always signed in. A registration takes the place of the App there was.
//! Source: docs.github.com, "Registering a GitHub App from a manifest".

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use http::Method;
use http::request::Parts;
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::beginning::ensure_user;
use super::credentials::{App, generate_key, random_text};
use super::operations::Level;
use super::people::UserKind;
use super::server::Reply;
use super::world::World;
use super::{DEFAULT_ACTOR, EmulatorError, Shared};

/// GitHub's bound on an App's name.
const NAME_CHARACTERS_MAX: usize = 34;

/// A request to one of the pages.
enum Wanted {
    /// The manifest is shown.
    Show { owner: Option<String> },
    /// It was confirmed.
    Create { owner: Option<String> },
    /// Somebody is about to install an App.
    Install { slug: String },
}

/// Answers a request to one of the pages; `None`: it is for something else.
pub(super) async fn handle(shared: &Arc<Shared>, parts: &Parts, body: &Bytes) -> Option<Reply> {
    let wanted = wanted(parts.uri.path())?;
    let is_post = parts.method == Method::POST;
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
    let shared = shared.clone();
    let answered = tokio::task::spawn_blocking(move || match wanted {
        Wanted::Install { slug } => shared.with_world(|world| install(world, &slug, is_post)),
        _ if !is_post => page(200, "Register new GitHub App", "<p>Send a manifest here with POST.</p>"),
        Wanted::Show { owner } => shared.with_world(|world| show(world, owner.as_deref(), &query, &form)),
        Wanted::Create { owner } => match new_keys() {
            Ok(keys) => shared.with_world(|world| create(world, owner.as_deref(), &form, keys)),
            Err(error) => Reply::text(500, &error.to_string()),
        },
    });
    Some(answered.await.unwrap_or_else(|error| Reply::text(500, &format!("the emulator failed: {error}\n"))))
}

fn wanted(path: &str) -> Option<Wanted> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments[..] {
        ["settings", "apps", "new"] => Some(Wanted::Show { owner: None }),
        ["settings", "apps"] => Some(Wanted::Create { owner: None }),
        ["organizations", owner, "settings", "apps", "new"] => {
            Some(Wanted::Show { owner: Some(owner.to_owned()) })
        }
        ["organizations", owner, "settings", "apps"] => {
            Some(Wanted::Create { owner: Some(owner.to_owned()) })
        }
        ["apps", slug, "installations", "new"] => Some(Wanted::Install { slug: slug.to_owned() }),
        _ => None,
    }
}

/// A manifest, read as far as the App needs it.
struct Read {
    name: String,
    webhook_url: Option<Url>,
    redirect_url: Url,
    permissions: BTreeMap<String, String>,
    events: Vec<String>,
}

fn read(manifest: &str) -> Result<Read, Vec<String>> {
    let manifest: Value =
        serde_json::from_str(manifest).map_err(|_| vec!["manifest is not valid JSON".to_owned()])?;
    let mut wrong = Vec::new();
    let mut address = |value: &Value, field: &str| {
        let url = value.as_str().and_then(|text| Url::parse(text).ok());
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        if url.is_none() {
            wrong.push(format!("{field} must be a URL"));
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
        if Level::named(level).is_none() {
            wrong.push(format!("Default permission level for {name} is not included in the list"));
        }
    }
    let events: Vec<String> = serde_json::from_value(manifest["default_events"].clone()).unwrap_or_default();
    for event in &events {
        match permission_of(event) {
            None => wrong.push(format!("Default events unsupported: {event}")),
            Some(name) if !permissions.contains_key(name) => {
                wrong.push(format!("Default events are not supported by permissions: {event}"));
            }
            Some(_) => {}
        }
    }
    let (Some(_), Some(redirect_url), true) = (homepage, redirect_url, wrong.is_empty()) else {
        return Err(wrong);
    };
    let active = hook["active"].as_bool().unwrap_or(true);
    Ok(Read {
        name: manifest["name"].as_str().unwrap_or_default().to_owned(),
        webhook_url: webhook_url.filter(|_| active),
        redirect_url,
        permissions,
        events,
    })
}

/// The permission that an event needs. `installation` events cannot be subscribed to.
/// Source: docs.github.com, "Webhook events and payloads".
fn permission_of(event: &str) -> Option<&'static str> {
    match event {
        "issues" | "issue_comment" => Some("issues"),
        "pull_request"
        | "pull_request_review"
        | "pull_request_review_comment"
        | "pull_request_review_thread" => Some("pull_requests"),
        "check_run" | "check_suite" => Some("checks"),
        "push" | "delete" => Some("contents"),
        "status" => Some("statuses"),
        "label" | "repository" => Some("metadata"),
        _ => None,
    }
}

fn show(
    world: &World,
    owner: Option<&str>,
    query: &BTreeMap<String, String>,
    form: &BTreeMap<String, String>,
) -> Reply {
    if owner.is_some_and(|owner| !world.users.contains_key(&owner.to_lowercase())) {
        return page(404, "Not Found", "<p>There is no such organisation.</p>");
    }
    let text = form.get("manifest").map_or("", String::as_str);
    let read = match read(text) {
        Ok(read) => read,
        Err(wrong) => return invalid(&wrong),
    };
    let action = match owner {
        Some(owner) => format!("/organizations/{}/settings/apps", escaped(owner)),
        None => "/settings/apps".to_owned(),
    };
    let body = format!(
        "<form method=\"post\" action=\"{action}\">\n\
         <input type=\"hidden\" name=\"manifest\" value=\"{}\">\n\
         <input type=\"hidden\" name=\"state\" value=\"{}\">\n\
         <p><label>GitHub App name <input name=\"name\" value=\"{}\"></label></p>\n\
         <p><button id=\"create\">Create GitHub App for {}</button></p>\n</form>",
        escaped(text),
        escaped(query.get("state").map_or("", String::as_str)),
        escaped(&read.name),
        escaped(owner.unwrap_or(DEFAULT_ACTOR)),
    );
    page(200, "Create GitHub App (emulated)", &body)
}

/// What must be made before the world is locked: it takes a moment.
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

fn create(world: &mut World, owner: Option<&str>, form: &BTreeMap<String, String>, keys: NewKeys) -> Reply {
    let read = match read(form.get("manifest").map_or("", String::as_str)) {
        Ok(read) => read,
        Err(wrong) => return invalid(&wrong),
    };
    let name =
        form.get("name").filter(|name| !name.trim().is_empty()).unwrap_or(&read.name).trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX {
        return invalid(&["Name must have 1 to 34 characters".to_owned()]);
    }
    if name.eq_ignore_ascii_case(&world.app.name) {
        return invalid(&["Name is already taken".to_owned()]);
    }
    let slug: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let (id, hook_id, installation) = (world.next_id(), world.next_id(), world.next_id());
    world.app = App {
        id,
        slug,
        client_id: format!("Iv23li{}", keys.client),
        name,
        description: String::new(),
        public_key: keys.public_key,
        private_key_pem: keys.private_key_pem,
        manifest_codes: vec![keys.code.clone()],
        webhook_secret: keys.secret.into(),
        webhook_url: read.webhook_url,
        hook_id,
        installation,
        suspended_at: None,
        owner: owner.unwrap_or(DEFAULT_ACTOR).to_owned(),
        permissions: read.permissions,
        granted: BTreeMap::new(),
        installed: false,
        events: read.events,
        created_at: Timestamp::now(),
    };
    world.tokens.clear();
    let bot = world.app.bot_login();
    ensure_user(world, &bot).kind = UserKind::Bot;
    let mut back = read.redirect_url;
    back.query_pairs_mut().append_pair("code", &keys.code);
    if let Some(state) = form.get("state").filter(|state| !state.is_empty()) {
        back.query_pairs_mut().append_pair("state", state);
    }
    Reply { status: 302, headers: vec![("location".to_owned(), back.to_string())], body: Vec::new() }
}

fn install(world: &mut World, slug: &str, confirmed: bool) -> Reply {
    if slug != world.app.slug {
        return page(404, "Not Found", "<p>There is no such App.</p>");
    }
    if confirmed {
        world.app.installed = true;
        world.app.granted = world.app.permissions.clone();
        return page(200, "Installed (emulated)", "<p id=\"installed\">Okay, the App was installed.</p>");
    }
    let asked: Vec<String> =
        world.app.permissions.iter().map(|(name, level)| format!("{level} {name}")).collect();
    let body = format!(
        "<p>It asks for: {}.</p>\n<form method=\"post\"><button id=\"confirm\">Install</button></form>",
        escaped(&asked.join(", "))
    );
    page(200, "Install the App (emulated)", &body)
}

fn invalid(wrong: &[String]) -> Reply {
    let list: String = wrong.iter().map(|why| format!("<li>{}</li>", escaped(why))).collect();
    page(422, "Invalid GitHub App configuration", &format!("<ul>{list}</ul>"))
}

fn page(status: u16, title: &str, body: &str) -> Reply {
    let html = format!("<!doctype html>\n<title>{title}</title>\n<h1>{title}</h1>\n{body}\n");
    let headers = vec![("content-type".to_owned(), "text/html; charset=utf-8".to_owned())];
    Reply { status, headers, body: html.into_bytes() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
