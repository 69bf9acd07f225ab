//! Events that disturb an App while it works: revoked tokens, a suspended installation, a renamed or
//! deleted repository, rewritten history, duplicate webhooks.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An event that disturbs the App while it works. Those about a repository concern the first one.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Disruption {
    /// Every installation token is revoked; new ones can be created.
    RevokeTokens,
    /// Every installation token expires early; new ones can be created.
    ExpireTokens,
    /// The installation is suspended.
    Suspend,
    /// The suspension ends.
    Unsuspend,
    /// The App is uninstalled.
    Uninstall,
    /// The installation grants only these permissions from now on; existing tokens lose the others.
    Grant {
        /// Permission and level.
        permissions: BTreeMap<String, String>,
    },
    /// The App's installation no longer covers the repository.
    TakeOut,
    /// The repository is renamed.
    Rename {
        /// The new name, without the owner.
        name: String,
    },
    /// The repository moves to another owner; the installation still covers it.
    Transfer {
        /// The new owner.
        owner: String,
    },
    /// The repository becomes read-only.
    Archive,
    /// The repository is deleted.
    Delete,
    /// An issue's conversation is locked.
    Lock {
        /// Its number.
        issue: u64,
    },
    /// A branch's history is rewritten: it becomes one commit of these files.
    ForcePush {
        /// The branch.
        branch: String,
        /// Path and text.
        files: BTreeMap<String, String>,
    },
    /// The rate limit of the installation changes.
    RateLimit {
        /// Requests an hour.
        max: u64,
        /// How many of them were used.
        used: u64,
        /// When the hour is over; absent keeps the current hour.
        #[serde(default)]
        resets_in_seconds: Option<u64>,
    },
    /// The next deliveries are sent twice.
    DuplicateDeliveries {
        /// How many.
        count: u32,
    },
    /// The next deliveries are collected and sent in reverse order.
    ReorderDeliveries {
        /// How many.
        count: u32,
    },
}
