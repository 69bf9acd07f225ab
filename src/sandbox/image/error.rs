//! Why an image is not available, with what to do about it.

use std::io;
use std::path::Path;

use nix::errno::Errno;

use crate::sandbox::error::SandboxError;

/// The longest untrusted text in an error.
const SHOWN_CHARS_MAX: usize = 200;

/// Why an image is not available. Each message continues "the image '…': ".
#[derive(Debug, thiserror::Error)]
pub(super) enum ImageError {
    #[error("{0}")]
    Reference(String),
    #[error("{host} cannot be reached ({why})")]
    Unreachable { host: String, why: String },
    #[error("the connection to {host} was cut ({why})")]
    Cut { host: String, why: String },
    #[error("{place} has no such image")]
    NotFound { place: String },
    #[error("{place} requires a login for it")]
    Login { place: String },
    #[error("{place} responded {status}")]
    Status { place: String, status: u16 },
    #[error("it is not an image: {0}")]
    NotAnImage(String),
    #[error("{what} has a media type that is not supported: {found}")]
    MediaType { what: String, found: String },
    #[error("it has no image for {wanted}, only for {there}")]
    Platform { wanted: String, there: String },
    #[error("{what} has the digest {actual} instead of {expected}")]
    Digest { what: String, expected: String, actual: String },
    #[error("{what} has {actual} bytes instead of {expected}")]
    Size { what: String, expected: u64, actual: String },
    #[error("{what} is over the limit of {limit}")]
    OverLimit { what: String, limit: String },
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
    #[error("it was not ready after {seconds} s")]
    Time { seconds: u64 },
    #[error("the caller has given up")]
    Abandoned,
}

impl ImageError {
    pub(super) fn malformed(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Malformed { what: what.into(), why: why.to_string() }
    }

    pub(super) fn over(what: impl Into<String>, limit: impl ToString) -> Self {
        Self::OverLimit { what: what.into(), limit: limit.to_string() }
    }

    pub(super) fn entry(path: &[u8], why: impl Into<String>) -> Self {
        Self::Entry { path: shown_bytes(path), why: why.into() }
    }

    /// The error of an operation on our own directory or a local source.
    pub(super) fn disk(what: &str, place: &Path, error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT) => Self::DiskFull { place: place.display().to_string() },
            Some(_) | None => Self::Disk { what: format!("{what} {}", place.display()), error },
        }
    }

    /// The error of an operation on an entry of the root file system.
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
                "write it as HOST[:PORT]/NAME:TAG, HOST[:PORT]/NAME@sha256:DIGEST, oci:/DIRECTORY[:TAG] or \
                 oci-archive:/FILE.tar[:TAG]"
            }
            Self::Unreachable { .. } => {
                "check the host's name, that this machine can connect to it, and that it trusts its certificate (plain \
                 HTTP is used only for loopback addresses)"
            }
            Self::Cut { .. } | Self::Time { .. } | Self::Abandoned => "try again, or use a closer registry",
            Self::NotFound { .. } => "check the name, the tag and the digest",
            Self::Login { .. } => {
                "images are pulled without credentials: check the name, use a registry that needs none, or save it \
                 to a file and use oci-archive:/FILE.tar"
            }
            Self::Status { .. } => "try again later, or ask the operator of the registry",
            Self::NotAnImage(_) | Self::MediaType { .. } => {
                "name a container image with gzip, zstd or uncompressed layers"
            }
            Self::Platform { .. } => "use an image that is also built for this machine",
            Self::Digest { .. } | Self::Size { .. } => {
                "the content is not what was published: do not use it, and push it again from a trusted source"
            }
            Self::OverLimit { .. } => "use a smaller image",
            Self::Malformed { .. } | Self::Entry { .. } => "build the image again with a current builder",
            Self::DiskFull { .. } => "free some space there, or move the data directory to a larger disk",
            Self::Disk { .. } => "check the disk and the permissions",
            Self::Directory { .. } => "use another data directory, or correct its owner and mode",
        }
    }

    /// The error for the caller of the sandbox.
    pub(super) fn for_image(self, reference: &str) -> SandboxError {
        SandboxError::unavailable(format!("the image '{}': {self}", shown(reference)), self.remedy())
    }

    /// The error for the caller if it does not concern a single image.
    pub(super) fn for_store(self, directory: &Path) -> SandboxError {
        SandboxError::unavailable(format!("the images in {}: {self}", directory.display()), self.remedy())
    }
}

/// An untrusted text in a form that can be shown: printable, and not too long.
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
