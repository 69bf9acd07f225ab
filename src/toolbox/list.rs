//! Listing files.

use ignore::DirEntry;

use crate::tree::Tree;
use crate::walk::{files, glob};
use mendwright_protocol::{FileEntry, FileListing, ListFiles};

/// Most entries of one listing, whatever is requested.
const ENTRIES_MAX: usize = 10_000;

/// Lists files below a directory.
pub fn list(tree: &Tree, request: &ListFiles) -> Result<FileListing, String> {
    let glob = glob(request.glob.as_deref())?;
    let size = |entry: &DirEntry| {
        let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
        Some((bytes, entry.path_is_symlink()))
    };
    let mut entries: Vec<FileEntry> = files(tree, &request.path, size)?
        .into_iter()
        .filter(|(path, _)| glob.as_ref().is_none_or(|glob| glob.is_match(path)))
        .map(|(path, (bytes, symlink))| FileEntry { path, bytes, symlink })
        .collect();
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let kept = entries.len().min(request.entries_max as usize).min(ENTRIES_MAX);
    let omitted = (entries.len() - kept) as u64;
    entries.truncate(kept);
    Ok(FileListing { entries, omitted })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn ignored_files_git_and_what_symlinks_point_to_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for path in ["src/lib.rs", "src/a/b.rs", "target/x.rs", ".git/config", ".github/ci.yml", "z.txt"] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "12345").unwrap();
        }
        fs::write(root.join(".gitignore"), "/target\n").unwrap();
        symlink("..", root.join("src/up")).unwrap();
        let tree = Tree::open(root).unwrap();
        let paths = |path: &str, glob: Option<&str>, entries_max| {
            let request = ListFiles { path: path.to_owned(), glob: glob.map(str::to_owned), entries_max };
            let listing = list(&tree, &request).unwrap();
            (listing.entries.into_iter().map(|e| e.path).collect::<Vec<_>>(), listing.omitted)
        };
        let all = [".github/ci.yml", ".gitignore", "src/a/b.rs", "src/lib.rs", "src/up", "z.txt"];
        assert_eq!(paths("", None, 100), (all.map(str::to_owned).to_vec(), 0));
        assert_eq!(paths("", None, 2), (all[..2].iter().map(|p| (*p).to_owned()).collect(), 4));
        assert_eq!(paths("", Some("*.rs"), 9).0, ["src/a/b.rs", "src/lib.rs"]);
        assert_eq!(paths("src", Some("src/*.rs"), 9).0, ["src/lib.rs"]);
        assert!(list(&tree, &ListFiles { path: "src/up".to_owned(), glob: None, entries_max: 1 }).is_err());
    }
}
