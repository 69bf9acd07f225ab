//! What the operator and the repository decide. The only module that reads environment variables.
//!
//! `server` is the operator's file with the environment over it, `repository` is
//! `.github/agent-fix.yml` of a base branch. Both have one table of their keys, from which reading,
//! errors, the reference pages and the example files are made (`reference`). The rest of the program
//! uses resolved values only.

mod error;
mod key;
mod raw;
mod reference;
mod repository;
mod secret;
mod server;
mod setting;
mod stored_app;
mod suggestion;
mod yaml;

pub use error::ConfigError;
pub use key::{ConfigKey, ConfigSection, DefaultValue, ENVIRONMENT_PREFIX, ValueType};
pub use reference::{
    configuration_example, configuration_listing, configuration_names, configuration_page,
    describe_configuration, repository_file_example, repository_file_page,
};
pub use repository::{
    REPOSITORY_FILE, REPOSITORY_FILE_BYTES_MAX, REPOSITORY_FILE_YAML, REPOSITORY_KEYS, RepositoryFile,
    RepositoryFileError, RepositoryFiles, RepositoryKey, RepositoryValue,
};
pub use server::{
    AppConfig, BudgetConfig, GitHubConfig, JobRules, LogConfig, ModelConfig, SECTIONS, SandboxConfig,
    SectionResults, ServerConfig, ServiceConfig, SetupConfig, StoreConfig, StoreLocation, Toolchains,
};
pub use stored_app::StoredApp;
pub use suggestion::nearest;
pub use yaml::yaml_options;

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The process's environment, as [`ServerConfig::load`] takes it. Variables that are not UTF-8 are left
/// out.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The directory for this user's caches (XDG Base Directory Specification). `None` if there is none that
/// belongs to this user: as root with another user's `HOME`, it would be theirs.
pub fn cache_dir() -> Option<PathBuf> {
    let variables: HashMap<String, String> = environment().collect();
    let absolute = |name: &str| variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let is_ours = |path: &PathBuf| {
        std::fs::metadata(path)
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == nix::unistd::geteuid().as_raw())
    };
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME").filter(is_ours)?.join(".cache")))
}
