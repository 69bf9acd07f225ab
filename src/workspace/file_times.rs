//! The times of files in a sandbox. Build tools decide by them what has to be compiled again, so a tree that is
//! unpacked beside what was built at the base gives each file of the base the same old time in every sandbox, and each
//! file that differs from the base the time of the unpacking.
//!
//! Whether that is enough depends on the difference, which `setup` looks at.

use std::collections::HashSet;

/// The time of an unchanged file, in seconds since 1970: in 2001, before everything that a sandbox can make, and after
/// what formats such as zip can express.
pub(super) const UNCHANGED: u64 = 1_000_000_000;

/// Which files of a tree get the time of the unpacking. All others, and their directories, get `UNCHANGED`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangedFiles {
    files: HashSet<Vec<u8>>,
    directories: HashSet<Vec<u8>>,
}

impl ChangedFiles {
    /// The files at `paths`, and the directories that they lie in.
    pub fn at<'p>(paths: impl IntoIterator<Item = &'p str>) -> Self {
        let mut changed = Self::default();
        for path in paths {
            changed.files.insert(path.into());
            if let Some((directory, _)) = path.rsplit_once('/') {
                changed.directories.insert(directory.into());
            }
        }
        changed
    }

    /// The time of a file, in seconds; 0: that of the unpacking.
    pub(super) fn time_of_file(&self, path: &[u8]) -> u64 {
        if self.files.contains(path) { 0 } else { UNCHANGED }
    }

    /// The time of a directory.
    pub(super) fn time_of_directory(&self, path: &[u8]) -> u64 {
        if self.directories.contains(path) { 0 } else { UNCHANGED }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_file_and_its_directory_get_the_time_of_the_unpacking() {
        let changed = ChangedFiles::at(["src/deep/a.rs", "top.rs"]);
        for (path, file, directory) in [
            ("src/deep/a.rs", 0, UNCHANGED),
            ("src/deep", UNCHANGED, 0),
            ("src", UNCHANGED, UNCHANGED),
            ("top.rs", 0, UNCHANGED),
            ("src/b.rs", UNCHANGED, UNCHANGED),
        ] {
            assert_eq!(changed.time_of_file(path.as_bytes()), file, "{path}");
            assert_eq!(changed.time_of_directory(path.as_bytes()), directory, "{path}");
        }
    }
}
