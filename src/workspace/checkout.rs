//! A tree as a checkout has it: a tar stream of its files, converted as `.gitattributes` says, and what a
//! checkout would need from elsewhere and a sandbox does not get.

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
use super::mirror::{local_error, oid};
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
    /// Submodules.
    pub submodules: PathSample,
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
    fn add(&mut self, entry: &WalkedEntry) {
        self.count += 1;
        if self.first.len() < PATHS_NAMED_MAX {
            self.first.push(entry.text().into_owned());
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
    /// A sentence for each kind. Paths are not escaped.
    pub fn describe(&self) -> Vec<String> {
        let sentences = [
            (
                &self.lfs_files,
                "the sandbox has only the pointers of the files in Git LFS, not their contents",
            ),
            (&self.submodules, "the sandbox has only empty directories for the submodules"),
            (
                &self.filtered,
                "the sandbox has files as the repository stores them, because it does not run the programs that \
                 `.gitattributes` names in `filter`",
            ),
        ];
        let of_kind = |(sample, words): &(&PathSample, &str)| {
            (sample.count > 0).then(|| format!("{words}: {}", sample.describe()))
        };
        sentences.iter().filter_map(of_kind).collect()
    }
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
        let base = oid(self.base());
        self.with_walker(move |walker| {
            let Walker { repository, git_dir, .. } = *walker;
            let local = |error| local_error(git_dir, "reading the base", error);
            let tree = repository.find_commit(base).and_then(|commit| commit.tree()).map_err(local)?;
            let mut attributes = TreeAttributes::of(repository, &tree);
            let mut gaps = CheckoutGaps::default();
            walker.walk(tree.id(), |path, entry| {
                let entry = WalkedEntry::of(path, entry);
                match entry.mode {
                    DIRECTORY | SYMLINK => {}
                    SUBMODULE => gaps.submodules.add(&entry),
                    _ => match attributes.of_file(path).filter.as_deref() {
                        Some(LFS_FILTER) => gaps.lfs_files.add(&entry),
                        Some(_) => gaps.filtered.add(&entry),
                        None => {}
                    },
                }
                Ok(WalkStep::Continue)
            })?;
            Ok(gaps)
        })
        .await
    }
}

/// Writes a tree as a tar archive: regular files, executables, symbolic links, and an empty directory for each
/// submodule.
pub(super) fn write_tree(
    walker: &Walker<'_>,
    tree: Oid,
    out: &mut tar::Builder<impl Write>,
) -> Result<(), WorkspaceError> {
    let Walker { repository, git_dir, .. } = *walker;
    let root = repository.find_tree(tree).map_err(|error| local_error(git_dir, "reading a tree", error))?;
    let mut attributes = TreeAttributes::of(repository, &root);
    let mut bytes = ByteCount::of(tree);
    walker.walk(tree, |path, entry| {
        let entry = WalkedEntry::of(path, entry);
        write_entry(walker, &entry, &mut attributes, &mut bytes, out).map(|()| WalkStep::Continue)
    })
}

fn write_entry(
    walker: &Walker<'_>,
    entry: &WalkedEntry,
    attributes: &mut TreeAttributes<'_>,
    bytes: &mut ByteCount,
    out: &mut tar::Builder<impl Write>,
) -> Result<(), WorkspaceError> {
    let Walker { repository, git_dir, .. } = *walker;
    let local = |error| local_error(git_dir, "reading a file", error);
    let stream = |error| stream_error(git_dir, &error);
    let path = Path::new(OsStr::from_bytes(&entry.path));
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    match entry.mode {
        DIRECTORY | SUBMODULE => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            out.append_data(&mut header, path.join(""), io::empty()).map_err(stream)
        }
        SYMLINK => {
            let blob = repository.find_blob(entry.id).map_err(local)?;
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            out.append_link(&mut header, path, OsStr::from_bytes(blob.content())).map_err(stream)
        }
        mode => {
            let blob = repository.find_blob(entry.id).map_err(local)?;
            bytes.add(blob.size() as u64)?;
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(if mode == EXECUTABLE { 0o755 } else { 0o644 });
            let attributes = attributes.of_file(&entry.path);
            // Most files are as they are stored, and not copied.
            if attributes.is_plain() {
                header.set_size(blob.size() as u64);
                return out.append_data(&mut header, path, blob.content()).map_err(stream);
            }
            let content = to_work_tree(blob.content(), entry.id, &attributes);
            header.set_size(content.len() as u64);
            out.append_data(&mut header, path, content.as_slice()).map_err(stream)
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
        let gaps = CheckoutGaps { lfs_files: sample(7), submodules: sample(1), filtered: sample(2) };
        insta::assert_snapshot!(gaps.describe().join("\n"), @r"
        the sandbox has only the pointers of the files in Git LFS, not their contents: `f1`, `f2`, `f3`, `f4`, `f5` and 2 more
        the sandbox has only empty directories for the submodules: `f1`
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
