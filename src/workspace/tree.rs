//! Trees: exported as a tar stream, changed by checked changes.

use std::io::{self, Write};
use std::path::Path;

use git2::build::TreeUpdateBuilder;
use git2::{Blob, FileMode as GitMode, ObjectType, Oid, Repository, Tree};
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use super::bounded_walk::{ByteCount, WalkStep, Walker};
use super::mirror::{local_error, oid, sha};
use super::references::delete_oldest;
use super::{Workspace, WorkspaceError};
use crate::detect::RootListing;
use crate::domain::{Change, ChangedContent, FileMode, JobId, RepoPath, Sha};

/// The largest file of the base that the host itself reads (configuration, AGENTS.md).
pub const BASE_FILE_BYTES_MAX: usize = 256 * 1024;

/// How much of a tar stream is buffered for the sandbox.
const TAR_BUFFER_BYTES: usize = 256 * 1024;

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

    /// The files of the base commit that toolchain detection reads.
    pub async fn base_listing(&self) -> Result<RootListing, WorkspaceError> {
        let base = oid(self.base());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "reading the base", error);
            let tree = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            RootListing::read(
                |directory| names_in(repository, &tree, directory),
                |path, bytes_max| content_in(repository, &tree, path, bytes_max),
            )
            .map_err(local)
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

    /// Streams a tree as a tar archive: regular files, executables and symbolic links, without submodules.
    /// A failure ends the stream with an error.
    pub fn tar(&self, tree: &Sha) -> impl AsyncRead + Send + Unpin + 'static {
        let (reader, writer) = tokio::io::duplex(TAR_BUFFER_BYTES);
        let (workspace, tree) = (self.clone(), oid(tree));
        let (failed, failure) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let bridge = SyncIoBridge::new(writer);
            let written = workspace
                .with_walker(move |walker| {
                    let mut out = tar::Builder::new(io::BufWriter::with_capacity(64 * 1024, bridge));
                    write_tree(walker, tree, &mut out)?;
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

    /// The regular file at `path` in a tree; `None` if there is none.
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
            Ok(Some((mode, repository.find_blob(entry.id()).map_err(local)?.content().to_vec())))
        })
        .await
    }

    /// The base with `changes` applied. A file that the base has keeps its mode. Every change is checked
    /// again here, because the sandbox is not trusted: nothing may be written through or over a symbolic
    /// link, a submodule or a directory.
    pub async fn propose(&self, changes: Vec<Change>) -> Result<Proposal, WorkspaceError> {
        let base = oid(self.base());
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "building the proposed tree", error);
            let base = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            let mut update = TreeUpdateBuilder::new();
            let mut paths = Vec::new();
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
            (0o160_000, _) => return Err(refused("it is, or is below, a submodule")),
            (_, false) => return Err(refused("it is below a file")),
            (mode, true) => return Ok(Some((entry.id(), mode))),
        }
    }
    Ok(None)
}

fn write_tree(
    walker: &Walker<'_>,
    tree: Oid,
    out: &mut tar::Builder<impl Write>,
) -> Result<(), WorkspaceError> {
    let mut bytes = ByteCount::of(tree);
    walker.walk(tree, |path, entry| {
        write_entry(walker, path, entry, &mut bytes, out).map(|()| WalkStep::Continue)
    })
}

fn write_entry(
    walker: &Walker<'_>,
    path: &[u8],
    entry: &git2::TreeEntry<'_>,
    bytes: &mut ByteCount,
    out: &mut tar::Builder<impl Write>,
) -> Result<(), WorkspaceError> {
    let Walker { repository, git_dir, .. } = *walker;
    let local = |error| local_error(git_dir, "reading a file", error);
    let stream = |error| stream_error(git_dir, &error);
    let path = String::from_utf8_lossy(path);
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    match entry.filemode() {
        0o040_000 => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            out.append_data(&mut header, format!("{path}/"), io::empty()).map_err(stream)
        }
        0o120_000 => {
            let blob = repository.find_blob(entry.id()).map_err(local)?;
            let target = String::from_utf8_lossy(blob.content()).into_owned();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            out.append_link(&mut header, &*path, &target).map_err(stream)
        }
        0o160_000 => Ok(()),
        mode => {
            let blob = repository.find_blob(entry.id()).map_err(local)?;
            bytes.add(blob.size() as u64)?;
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(if mode == 0o100_755 { 0o755 } else { 0o644 });
            header.set_size(blob.size() as u64);
            out.append_data(&mut header, &*path, blob.content()).map_err(stream)
        }
    }
}

fn stream_error(git_dir: &Path, error: &io::Error) -> WorkspaceError {
    WorkspaceError::Local {
        git_dir: git_dir.display().to_string(),
        action: "streaming a tree",
        detail: error.to_string(),
    }
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
