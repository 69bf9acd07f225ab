//! What befalls an App while it is at work: its tokens end, it is suspended or uninstalled, a repository
//! is renamed, archived or gone, history is rewritten, webhooks come twice or out of order. On demand, at
//! once or right before a request that matches a fault's rule.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::beginning::ensure_user;
use super::deeds::{self, IssueEdit};
use super::operations::Level;
use super::people::Role;
use super::pull_deeds::references_moved;
use super::world::{Repository, World};
use super::{DEFAULT_ACTOR, EmulatedGitHub, EmulatorError};
use crate::git::RefUpdate;
use crate::repository_name::{InvalidRepositoryName, RepositoryName};

/// One of them. What is about a repository is about the first.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Disruption {
    /// Every installation token is revoked; new ones can be had.
    RevokeTokens,
    /// Every installation token ends, an hour early; new ones can be had.
    ExpireTokens,
    /// The installation is suspended.
    Suspend,
    /// It no longer is.
    Unsuspend,
    /// The App is uninstalled.
    Uninstall,
    /// The installation grants only this from now on, tokens included.
    Grant {
        /// Permission and level.
        permissions: BTreeMap<String, String>,
    },
    /// The App's installation no longer covers the repository.
    TakeOut,
    /// The repository gets another name.
    Rename {
        /// The name, without the owner.
        name: String,
    },
    /// The repository gets another owner, whose account the installation covers, too.
    Transfer {
        /// The owner.
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
    /// The rate limit of the installation.
    RateLimit {
        /// Requests an hour.
        max: u64,
        /// How many of them were sent.
        used: u64,
        /// When the hour is over; absent: as it was.
        #[serde(default)]
        resets_in_seconds: Option<u64>,
    },
    /// So many of the next deliveries are sent twice.
    DuplicateDeliveries {
        /// How many.
        count: u32,
    },
    /// The next deliveries wait for each other, and are sent in the opposite order.
    ReorderDeliveries {
        /// How many.
        count: u32,
    },
}

impl EmulatedGitHub {
    /// Has something happen at once.
    pub fn disrupt(&self, upheaval: &Disruption) -> Result<(), EmulatorError> {
        let done = self.shared.with_world(|world| disrupt(world, upheaval, Timestamp::now()));
        done.map_err(EmulatorError::Unknown)
    }
}

/// Has something happen. The error says what there is not.
pub(super) fn disrupt(world: &mut World, upheaval: &Disruption, now: Timestamp) -> Result<(), String> {
    match upheaval {
        Disruption::RevokeTokens => world.tokens.values_mut().for_each(|token| token.revoked = true),
        Disruption::ExpireTokens => world.tokens.values_mut().for_each(|token| token.expires_at = now),
        Disruption::Suspend => world.app.suspended_at = Some(now),
        Disruption::Unsuspend => world.app.suspended_at = None,
        Disruption::Uninstall => {
            world.app.installed = false;
            world.tokens.clear();
        }
        Disruption::Grant { permissions } => grant(world, permissions),
        Disruption::TakeOut => first(world)?.covered = false,
        Disruption::Rename { name } => {
            let owner = first(world)?.owner.clone();
            move_to(world, &format!("{owner}/{name}"))?;
        }
        Disruption::Transfer { owner } => {
            let name = first(world)?.name.clone();
            move_to(world, &format!("{owner}/{name}"))?;
            ensure_user(world, owner).role = Role::Admin;
        }
        Disruption::Archive => first(world)?.archived = true,
        Disruption::Delete => {
            first(world)?;
            world.repositories.remove(0);
        }
        Disruption::Lock { issue } => {
            if !first(world)?.issues.contains_key(issue) {
                return Err(format!("issue {issue}"));
            }
            let edit = IssueEdit { locked: Some(true), ..IssueEdit::default() };
            deeds::edit_issue(world, 0, *issue, edit, DEFAULT_ACTOR, now);
        }
        Disruption::ForcePush { branch, files } => force_push(world, branch, files, now)?,
        Disruption::RateLimit { max, used, resets_in_seconds } => {
            world.set_rate_limit(*max, *used, resets_in_seconds.map(Duration::from_secs), now);
        }
        Disruption::DuplicateDeliveries { count } => world.to_duplicate = *count,
        Disruption::ReorderDeliveries { count } => world.to_reorder = *count,
    }
    Ok(())
}

fn first(world: &mut World) -> Result<&mut Repository, String> {
    world.repositories.first_mut().ok_or_else(|| "repository".to_owned())
}

/// A token never allows more than its installation.
fn grant(world: &mut World, permissions: &BTreeMap<String, String>) {
    world.app.granted.clone_from(permissions);
    let level = |word: Option<&String>| word.and_then(|word| Level::named(word));
    for token in world.tokens.values_mut() {
        token.permissions.retain(|name, _| permissions.contains_key(name));
        for (name, had) in &mut token.permissions {
            if level(permissions.get(name)) < level(Some(had)) {
                had.clone_from(&permissions[name]);
            }
        }
    }
}

fn move_to(world: &mut World, full_name: &str) -> Result<(), String> {
    let new: RepositoryName = full_name.parse().map_err(|error: InvalidRepositoryName| error.to_string())?;
    let repository = first(world)?;
    repository.former_names.push(repository.full_name());
    repository.owner = new.owner().to_owned();
    repository.name = new.name().to_owned();
    Ok(())
}

fn force_push(
    world: &mut World,
    branch: &str,
    files: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<(), String> {
    let name = format!("refs/heads/{branch}");
    let git = first(world)?.git.clone();
    let before = git.branch(branch).map_err(|error| error.to_string())?;
    let before = before.ok_or_else(|| format!("branch {branch:?}"))?;
    let files: Vec<(String, Vec<u8>)> =
        files.iter().map(|(path, text)| (path.clone(), text.clone().into_bytes())).collect();
    git.delete_reference(&name).map_err(|error| format!("{error:?}"))?;
    let after = git.commit_files(branch, &files, "Begin anew", now.as_second());
    let after = after.map_err(|error| error.to_string())?;
    let update = RefUpdate { name, before, after };
    references_moved(world, 0, &[update], DEFAULT_ACTOR, now).map_err(|error| error.to_string())
}
