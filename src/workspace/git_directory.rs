//! A `.git` directory for a sandbox: the base commit under its own id, its branch, the tags that
//! `git describe` finds, and the commits between. Build tools ask git for versions, and test tools for what has
//! changed (setuptools-scm, hatch-vcs, vergen, `go build -buildvcs`, `jest --changedSince`).
//!
//! The host writes it and never reads one back. It contains no credential, no hook and nothing of another
//! branch. Trees and files of earlier commits are left out.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use git2::{Indexer, Oid, Sort};
use sha2::{Digest, Sha256};

use super::bounded_walk::{DIRECTORY, SUBMODULE, WalkStep, WalkedEntry, Walker};
use super::checkout::stream_error;
use super::file_times::UNCHANGED;
use super::mirror::{ORIGIN_KEY, TAGS_MAX, local_error, oid};
use super::{Workspace, WorkspaceError};

/// Commits that are included: the base and the newest of those before it.
const COMMITS_MAX: usize = 10_000;
/// Bytes of their messages and headers.
const COMMITS_BYTES_MAX: usize = 16 << 20;
/// If the base's files are larger together, they are left out: `git describe` and `git status` work
/// without them, `git diff` does not.
const FILES_BYTES_MAX: u64 = 64 << 20;

/// What a `.git` directory is made of.
struct GitDirectory<'w, 'r> {
    walker: &'w Walker<'r>,
    base: Oid,
    branch: &'w str,
    commits: Vec<Oid>,
    /// Included commits with a parent that is not included.
    boundary: Vec<Oid>,
    /// Names below `refs/tags`, their objects, and what annotated tags point to.
    tags: Vec<(String, Oid, Option<Oid>)>,
}

impl Workspace {
    /// The `.git` directory of a work tree at the base commit, as a tar stream.
    ///
    /// # Errors
    /// The base cannot be read, or this machine's disk is full.
    pub async fn git_directory(&self) -> Result<Vec<u8>, WorkspaceError> {
        let (base, branch) = (oid(self.base()), self.base_branch().to_owned());
        self.with_walker(move |walker| {
            let mut directory = GitDirectory {
                walker,
                base,
                branch: &branch,
                commits: Vec::new(),
                boundary: Vec::new(),
                tags: Vec::new(),
            };
            let local = |error| local_error(walker.git_dir, "reading the base's history", error);
            directory.find_commits().map_err(local)?;
            directory.find_tags().map_err(local)?;
            directory.to_tar()
        })
        .await
    }
}

impl Workspace {
    /// What a `.git` directory of the base depends on besides its tree: the commit, and the names of all tags.
    ///
    /// # Errors
    /// The mirror cannot be read.
    pub async fn git_identity(&self) -> Result<String, WorkspaceError> {
        let base = self.base().to_string();
        self.with_repository(move |repository, git_dir| {
            let local = |error| local_error(git_dir, "reading the tags", error);
            let mut tags: Vec<String> = Vec::new();
            for reference in repository.references_glob("refs/tags/*").map_err(local)?.take(TAGS_MAX) {
                let Ok(reference) = reference else { continue };
                if let (Ok(name), Some(target)) = (reference.name(), reference.target()) {
                    tags.push(format!("{name} {target}\n"));
                }
            }
            tags.sort();
            let digest = Sha256::digest(tags.concat());
            Ok(format!("{base} {}", hex::encode(digest)))
        })
        .await
    }
}

impl GitDirectory<'_, '_> {
    fn find_commits(&mut self) -> Result<(), git2::Error> {
        let repository = self.walker.repository;
        let mut walk = repository.revwalk()?;
        walk.set_sorting(Sort::TIME)?;
        walk.push(self.base)?;
        // A mirror of a shallow repository ends somewhere: what is missing there is no error.
        let (database, mut bytes) = (repository.odb()?, 0);
        for id in walk.map_while(Result::ok).take(COMMITS_MAX) {
            bytes += database.read_header(id)?.0;
            if bytes > COMMITS_BYTES_MAX {
                break;
            }
            self.commits.push(id);
        }
        if self.commits.is_empty() {
            self.commits.push(self.base);
        }
        let included: HashSet<Oid> = self.commits.iter().copied().collect();
        for id in &self.commits {
            let commit = repository.find_commit(*id)?;
            if commit.parent_ids().any(|parent| !included.contains(&parent)) {
                self.boundary.push(*id);
            }
        }
        Ok(())
    }

    fn find_tags(&mut self) -> Result<(), git2::Error> {
        let included: HashSet<Oid> = self.commits.iter().copied().collect();
        let repository = self.walker.repository;
        for reference in repository.references_glob("refs/tags/*")?.take(TAGS_MAX) {
            let Ok(reference) = reference else { continue };
            let (Ok(name), Some(target)) = (reference.name(), reference.target()) else { continue };
            let Ok(commit) = reference.peel_to_commit() else { continue };
            // A tag of a tag is rare, and would need all objects between.
            let is_direct = target == commit.id()
                || repository.find_tag(target).is_ok_and(|tag| tag.target_id() == commit.id());
            if is_direct && included.contains(&commit.id()) && is_plain(name) {
                let peeled = (target != commit.id()).then(|| commit.id());
                self.tags.push((name.to_owned(), target, peeled));
            }
        }
        Ok(())
    }

    fn to_tar(&self) -> Result<Vec<u8>, WorkspaceError> {
        let io_error = |error: io::Error| stream_error(self.walker.git_dir, &error);
        let directory = tempfile::tempdir().map_err(io_error)?;
        let objects = directory.path().join("pack");
        std::fs::create_dir(&objects).map_err(io_error)?;
        let local = |error| local_error(self.walker.git_dir, "packing the base", error);
        self.write_pack(&objects)?;
        let index = directory.path().join("index");
        self.write_index(&index).map_err(local)?;

        let mut out = tar::Builder::new(Vec::new());
        for name in [".git/", ".git/objects/", ".git/objects/info/", ".git/objects/pack/", ".git/refs/"] {
            append_directory(&mut out, name).map_err(io_error)?;
        }
        for name in [".git/refs/heads/", ".git/refs/tags/"] {
            append_directory(&mut out, name).map_err(io_error)?;
        }
        let texts = [
            ("HEAD", self.head()),
            ("config", self.configuration()),
            ("packed-refs", self.packed_references()),
            ("shallow", self.boundary.iter().map(|id| format!("{id}\n")).collect()),
        ];
        for (name, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
            append_file(&mut out, name, text.as_bytes()).map_err(io_error)?;
        }
        append_file(&mut out, "index", &std::fs::read(&index).map_err(io_error)?).map_err(io_error)?;
        for entry in std::fs::read_dir(&objects).map_err(io_error)? {
            let path = entry.map_err(io_error)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let content = std::fs::read(&path).map_err(io_error)?;
            append_file(&mut out, &format!("objects/pack/{name}"), &content).map_err(io_error)?;
        }
        out.into_inner().map_err(io_error)
    }

    fn write_pack(&self, directory: &Path) -> Result<(), WorkspaceError> {
        let Walker { repository, git_dir, .. } = *self.walker;
        let local = |error| local_error(git_dir, "packing the base", error);
        let mut builder = repository.packbuilder().map_err(local)?;
        for commit in &self.commits {
            builder.insert_object(*commit, None).map_err(local)?;
        }
        for (_, tag, peeled) in &self.tags {
            if peeled.is_some() {
                builder.insert_object(*tag, None).map_err(local)?;
            }
        }
        let tree = repository.find_commit(self.base).map_err(local)?.tree_id();
        builder.insert_object(tree, None).map_err(local)?;
        let (mut files, mut bytes) = (Vec::new(), 0_u64);
        let database = repository.odb().map_err(local)?;
        self.walker.walk(tree, |path, entry| {
            let entry = WalkedEntry::of(path, entry);
            match entry.mode {
                SUBMODULE => {}
                DIRECTORY => builder.insert_object(entry.id, None).map_err(local)?,
                _ => {
                    let (size, _) = database.read_header(entry.id).map_err(local)?;
                    bytes = bytes.saturating_add(size as u64);
                    files.push(entry.id);
                }
            }
            Ok(WalkStep::Continue)
        })?;
        if bytes <= FILES_BYTES_MAX {
            for file in files {
                builder.insert_object(file, None).map_err(local)?;
            }
        }
        let mut indexer = Indexer::new(None, directory, 0o444, false).map_err(local)?;
        let mut written = Ok(());
        builder
            .foreach(|chunk| {
                written = io::Write::write_all(&mut indexer, chunk);
                written.is_ok()
            })
            .map_err(local)?;
        written.map_err(|error| stream_error(git_dir, &error))?;
        indexer.commit().map_err(local)?;
        Ok(())
    }

    fn write_index(&self, path: &Path) -> Result<(), git2::Error> {
        let tree = self.walker.repository.find_commit(self.base)?.tree()?;
        let mut index = git2::Index::open(path)?;
        index.read_tree(&tree)?;
        index.write()
    }

    fn configuration(&self) -> String {
        let mut text = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\
                        [gc]\n\tauto = 0\n\
                        [user]\n\tname = Mendwright\n\temail = mendwright@localhost\n"
            .to_owned();
        let configured = self.walker.repository.config().and_then(|config| config.get_string(ORIGIN_KEY));
        if let Ok(url) = configured {
            let quoted = url.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = write!(
                text,
                "[remote \"origin\"]\n\turl = \"{quoted}\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
            );
        }
        text
    }

    /// The branch. `None` if a job was given another revision: then the base is checked out without one.
    fn branch(&self) -> Option<&str> {
        let is_revision = self.branch == "HEAD"
            || !git2::Reference::is_valid_name(&format!("refs/heads/{}", self.branch))
            || self.branch.len() >= 7 && self.base.to_string().starts_with(self.branch)
            || self.walker.repository.find_reference(&format!("refs/tags/{}", self.branch)).is_ok();
        (!is_revision).then_some(self.branch)
    }

    fn head(&self) -> String {
        match self.branch() {
            Some(branch) => format!("ref: refs/heads/{branch}\n"),
            None => format!("{}\n", self.base),
        }
    }

    fn packed_references(&self) -> String {
        let of_branch = |prefix: &str| {
            let name = format!("{prefix}{}", self.branch()?);
            Some((name.clone(), format!("{} {name}\n", self.base)))
        };
        let mut lines: Vec<(String, String)> =
            ["refs/heads/", "refs/remotes/origin/"].into_iter().filter_map(of_branch).collect();
        lines.extend(self.tags.iter().map(|(name, target, peeled)| {
            let peeled = peeled.map(|commit| format!("^{commit}\n")).unwrap_or_default();
            (name.clone(), format!("{target} {name}\n{peeled}"))
        }));
        lines.sort();
        let header = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
        lines.into_iter().fold(header, |text, (_, line)| text + &line)
    }
}

/// Whether a name can be written on a line of its own.
fn is_plain(name: &str) -> bool {
    !name.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn append_directory(out: &mut tar::Builder<Vec<u8>>, path: &str) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_mtime(UNCHANGED);
    header.set_size(0);
    out.append_data(&mut header, path, io::empty())
}

/// `path` is below `.git`.
fn append_file(out: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    // A build script that asks git is run again if these files are newer than what it made.
    header.set_mtime(UNCHANGED);
    header.set_size(content.len() as u64);
    out.append_data(&mut header, format!(".git/{path}"), content)
}
