//! Applies disruptions.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::actor::Actor;
use super::issues::IssueEdit;
use crate::git::RefUpdate;
use crate::github::data::{DEFAULT_ACTOR, Database, Disruption, PermissionLevel, Repository, Role};
use crate::repository_name::{InvalidRepositoryName, RepositoryName};

/// Applies a disruption. The error names the object that the emulator does not have.
pub(crate) fn apply_disruption(
    db: &mut Database,
    disruption: &Disruption,
    now: Timestamp,
) -> Result<(), String> {
    match disruption {
        Disruption::RevokeTokens => db.tokens.values_mut().for_each(|token| token.revoked = true),
        Disruption::ExpireTokens => db.expire_tokens(now),
        Disruption::Suspend => db.app.suspended_at = Some(now),
        Disruption::Unsuspend => db.app.suspended_at = None,
        Disruption::Uninstall => {
            db.app.installed = false;
            db.tokens.clear();
        }
        Disruption::Grant { permissions } => grant(db, permissions),
        Disruption::TakeOut => first_repository(db)?.covered = false,
        Disruption::Rename { name } => {
            let owner = first_repository(db)?.owner.clone();
            rename_repository(db, 0, &owner, name).map_err(|error| error.to_string())?;
        }
        Disruption::Transfer { owner } => {
            let name = first_repository(db)?.name.clone();
            rename_repository(db, 0, owner, &name).map_err(|error| error.to_string())?;
            db.ensure_account(owner).role = Role::Admin;
        }
        Disruption::Archive => first_repository(db)?.archived = true,
        Disruption::Delete => {
            first_repository(db)?;
            db.repositories.remove(0);
        }
        Disruption::Lock { issue } => {
            if !first_repository(db)?.issues.contains_key(issue) {
                return Err(format!("issue {issue}"));
            }
            Actor::new(db, 0, DEFAULT_ACTOR, now).edit_issue(*issue, IssueEdit::lock());
        }
        Disruption::ForcePush { branch, files } => force_push(db, branch, files, now)?,
        Disruption::RateLimit { max, used, resets_in_seconds } => {
            db.rate_limit.set(*max, *used, resets_in_seconds.map(Duration::from_secs), now);
        }
        Disruption::DuplicateDeliveries { count } => db.deliveries_to_duplicate = *count,
        Disruption::ReorderDeliveries { count } => db.deliveries_to_reorder = *count,
    }
    Ok(())
}

/// Gives the repository with this index another name, if that is valid.
pub(crate) fn rename_repository(
    db: &mut Database,
    repository: usize,
    owner: &str,
    name: &str,
) -> Result<(), InvalidRepositoryName> {
    let new: RepositoryName = format!("{owner}/{name}").parse()?;
    db.repositories[repository].rename(new.owner(), new.name());
    Ok(())
}

fn first_repository(db: &mut Database) -> Result<&mut Repository, String> {
    db.repositories.first_mut().ok_or_else(|| "repository".to_owned())
}

/// Sets the installation's permissions. A token never allows more than its installation.
fn grant(db: &mut Database, permissions: &BTreeMap<String, String>) {
    db.app.granted.clone_from(permissions);
    let level = |word: Option<&String>| word.and_then(|word| PermissionLevel::named(word));
    for token in db.tokens.values_mut() {
        token.permissions.retain(|name, _| permissions.contains_key(name));
        for (name, word) in &mut token.permissions {
            if level(permissions.get(name)) < level(Some(word)) {
                word.clone_from(&permissions[name]);
            }
        }
    }
}

fn force_push(
    db: &mut Database,
    branch: &str,
    files: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<(), String> {
    let git = first_repository(db)?.git.clone();
    let before = git.branch(branch).map_err(|error| error.to_string())?;
    let before = before.ok_or_else(|| format!("branch {branch:?}"))?;
    let files: Vec<(String, Vec<u8>)> =
        files.iter().map(|(path, text)| (path.clone(), text.clone().into_bytes())).collect();
    git.delete_reference(&format!("refs/heads/{branch}")).map_err(|error| error.to_string())?;
    let after = git.commit_files(branch, &files, "Rewrite the history", now.as_second());
    let update = RefUpdate::of_branch(branch, before, after.map_err(|error| error.to_string())?);
    Actor::new(db, 0, DEFAULT_ACTOR, now).references_moved(&[update]).map_err(|error| error.to_string())
}
