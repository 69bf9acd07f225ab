//! The section `[github]`.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::GitHubConfig;
use super::values::{known_url, number, warn_of_plain_http, web_address};
use crate::config::given::{ConfigError, Given};
use crate::config::secret::secret;
use crate::domain::Login;

/// Shorter secrets are taken, with a warning: GitHub advises random text of high entropy.
const WEBHOOK_SECRET_BYTES_ADVISED: usize = 16;
const LABEL_CHARS_MAX: usize = 50;

pub(super) fn github(given: &Given, warnings: &mut Vec<String>) -> Result<GitHubConfig, ConfigError> {
    let api_url = match web_address(given, "github.api_url")? {
        Some(url) => url,
        None => known_url("https://api.github.com"),
    };
    let web_url = match web_address(given, "github.web_url")? {
        Some(url) => url,
        None => pages_of(&api_url),
    };
    warn_of_plain_http(&api_url, "github.api_url", warnings);
    let app_id = number(given, "github.app_id", 1..=u64::MAX)?
        .ok_or_else(|| given.missing("github.app_id", "write the number on the App's settings page"))?;
    let (key, found) = secret(given, "github.private_key", "github.private_key_file")?.ok_or_else(|| {
        let remedy = "write the path of the .pem file that GitHub let you download";
        given.missing("github.private_key_file", remedy)
    })?;
    // Environment variables often hold the key in one line, with its line ends spelled out.
    let key = SecretString::from(key.expose_secret().replace("\\n", "\n"));
    let pem = key.expose_secret();
    if !(pem.contains("-----BEGIN ") && pem.contains("PRIVATE KEY-----") && pem.contains("-----END ")) {
        let remedy = "it must hold everything from -----BEGIN to -----END, as GitHub gave it to you";
        return Err(found.wrong("is no private key in PEM format", remedy));
    }
    let (webhook_secret, found) = secret(given, "github.webhook_secret", "github.webhook_secret_file")?
        .ok_or_else(|| {
            let remedy =
                "without it anybody could send deliveries; write the secret of the App's webhook settings";
            given.missing("github.webhook_secret", remedy)
        })?;
    warn_of_short(&webhook_secret, found.key, warnings);
    let previous = secret(given, "github.webhook_secret_previous", "github.webhook_secret_previous_file")?;
    if let Some((previous, found)) = &previous {
        warn_of_short(previous, found.key, warnings);
    }
    Ok(GitHubConfig {
        api_url,
        web_url,
        app_id,
        private_key: key,
        webhook_secret,
        webhook_secret_previous: previous.map(|(secret, _)| secret),
        label: label(given)?,
        bots_allowed: bots_allowed(given)?,
    })
}

fn label(given: &Given) -> Result<String, ConfigError> {
    let Some(found) = given.get("github.label") else { return Ok("agent-fix".to_owned()) };
    let label = found.text()?;
    if label.trim().is_empty() || label.chars().count() > LABEL_CHARS_MAX {
        return Err(found.wrong("is no label", format!("write a name of 1 to {LABEL_CHARS_MAX} characters")));
    }
    Ok(label.to_owned())
}

fn bots_allowed(given: &Given) -> Result<Vec<Login>, ConfigError> {
    let Some(found) = given.get("github.bots_allowed") else { return Ok(Vec::new()) };
    let login = |text: String| {
        let login: Result<Login, _> = text.parse();
        login.map_err(|error| found.wrong(format!("has an entry that is none: {error}"), "write logins"))
    };
    found.list()?.into_iter().map(login).collect()
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
