//! Walking the tree: no symlink followed, `.git` and git-ignored files left out.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use globset::{GlobBuilder, GlobMatcher};
use ignore::{DirEntry, WalkBuilder, WalkState};

use crate::tree::Tree;

/// Most threads of a walk. More would only wait for each other.
const THREADS_MAX: usize = 8;
/// Most files of one walk: the results must fit into memory.
const FILES_MAX: usize = 500_000;

/// The results of `take` for everything below `path` that is no directory, in the order of sorted directories.
/// `take` gets the path relative to the tree's root. What cannot be read or was removed meanwhile is skipped. If
/// there are more than [`FILES_MAX`], some are missing.
pub fn files<T: Send>(
    tree: &Tree,
    path: &str,
    take: impl Fn(&DirEntry) -> Option<T> + Sync,
) -> Result<Vec<(String, T)>, String> {
    let parts = tree.parts_or_root(path)?;
    tree.is_directory(path)?;
    let mut builder = WalkBuilder::new(tree.path().join(parts.join("/")));
    builder
        .hidden(false)
        .parents(true)
        .require_git(false)
        .git_global(false)
        .git_exclude(false)
        .follow_links(false)
        .threads(threads(THREADS_MAX))
        .filter_entry(|entry| entry.file_name() != ".git");
    let (found, wanted) = (Mutex::new(Vec::new()), &take);
    builder.build_parallel().run(|| {
        let found = &found;
        Box::new(move |entry| {
            let Ok(entry) = entry else { return WalkState::Continue };
            if entry.file_type().is_some_and(|kind| !kind.is_dir())
                && let Some(taken) = wanted(&entry)
            {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.push((entry.into_path(), taken));
                if found.len() == FILES_MAX {
                    return WalkState::Quit;
                }
            }
            WalkState::Continue
        })
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_unstable_by(|a: &(PathBuf, T), b| a.0.cmp(&b.0));
    Ok(found.into_iter().map(|(path, taken)| (relative(tree, &path), taken)).collect())
}

/// The number of this machine's threads, at most this many.
pub fn threads(most: usize) -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(most)
}

/// A path below the tree's root, as the host names it.
pub fn relative(tree: &Tree, path: &Path) -> String {
    path.strip_prefix(tree.path()).unwrap_or(path).to_string_lossy().into_owned()
}

/// A glob on relative paths: `*` stays within a part, and a glob without `/` matches at any depth.
pub fn glob(pattern: Option<&str>) -> Result<Option<GlobMatcher>, String> {
    let Some(pattern) = pattern else { return Ok(None) };
    let anchored = pattern.trim_start_matches("./").trim_start_matches('/');
    let deep = if anchored.contains('/') { anchored.to_owned() } else { format!("**/{anchored}") };
    let glob = GlobBuilder::new(&deep).literal_separator(true).build();
    Ok(Some(glob.map_err(|e| format!("the glob '{pattern}' is not valid: {e}"))?.compile_matcher()))
}
