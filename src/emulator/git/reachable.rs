//! Which objects a client needs to get some commits, if it has others already.
//!
//! It walks commits and trees itself: a client with a shallow clone has a commit without its ancestors,
//! which libgit2's own walk cannot express.

use std::collections::{HashMap, HashSet};

use git2::{ObjectType, Oid, Repository};

/// What to walk.
#[derive(Debug)]
pub(super) struct ObjectWalk<'a> {
    /// The requested objects: commits, or tags of commits.
    pub(super) wants: &'a [Oid],
    /// Commits (or tags) that the client has, with all their ancestors.
    pub(super) haves: &'a [Oid],
    /// Commits that the client has without their parents.
    pub(super) shallow_at_client: &'a HashSet<Oid>,
    /// Commits that are sent without their parents.
    pub(super) shallow_sent: &'a HashSet<Oid>,
}

/// The missing objects with their file names, by which the pack builder groups similar files. An object
/// that should exist and does not is an error.
pub(super) fn missing_objects(
    git: &Repository,
    walk: &ObjectWalk<'_>,
) -> Result<Vec<(Oid, Option<String>)>, git2::Error> {
    let at_client = ancestors(git, walk.haves, walk.shallow_at_client)?;
    let mut seen = HashSet::new();
    let mut objects = Vec::new();
    let mut stack = Vec::new();
    for want in walk.wants {
        let (tags, commit) = peel(git, *want)?;
        objects.extend(tags.into_iter().filter(|tag| seen.insert(*tag)).map(|tag| (tag, None)));
        stack.push(commit);
    }
    let mut commits = Vec::new();
    let mut visited = HashSet::new();
    while let Some(oid) = stack.pop() {
        if !visited.insert(oid) {
            continue;
        }
        let is_at_client = at_client.contains(&oid);
        if is_at_client && !walk.shallow_at_client.contains(&oid) {
            continue;
        }
        let commit = git.find_commit(oid)?;
        if !is_at_client {
            commits.push(oid);
        }
        if walk.shallow_sent.contains(&oid) {
            continue;
        }
        for parent in commit.parent_ids() {
            if at_client.contains(&parent) {
                mark_tree(git, git.find_commit(parent)?.tree_id(), &mut seen)?;
            }
            stack.push(parent);
        }
    }
    for oid in commits {
        objects.push((oid, None));
        collect_tree(git, git.find_commit(oid)?.tree_id(), None, &mut seen, &mut objects)?;
    }
    Ok(objects)
}

/// Every ancestor of `from`, those commits included, but not the parents of `shallow`. Unknown commits are
/// left out: a client may have commits that the server has never seen.
fn ancestors(git: &Repository, from: &[Oid], shallow: &HashSet<Oid>) -> Result<HashSet<Oid>, git2::Error> {
    let mut found = HashSet::new();
    let mut stack: Vec<Oid> =
        from.iter().filter_map(|oid| peel(git, *oid).ok()).map(|(_, commit)| commit).collect();
    while let Some(oid) = stack.pop() {
        if found.insert(oid) && !shallow.contains(&oid) {
            stack.extend(git.find_commit(oid)?.parent_ids());
        }
    }
    Ok(found)
}

/// The tags between an object and its commit, and the commit.
fn peel(git: &Repository, mut oid: Oid) -> Result<(Vec<Oid>, Oid), git2::Error> {
    let mut tags = Vec::new();
    loop {
        let object = git.find_object(oid, None)?;
        match object.kind() {
            Some(ObjectType::Commit) => return Ok((tags, oid)),
            Some(ObjectType::Tag) => {
                tags.push(oid);
                oid = git.find_tag(oid)?.target_id();
            }
            kind => return Err(git2::Error::from_str(&format!("{oid} is a {kind:?}, not a commit"))),
        }
    }
}

fn mark_tree(git: &Repository, tree: Oid, seen: &mut HashSet<Oid>) -> Result<(), git2::Error> {
    if !seen.insert(tree) {
        return Ok(());
    }
    for entry in git.find_tree(tree)?.iter() {
        match entry.kind() {
            Some(ObjectType::Tree) => mark_tree(git, entry.id(), seen)?,
            Some(ObjectType::Blob) => {
                seen.insert(entry.id());
            }
            // A submodule's commit is in another repository.
            _ => {}
        }
    }
    Ok(())
}

fn collect_tree(
    git: &Repository,
    tree: Oid,
    name: Option<String>,
    seen: &mut HashSet<Oid>,
    objects: &mut Vec<(Oid, Option<String>)>,
) -> Result<(), git2::Error> {
    if !seen.insert(tree) {
        return Ok(());
    }
    objects.push((tree, name));
    let odb = git.odb()?;
    for entry in git.find_tree(tree)?.iter() {
        let name = Some(String::from_utf8_lossy(entry.name_bytes()).into_owned());
        match entry.kind() {
            Some(ObjectType::Tree) => collect_tree(git, entry.id(), name, seen, objects)?,
            Some(ObjectType::Blob) if seen.insert(entry.id()) => {
                if !odb.exists(entry.id()) {
                    return Err(git2::Error::from_str(&format!("missing blob {}", entry.id())));
                }
                objects.push((entry.id(), name));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The commits at which a clone of `depth` commits ends although they have parents, and the commits before
/// them. A commit that is shallow at the client is not a boundary: a deepening clone gets its parents.
pub(super) fn depth_boundary(
    git: &Repository,
    wants: &[Oid],
    depth: u32,
) -> Result<(HashSet<Oid>, HashSet<Oid>), git2::Error> {
    let mut depths: HashMap<Oid, u32> = HashMap::new();
    let mut queue = std::collections::VecDeque::new();
    for want in wants {
        queue.push_back((peel(git, *want)?.1, 1));
    }
    let (mut boundary, mut inside) = (HashSet::new(), HashSet::new());
    while let Some((oid, at)) = queue.pop_front() {
        // Breadth first, so the first visit has the smallest depth.
        if depths.contains_key(&oid) {
            continue;
        }
        depths.insert(oid, at);
        let commit = git.find_commit(oid)?;
        if at >= depth && commit.parent_count() > 0 {
            boundary.insert(oid);
            continue;
        }
        inside.insert(oid);
        queue.extend(commit.parent_ids().map(|parent| (parent, at + 1)));
    }
    Ok((boundary, inside))
}
