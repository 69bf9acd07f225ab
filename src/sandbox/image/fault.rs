//! Why an image cannot be had, in words, with what to do about it.

use std::io;
use std::path::Path;

use nix::errno::Errno;

use crate::sandbox::SandboxError;

/// Longest text of a stranger's in an error.
const SHOWN_CHARS_MAX: usize = 200;

/// Why an image cannot be had. Each reads on after "the image '…': ".
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Reference(String),
    #[error("{host} cannot be reached ({why})")]
    Unreachable { host: String, why: String },
    #[error("the connection to {host} was cut ({why})")]
    Cut { host: String, why: String },
    #[error("{place} has no such image")]
    NotFound { place: String },
    #[error("{place} shows it only to those who log in")]
    Login { place: String },
    #[error("{place} answered {status}")]
    Status { place: String, status: u16 },
    #[error("it is not an image: {0}")]
    NotAnImage(String),
    #[error("{what} has a media type that is not supported: {found}")]
    MediaType { what: String, found: String },
    #[error("there is nothing for {wanted} in it, only for {there}")]
    Platform { wanted: String, there: String },
    #[error("{what} has the digest {actual}, and should have {expected}")]
    Digest { what: String, expected: String, actual: String },
    #[error("{what} has {actual} bytes, and should have {expected}")]
    Size { what: String, expected: u64, actual: String },
    #[error("{what} is over the bound of {bound}")]
    OverBound { what: String, bound: String },
    #[error("{what} is malformed: {why}")]
    Malformed { what: String, why: String },
    #[error("its entry '{path}' {why}")]
    Entry { path: String, why: String },
    #[error("the disk is full at {place}")]
    DiskFull { place: String },
    #[error("{what}: {error}")]
    Disk { what: String, error: io::Error },
    #[error("the directory {path} {why}")]
    Directory { path: String, why: String },
    #[error("it was not there after {seconds} s")]
    Time { seconds: u64 },
    #[error("it is no longer wanted")]
    Abandoned,
}

impl Fault {
    pub(super) fn malformed(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Malformed { what: what.into(), why: why.to_string() }
    }

    pub(super) fn over(what: impl Into<String>, bound: impl ToString) -> Self {
        Self::OverBound { what: what.into(), bound: bound.to_string() }
    }

    pub(super) fn entry(path: &[u8], why: impl Into<String>) -> Self {
        Self::Entry { path: shown_bytes(path), why: why.into() }
    }

    /// Of an operation on our own directory or a local source.
    pub(super) fn disk(what: &str, place: &Path, error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT) => Self::DiskFull { place: place.display().to_string() },
            Some(_) | None => Self::Disk { what: format!("{what} {}", place.display()), error },
        }
    }

    /// Of an operation on an entry of the root file system.
    pub(super) fn system(path: &[u8], error: Errno) -> Self {
        match error {
            Errno::ENOSPC | Errno::EDQUOT => Self::DiskFull { place: format!("'{}'", shown_bytes(path)) },
            Errno::ENAMETOOLONG => Self::entry(path, "has a name that is too long for this file system"),
            other => Self::Disk { what: format!("its entry '{}'", shown_bytes(path)), error: other.into() },
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Reference(_) => {
                "name it HOST[:PORT]/NAME:TAG, HOST[:PORT]/NAME@sha256:DIGEST, oci:/DIRECTORY[:TAG] or \
                 oci-archive:/FILE.tar[:TAG]"
            }
            Self::Unreachable { .. } => {
                "check the host's name, that this machine reaches it, and that it trusts its certificate (plain \
                 HTTP is spoken to loopback addresses only)"
            }
            Self::Cut { .. } | Self::Time { .. } | Self::Abandoned => {
                "try again, or use a registry closer by"
            }
            Self::NotFound { .. } => "check the name, the tag and the digest",
            Self::Login { .. } => {
                "images are pulled without credentials: check the name, use a registry that needs none, or save it \
                 to a file and name that as oci-archive:/FILE.tar"
            }
            Self::Status { .. } => "try again later, or ask those who run the registry",
            Self::NotAnImage(_) | Self::MediaType { .. } => {
                "name a container image with gzip, zstd or uncompressed layers"
            }
            Self::Platform { .. } => "use an image that is built for this machine, too",
            Self::Digest { .. } | Self::Size { .. } => {
                "what came is not what was published: do not use it, and push it anew from a trusted source"
            }
            Self::OverBound { .. } => "use a smaller image",
            Self::Malformed { .. } | Self::Entry { .. } => "build the image anew with a current builder",
            Self::DiskFull { .. } => "make room there, or put the data directory on a larger disk",
            Self::Disk { .. } => "check the disk and the permissions",
            Self::Directory { .. } => "choose another data directory, or correct its owner and mode",
        }
    }

    /// What the caller of the sandbox sees.
    pub(super) fn of(self, reference: &str) -> SandboxError {
        SandboxError::Unavailable {
            kind: "bubblewrap",
            missing: format!("the image '{}': {self}", shown(reference)),
            remedy: self.remedy().to_owned(),
        }
    }

    /// What the caller sees where no one image is meant.
    pub(super) fn of_all_in(self, directory: &Path) -> SandboxError {
        SandboxError::Unavailable {
            kind: "bubblewrap",
            missing: format!("the images in {}: {self}", directory.display()),
            remedy: self.remedy().to_owned(),
        }
    }
}

/// A stranger's text, fit to be shown: printable, and not too long.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

pub(super) fn shown_bytes(bytes: &[u8]) -> String {
    shown(&String::from_utf8_lossy(bytes))
}
