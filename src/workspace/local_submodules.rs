//! Where the submodules of a repository on this machine are: what `git submodule update` fetched for it
//! (`.git/modules`), or a repository in or next to its work tree that the URL names. Nothing is fetched.

use std::path::{Path, PathBuf};

use git2::Repository;
use secrecy::SecretString;
use url::Url;

use super::LocalRepository;
use super::mirror::oid;
use crate::domain::{RepoPath, Sha};
use crate::github::{GitAccess, SubmoduleAccess, SubmoduleRequest};

/// Why a submodule is not there.
const NOT_CLONED: &str =
    "this clone does not have it; run `git submodule update --init --recursive` in the repository";

impl LocalRepository {
    /// Where a submodule of this repository, or of one of its submodules, is on this machine. Blocks.
    pub fn submodule_access(&self, submodule: SubmoduleRequest<'_>) -> SubmoduleAccess {
        let refused = || SubmoduleAccess::Refused(NOT_CLONED.to_owned());
        let Ok(parent) = submodule.parent.to_file_path() else { return refused() };
        let is_outermost = parent == self.git_dir;
        let parent = if is_outermost { self.submodules_of.clone() } else { parent };
        let cloned = cloned_module(&parent, submodule.name);
        let beside = is_outermost.then(|| repository_beside(&parent, submodule.url)).flatten();
        let places = [cloned.map(|at| (at, "this clone")), beside.map(|at| (at, "this machine"))];
        let found = places.into_iter().flatten().find(|(at, _)| has_commit(at, submodule.commit));
        let Some((at, source)) = found else { return refused() };
        let Ok(url) = Url::from_file_path(&at) else { return refused() };
        let access = GitAccess { url, username: String::new(), token: SecretString::from(String::new()) };
        SubmoduleAccess::Granted { access, source: source.to_owned() }
    }
}

fn has_commit(git_dir: &Path, commit: &Sha) -> bool {
    Repository::open(git_dir).is_ok_and(|repository| repository.find_commit(oid(commit)).is_ok())
}

/// The git directory that git itself made for the submodule. The name is a stranger's text (CVE-2018-11235): it
/// must not lead out of `modules`, also not by a symbolic link.
fn cloned_module(git_dir: &Path, name: &str) -> Option<PathBuf> {
    let name: RepoPath = name.parse().ok()?;
    let common = Repository::open(git_dir).ok()?.commondir().to_owned();
    let modules = common.join("modules").canonicalize().ok()?;
    let found = modules.join(name.as_str()).canonicalize().ok()?;
    found.starts_with(&modules).then_some(found)
}

/// The repository that a URL names by a path in the work tree, or next to it.
fn repository_beside(git_dir: &Path, url: &str) -> Option<PathBuf> {
    let path = match url.strip_prefix("file://") {
        Some(path) => Path::new(path),
        None if url.starts_with(['/', '.']) => Path::new(url),
        None => return None,
    };
    let repository = Repository::open(git_dir).ok()?;
    let own = repository.workdir().unwrap_or(repository.path()).canonicalize().ok()?;
    let found = own.join(path).canonicalize().ok()?;
    let is_near = found.starts_with(&own) || found.parent() == own.parent();
    let found = Repository::open(&found).ok().filter(|_| is_near)?;
    (found.path() != repository.path()).then(|| found.path().to_owned())
}
