//! The App's credentials, as the setup page stored them in the data directory: one file that only the service's
//! own account may read. This file owns its format and reads it; `install` writes it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::error::ConfigError;
use crate::secrets::SecretKind;

const FILE_BYTES_MAX: u64 = 64 * 1024;
const FOR_OTHERS: u32 = 0o077;

/// Everything that GitHub hands out, once, when an App is registered from a manifest.
#[derive(Debug, Clone)]
pub struct StoredApp {
    /// The App's number.
    pub app_id: u64,
    /// Its name in URLs.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its page on GitHub.
    pub html_url: String,
    /// The account that owns it.
    pub owner: String,
    /// For people who sign in.
    pub client_id: String,
    /// For people who sign in.
    pub client_secret: SecretString,
    /// The secret that signs its deliveries.
    pub webhook_secret: SecretString,
    /// Its RSA key, PEM.
    pub private_key: SecretString,
    /// The REST API of the GitHub that it is registered with.
    pub api_url: Url,
    /// The pages of that GitHub.
    pub web_url: Url,
    /// When it was registered.
    pub registered_at: Timestamp,
}

/// The same, as the file has it.
#[derive(Serialize, Deserialize)]
struct Record {
    app_id: u64,
    slug: String,
    name: String,
    html_url: String,
    owner: String,
    client_id: String,
    client_secret: String,
    webhook_secret: String,
    private_key: String,
    api_url: Url,
    web_url: Url,
    registered_at: Timestamp,
}

impl StoredApp {
    /// The path of the file in a data directory.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("github-app.json")
    }

    /// Reads the file, if there is one.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, ConfigError> {
        let path = Self::path(data_dir);
        let invalid = |problem: String, remedy: String| ConfigError::Stored {
            file: path.display().to_string(),
            problem,
            remedy,
        };
        let unreadable = |error: std::io::Error| {
            let remedy = "start the service as the account that owns the file";
            invalid(format!("cannot be read: {error}"), remedy.to_owned())
        };
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & FOR_OTHERS != 0 {
            let problem = format!("holds the App's key, and other accounts can read it (mode {mode:o})");
            return Err(invalid(problem, format!("run: chmod 600 {}", path.display())));
        }
        let damaged = |why: String| {
            let remedy = "restore it from a backup; or remove it, make a new key and a new webhook secret on \
                          the App's settings page, and configure them";
            invalid(format!("is not what the setup page wrote: {why}"), remedy.to_owned())
        };
        if metadata.len() > FILE_BYTES_MAX {
            return Err(damaged(format!("it has {} bytes", metadata.len())));
        }
        let text = std::fs::read_to_string(&path).map_err(unreadable)?;
        // The parser's message could show a part of a secret, so only the place is reported.
        let record: Record = serde_json::from_str(&text)
            .map_err(|error| damaged(format!("line {} column {}", error.line(), error.column())))?;
        Ok(Some(record.into()))
    }

    /// The text of the file.
    pub fn to_json(&self) -> String {
        let record = Record {
            app_id: self.app_id,
            slug: self.slug.clone(),
            name: self.name.clone(),
            html_url: self.html_url.clone(),
            owner: self.owner.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.expose_secret().to_owned(),
            webhook_secret: self.webhook_secret.expose_secret().to_owned(),
            private_key: self.private_key.expose_secret().to_owned(),
            api_url: self.api_url.clone(),
            web_url: self.web_url.clone(),
            registered_at: self.registered_at,
        };
        serde_json::to_string_pretty(&record).expect("a record has only string keys")
    }

    /// The credentials as environment variables, one a line, for a secret manager.
    pub fn to_environment(&self) -> String {
        let one_line = |secret: &SecretString| secret.expose_secret().trim_end().replace('\n', "\\n");
        format!(
            "MENDWRIGHT_GITHUB_API_URL={}\nMENDWRIGHT_GITHUB_WEB_URL={}\nMENDWRIGHT_GITHUB_APP_ID={}\n\
             MENDWRIGHT_GITHUB_PRIVATE_KEY={}\nMENDWRIGHT_GITHUB_WEBHOOK_SECRET={}\n",
            self.api_url,
            self.web_url,
            self.app_id,
            one_line(&self.private_key),
            one_line(&self.webhook_secret),
        )
    }

    /// Every secret in it, with its kind.
    pub fn secrets(&self) -> [(SecretKind, &SecretString); 3] {
        [
            (SecretKind::AppKey, &self.private_key),
            (SecretKind::WebhookSecret, &self.webhook_secret),
            (SecretKind::ClientSecret, &self.client_secret),
        ]
    }
}

impl From<Record> for StoredApp {
    fn from(record: Record) -> Self {
        Self {
            app_id: record.app_id,
            slug: record.slug,
            name: record.name,
            html_url: record.html_url,
            owner: record.owner,
            client_id: record.client_id,
            client_secret: record.client_secret.into(),
            webhook_secret: record.webhook_secret.into(),
            private_key: record.private_key.into(),
            api_url: record.api_url,
            web_url: record.web_url,
            registered_at: record.registered_at,
        }
    }
}
