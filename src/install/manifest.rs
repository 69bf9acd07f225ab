//! The manifest: `app-manifest.yml`, with this service's own addresses in place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{SETUP_PATH, below};
use crate::webhook::WEBHOOK_PATH;

/// GitHub's bound on an App's name.
const NAME_CHARS_MAX: usize = 34;

/// An App as GitHub registers it.
/// Source: docs.github.com, "Registering a GitHub App from a manifest".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Unique over GitHub; can be changed on GitHub's page.
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
    /// Permission and level.
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
    /// Whether any are sent.
    pub active: bool,
}

/// The repository's `app-manifest.yml`, as it is.
pub fn manifest() -> Manifest {
    serde_saphyr::from_str(include_str!("../../app-manifest.yml")).expect("app-manifest.yml is tested")
}

/// The manifest of a service that is reached at `base`, for an account.
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

/// Why each permission is asked for, in words for the page.
pub(super) fn reason(permission: &str) -> &'static str {
    match permission {
        "metadata" => "to see the repository, and whether whoever put the label on may ask for work",
        "contents" => "to fetch the code, and to push a branch of its own (agent-fix/…)",
        "issues" => "to read the labelled issue, and to report on it",
        "pull_requests" => "to open a draft pull request, and to keep it up to date",
        "checks" => "to show a check on its own branch",
        _ => "",
    }
}

/// What is heard by each event, in words for the page.
pub(super) fn heard_by(event: &str) -> &'static str {
    match event {
        "issues" => "a label is put on or taken off, an issue is closed",
        "issue_comment" => "somebody writes a comment",
        "pull_request" => "a pull request is closed",
        "delete" => "a branch is deleted",
        "pull_request_review" => "a review is submitted",
        "pull_request_review_comment" => "a line of a pull request is commented on",
        "check_run" => "a check of others fails on a pull request of ours",
        "push" => "a branch moves",
        _ => "",
    }
}
