//! Fills a bare repository: from files in memory, a directory, or another repository.

use std::collections::BTreeMap;
use std::path::Path;

use git2::{FileMode, Oid, Repository, Signature, Time};

use super::error::GitError;
use super::repository::BareRepository;

/// Limits of a plain directory, so that a mistyped `--repo /` ends with a reason.
const FILES_MAX: usize = 200_000;
const FILE_BYTES_MAX: u64 = 100 << 20;
/// How deep directories may nest.
const DEPTH_MAX: usize = 64;

type Files = BTreeMap<String, (FileMode, Vec<u8>)>;

impl BareRepository {
    /// Makes one commit on `branch` with these files, by a maintainer, at `at_seconds` since 1970.
    /// Files that begin with `#!` become executable. Returns the commit.
    pub fn commit_files(
        &self,
        branch: &str,
        files: &[(String, Vec<u8>)],
        message: &str,
        at_seconds: i64,
    ) -> Result<String, GitError> {
        let files = files.iter().map(|(path, bytes)| {
            let mode = if bytes.starts_with(b"#!") { FileMode::BlobExecutable } else { FileMode::Blob };
            (path.clone(), (mode, bytes.clone()))
        });
        self.write_commit(branch, &files.collect(), message, at_seconds)
    }

    /// Imports a repository with all its branches and tags, or a plain directory as one commit on
    /// `main`. Returns the default branch.
    pub fn import(&self, source: &Path, at_seconds: i64) -> Result<String, GitError> {
        match Repository::open(source) {
            Ok(git) => self.import_repository(&git),
            Err(_) => {
                let mut files = Files::new();
                read_directory(source, "", 0, &mut files)?;
                self.write_commit("main", &files, "Import", at_seconds)?;
                Ok("main".to_owned())
            }
        }
    }

    fn import_repository(&self, source: &Repository) -> Result<String, GitError> {
        let head = source.head()?;
        let tip = head.peel_to_commit()?.id();
        let branch = match head.is_branch() {
            true => head.shorthand()?.to_owned(),
            false => "main".to_owned(),
        };
        let git = self.open()?;
        let address = source.path().to_string_lossy().into_owned();
        let mut remote = git.remote_anonymous(address.as_str())?;
        remote.fetch(&["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"], None, None)?;
        if !head.is_branch() {
            remote.fetch(&["+HEAD:refs/heads/main"], None, None)?;
        }
        git.reference(&format!("refs/heads/{branch}"), tip, true, "import")?;
        git.set_head(&format!("refs/heads/{branch}"))?;
        Ok(branch)
    }

    fn write_commit(
        &self,
        branch: &str,
        files: &Files,
        message: &str,
        at_seconds: i64,
    ) -> Result<String, GitError> {
        let git = self.open()?;
        let mut entries = Vec::new();
        for (path, (mode, bytes)) in files {
            entries.push((path.as_str(), *mode, git.blob(bytes)?));
        }
        let tree = git.find_tree(write_tree(&git, &entries)?)?;
        let email = "octo-maintainer@users.noreply.github.com";
        let author = Signature::new("octo-maintainer", email, &Time::new(at_seconds, 0))?;
        let name = format!("refs/heads/{branch}");
        let parent = git.find_reference(&name).ok().and_then(|found| found.peel_to_commit().ok());
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        Ok(git.commit(Some(&name), &author, &author, message, &tree, &parents)?.to_string())
    }
}

/// Writes a tree from sorted paths.
fn write_tree(git: &Repository, entries: &[(&str, FileMode, Oid)]) -> Result<Oid, git2::Error> {
    let mut builder = git.treebuilder(None)?;
    let mut at = 0;
    while at < entries.len() {
        let (path, mode, oid) = entries[at];
        let Some((directory, _)) = path.split_once('/') else {
            builder.insert(path, oid, mode.into())?;
            at += 1;
            continue;
        };
        let prefix = format!("{directory}/");
        let count = entries[at..].iter().take_while(|entry| entry.0.starts_with(&prefix)).count();
        let below: Vec<_> = entries[at..at + count]
            .iter()
            .map(|(path, mode, oid)| (&path[prefix.len()..], *mode, *oid))
            .collect();
        builder.insert(directory, write_tree(git, &below)?, FileMode::Tree.into())?;
        at += count;
    }
    builder.write()
}

fn read_directory(directory: &Path, prefix: &str, depth: usize, files: &mut Files) -> Result<(), GitError> {
    let failed = |path: &Path, source| GitError::File { path: path.display().to_string(), source };
    let too_large = |what: &str| std::io::Error::other(what.to_owned());
    if depth > DEPTH_MAX {
        return Err(failed(directory, too_large("directories nest too deep to import")));
    }
    for entry in std::fs::read_dir(directory).map_err(|error| failed(directory, error))? {
        let entry = entry.map_err(|error| failed(directory, error))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let metadata = path.symlink_metadata().map_err(|error| failed(&path, error))?;
        let below = format!("{prefix}{name}");
        if name == ".git" {
            continue;
        }
        if files.len() >= FILES_MAX || (metadata.is_file() && metadata.len() > FILE_BYTES_MAX) {
            return Err(failed(&path, too_large("too many files, or a file too large, to import")));
        }
        if metadata.is_dir() {
            read_directory(&path, &format!("{below}/"), depth + 1, files)?;
        } else if metadata.is_symlink() {
            let target = std::fs::read_link(&path).map_err(|error| failed(&path, error))?;
            files.insert(below, (FileMode::Link, target.to_string_lossy().into_owned().into_bytes()));
        } else if metadata.is_file() {
            let bytes = std::fs::read(&path).map_err(|error| failed(&path, error))?;
            let mode = match is_executable(&metadata) {
                true => FileMode::BlobExecutable,
                false => FileMode::Blob,
            };
            files.insert(below, (mode, bytes));
        }
    }
    Ok(())
}

fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}
