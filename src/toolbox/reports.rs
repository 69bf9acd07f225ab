//! Reads the report files that a command left: one with a given name in `/tmp`, or some of the workspace, all
//! written since a given time. Symlinks are not followed, sizes are limited, and the host trusts none of them.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ignore::WalkBuilder;

use crate::tree::Tree;
use crate::walk::{glob, relative};
use mendwright_protocol::{
    REPORT_FILE_BYTES_MAX, REPORT_FILES_MAX, REPORTS_BYTES_MAX, ReportFiles, ReportLocation, Reports,
};

/// The directory of temporary files in every sandbox.
const TMP: &str = "/tmp";
/// Files and directories of the workspace that are examined.
const ENTRIES_MAX: usize = 300_000;

/// The files, and their concatenated bytes. What is too large or no regular file is counted as left out.
pub fn reports(workspace: &Tree, request: &Reports) -> Result<(ReportFiles, Vec<u8>), String> {
    let mut found = FoundReports { since_ns: request.since_ns, ..FoundReports::default() };
    match &request.place {
        ReportLocation::Tmp { name } => {
            let tmp = Tree::open(Path::new(TMP)).map_err(|e| format!("{TMP}: {e}"))?;
            found.take(&tmp, name);
        }
        ReportLocation::Workspace { globs } => {
            let globs: Result<Vec<_>, _> = globs.iter().map(|pattern| glob(Some(pattern))).collect();
            let globs: Vec<_> = globs?.into_iter().flatten().collect();
            // Git usually ignores what a build writes.
            let walk = WalkBuilder::new(workspace.path())
                .standard_filters(false)
                .follow_links(false)
                .sort_by_file_name(Ord::cmp)
                .filter_entry(|entry| entry.file_name() != ".git" && entry.file_name() != "node_modules")
                .build();
            for entry in walk.take(ENTRIES_MAX).flatten() {
                let path = relative(workspace, entry.path());
                if entry.file_type().is_some_and(|kind| kind.is_file())
                    && globs.iter().any(|glob| glob.is_match(&path))
                {
                    found.take(workspace, &path);
                }
            }
        }
    }
    Ok((ReportFiles { files: found.files, left_out: found.left_out }, found.content))
}

#[derive(Default)]
struct FoundReports {
    since_ns: u64,
    files: Vec<u64>,
    content: Vec<u8>,
    left_out: u64,
}

impl FoundReports {
    fn take(&mut self, tree: &Tree, path: &str) {
        let Ok(open) = tree.open_file(path) else { return };
        let Ok(metadata) = open.file.metadata() else { return };
        let changed_ns =
            (metadata.mtime() as u64).saturating_mul(1_000_000_000) + metadata.mtime_nsec() as u64;
        if changed_ns < self.since_ns {
            return;
        }
        let before = self.content.len();
        let read = open.file.take(REPORT_FILE_BYTES_MAX + 1).read_to_end(&mut self.content);
        let bytes = (self.content.len() - before) as u64;
        let fits = bytes <= REPORT_FILE_BYTES_MAX && self.content.len() as u64 <= REPORTS_BYTES_MAX;
        if read.is_err() || !fits || self.files.len() >= REPORT_FILES_MAX {
            self.content.truncate(before);
            self.left_out += 1;
            return;
        }
        self.files.push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn request(globs: &[&str], since_ns: u64) -> Reports {
        let globs = globs.iter().map(|glob| (*glob).to_owned()).collect();
        Reports { place: ReportLocation::Workspace { globs }, since_ns }
    }

    #[test]
    fn reports_of_this_run_are_found_and_nothing_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for path in
            ["a/target/surefire-reports", "b/target/surefire-reports", "node_modules/target/surefire-reports"]
        {
            fs::create_dir_all(root.join(path)).unwrap();
            fs::write(root.join(path).join("TEST-x.xml"), path).unwrap();
        }
        fs::write(root.join(".gitignore"), "target/\n").unwrap();
        fs::write(root.join("secret"), "s").unwrap();
        symlink("../../../secret", root.join("a/target/surefire-reports/TEST-link.xml")).unwrap();
        let old =
            fs::File::options().write(true).open(root.join("b/target/surefire-reports/TEST-x.xml")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(5)).unwrap();
        let tree = Tree::open(root).unwrap();
        let globs = ["**/target/surefire-reports/TEST-*.xml"];
        let (files, content) = reports(&tree, &request(&globs, 6_000_000_000)).unwrap();
        assert_eq!((files.files.len(), content.as_slice()), (1, b"a/target/surefire-reports".as_slice()));
        let (files, _) = reports(&tree, &request(&globs, 0)).unwrap();
        assert_eq!(files.files.len(), 2);
        let large = root.join("a/target/surefire-reports/TEST-x.xml");
        fs::File::create(large).unwrap().set_len(REPORT_FILE_BYTES_MAX + 1).unwrap();
        let (files, content) = reports(&tree, &request(&globs, 6_000_000_000)).unwrap();
        assert_eq!((files.files.len(), files.left_out, content.len()), (0, 1, 0));
    }

    #[test]
    fn what_lies_elsewhere_is_not_to_be_had_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        for name in ["../etc/passwd", "/etc/passwd", "not-there.xml"] {
            let request = Reports { place: ReportLocation::Tmp { name: name.to_owned() }, since_ns: 0 };
            assert_eq!(reports(&tree, &request).unwrap().0.files, [0; 0], "{name}");
        }
    }
}
