//! The host's own system: a digest that stays the same until something that a sandbox sees is installed,
//! removed or upgraded. Reads a few files; runs nothing.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Files that name the distribution, its release and its packages.
const RECORDS: [&str; 7] = [
    "/etc/os-release",
    "/var/lib/dpkg/status",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages",
    "/lib/apk/db/installed",
    "/etc/ld.so.cache",
];
/// Directories that change if something is installed without a package.
const DIRECTORIES: [&str; 6] =
    ["/usr/bin", "/usr/lib", "/usr/local/bin", "/usr/local/lib", "/usr/local/sbin", "/usr/share"];
/// The directories of a toolchain that change when it is replaced.
const IN_TOOLCHAIN: [&str; 3] = ["", "bin", "lib"];
/// Package databases take some tens of megabytes.
const RECORD_BYTES_MAX: u64 = 512 << 20;

/// `sha256:…` of the system and the toolchains.
pub(super) fn digest(toolchains: &[PathBuf]) -> String {
    digest_of(&RECORDS.map(Path::new), &DIRECTORIES.map(Path::new), toolchains)
}

fn digest_of(records: &[&Path], directories: &[&Path], toolchains: &[PathBuf]) -> String {
    let mut digest = Sha256::new();
    let mut add = |path: &Path, what: &[u8]| {
        for part in [path.as_os_str().as_bytes(), what] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    };
    for record in records {
        add(record, &content_of(record));
    }
    let in_toolchains = toolchains.iter().flat_map(|toolchain| IN_TOOLCHAIN.map(|name| toolchain.join(name)));
    let all: Vec<PathBuf> = directories.iter().map(|path| path.to_path_buf()).chain(in_toolchains).collect();
    for directory in &all {
        add(directory, changed(directory).as_bytes());
    }
    format!("sha256:{}", hex::encode(digest.finalize()))
}

/// The digest of a file; empty if there is none.
fn content_of(path: &Path) -> Vec<u8> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let (mut digest, mut chunk) = (Sha256::new(), vec![0; 256 << 10]);
    let mut file = file.take(RECORD_BYTES_MAX);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return digest.finalize().to_vec(),
            Ok(read) => digest.update(&chunk[..read]),
            // A part of a record is useless.
            Err(_) => return Vec::new(),
        }
    }
}

/// When the entries of a directory last changed.
fn changed(path: &Path) -> String {
    fs::metadata(path).map_or_else(
        |_| "none".to_owned(),
        |meta| format!("{}.{} {}", meta.mtime(), meta.mtime_nsec(), meta.ino()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_changes_only_if_something_is_installed() {
        let machine = tempfile::tempdir().unwrap();
        let path = |name: &str| machine.path().join(name);
        fs::write(path("status"), "Package: a\n").unwrap();
        for directory in ["bin", "toolchain", "toolchain/bin", "other"] {
            fs::create_dir(path(directory)).unwrap();
        }
        let (status, bin) = (path("status"), path("bin"));
        let now = |toolchain: &str| digest_of(&[&status], &[&bin], &[path(toolchain)]);
        let first = now("toolchain");
        assert_eq!(first, now("toolchain"));
        assert_ne!(first, now("other"));
        fs::write(path("status"), "Package: b\n").unwrap();
        let second = now("toolchain");
        assert_ne!(first, second);
        fs::write(path("toolchain/bin/rustc"), "").unwrap();
        let third = now("toolchain");
        assert_ne!(second, third);
        fs::write(bin.join("tool"), "").unwrap();
        assert_ne!(third, now("toolchain"));
    }

    #[test]
    fn digest_of_this_machine_is_stable() {
        assert_eq!(digest(&[]), digest(&[]));
        assert_eq!(digest(&[]).len(), "sha256:".len() + 64);
    }
}
