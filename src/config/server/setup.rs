//! What the operator lets repositories' set-ups do: `sandbox.allowed_hosts` and what goes with it.

use std::time::Duration;

use globset::Glob;

use super::values::number;
use crate::config::allowed_host::AllowedHost;
use crate::config::given::{ConfigError, Found, Given};

/// Hosts, and patterns of images.
const ENTRIES_MAX: usize = 500;

/// What set-ups may do, and how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupConfig {
    /// Hosts that a set-up may reach; empty: no network.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Variables for its commands.
    pub variables: Vec<(String, String)>,
    /// Globs of images that a repository may name.
    pub images: Vec<String>,
    /// Bytes that one set-up may move, both ways together.
    pub egress_bytes_max: u64,
    /// Whether the agent may run commands that a repository allows.
    pub commands: bool,
    /// Whether a proposal that changes lock files may have its own set-up run with that network.
    pub network_for_proposals: bool,
    /// Bytes of what set-ups made, all together.
    pub kept_bytes_max: u64,
    /// Set-ups whose result is kept.
    pub kept_count_max: usize,
    /// Longest time without use.
    pub kept_age_max: Duration,
}

pub(super) fn setup(given: &Given) -> Result<SetupConfig, ConfigError> {
    let days = number(given, "sandbox.kept_days", 1..=3650_u64)?.unwrap_or(14);
    Ok(SetupConfig {
        allowed_hosts: list(given, "sandbox.allowed_hosts", allowed_host)?,
        variables: list(given, "sandbox.setup_variables", variable)?,
        images: list(given, "sandbox.images", checked_glob)?,
        commands: given.get("sandbox.commands").map(Found::flag).transpose()?.unwrap_or(true),
        egress_bytes_max: number(given, "sandbox.egress_mb", 1..=1_048_576_u64)?.unwrap_or(4096) << 20,
        network_for_proposals: given
            .get("sandbox.network_for_proposals")
            .map(Found::flag)
            .transpose()?
            .unwrap_or(false),
        kept_bytes_max: number(given, "sandbox.kept_gb", 1..=16_384_u64)?.unwrap_or(20) << 30,
        kept_count_max: number(given, "sandbox.kept_count", 1..=10_000)?.unwrap_or(20),
        kept_age_max: Duration::from_secs(days * 24 * 3600),
    })
}

fn list<T>(
    given: &Given,
    key: &str,
    parse: impl Fn(&Found, &str) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    let Some(found) = given.get(key) else { return Ok(Vec::new()) };
    let list = found.list()?;
    if list.len() > ENTRIES_MAX {
        let remedy = format!("name at most {ENTRIES_MAX}");
        return Err(found.wrong(format!("has {} entries", list.len()), remedy));
    }
    list.iter().map(|entry| parse(found, entry)).collect()
}

fn allowed_host(found: &Found, host: &str) -> Result<AllowedHost, ConfigError> {
    AllowedHost::parse(host).map_err(|problem| {
        found.wrong(
            format!("has an entry that {problem}: {host:?}"),
            "write names as [\"registry.example.org\", \"mirror.internal.example=10.1.2.0/24\"]",
        )
    })
}

/// `NAME=VALUE`. Whatever the value is, strangers' code reads it.
fn variable(found: &Found, entry: &str) -> Result<(String, String), ConfigError> {
    let wrong = |problem: &str, remedy: &str| {
        // What may be a secret is not shown.
        let name = entry.split('=').next().unwrap_or_default();
        Err(found.wrong(format!("has an entry that {problem}: {name:?}"), remedy))
    };
    let Some((name, value)) = entry.split_once('=') else {
        return wrong(
            "has no value",
            "write entries as [\"PIP_INDEX_URL=https://mirror.internal.example/simple\"]",
        );
    };
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if !is_name || value.contains('\0') {
        return wrong("is no variable's name", "use letters, digits and '_'");
    }
    let lower = name.to_ascii_lowercase();
    // Go's GOPROXY names a registry.
    if lower.ends_with("_proxy") || lower.ends_with("noproxy") {
        return wrong(
            "would send its connections elsewhere than to the sandbox's own proxy",
            "leave it out: the sandbox sets these itself",
        );
    }
    let in_name = ["password", "passwd", "secret", "token", "api_key", "apikey", "_auth"];
    let in_address =
        value.split("://").skip(1).any(|rest| rest.split('/').next().unwrap_or(rest).contains('@'));
    if in_address || in_name.iter().any(|word| lower.contains(word)) {
        return wrong(
            "looks like a secret, and set-up commands are strangers' code",
            "have the registry serve these networks without a login",
        );
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn checked_glob(found: &Found, glob: &str) -> Result<String, ConfigError> {
    match Glob::new(glob) {
        Ok(_) => Ok(glob.to_owned()),
        Err(error) => Err(found.wrong(
            format!("has an entry that is no pattern, {glob:?} ({error})"),
            "write image references, with * where anything may stand",
        )),
    }
}
