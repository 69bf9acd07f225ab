//! The accounts of the emulated GitHub, and what each may do.

use serde::{Deserialize, Serialize};

/// An account.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) login: String,
    pub(super) kind: UserKind,
    /// In every repository of the emulator.
    pub(super) role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UserKind {
    User,
    Bot,
}

impl UserKind {
    pub(super) fn as_str(self) -> &'static str {
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
    /// Everything.
    Admin,
    /// Write, and some settings.
    Maintain,
    /// Push.
    Write,
    /// Read, and manage issues.
    Triage,
    /// Look.
    Read,
    /// Nothing.
    None,
}

impl Role {
    /// `role_name` of "Get repository permissions for a user".
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Maintain => "maintain",
            Self::Write => "write",
            Self::Triage => "triage",
            Self::Read => "read",
            Self::None => "none",
        }
    }

    /// `permission` of the same: maintain counts as write, triage as read.
    pub(super) fn permission(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Maintain | Self::Write => "write",
            Self::Triage | Self::Read => "read",
            Self::None => "none",
        }
    }

    /// `author_association` of what such a person writes.
    pub(super) fn association(self) -> &'static str {
        match self {
            Self::Admin => "OWNER",
            Self::Maintain | Self::Write | Self::Triage | Self::Read => "COLLABORATOR",
            Self::None => "NONE",
        }
    }
}

/// The accounts every emulator begins with.
pub(super) const DEMO_USERS: [(&str, UserKind, Role); 6] = [
    ("octo-maintainer", UserKind::User, Role::Admin),
    ("octo-writer", UserKind::User, Role::Write),
    ("octo-triager", UserKind::User, Role::Triage),
    ("octo-reader", UserKind::User, Role::Read),
    ("outsider", UserKind::User, Role::None),
    ("ci-helper[bot]", UserKind::Bot, Role::Write),
];
