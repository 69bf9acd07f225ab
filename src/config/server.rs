//! The operator's configuration: `mendwright.toml` and the environment over it, resolved into values
//! that need no further checks. Each section's file holds the table of its keys and their reader.
//! Starts nothing and contacts nobody.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use url::Url;

use super::error::ConfigError;
use super::key::ConfigSection;
use super::raw::RawConfig;
use super::secret::refuse_if_public;
use crate::secrets::SecretKind;

mod budget;
mod github;
mod model;
mod sandbox;
mod service;
mod store;
mod values;

pub use budget::BudgetConfig;
pub use github::{AppConfig, GitHubConfig, JobRules};
pub use model::ModelConfig;
pub use sandbox::{SandboxConfig, SetupConfig, Toolchains};
pub use service::{LogConfig, ServiceConfig};
pub use store::{StoreConfig, StoreLocation};

/// Every key, section by section: the only list of them. Reading, errors, the reference page and the
/// example file are made from it.
pub static SECTIONS: &[ConfigSection] = &[
    service::SERVER,
    github::GITHUB,
    model::MODEL,
    sandbox::SANDBOX,
    budget::BUDGET,
    store::STORE,
    service::LOG,
];

/// The service's configuration, checked: a field for each section, whose type is in the section's file.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where the service listens and keeps its data.
    pub server: ServiceConfig,
    /// The App and its GitHub.
    pub github: GitHubConfig,
    /// The models.
    pub model: ModelConfig,
    /// What jobs run in.
    pub sandbox: SandboxConfig,
    /// What jobs may spend.
    pub budget: BudgetConfig,
    /// The database.
    pub store: StoreConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// What the operator should know, although the service can start.
    pub warnings: Vec<String>,
}

/// The configuration section by section, each with its own error: for a check that reports the faults of all
/// sections at once.
#[derive(Debug)]
pub struct SectionResults {
    /// Where the service listens and keeps its data.
    pub server: Result<ServiceConfig, ConfigError>,
    /// Where mirrors, the store and transcripts are, if that can be read, whatever else is wrong.
    pub data_dir: Option<PathBuf>,
    /// How people reach the service, if that can be read, whatever else is wrong.
    pub public_url: Option<Url>,
    /// The App and its GitHub.
    pub github: Result<GitHubConfig, ConfigError>,
    /// The models.
    pub model: Result<ModelConfig, ConfigError>,
    /// What jobs run in.
    pub sandbox: Result<SandboxConfig, ConfigError>,
    /// What jobs may spend.
    pub budget: Result<BudgetConfig, ConfigError>,
    /// The database.
    pub store: Result<StoreConfig, ConfigError>,
    /// What is logged, and how.
    pub log: Result<LogConfig, ConfigError>,
    /// What the operator should know, although the service can start.
    pub warnings: Vec<String>,
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
        let data_dir = service::data_dir(&raw).ok();
        let usable_data_dir = data_dir.as_deref().unwrap_or(Path::new("mendwright-data"));
        Ok(Self {
            server: service::server(&raw),
            public_url: service::public_url(&raw).ok().flatten(),
            github: github::github(&raw, usable_data_dir, &mut warnings),
            model: model::model(&raw, &environment, &mut warnings),
            sandbox: sandbox::sandbox(&raw),
            budget: budget::budget(&raw),
            store: store::store(&raw, usable_data_dir),
            log: service::log(&raw),
            data_dir,
            warnings,
        })
    }

    /// The first fault of each section.
    pub fn faults(&self) -> impl Iterator<Item = &ConfigError> {
        let faults = [
            self.server.as_ref().err(),
            self.github.as_ref().err(),
            self.model.as_ref().err(),
            self.sandbox.as_ref().err(),
            self.budget.as_ref().err(),
            self.store.as_ref().err(),
            self.log.as_ref().err(),
        ];
        faults.into_iter().flatten()
    }

    /// The whole configuration, or the first fault.
    fn into_config(self) -> Result<ServerConfig, ConfigError> {
        Ok(ServerConfig {
            server: self.server?,
            budget: self.budget?,
            store: self.store?,
            log: self.log?,
            github: self.github?,
            model: self.model?,
            sandbox: self.sandbox?,
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

#[cfg(test)]
mod tests;
