//! Accounts and their roles.

use serde::{Deserialize, Serialize};

/// An account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) id: u64,
    pub(crate) login: String,
    pub(crate) kind: AccountKind,
    /// The same in every repository of the emulator.
    pub(crate) role: Role,
    /// Whether `author_association` does not show that the account belongs to the repository, as that of members
    /// who hide their membership of the organization.
    pub(crate) membership_is_hidden: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountKind {
    User,
    Bot,
}

impl AccountKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Bot => "Bot",
        }
    }
}

/// GitHub's repository roles.
/// Source: docs.github.com, "Repository roles for an organization".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Full access.
    Admin,
    /// Write access and some settings.
    Maintain,
    /// Push.
    Write,
    /// Read, and manage issues.
    Triage,
    /// Read.
    Read,
    /// No access.
    None,
}

impl Role {
    /// `role_name` of "Get repository permissions for a user".
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Maintain => "maintain",
            Self::Write => "write",
            Self::Triage => "triage",
            Self::Read => "read",
            Self::None => "none",
        }
    }

    /// `permission` of the same answer: maintain counts as write, triage as read.
    pub(crate) fn permission(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Maintain | Self::Write => "write",
            Self::Triage | Self::Read => "read",
            Self::None => "none",
        }
    }

    /// `author_association` of what an account with this role writes.
    pub(crate) fn association(self) -> &'static str {
        match self {
            Self::Admin => "OWNER",
            Self::Maintain | Self::Write | Self::Triage | Self::Read => "COLLABORATOR",
            Self::None => "NONE",
        }
    }
}

/// The accounts that every emulator starts with.
pub(super) const DEMO_ACCOUNTS: [(&str, AccountKind, Role); 6] = [
    ("octo-maintainer", AccountKind::User, Role::Admin),
    ("octo-writer", AccountKind::User, Role::Write),
    ("octo-triager", AccountKind::User, Role::Triage),
    ("octo-reader", AccountKind::User, Role::Read),
    ("outsider", AccountKind::User, Role::None),
    ("ci-helper[bot]", AccountKind::Bot, Role::Write),
];
