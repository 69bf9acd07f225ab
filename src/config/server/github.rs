//! The section `[github]`.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::values::{known_url, number, warn_of_plain_http, web_address};
use super::{AppConfig, GitHubConfig};
use crate::config::given::{ConfigError, Found, Given};
use crate::config::secret::secret;
use crate::config::stored_app::StoredApp;
use crate::domain::{LabelName, Login, RepositoryFilter, RepositoryPattern};

/// Shorter secrets are taken, with a warning: GitHub advises random text of high entropy.
const WEBHOOK_SECRET_BYTES_ADVISED: usize = 16;
/// A handful of requests for each repository: far below any limit.
const RECONCILE_SECONDS: u64 = 300;
/// What github.com asks for.
const SECONDS_BETWEEN_WRITES: u64 = 1;
/// Enough for a usual review; a change that needs more of them is better made by hand.
const REVIEW_ROUNDS_MAX: u32 = 5;
const LABEL_CHARS_MAX: usize = 50;

pub(super) fn github(
    given: &Given,
    data_dir: &Path,
    warnings: &mut Vec<String>,
) -> Result<GitHubConfig, ConfigError> {
    let given_id = number(given, "github.app_id", 1..=u64::MAX)?;
    let key = private_key(given)?;
    let webhook_secret = secret(given, "github.webhook_secret", "github.webhook_secret_file")?;
    let whole = given_id.is_some() && key.is_some() && webhook_secret.is_some();
    // What the operator says always goes before what was stored, and another App's key is no help.
    let stored = if whole { None } else { StoredApp::read(data_dir)? };
    let stored = stored.filter(|stored| given_id.is_none_or(|id| id == stored.app_id));

    let given_api = web_address(given, "github.api_url")?;
    if let (Some(api), Some(stored)) = (&given_api, &stored)
        && *api != stored.api_url
    {
        return Err(ConfigError::Stored {
            file: StoredApp::path(data_dir).display().to_string(),
            problem: format!("is from {}, and github.api_url is {api}", stored.api_url),
            remedy: "set github.api_url to the former; or move the file away to register the App anew"
                .to_owned(),
        });
    }
    let given_web = web_address(given, "github.web_url")?;
    let (api_url, web_url) = match (given_api, &stored) {
        (Some(api), _) => (api.clone(), given_web.unwrap_or_else(|| pages_of(&api))),
        (None, Some(stored)) => (stored.api_url.clone(), given_web.unwrap_or_else(|| stored.web_url.clone())),
        (None, None) => {
            let api = known_url("https://api.github.com");
            (api.clone(), given_web.unwrap_or_else(|| pages_of(&api)))
        }
    };
    warn_of_plain_http(&api_url, "github.api_url", warnings);
    if let Some((secret, found)) = &webhook_secret {
        warn_of_short(secret, found.key, warnings);
    }
    let previous = secret(given, "github.webhook_secret_previous", "github.webhook_secret_previous_file")?;
    if let Some((previous, found)) = &previous {
        warn_of_short(previous, found.key, warnings);
    }
    let reconcile = number(given, "github.reconcile_seconds", 1..=86_400)?.unwrap_or(RECONCILE_SECONDS);
    let reconcile_every = Duration::from_secs(reconcile);
    let app = if given_id.is_none() && key.is_none() && webhook_secret.is_none() && stored.is_none() {
        None
    } else {
        let of_stored = |part: fn(&StoredApp) -> &SecretString| stored.as_ref().map(|app| part(app).clone());
        Some(AppConfig {
            id: given_id.or_else(|| stored.as_ref().map(|app| app.app_id)).ok_or_else(|| {
                given.missing("github.app_id", "write the number on the App's settings page")
            })?,
            private_key: key.or_else(|| of_stored(|app| &app.private_key)).ok_or_else(|| {
                let remedy = "write the path of the .pem file that GitHub let you download";
                given.missing("github.private_key_file", remedy)
            })?,
            webhook_secret: webhook_secret
                .map(|(secret, _)| secret)
                .or_else(|| of_stored(|app| &app.webhook_secret))
                .ok_or_else(|| {
                    let remedy = "without it anybody could send deliveries; write the secret of the App's \
                                  webhook settings";
                    given.missing("github.webhook_secret", remedy)
                })?,
            webhook_secret_previous: previous.map(|(secret, _)| secret),
        })
    };
    Ok(GitHubConfig {
        api_url,
        web_url,
        app,
        label: label(given)?,
        bots_allowed: bots_allowed(given)?,
        repository_filter: RepositoryFilter {
            allowed: patterns(given, "github.repositories")?,
            denied: patterns(given, "github.repositories_denied")?,
        },
        reconcile_every,
        requires_approval: requires_approval(given)?,
        between_writes: Duration::from_secs(
            number(given, "github.seconds_between_writes", 0..=60)?.unwrap_or(SECONDS_BETWEEN_WRITES),
        ),
        signed_commits: given.get("github.signed_commits").map_or(Ok(false), Found::flag)?,
        review_rounds_max: number(given, "github.review_rounds_max", 0..=100)?.unwrap_or(REVIEW_ROUNDS_MAX),
    })
}

fn private_key(given: &Given) -> Result<Option<SecretString>, ConfigError> {
    let Some((key, found)) = secret(given, "github.private_key", "github.private_key_file")? else {
        return Ok(None);
    };
    // Environment variables often hold the key in one line, with its line ends spelled out.
    let key = SecretString::from(key.expose_secret().replace("\\n", "\n"));
    let pem = key.expose_secret();
    if !(pem.contains("-----BEGIN ") && pem.contains("PRIVATE KEY-----") && pem.contains("-----END ")) {
        let remedy = "it must hold everything from -----BEGIN to -----END, as GitHub gave it to you";
        return Err(found.wrong("is no private key in PEM format", remedy));
    }
    Ok(Some(key))
}

fn label(given: &Given) -> Result<LabelName, ConfigError> {
    let Some(found) = given.get("github.label") else { return Ok("agent-fix".into()) };
    let label = found.text()?;
    if label.trim().is_empty() || label.chars().count() > LABEL_CHARS_MAX {
        return Err(found.wrong("is no label", format!("write a name of 1 to {LABEL_CHARS_MAX} characters")));
    }
    Ok(label.into())
}

fn bots_allowed(given: &Given) -> Result<Vec<Login>, ConfigError> {
    let Some(found) = given.get("github.bots_allowed") else { return Ok(Vec::new()) };
    let login = |text: String| {
        let login: Result<Login, _> = text.parse();
        login.map_err(|error| found.wrong(format!("has an entry that is none: {error}"), "write logins"))
    };
    found.list()?.into_iter().map(login).collect()
}

fn patterns(given: &Given, key: &'static str) -> Result<Vec<RepositoryPattern>, ConfigError> {
    let Some(found) = given.get(key) else { return Ok(Vec::new()) };
    let remedy = "write accounts or repositories, such as \"octo-org\" or \"octo-org/web-*\"";
    let list = found.list()?;
    if list.is_empty() {
        return Err(found.wrong("is empty", "leave it out to serve all, or name some"));
    }
    let pattern = |text: String| {
        text.parse()
            .map_err(|why| found.wrong(format!("has an entry that is none ({text:?} is {why})"), remedy))
    };
    list.into_iter().map(pattern).collect()
}

fn requires_approval(given: &Given) -> Result<bool, ConfigError> {
    let Some(found) = given.get("github.publish") else { return Ok(false) };
    match found.text()? {
        "push" => Ok(false),
        "hold" => Ok(true),
        _ => Err(found.wrong("is neither \"push\" nor \"hold\"", "write one of them")),
    }
}

/// Where the pages are: beside github.com's API, or on the same host (GitHub Enterprise Server).
fn pages_of(api_url: &Url) -> Url {
    if api_url.host_str() == Some("api.github.com") {
        return known_url("https://github.com");
    }
    let mut pages = api_url.clone();
    pages.set_path("/");
    pages
}

fn warn_of_short(secret: &SecretString, key: &str, warnings: &mut Vec<String>) {
    let bytes = secret.expose_secret().len();
    if bytes < WEBHOOK_SECRET_BYTES_ADVISED {
        warnings.push(format!(
            "{key} has {bytes} bytes and could be guessed; make one with: openssl rand -hex 32"
        ));
    }
}
