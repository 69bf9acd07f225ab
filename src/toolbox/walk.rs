//! Walking the tree: no symlink followed, `.git` and git-ignored files left out.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use ignore::{Walk, WalkBuilder};

use crate::tree::Tree;

/// A walk over what is below `path`, in path order within each directory.
pub fn walk(tree: &Tree, path: &str) -> Result<Walk, String> {
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
        .sort_by_file_name(Ord::cmp)
        .filter_entry(|entry| entry.file_name() != ".git");
    Ok(builder.build())
}

/// The path of something walked over, relative to the tree's root.
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
