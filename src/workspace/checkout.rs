//! A tree as a checkout has it: a tar stream of its files, converted as `.gitattributes` says, and what a
//! checkout would need from elsewhere and a sandbox does not get.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use git2::Oid;

use super::attributes::TreeAttributes;
use super::bounded_walk::{
    ByteCount, DIRECTORY, EXECUTABLE, SUBMODULE, SYMLINK, WalkStep, WalkedEntry, Walker,
};
use super::conversion::to_work_tree;
use super::fetched_submodule::Submodule;
use super::file_times::ChangedFiles;
use super::mirror::{local_error, oid, open_or_create};
use super::{Workspace, WorkspaceError};

/// Paths of each kind that are named.
const PATHS_NAMED_MAX: usize = 5;
/// How a pointer of Git LFS begins (git-lfs, "docs/spec.md"). It has at most 1,023 bytes.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
/// See [`LFS_POINTER`].
const LFS_POINTER_BYTES_MAX: usize = 1_023;
/// The filter's name of Git LFS.
const LFS_FILTER: &str = "lfs";

/// What is in a base commit by reference only, so that sandboxes do not have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckoutGaps {
    /// Files whose content is in Git LFS.
    pub lfs_files: PathSample,
    /// Submodules, by the reason why their files are not there. It is empty if none is known.
    pub submodules: BTreeMap<String, PathSample>,
    /// Files that a program of another name converts, such as a decryption.
    pub filtered: PathSample,
}

/// The first of some paths, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathSample {
    /// The first, as text.
    pub first: Vec<String>,
    /// All of them.
    pub count: u64,
}

impl PathSample {
    fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.first.len() < PATHS_NAMED_MAX {
            self.first.push(String::from_utf8_lossy(path).into_owned());
        }
    }

    fn describe(&self) -> String {
        let paths: Vec<String> = self.first.iter().map(|path| format!("`{path}`")).collect();
        let more = self.count.saturating_sub(self.first.len() as u64);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{rest}", paths.join(", "))
    }
}

impl CheckoutGaps {
    /// A sentence for each kind and reason. Paths are not escaped.
    pub fn describe(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let mut add = |sample: &PathSample, words: &str| {
            if sample.count > 0 {
                sentences.push(format!("{words}: {}", sample.describe()));
            }
        };
        add(&self.lfs_files, "the sandbox has only the pointers of the files in Git LFS, not their contents");
        for (why, sample) in &self.submodules {
            match why.is_empty() {
                true => add(sample, "the sandbox has only empty directories for the submodules"),
                false => add(
                    sample,
                    &format!("the sandbox has only an empty directory for a submodule, because {why}"),
                ),
            }
        }
        add(
            &self.filtered,
            "the sandbox has files as the repository stores them, because it does not run the programs that \
             `.gitattributes` names in `filter`",
        );
        sentences
    }

    /// Adds what one tree has by reference only. `prefix` is where it is.
    fn add_tree(
        &mut self,
        walker: &Walker<'_>,
        commit: Oid,
        prefix: &[u8],
        workspace: &Workspace,
    ) -> Result<(), WorkspaceError> {
        let Walker { repository, git_dir, .. } = *walker;
        let local = |error| local_error(git_dir, "reading the base", error);
        let tree = repository.find_commit(commit).and_then(|commit| commit.tree()).map_err(local)?;
        let mut attributes = TreeAttributes::of(repository, &tree);
        walker.walk(tree.id(), |path, entry| {
            let full = [prefix, path].concat();
            match entry.filemode() {
                DIRECTORY | SYMLINK => {}
                SUBMODULE => match submodule_at(&workspace.submodules, &full, entry.id()) {
                    Some(submodule) => in_submodule(walker, submodule, |inner| {
                        self.add_tree(inner, submodule.commit, &[&full, &b"/"[..]].concat(), workspace)
                    })?,
                    None => {
                        let text = String::from_utf8_lossy(&full);
                        let known = workspace.missing_submodules.iter().find(|one| one.path == text);
                        let why = known.map(|one| one.why.clone()).unwrap_or_default();
                        self.submodules.entry(why).or_default().add(&full);
                    }
                },
                _ => match attributes.of_file(path).filter.as_deref() {
                    Some(LFS_FILTER) => self.lfs_files.add(&full),
                    Some(_) => self.filtered.add(&full),
                    None => {}
                },
            }
            Ok(WalkStep::Continue)
        })
    }
}

/// The submodule whose files belong at `path`.
fn submodule_at<'s>(submodules: &'s [Submodule], path: &[u8], commit: Oid) -> Option<&'s Submodule> {
    submodules.iter().find(|one| one.commit == commit && one.path.as_str().as_bytes() == path)
}

/// Does `work` in a submodule's mirror.
fn in_submodule(
    outer: &Walker<'_>,
    submodule: &Submodule,
    work: impl FnOnce(&Walker<'_>) -> Result<(), WorkspaceError>,
) -> Result<(), WorkspaceError> {
    let repository = open_or_create(&submodule.git_dir)?;
    work(&Walker { repository: &repository, git_dir: &submodule.git_dir, abandoned: outer.abandoned })
}

/// Whether this is a pointer of Git LFS.
pub(super) fn is_lfs_pointer(content: &[u8]) -> bool {
    content.len() <= LFS_POINTER_BYTES_MAX
        && content.starts_with(LFS_POINTER)
        && content.windows(11).any(|bytes| bytes == b"oid sha256:")
}

/// Whether Git LFS has the content of files with this filter.
pub(super) fn is_lfs(filter: Option<&str>) -> bool {
    filter == Some(LFS_FILTER)
}

impl Workspace {
    /// What the base commit has by reference only.
    ///
    /// # Errors
    /// The base cannot be read.
    pub async fn checkout_gaps(&self) -> Result<CheckoutGaps, WorkspaceError> {
        let (base, workspace) = (oid(self.base()), self.clone());
        self.with_walker(move |walker| {
            let mut gaps = CheckoutGaps::default();
            gaps.add_tree(walker, base, b"", &workspace)?;
            Ok(gaps)
        })
        .await
    }
}

/// Writes a tree as a tar archive: regular files, executables, symbolic links, and the files of `submodules`. Of
/// other submodules there is an empty directory. Without `changed`, no entry has a time.
pub(super) fn write_tree(
    walker: &Walker<'_>,
    tree: Oid,
    submodules: &[Submodule],
    changed: Option<&ChangedFiles>,
    out: &mut tar::Builder<impl Write>,
) -> Result<(), WorkspaceError> {
    TreeWriter { bytes: ByteCount::of(tree), submodules, changed, out }.write(walker, tree, b"")
}

/// Writes trees into one archive.
struct TreeWriter<'w, W: Write> {
    bytes: ByteCount,
    submodules: &'w [Submodule],
    changed: Option<&'w ChangedFiles>,
    out: &'w mut tar::Builder<W>,
}

impl<W: Write> TreeWriter<'_, W> {
    /// Writes one tree below `prefix`.
    fn write(&mut self, walker: &Walker<'_>, tree: Oid, prefix: &[u8]) -> Result<(), WorkspaceError> {
        let Walker { repository, git_dir, .. } = *walker;
        let root =
            repository.find_tree(tree).map_err(|error| local_error(git_dir, "reading a tree", error))?;
        let mut attributes = TreeAttributes::of(repository, &root);
        walker.walk(tree, |path, entry| {
            let entry = WalkedEntry::of(path, entry);
            let full = [prefix, path].concat();
            self.write_entry(walker, &entry, &full, &mut attributes)?;
            if entry.mode == SUBMODULE
                && let Some(submodule) = submodule_at(self.submodules, &full, entry.id)
            {
                in_submodule(walker, submodule, |inner| {
                    let commit = inner.repository.find_commit(submodule.commit);
                    let commit =
                        commit.map_err(|error| local_error(inner.git_dir, "reading a submodule", error))?;
                    self.write(inner, commit.tree_id(), &[&full, &b"/"[..]].concat())
                })?;
            }
            Ok(WalkStep::Continue)
        })
    }

    /// `full` is the entry's path in the archive.
    fn write_entry(
        &mut self,
        walker: &Walker<'_>,
        entry: &WalkedEntry,
        full: &[u8],
        attributes: &mut TreeAttributes<'_>,
    ) -> Result<(), WorkspaceError> {
        let Walker { repository, git_dir, .. } = *walker;
        let local = |error| local_error(git_dir, "reading a file", error);
        let stream = |error| stream_error(git_dir, &error);
        let path = Path::new(OsStr::from_bytes(full));
        let mut header = tar::Header::new_gnu();
        header.set_mtime(match (self.changed, entry.mode) {
            (None, _) => 0,
            (Some(changed), DIRECTORY | SUBMODULE) => changed.time_of_directory(full),
            (Some(changed), _) => changed.time_of_file(full),
        });
        match entry.mode {
            DIRECTORY | SUBMODULE => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                self.out.append_data(&mut header, path.join(""), io::empty()).map_err(stream)
            }
            SYMLINK => {
                let blob = repository.find_blob(entry.id).map_err(local)?;
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                self.out.append_link(&mut header, path, OsStr::from_bytes(blob.content())).map_err(stream)
            }
            mode => {
                let blob = repository.find_blob(entry.id).map_err(local)?;
                self.bytes.add(blob.size() as u64)?;
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(if mode == EXECUTABLE { 0o755 } else { 0o644 });
                let attributes = attributes.of_file(&entry.path);
                // Most files are as they are stored, and not copied.
                if attributes.is_plain() {
                    header.set_size(blob.size() as u64);
                    return self.out.append_data(&mut header, path, blob.content()).map_err(stream);
                }
                let content = to_work_tree(blob.content(), entry.id, &attributes);
                header.set_size(content.len() as u64);
                self.out.append_data(&mut header, path, content.as_slice()).map_err(stream)
            }
        }
    }
}

pub(super) fn stream_error(git_dir: &Path, error: &io::Error) -> WorkspaceError {
    WorkspaceError::Local {
        git_dir: git_dir.display().to_string(),
        action: "streaming a tree",
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_described_with_the_first_paths() {
        let sample =
            |count: u64| PathSample { first: (1..=count.min(5)).map(|n| format!("f{n}")).collect(), count };
        let refused = "it is on another host, `evil.example`".to_owned();
        let submodules = [(String::new(), sample(1)), (refused, sample(6))].into();
        let gaps = CheckoutGaps { lfs_files: sample(7), submodules, filtered: sample(2) };
        insta::assert_snapshot!(gaps.describe().join("\n"), @r"
        the sandbox has only the pointers of the files in Git LFS, not their contents: `f1`, `f2`, `f3`, `f4`, `f5` and 2 more
        the sandbox has only empty directories for the submodules: `f1`
        the sandbox has only an empty directory for a submodule, because it is on another host, `evil.example`: `f1`, `f2`, `f3`, `f4`, `f5` and 1 more
        the sandbox has files as the repository stores them, because it does not run the programs that `.gitattributes` names in `filter`: `f1`, `f2`
        ");
        assert!(CheckoutGaps::default().describe().is_empty());
    }

    #[test]
    fn pointer_of_git_lfs_is_recognised() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:2d6c\nsize 10\n";
        assert!(is_lfs_pointer(pointer.as_bytes()));
        for other in ["", "1,2,3\n", "version https://git-lfs.github.com/spec/v1\nsize 10\n"] {
            assert!(!is_lfs_pointer(other.as_bytes()), "{other}");
        }
    }
}
