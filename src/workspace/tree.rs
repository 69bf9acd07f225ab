//! Trees: exported as a tar stream, changed by checked changes.

use std::io::{self, Write};
use std::path::Path;

use git2::build::TreeUpdateBuilder;
use git2::{Blob, FileMode as GitMode, ObjectType, Oid, Repository, Tree};
use jiff::Timestamp;
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use super::attributes::TreeAttributes;
use super::checkout::{is_lfs, is_lfs_pointer, stream_error, write_tree};
use super::conversion::{to_repository, to_work_tree};
use super::file_times::ChangedFiles;
use super::mirror::{local_error, oid, sha};
use super::references::delete_oldest;
use super::{Workspace, WorkspaceError};
use crate::config::RepositoryFiles;
use crate::detect::RootListing;
use crate::domain::{Change, ChangedContent, FileMode, JobId, RepoPath, Sha};

/// The largest file of the base that the host itself reads (configuration, AGENTS.md).
pub const BASE_FILE_BYTES_MAX: usize = 256 * 1024;

/// How much of a tar stream is buffered for the sandbox.
const TAR_BUFFER_BYTES: usize = 256 * 1024;

/// Why a submodule's file cannot be changed.
const IN_SUBMODULE: &str = "it is, or is below, a submodule: its files belong to another repository, and a proposal cannot change them";

/// Where checkpoints are pinned.
const CHECKPOINTS: &str = "refs/mendwright/checkpoints/";
/// The number of jobs of one repository whose checkpoints stay pinned: far more than work at a time.
const CHECKPOINTS_KEPT_MAX: usize = 200;

/// The base with changes applied, as a tree in our own object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The tree.
    pub tree: Sha,
    /// The paths that differ from the base, sorted.
    pub paths: Vec<RepoPath>,
}

/// The regular file at `path` of a tree.
fn file_in<'r>(
    repository: &'r Repository,
    tree: &Tree<'_>,
    path: &str,
) -> Result<Option<Blob<'r>>, git2::Error> {
    let Ok(entry) = tree.get_path(Path::new(path)) else { return Ok(None) };
    if !matches!(entry.filemode(), 0o100_644 | 0o100_755) {
        return Ok(None);
    }
    repository.find_blob(entry.id()).map(Some)
}

/// The configuration in a tree; more than [`BASE_FILE_BYTES_MAX`] bytes of a file are cut off.
pub(super) fn repository_files_in(
    repository: &Repository,
    tree: &Tree<'_>,
) -> Result<RepositoryFiles, git2::Error> {
    RepositoryFiles::read(
        |directory| names_in(repository, tree, directory),
        |path| {
            let blob = file_in(repository, tree, path)?;
            Ok(blob.map(|blob| blob.content()[..blob.size().min(BASE_FILE_BYTES_MAX)].to_vec()))
        },
    )
}

/// Its content; `None` if it is longer than `bytes_max`.
pub(super) fn content_in(
    repository: &Repository,
    tree: &Tree<'_>,
    path: &str,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, git2::Error> {
    let blob = file_in(repository, tree, path)?;
    Ok(blob.filter(|blob| blob.size() as u64 <= bytes_max).map(|blob| blob.content().to_vec()))
}

/// The names in a directory of a tree; an empty path is the root. Directories end in `/`. Empty if there is
/// no such directory.
pub(super) fn names_in(
    repository: &Repository,
    root: &Tree<'_>,
    path: &str,
) -> Result<Vec<String>, git2::Error> {
    let inner;
    let tree = if path.is_empty() {
        root
    } else {
        let Ok(entry) = root.get_path(Path::new(path)) else { return Ok(Vec::new()) };
        if entry.kind() != Some(ObjectType::Tree) {
            return Ok(Vec::new());
        }
        inner = repository.find_tree(entry.id())?;
        &inner
    };
    let name = |entry: git2::TreeEntry<'_>| {
        let slash = if entry.kind() == Some(ObjectType::Tree) { "/" } else { "" };
        format!("{}{slash}", String::from_utf8_lossy(entry.name_bytes()))
    };
    Ok(tree.iter().map(name).collect())
}

/// When a commit was made.
pub(super) fn time_of(commit: &git2::Commit<'_>) -> Option<Timestamp> {
    Timestamp::from_second(commit.time().seconds()).ok()
}

impl Workspace {
    /// A file of the base commit, truncated to [`BASE_FILE_BYTES_MAX`] bytes; `None` if there is none or it
    /// is not a regular file.
    pub async fn base_file(&self, path: &str) -> Result<Option<Vec<u8>>, WorkspaceError> {
        let (base, path) = (oid(self.base()), path.to_owned());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "reading a file of the base", error);
            let tree = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            let Some(blob) = file_in(repository, &tree, &path).map_err(local)? else { return Ok(None) };
            Ok(Some(blob.content()[..blob.size().min(BASE_FILE_BYTES_MAX)].to_vec()))
        })
        .await
    }

    /// The configuration of the base commit.
    pub async fn repository_files(&self) -> Result<RepositoryFiles, WorkspaceError> {
        let base = oid(self.base());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "reading the base's configuration", error);
            let tree = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            repository_files_in(repository, &tree).map_err(local)
        })
        .await
    }

    /// The files of the base commit that toolchain detection reads.
    pub async fn base_listing(&self) -> Result<RootListing, WorkspaceError> {
        let base = oid(self.base());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "reading the base", error);
            let commit = repository.find_commit(base).map_err(local)?;
            let tree = commit.tree().map_err(local)?;
            let listing = RootListing::read(
                |directory| names_in(repository, &tree, directory),
                |path, bytes_max| content_in(repository, &tree, path, bytes_max),
            )
            .map_err(local)?;
            Ok(RootListing { committed_at: time_of(&commit), ..listing })
        })
        .await
    }

    /// Whether the base commit has something at `path`.
    pub async fn base_contains(&self, path: &RepoPath) -> Result<bool, WorkspaceError> {
        let (base, path) = (oid(self.base()), path.clone());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "reading the base", error);
            let tree = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            Ok(tree.get_path(Path::new(path.as_str())).is_ok())
        })
        .await
    }

    /// The names in a directory of the base commit; an empty path is the root. Directories end in `/`. Empty
    /// if there is no such directory.
    pub async fn base_directory(&self, path: &str) -> Result<Vec<String>, WorkspaceError> {
        let (base, path) = (oid(self.base()), path.to_owned());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "listing the base", error);
            let tree = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            names_in(repository, &tree, &path).map_err(local)
        })
        .await
    }

    /// The tree of the base commit.
    pub async fn base_tree(&self) -> Result<Sha, WorkspaceError> {
        let base = oid(self.base());
        self.with_repository(move |repository, git_dir| {
            let commit = repository
                .find_commit(base)
                .map_err(|error| local_error(git_dir, "reading the base commit", error))?;
            Ok(sha(commit.tree_id()))
        })
        .await
    }

    /// Streams a tree as a tar archive, as a checkout has it: regular files, executables and symbolic links,
    /// converted as `.gitattributes` says, and the files of each submodule of the base that is there. Of the others
    /// there is an empty directory. A failure ends the stream with an error.
    pub fn tar(&self, tree: &Sha) -> impl AsyncRead + Send + Unpin + 'static {
        self.tar_of(tree, None)
    }

    /// As [`Self::tar`], with times: all files but the changed ones have the same old time.
    pub fn tar_with_times(
        &self,
        tree: &Sha,
        changed: ChangedFiles,
    ) -> impl AsyncRead + Send + Unpin + 'static {
        self.tar_of(tree, Some(changed))
    }

    fn tar_of(
        &self,
        tree: &Sha,
        changed: Option<ChangedFiles>,
    ) -> impl AsyncRead + Send + Unpin + 'static + use<> {
        let (reader, writer) = tokio::io::duplex(TAR_BUFFER_BYTES);
        let (workspace, tree) = (self.clone(), oid(tree));
        let (failed, failure) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let bridge = SyncIoBridge::new(writer);
            let submodules = workspace.submodules.clone();
            let written = workspace
                .with_walker(move |walker| {
                    let mut out = tar::Builder::new(io::BufWriter::with_capacity(64 * 1024, bridge));
                    write_tree(walker, tree, &submodules, changed.as_ref(), &mut out)?;
                    let flushed = out.into_inner().and_then(|mut inner| inner.flush());
                    flushed.map_err(|error| stream_error(walker.git_dir, &error))
                })
                .await;
            if let Err(error) = written {
                let _ = failed.send(error);
            }
        });
        TarStream { reader, failure: Some(failure) }
    }

    /// The regular file at `path` in a tree, as a checkout has it; `None` if there is none.
    pub async fn content(
        &self,
        tree: &Sha,
        path: &RepoPath,
    ) -> Result<Option<(FileMode, Vec<u8>)>, WorkspaceError> {
        let (tree, path) = (oid(tree), path.clone());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "reading a file of a tree", error);
            let tree = repository.find_tree(tree).map_err(local)?;
            let Ok(entry) = tree.get_path(Path::new(path.as_str())) else { return Ok(None) };
            let mode = match entry.filemode() {
                0o100_644 => FileMode::Regular,
                0o100_755 => FileMode::Executable,
                _ => return Ok(None),
            };
            let blob = repository.find_blob(entry.id()).map_err(local)?;
            let attributes = TreeAttributes::of(repository, &tree).of_file(path.as_str().as_bytes());
            Ok(Some((mode, to_work_tree(blob.content(), entry.id(), &attributes))))
        })
        .await
    }

    /// The base with `changes` applied. Contents are those of a checkout, and are converted as `git add`
    /// converts them. A file that the base has keeps its mode. Every change is checked again here, because
    /// the sandbox is not trusted: nothing may be written through or over a symbolic link, a submodule or a
    /// directory, and nothing but a pointer where Git LFS has the content.
    pub async fn propose(&self, changes: Vec<Change>) -> Result<Proposal, WorkspaceError> {
        let base = oid(self.base());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "building the proposed tree", error);
            let base = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            let mut update = TreeUpdateBuilder::new();
            let mut paths = Vec::new();
            let mut attributes = TreeAttributes::of(repository, &base);
            for change in changes {
                let present = entry_at(&base, &change.path)?;
                match change.content {
                    ChangedContent::Absent => {
                        if present.is_none() {
                            continue;
                        }
                        update.remove(change.path.as_str());
                    }
                    ChangedContent::File { mode, bytes } => {
                        let attributes = attributes.of_file(change.path.as_str().as_bytes());
                        let before = present.map(|(id, _)| repository.find_blob(id)).transpose().map_err(local)?;
                        let before = before.as_ref().map(|blob| (blob.id(), blob.content()));
                        let bytes = match before {
                            // What was not changed stays as it is stored, normalised or not.
                            Some((id, stored)) if to_work_tree(stored, id, &attributes) == bytes => {
                                stored.to_vec()
                            }
                            _ => to_repository(&bytes, before.map(|(_, stored)| stored), &attributes),
                        };
                        let is_stored = before.is_some_and(|(_, stored)| stored == bytes);
                        if is_lfs(attributes.filter.as_deref()) && !is_stored && !is_lfs_pointer(&bytes) {
                            return Err(WorkspaceError::RefusedChange {
                                path: change.path.to_string(),
                                why: "Git LFS has its content, and a commit may only hold a pointer there; the \
                                      sandbox has no Git LFS",
                            });
                        }
                        let id = repository.blob(&bytes).map_err(local)?;
                        let mode = match (&present, mode) {
                            (Some((_, mode)), _) if *mode == i32::from(GitMode::BlobExecutable) => {
                                GitMode::BlobExecutable
                            }
                            (Some(_), _) | (None, FileMode::Regular) => GitMode::Blob,
                            (None, FileMode::Executable) => GitMode::BlobExecutable,
                        };
                        if present == Some((id, i32::from(mode))) {
                            continue;
                        }
                        update.upsert(change.path.as_str(), id, mode);
                    }
                }
                paths.push(change.path);
            }
            paths.sort();
            paths.dedup();
            let tree = update.create_updated(repository, &base).map_err(local)?;
            Ok(Proposal { tree: sha(tree), paths })
        })
        .await
    }

    /// Pins a job's newest checkpoint with a reference, in place of its previous one. The references of
    /// older jobs are deleted once there are more than `CHECKPOINTS_KEPT_MAX`.
    pub async fn pin_checkpoint(&self, job: JobId, tree: &Sha) -> Result<(), WorkspaceError> {
        let (reference, tree) = (format!("{CHECKPOINTS}{job}"), oid(tree));
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "saving a checkpoint", error);
            let is_first = repository.find_reference(&reference).is_err();
            repository.reference(&reference, tree, true, "checkpoint").map_err(local)?;
            if is_first {
                // Job ids are sorted by time.
                let by_name =
                    |reference: &git2::Reference<'_>| reference.name().unwrap_or_default().to_owned();
                delete_oldest(repository, CHECKPOINTS, CHECKPOINTS_KEPT_MAX, by_name).map_err(local)?;
            }
            Ok(())
        })
        .await
    }
}

/// The blob at `path` in `tree`. Each parent must be a directory, and the last part a file or absent.
fn entry_at(tree: &Tree<'_>, path: &RepoPath) -> Result<Option<(Oid, i32)>, WorkspaceError> {
    let refused = |why| WorkspaceError::RefusedChange { path: path.to_string(), why };
    let mut prefix = std::path::PathBuf::new();
    let depth = path.parts().count();
    for (index, part) in path.parts().enumerate() {
        prefix.push(part);
        let Ok(entry) = tree.get_path(&prefix) else { return Ok(None) };
        let is_last = index + 1 == depth;
        match (entry.filemode(), is_last) {
            (0o040_000, false) => {}
            (0o040_000, true) => return Err(refused("it is a directory")),
            (0o120_000, _) => return Err(refused("it is, or is below, a symbolic link")),
            (0o160_000, _) => return Err(refused(IN_SUBMODULE)),
            (_, false) => return Err(refused("it is below a file")),
            (mode, true) => return Ok(Some((entry.id(), mode))),
        }
    }
    Ok(None)
}

/// A tar stream that ends with an error if its producer failed.
struct TarStream {
    reader: tokio::io::DuplexStream,
    failure: Option<tokio::sync::oneshot::Receiver<WorkspaceError>>,
}

impl AsyncRead for TarStream {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        use std::task::Poll;
        let before = buffer.filled().len();
        match std::pin::Pin::new(&mut self.reader).poll_read(context, buffer) {
            Poll::Ready(Ok(())) if buffer.filled().len() == before => {
                let Some(mut failure) = self.failure.take() else { return Poll::Ready(Ok(())) };
                match std::pin::Pin::new(&mut failure).poll(context) {
                    Poll::Ready(Ok(error)) => Poll::Ready(Err(io::Error::other(error.to_string()))),
                    Poll::Ready(Err(_)) => Poll::Ready(Ok(())),
                    Poll::Pending => {
                        self.failure = Some(failure);
                        Poll::Pending
                    }
                }
            }
            other => other,
        }
    }
}
