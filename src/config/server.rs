//! The operator's configuration: `mendwright.toml` and the environment over it, resolved into values
//! that need no further checks. Each section's file holds the table of its keys and their reader.
//! Starts nothing and contacts nobody.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use secrecy::SecretString;
use url::Url;

use super::error::ConfigError;
use super::key::ConfigSection;
use super::raw::RawConfig;
use super::secret::refuse_if_public;
use crate::domain::{Budget, DailyCaps};
use crate::secrets::SecretKind;

mod budget;
mod github;
mod model;
mod sandbox;
mod service;
mod values;

pub use github::{AppConfig, GitHubConfig, GitHubRules};
pub use model::ModelConfig;
pub use sandbox::{SandboxConfig, SetupConfig, Toolchains};
pub use service::LogConfig;

/// Every key, section by section: the only list of them. Reading, errors, the reference page and the
/// example file are made from it.
pub static SECTIONS: &[ConfigSection] = &[
    service::SERVER,
    github::GITHUB,
    model::MODEL,
    sandbox::SANDBOX,
    budget::BUDGET,
    service::STORE,
    service::LOG,
];

/// The service's configuration, checked.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where the service listens.
    pub listen: SocketAddr,
    /// How GitHub and people reach it; `None`: not from outside.
    pub public_url: Option<Url>,
    /// Where mirrors, the store and transcripts are.
    pub data_dir: PathBuf,
    /// Jobs at the same time.
    pub workers: usize,
    /// The App and its GitHub.
    pub github: GitHubConfig,
    /// The models.
    pub model: ModelConfig,
    /// What jobs run in.
    pub sandbox: SandboxConfig,
    /// What a job may spend.
    pub budget: Budget,
    /// What all jobs together may spend in a day.
    pub daily_caps: DailyCaps,
    /// Whether a model without a price is refused.
    pub require_price: bool,
    /// The SQLite file.
    pub store_path: PathBuf,
    /// How long deliveries and answered commands stay in it.
    pub store_keep: SignedDuration,
    /// What is logged, and how.
    pub log: LogConfig,
    /// What the operator should know, although the service can start.
    pub warnings: Vec<String>,
}

/// The configuration section by section, each with its own error: for a check that reports all faults
/// at once.
#[derive(Debug)]
pub struct SectionResults {
    /// Where mirrors, the store and transcripts are.
    pub data_dir: Result<PathBuf, ConfigError>,
    /// How people reach the service.
    pub public_url: Result<Option<Url>, ConfigError>,
    /// The App and its GitHub.
    pub github: Result<GitHubConfig, ConfigError>,
    /// The models.
    pub model: Result<ModelConfig, ConfigError>,
    /// What jobs run in.
    pub sandbox: Result<SandboxConfig, ConfigError>,
    /// Everything else.
    pub general: Result<GeneralConfig, ConfigError>,
    /// What the operator should know, although the service can start.
    pub warnings: Vec<String>,
}

/// The settings that no other field of [`SectionResults`] has.
#[derive(Debug)]
pub struct GeneralConfig {
    listen: SocketAddr,
    workers: usize,
    budget: Budget,
    daily_caps: DailyCaps,
    require_price: bool,
    store_path: PathBuf,
    store_keep: SignedDuration,
    log: LogConfig,
}

impl SectionResults {
    /// Reads the file at `path`, and over it `environment`.
    ///
    /// # Errors
    /// The file cannot be read at all, has an unknown key, or holds a secret and is public.
    pub fn read(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let environment: Vec<_> = environment.into_iter().collect();
        let raw = RawConfig::read(path, environment.iter().cloned(), SECTIONS)?;
        if let Some((file, setting)) = raw.file_with_secret() {
            refuse_if_public(setting, file)?;
        }
        let mut warnings = Vec::new();
        let data_dir = service::data_dir(&raw);
        let usable_data_dir = data_dir.as_deref().unwrap_or(Path::new("mendwright-data"));
        Ok(Self {
            public_url: service::public_url(&raw),
            github: github::github(&raw, usable_data_dir, &mut warnings),
            model: model::model(&raw, &environment, &mut warnings),
            sandbox: sandbox::sandbox(&raw),
            general: general(&raw, usable_data_dir),
            data_dir,
            warnings,
        })
    }

    /// The whole configuration, or the first fault.
    fn into_config(self) -> Result<ServerConfig, ConfigError> {
        let (data_dir, general) = (self.data_dir?, self.general?);
        Ok(ServerConfig {
            listen: general.listen,
            public_url: self.public_url?,
            data_dir,
            workers: general.workers,
            github: self.github?,
            model: self.model?,
            sandbox: self.sandbox?,
            budget: general.budget,
            daily_caps: general.daily_caps,
            require_price: general.require_price,
            store_path: general.store_path,
            store_keep: general.store_keep,
            log: general.log,
            warnings: self.warnings,
        })
    }
}

impl ServerConfig {
    /// Reads the file at `path`, and over it `environment`: `MENDWRIGHT_SECTION_KEY` for each key, and
    /// the providers' own variables, such as `ANTHROPIC_API_KEY`. Relative paths start at the file's
    /// directory.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        SectionResults::read(path, environment)?.into_config()
    }

    /// Every secret in it, with its kind.
    pub fn secrets(&self) -> impl Iterator<Item = (SecretKind, &SecretString)> {
        let app = self.github.app.iter().flat_map(|app| {
            [(SecretKind::AppKey, &app.private_key), (SecretKind::WebhookSecret, &app.webhook_secret)]
                .into_iter()
                .chain(app.webhook_secret_previous.iter().map(|secret| (SecretKind::WebhookSecret, secret)))
        });
        app.chain(self.model.api_key.iter().map(|key| (SecretKind::ModelKey, key)))
    }
}

fn general(raw: &RawConfig, data_dir: &Path) -> Result<GeneralConfig, ConfigError> {
    Ok(GeneralConfig {
        listen: service::listen(raw)?,
        workers: service::workers(raw)?,
        budget: budget::budget(raw)?,
        daily_caps: budget::daily_caps(raw)?,
        require_price: budget::require_price(raw)?,
        store_path: service::store_path(raw, data_dir)?,
        store_keep: service::store_keep(raw)?,
        log: service::log(raw)?,
    })
}

#[cfg(test)]
mod tests;
