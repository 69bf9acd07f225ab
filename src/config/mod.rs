//! What the operator and the repository decide. The only module that reads environment variables.
//!
//! `server` is the operator's file with the environment over it; `repository` is
//! `.github/agent-fix.yml` of a base branch, or what `detect` finds in its place. Each has a raw
//! form, as somebody typed it, and a resolved one that the rest of the house uses.

mod allowed_host;
mod given;
mod repository;
mod secret;
mod server;
mod stored_app;

pub use allowed_host::{AllowedHost, is_forbidden_address};
pub use given::{ConfigError, ENVIRONMENT_PREFIX};

pub use repository::{
    REPOSITORY_FILE, REPOSITORY_FILE_BYTES_MAX, RepositoryConfigError, RepositoryFile, resolve,
};
pub use server::{
    AppConfig, EngineConfig, GitHubConfig, LogConfig, LogFormat, ModelConfig, ModelProvider, Readings, Rest,
    SandboxConfig, ServerConfig, SetupConfig, Toolchains,
};
pub use stored_app::StoredApp;

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The process's environment, as [`ServerConfig::load`] wants it. Variables that are not UTF-8 are
/// left out.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Where this user's programs keep what they can make again (XDG Base Directory Specification). `None`
/// where no such directory is this very user's: as root with another's `HOME`, it would be theirs.
pub fn cache_dir() -> Option<PathBuf> {
    let variables: HashMap<String, String> = environment().collect();
    let named = |name: &str| variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let is_ours = |path: &PathBuf| {
        std::fs::metadata(path)
            .is_ok_and(|found| found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw())
    };
    named("XDG_CACHE_HOME").or_else(|| Some(named("HOME").filter(is_ours)?.join(".cache")))
}

/// Whether an address is on this very machine.
pub fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The candidate that was probably meant, if any is near enough.
fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    const EDITS_MAX: usize = 3;
    let lower = word.to_lowercase();
    let distance = |candidate: &&str| strsim::damerau_levenshtein(&lower, candidate);
    let best = candidates.iter().copied().min_by_key(distance)?;
    (distance(&best) <= EDITS_MAX.min(best.len() / 2)).then_some(best)
}
