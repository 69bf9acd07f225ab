//! Rust: cargo.

use toml::{Table, Value};

use super::requirements::at;
use super::{Candidate, RootListing};

/// How Rust projects are tested.
pub(super) fn detect(root: &RootListing) -> Option<Candidate> {
    if !root.has_file("Cargo.toml") {
        return None;
    }
    let manifest: Table = root.text("Cargo.toml").and_then(|text| text.parse().ok()).unwrap_or_default();
    // All failing tests are needed, not only those of the first crate.
    let (command, source) = match manifest.get("workspace") {
        None => ("cargo test --no-fail-fast", "Cargo.toml"),
        Some(workspace) if workspace.get("default-members").is_some() => {
            ("cargo test --no-fail-fast", "Cargo.toml; the workspace's default members")
        }
        // Without a package of its own, cargo selects all members.
        Some(_) if !manifest.contains_key("package") => {
            ("cargo test --no-fail-fast", "Cargo.toml; a workspace")
        }
        Some(_) => ("cargo test --workspace --no-fail-fast", "Cargo.toml; a package with a workspace"),
    };
    let mut candidate =
        Candidate::new("Rust", "Cargo.toml", &["cargo test", "cargo nextest"]).tested_by(command, source);
    if !is_vendored(root) {
        candidate = match root.has_file("Cargo.lock") {
            true => candidate.set_up_by("cargo fetch --locked", "Cargo.lock"),
            false => candidate
                .set_up_by("cargo fetch", "Cargo.toml; there is no Cargo.lock, so versions may differ"),
        };
    }
    if command.contains("--workspace") {
        // A member may need what is not here: a library of the system, another toolchain.
        candidate =
            candidate.or_tested_by("cargo test --no-fail-fast", "Cargo.toml; only the root's package");
    }
    if root.has_file(".config/nextest.toml") {
        candidate = candidate.passing_over(
            "`cargo nextest run`",
            ".config/nextest.toml configures it, but `cargo test` needs no further program, and runs \
             documentation tests",
        );
    }
    if let Some((file, channel)) = toolchain(root) {
        candidate = candidate.noting(format!(
            "{file} requires the toolchain {channel}: with rustup it must be installed already, because the \
             tests have no network"
        ));
    }
    Some(candidate)
}

/// Whether .cargo/config.toml uses crates of a directory of the repository.
fn is_vendored(root: &RootListing) -> bool {
    let text = root.text(".cargo/config.toml").or_else(|| root.text(".cargo/config"));
    let config: Table = text.and_then(|text| text.parse().ok()).unwrap_or_default();
    let sources = config.get("source").and_then(Value::as_table);
    sources.is_some_and(|sources| sources.values().any(|source| source.get("directory").is_some()))
}

fn toolchain(root: &RootListing) -> Option<(&'static str, String)> {
    let name = root.first(&["rust-toolchain.toml", "rust-toolchain"])?;
    let text = root.text(name)?;
    let table = text.parse::<Table>().ok();
    let channel =
        table.as_ref().and_then(|table| at(table, &["toolchain", "channel"])).and_then(Value::as_str);
    let legacy = || text.lines().next().map(str::trim).filter(|line| !line.starts_with('['));
    let channel = channel.or_else(legacy).filter(|channel| !channel.is_empty())?;
    Some((name, channel.chars().take(60).collect()))
}
