//! One bare repository: its references and the files in its trees.
//!
//! Opened for each use, so that it can be shared between threads and always sees the latest push. Only this
//! folder of the emulator uses libgit2.

use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid, Repository};

use super::error::GitError;

/// A bare repository on disk.
#[derive(Debug, Clone)]
pub struct BareRepository {
    path: PathBuf,
}

/// A reference and its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefFacts {
    /// The full name, `refs/…`.
    pub name: String,
    /// The object it points to.
    pub sha: String,
    /// `commit` or `tag`.
    pub kind: &'static str,
    /// For an annotated tag: the object that it names.
    pub peeled: Option<String>,
}

/// The content at a path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file.
    File {
        /// The blob's id.
        sha: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A directory.
    Directory(Vec<DirectoryEntry>),
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name within the directory.
    pub name: String,
    /// The object's id.
    pub sha: String,
    /// `file`, `dir`, `symlink` or `submodule`.
    pub kind: &'static str,
    /// Bytes of a file, else 0.
    pub bytes: usize,
}

/// Why a reference was not moved.
#[derive(Debug, thiserror::Error)]
pub enum UpdateRefused {
    /// The reference exists already.
    #[error("Reference already exists")]
    Exists,
    /// The reference does not exist.
    #[error("Reference does not exist")]
    Missing,
    /// The object is not in the repository.
    #[error("Object does not exist")]
    UnknownObject,
    /// The name is not valid for a reference.
    #[error("Reference name is not valid")]
    BadName,
    /// The current commit would be lost.
    #[error("Update is not a fast forward")]
    NotFastForward,
    /// libgit2 failed.
    #[error(transparent)]
    Git(#[from] git2::Error),
}

impl BareRepository {
    /// Creates an empty repository whose HEAD names `branch`.
    pub fn create(path: &Path, branch: &str) -> Result<Self, GitError> {
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).mkpath(true).initial_head(branch).external_template(false);
        Repository::init_opts(path, &options)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn open(&self) -> Result<Repository, git2::Error> {
        Repository::open_bare(&self.path)
    }

    /// The references whose full name starts with `prefix`, by name.
    pub fn references(&self, prefix: &str) -> Result<Vec<RefFacts>, GitError> {
        let git = self.open()?;
        let mut found = Vec::new();
        for reference in git.references()? {
            let reference = reference?;
            let (Ok(name), Some(target)) = (reference.name(), reference.target()) else { continue };
            if name.starts_with(prefix) {
                found.push(facts(&git, name, target)?);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// One reference by its full name.
    pub fn reference(&self, name: &str) -> Result<Option<RefFacts>, GitError> {
        let git = self.open()?;
        let target = git.find_reference(name).ok().and_then(|reference| reference.target());
        Ok(target.map(|target| facts(&git, name, target)).transpose()?)
    }

    /// The commit at the head of a branch.
    pub fn branch(&self, name: &str) -> Result<Option<String>, GitError> {
        Ok(self.reference(&format!("refs/heads/{name}"))?.map(|facts| facts.sha))
    }

    /// The commit that a branch, a tag, `heads/…`, `tags/…`, `refs/…`, `HEAD` or a (short) object
    /// id names.
    pub fn resolve(&self, name: &str) -> Result<Option<String>, GitError> {
        let git = self.open()?;
        let names = [
            format!("refs/heads/{name}"),
            format!("refs/tags/{name}"),
            format!("refs/{name}"),
            name.to_owned(),
        ];
        for candidate in names {
            if let Ok(reference) = git.find_reference(&candidate)
                && let Ok(commit) = reference.peel_to_commit()
            {
                return Ok(Some(commit.id().to_string()));
            }
        }
        let hexadecimal = (7..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
        let commit = match hexadecimal {
            true => git.find_commit_by_prefix(name).ok(),
            false => None,
        };
        Ok(commit.map(|commit| commit.id().to_string()))
    }

    /// Creates a reference.
    pub fn create_reference(&self, name: &str, sha: &str) -> Result<(), UpdateRefused> {
        let git = self.open()?;
        let target = existing_object(&git, sha)?;
        if !git2::Reference::is_valid_name(name) || name.matches('/').count() < 2 {
            return Err(UpdateRefused::BadName);
        }
        if git.find_reference(name).is_ok() {
            return Err(UpdateRefused::Exists);
        }
        git.reference(name, target, false, "created")?;
        Ok(())
    }

    /// Moves a reference; `force` moves it even if commits are lost.
    pub fn update_reference(&self, name: &str, sha: &str, force: bool) -> Result<(), UpdateRefused> {
        let git = self.open()?;
        let reference = git.find_reference(name).map_err(|_| UpdateRefused::Missing)?;
        let current = reference.target().ok_or(UpdateRefused::Missing)?;
        let target = existing_object(&git, sha)?;
        if !force && current != target && !git.graph_descendant_of(target, current).unwrap_or(false) {
            return Err(UpdateRefused::NotFastForward);
        }
        git.reference_matching(name, target, true, current, "updated")?;
        Ok(())
    }

    /// Sets a reference, whatever its target was: for the references that GitHub itself maintains.
    pub fn put_reference(&self, name: &str, sha: &str) -> Result<(), GitError> {
        self.open()?.reference(name, Oid::from_str(sha)?, true, "kept")?;
        Ok(())
    }

    /// Removes a reference.
    pub fn delete_reference(&self, name: &str) -> Result<(), UpdateRefused> {
        let git = self.open()?;
        let mut reference = git.find_reference(name).map_err(|_| UpdateRefused::Missing)?;
        Ok(reference.delete()?)
    }

    /// The content at `path` in the tree of a commit; an empty path means the root.
    pub fn content(&self, commit: &str, path: &str) -> Result<Option<Content>, GitError> {
        let git = self.open()?;
        let root = git.find_commit(Oid::from_str(commit)?)?.tree()?;
        let trimmed = path.trim_matches('/');
        let object = match trimmed {
            "" => root.into_object(),
            _ => match root.get_path(Path::new(trimmed)) {
                Ok(entry) if entry.kind() != Some(ObjectType::Commit) => entry.to_object(&git)?,
                _ => return Ok(None),
            },
        };
        let sha = object.id().to_string();
        if let Ok(tree) = object.clone().into_tree() {
            return Ok(Some(Content::Directory(directory(&git, &tree)?)));
        }
        let blob = object.peel_to_blob()?;
        Ok(Some(Content::File { sha, bytes: blob.content().to_vec() }))
    }
}

fn facts(git: &Repository, name: &str, target: Oid) -> Result<RefFacts, git2::Error> {
    let object = git.find_object(target, None)?;
    let is_tag = object.kind() == Some(ObjectType::Tag);
    let peeled = match is_tag {
        true => Some(object.peel(ObjectType::Any)?.id().to_string()),
        false => None,
    };
    let kind = if is_tag { "tag" } else { "commit" };
    Ok(RefFacts { name: name.to_owned(), sha: target.to_string(), kind, peeled })
}

fn existing_object(git: &Repository, sha: &str) -> Result<Oid, UpdateRefused> {
    let is_full = sha.len() == 40;
    let oid = Oid::from_str(sha).ok().filter(|_| is_full).ok_or(UpdateRefused::UnknownObject)?;
    match git.odb()?.exists(oid) {
        true => Ok(oid),
        false => Err(UpdateRefused::UnknownObject),
    }
}

fn directory(git: &Repository, tree: &git2::Tree<'_>) -> Result<Vec<DirectoryEntry>, git2::Error> {
    let odb = git.odb()?;
    tree.iter()
        .map(|entry| {
            let kind = match (entry.kind(), entry.filemode()) {
                (Some(ObjectType::Tree), _) => "dir",
                (Some(ObjectType::Commit), _) => "submodule",
                (_, 0o120_000) => "symlink",
                _ => "file",
            };
            let bytes = match kind {
                "file" | "symlink" => odb.read_header(entry.id())?.0,
                _ => 0,
            };
            let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
            Ok(DirectoryEntry { name, sha: entry.id().to_string(), kind, bytes })
        })
        .collect()
}
