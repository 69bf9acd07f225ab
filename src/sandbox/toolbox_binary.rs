//! The toolbox as a program: build.rs builds it, and this binary carries it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use sha2::{Digest, Sha256};

/// The toolbox, as build.rs built it.
pub(super) static TOOLBOX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mendwright-toolbox"));

/// SHA-256 of the toolbox, in hexadecimal.
pub fn toolbox_sha256() -> &'static str {
    static DIGEST: LazyLock<String> = LazyLock::new(|| hex::encode(Sha256::digest(TOOLBOX)));
    &DIGEST
}

/// The toolbox as a file in memory, open for reading from its beginning. All of them are one file, which is written once
/// and which nobody can change.
///
/// # Errors
/// The kernel has no memory or no descriptor for it.
pub(super) fn toolbox_file() -> io::Result<OwnedFd> {
    static FILE: Mutex<Option<File>> = Mutex::new(None);
    let mut written = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = match written.take() {
        Some(file) => file,
        None => {
            let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
            let mut file = File::from(memfd_create("toolbox", flags)?);
            file.write_all(TOOLBOX)?;
            let seals = SealFlag::F_SEAL_WRITE
                | SealFlag::F_SEAL_GROW
                | SealFlag::F_SEAL_SHRINK
                | SealFlag::F_SEAL_SEAL;
            fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
            file
        }
    };
    // Each opening has a position of its own.
    let opened = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
    *written = Some(file);
    Ok(opened?.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_opening_reads_all_of_it_and_none_can_write() {
        let read = |opened: OwnedFd| {
            let mut bytes = Vec::new();
            File::from(opened).read_to_end(&mut bytes).unwrap();
            bytes
        };
        let (one, other) = (toolbox_file().unwrap(), toolbox_file().unwrap());
        let path = format!("/proc/self/fd/{}", one.as_raw_fd());
        let written = File::options().write(true).open(path).and_then(|mut file| file.write_all(b"x"));
        assert!(written.is_err());
        assert!(read(one) == TOOLBOX && read(other) == TOOLBOX);
    }
}
