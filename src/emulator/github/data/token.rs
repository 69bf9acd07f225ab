//! Installation tokens.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::permission::PermissionLevel;
use super::repository::Repository;

/// An installation token.
#[derive(Debug, Clone)]
pub(crate) struct InstallationToken {
    pub(crate) expires_at: Timestamp,
    pub(crate) revoked: bool,
    pub(crate) permissions: BTreeMap<String, String>,
    /// Repository ids; `None` means every repository of the installation.
    pub(crate) repositories: Option<Vec<u64>>,
}

impl InstallationToken {
    /// Installation tokens are valid for an hour.
    pub(crate) const LIFETIME: SignedDuration = SignedDuration::from_hours(1);

    /// Whether it is valid for this repository.
    pub(crate) fn covers(&self, repository: &Repository) -> bool {
        repository.covered && self.repositories.as_ref().is_none_or(|ids| ids.contains(&repository.id))
    }

    /// Whether it has a permission of at least this level.
    pub(crate) fn allows(&self, permission: &str, level: PermissionLevel) -> bool {
        let granted = self.permissions.get(permission).and_then(|word| PermissionLevel::named(word));
        granted.is_some_and(|granted| granted >= level)
    }
}
