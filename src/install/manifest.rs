//! The App's manifest: `app-manifest.yml`, with this service's own addresses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{SETUP_PATH, below};
use crate::webhook::{EVENTS, WEBHOOK_PATH};

/// GitHub's bound on an App's name.
const NAME_CHARS_MAX: usize = 34;

/// An App as GitHub registers it.
/// Source: docs.github.com, "Registering a GitHub App from a manifest".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Unique on GitHub; the operator can change it on GitHub's page.
    pub name: String,
    /// Homepage.
    pub url: String,
    /// What it does.
    pub description: String,
    /// Whether others may install it.
    pub public: bool,
    /// Where deliveries go.
    pub hook_attributes: HookAttributes,
    /// Where GitHub sends the browser with the code.
    #[serde(default)]
    pub redirect_url: String,
    /// Permissions with their levels.
    pub default_permissions: BTreeMap<String, String>,
    /// Events.
    pub default_events: Vec<String>,
}

/// Where deliveries go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookAttributes {
    /// The address.
    pub url: String,
    /// Whether deliveries are sent.
    pub active: bool,
}

/// The content of `app-manifest.yml`.
pub fn manifest() -> Manifest {
    serde_saphyr::from_str(include_str!("../../app-manifest.yml")).expect("app-manifest.yml is tested")
}

/// The manifest of a service with the address `base`, for the operator's account or an organisation.
pub(super) fn manifest_for(base: &Url, organisation: Option<&str>) -> Manifest {
    let mut manifest = manifest();
    if let Some(organisation) = organisation {
        manifest.name = format!("{}-{organisation}", manifest.name).chars().take(NAME_CHARS_MAX).collect();
    }
    manifest.url = base.to_string();
    manifest.hook_attributes.url = below(base, WEBHOOK_PATH).to_string();
    manifest.redirect_url = below(base, &format!("{SETUP_PATH}/callback")).to_string();
    manifest
}

/// Why each permission is needed, for the page.
pub(super) fn permission_reason(permission: &str) -> &'static str {
    match permission {
        "metadata" => "to see the repository, and whether the person who added the label may ask for work",
        "contents" => "to fetch the code, and to push branches of its own (agent-fix/…)",
        "issues" => "to read the labelled issue, and to report on it",
        "pull_requests" => "to open a draft pull request, and to keep it up to date",
        "checks" => "to show a check on its own branches",
        _ => "",
    }
}

/// What each event means, for the page.
pub(super) fn event_meaning(event: &str) -> &'static str {
    EVENTS.iter().find(|row| row.name == event).map_or("", |row| row.meaning)
}
