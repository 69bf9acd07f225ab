//! Push: stores a pack, then moves references, each with its own result.

use std::collections::HashSet;
use std::io::Write;

use git2::{Oid, Repository};

use super::error::GitError;
use super::packet::{Band, Packet, PacketReader, line, push_band, push_flush, push_line};
use super::reachable::{ObjectWalk, missing_objects};
use super::repository::BareRepository;
use super::update::{NO_COMMIT, RefUpdate};

/// How many references one push may move.
const COMMANDS_MAX: usize = 1_000;

/// Permissions of a push beyond moving branches and tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushPolicy {
    /// Whether files under `.github/workflows/` may be added or changed.
    pub workflows: bool,
}

/// The result of a push.
#[derive(Debug)]
pub struct Received {
    /// The body of the response.
    pub response: Vec<u8>,
    /// The references that moved.
    pub updates: Vec<RefUpdate>,
}

struct RefCommand {
    before: String,
    after: String,
    name: String,
}

/// Carries out a push, given its decompressed body.
pub fn receive_pack(
    repository: &BareRepository,
    body: &[u8],
    policy: PushPolicy,
) -> Result<Received, GitError> {
    let git = repository.open()?;
    let mut reader = PacketReader::new(body);
    let mut commands = Vec::new();
    let (mut reports, mut side_band) = (false, false);
    while let Some(Packet::Data(data)) = reader.next()? {
        let (text, capabilities) = match data.iter().position(|byte| *byte == 0) {
            Some(end) => (line(&data[..end])?, line(&data[end + 1..])?),
            None => (line(data)?, ""),
        };
        for capability in capabilities.split(' ') {
            reports |= capability == "report-status";
            side_band |= capability == "side-band-64k";
        }
        if text.starts_with("shallow ") {
            // Only the client's history ends there.
            continue;
        }
        let mut fields = text.splitn(3, ' ');
        let (Some(before), Some(after), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(GitError::Malformed(format!("unknown command {text:?}")));
        };
        if commands.len() == COMMANDS_MAX || before.len() != 40 || after.len() != 40 {
            return Err(GitError::Malformed(format!("command refused: {text:?}")));
        }
        commands.push(RefCommand { before: before.into(), after: after.into(), name: name.into() });
    }
    let tips: Vec<Oid> =
        repository.references("refs/")?.iter().filter_map(|facts| Oid::from_str(&facts.sha).ok()).collect();
    let unpacked = store_pack(&git, reader.rest());
    let mut report = Vec::new();
    let mut updates = Vec::new();
    match &unpacked {
        Ok(()) => push_line(&mut report, b"unpack ok\n"),
        Err(error) => push_line(&mut report, format!("unpack {}\n", error.message()).as_bytes()),
    }
    for command in commands {
        let moved = match &unpacked {
            Ok(()) => move_reference(&git, &tips, &command, policy),
            Err(_) => Err("unpacker error".to_owned()),
        };
        match moved {
            Ok(()) => {
                push_line(&mut report, format!("ok {}\n", command.name).as_bytes());
                let RefCommand { before, after, name } = command;
                updates.push(RefUpdate { name, before, after });
            }
            Err(why) => push_line(&mut report, format!("ng {} {why}\n", command.name).as_bytes()),
        }
    }
    push_flush(&mut report);
    let mut response = Vec::new();
    if reports && side_band {
        push_band(&mut response, Band::Data, &report);
        push_flush(&mut response);
    } else if reports {
        response = report;
    }
    Ok(Received { response, updates })
}

/// Stores the pack. A push that only deletes sends none; one of known commits sends an empty one.
fn store_pack(git: &Repository, pack: &[u8]) -> Result<(), git2::Error> {
    const HEADER_BYTES: usize = 12;
    if pack.is_empty() || (pack.starts_with(b"PACK") && pack.get(8..HEADER_BYTES) == Some(&[0; 4])) {
        return Ok(());
    }
    let odb = git.odb()?;
    let mut writer = odb.packwriter()?;
    writer.write_all(pack).map_err(|error| git2::Error::from_str(&error.to_string()))?;
    writer.commit()?;
    odb.refresh()
}

fn move_reference(
    git: &Repository,
    tips: &[Oid],
    command: &RefCommand,
    policy: PushPolicy,
) -> Result<(), String> {
    let RefCommand { before, after, name } = command;
    let is_branch_or_tag = name.starts_with("refs/heads/") || name.starts_with("refs/tags/");
    if !is_branch_or_tag || !git2::Reference::is_valid_name(name) {
        return Err("funny refname".to_owned());
    }
    let current = git.find_reference(name).ok().and_then(|found| found.target());
    let expected = if before == NO_COMMIT { None } else { Oid::from_str(before).ok() };
    if current != expected {
        let at = current.map_or_else(|| NO_COMMIT.to_owned(), |oid| oid.to_string());
        return Err(format!("cannot lock ref '{name}': is at {at} but expected {before}"));
    }
    let message = |error: git2::Error| error.message().to_owned();
    if after == NO_COMMIT {
        if git.head().is_ok_and(|head| head.name().ok() == Some(name.as_str())) {
            return Err(format!("refusing to delete the current branch: {name}"));
        }
        let mut reference = git.find_reference(name).map_err(message)?;
        return reference.delete().map_err(message);
    }
    let target = Oid::from_str(after).map_err(message)?;
    let none = HashSet::new();
    let walk = ObjectWalk { wants: &[target], haves: tips, shallow_at_client: &none, shallow_sent: &none };
    let new_objects = missing_objects(git, &walk).map_err(|error| {
        tracing::debug!(%error, "push lacks objects");
        "missing necessary objects".to_owned()
    })?;
    if !policy.workflows
        && let Some(path) = changed_workflow(git, &new_objects).map_err(message)?
    {
        return Err(workflow_refusal(&path));
    }
    match expected {
        None => git.reference(name, target, false, "push"),
        Some(old) => git.reference_matching(name, target, true, old, "push"),
    }
    .map(drop)
    .map_err(message)
}

/// GitHub's message for an App without the workflows permission.
fn workflow_refusal(path: &str) -> String {
    format!(
        "refusing to allow a GitHub App to create or update workflow `{path}` without `workflows` permission"
    )
}

/// The first file under `.github/workflows/` that one of the new commits changes.
fn changed_workflow(
    git: &Repository,
    objects: &[(Oid, Option<String>)],
) -> Result<Option<String>, git2::Error> {
    for (oid, _) in objects {
        let Ok(commit) = git.find_commit(*oid) else { continue };
        let parent = match commit.parent_id(0) {
            Ok(parent) => Some(git.find_commit(parent)?.tree()?),
            Err(_) => None,
        };
        let mut options = git2::DiffOptions::new();
        options.pathspec(".github/workflows").disable_pathspec_match(true);
        let diff = git.diff_tree_to_tree(parent.as_ref(), Some(&commit.tree()?), Some(&mut options))?;
        let touched = diff.deltas().find(|delta| delta.status() != git2::Delta::Deleted);
        if let Some(path) = touched.and_then(|delta| delta.new_file().path().map(ToOwned::to_owned)) {
            return Ok(Some(path.display().to_string()));
        }
    }
    Ok(None)
}
