//! What the operator lets repositories' set-ups do: `sandbox.allowed_hosts` and what goes with it.

use std::time::Duration;

use globset::Glob;

use super::values::number;
use crate::config::given::{ConfigError, Found, Given};
use crate::config::host_name::host_name_problem;

/// Hosts, and patterns of images.
const ENTRIES_MAX: usize = 500;

/// What set-ups may do, and how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUpConfig {
    /// Host names that a set-up may reach; empty: no network.
    pub allowed_hosts: Vec<String>,
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

pub(super) fn set_up(given: &Given) -> Result<SetUpConfig, ConfigError> {
    let days = number(given, "sandbox.kept_days", 1..=3650_u64)?.unwrap_or(14);
    Ok(SetUpConfig {
        allowed_hosts: list(given, "sandbox.allowed_hosts", checked_host)?,
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

fn list(
    given: &Given,
    key: &str,
    check: impl Fn(&Found, &str) -> Result<(), ConfigError>,
) -> Result<Vec<String>, ConfigError> {
    let Some(found) = given.get(key) else { return Ok(Vec::new()) };
    let list = found.list()?;
    if list.len() > ENTRIES_MAX {
        let remedy = format!("name at most {ENTRIES_MAX}");
        return Err(found.wrong(format!("has {} entries", list.len()), remedy));
    }
    for entry in &list {
        check(found, entry)?;
    }
    Ok(list)
}

fn checked_host(found: &Found, host: &str) -> Result<(), ConfigError> {
    let Some(problem) = host_name_problem(host) else { return Ok(()) };
    Err(found
        .wrong(format!("has an entry that {problem}: {host:?}"), "write names as [\"registry.example.org\"]"))
}

fn checked_glob(found: &Found, glob: &str) -> Result<(), ConfigError> {
    match Glob::new(glob) {
        Ok(_) => Ok(()),
        Err(error) => Err(found.wrong(
            format!("has an entry that is no pattern, {glob:?} ({error})"),
            "write image references, with * where anything may stand",
        )),
    }
}
