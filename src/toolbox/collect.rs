//! Reads the current bytes and modes of files, from which the host makes a commit.

use std::io::Read;

use crate::tree::{Tree, TreeError};
use mendwright_protocol::{
    COLLECT_FILE_BYTES_MAX, COLLECT_PATHS_MAX, COLLECT_TOTAL_BYTES_MAX, Collect, CollectResult,
    CollectedFileState,
};

/// The states of the files, and their concatenated bytes.
pub fn collect(tree: &Tree, request: &Collect) -> Result<(CollectResult, Vec<u8>), String> {
    if request.paths.len() > COLLECT_PATHS_MAX {
        return Err(format!("{} paths, over the {COLLECT_PATHS_MAX} allowed", request.paths.len()));
    }
    let (mut files, mut content) = (Vec::new(), Vec::new());
    for path in &request.paths {
        let open = match tree.open_file(path) {
            Ok(open) => open,
            Err(TreeError::Missing(_) | TreeError::NotDirectory(_) | TreeError::Directory(_)) => {
                files.push(CollectedFileState::Absent);
                continue;
            }
            Err(
                error @ (TreeError::Symlink(_)
                | TreeError::Exists(_)
                | TreeError::Special(_)
                | TreeError::Path(..)
                | TreeError::Io(..)),
            ) => {
                return Err(error.into());
            }
        };
        let before = content.len();
        open.file
            .take(COLLECT_FILE_BYTES_MAX + 1)
            .read_to_end(&mut content)
            .map_err(|e| format!("'{path}': {e}"))?;
        let bytes = (content.len() - before) as u64;
        if bytes > COLLECT_FILE_BYTES_MAX {
            return Err(format!(
                "'{path}' is larger than the {COLLECT_FILE_BYTES_MAX} bytes allowed for a file"
            ));
        }
        if content.len() as u64 > COLLECT_TOTAL_BYTES_MAX {
            return Err(format!(
                "the files up to '{path}' are larger than the {COLLECT_TOTAL_BYTES_MAX} bytes allowed in all"
            ));
        }
        files.push(CollectedFileState::File { executable: open.mode & 0o100 != 0, bytes });
    }
    Ok((CollectResult { files }, content))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_are_collected_absent_ones_reported_and_symlinks_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::write(root.join("file"), "text").unwrap();
        fs::create_dir(root.join("dir")).unwrap();
        symlink("file", root.join("link")).unwrap();
        symlink("dir", root.join("linked")).unwrap();
        let tree = Tree::open(root).unwrap();
        let get = |paths: &[&str]| {
            collect(&tree, &Collect { paths: paths.iter().map(|p| (*p).to_owned()).collect() })
        };
        let (collected, content) = get(&["gone", "file", "dir", "file/x", "gone/x"]).unwrap();
        let file = CollectedFileState::File { executable: false, bytes: 4 };
        let absent = CollectedFileState::Absent;
        assert_eq!(collected.files, [absent, file, absent, absent, absent]);
        assert_eq!(content, b"text");
        for hostile in ["link", "linked/x", "../x", "/etc/passwd"] {
            assert!(get(&[hostile]).is_err(), "{hostile} was collected");
        }
    }

    #[test]
    fn sizes_are_bounded_for_a_file_and_in_all() {
        let directory = tempfile::tempdir().unwrap();
        let big = fs::File::create(directory.path().join("big")).unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        let get = |times| collect(&tree, &Collect { paths: vec!["big".to_owned(); times] });
        big.set_len(COLLECT_FILE_BYTES_MAX).unwrap();
        assert_eq!(get(4).unwrap().1.len() as u64, COLLECT_TOTAL_BYTES_MAX);
        assert!(get(5).unwrap_err().contains("allowed in all"));
        big.set_len(COLLECT_FILE_BYTES_MAX + 1).unwrap();
        assert!(get(1).unwrap_err().contains("allowed for a file"));
    }
}
