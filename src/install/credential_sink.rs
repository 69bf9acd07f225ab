//! Where new credentials go: into one file of the data directory that only the service's own account
//! may read, or to standard output for a secret manager.
//!
//! GitHub hands the credentials out only once, so space for them is reserved **before** they are
//! requested: a full disk or a missing permission then costs nothing. The reservation is a file. If one
//! exists at a start, the service died between GitHub's answer and its storing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::StoredApp;

/// Four times the size of the credentials.
const RESERVED_BYTES: usize = 16 * 1024;

/// Where new credentials go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialSink {
    /// A file in the data directory.
    InDataDir,
    /// Standard output, as environment variables; nothing is written to disk.
    Print,
}

impl CredentialSink {
    /// Whether an earlier process died while it registered an App.
    pub fn was_interrupted(self, data_dir: &Path) -> bool {
        self == Self::InDataDir && reservation(data_dir).exists()
    }

    /// Reserves space for the credentials, which shows that they can be stored at all.
    pub(super) fn reserve(self, data_dir: &Path) -> io::Result<()> {
        match self {
            Self::InDataDir => write_in_place(&reservation(data_dir), &[b' '; RESERVED_BYTES]),
            Self::Print => Ok(()),
        }
    }

    /// Releases the reserved space, after GitHub handed nothing out.
    pub(super) fn release(self, data_dir: &Path) {
        if self == Self::InDataDir
            && let Err(error) = fs::remove_file(reservation(data_dir))
        {
            tracing::warn!(%error, "the space reserved for the App's credentials could not be released");
        }
    }

    /// Stores the credentials. When this returns they are on disk, or printed.
    pub(super) fn store(self, app: &StoredApp, data_dir: &Path) -> io::Result<()> {
        match self {
            Self::Print => {
                let mut out = io::stdout().lock();
                out.write_all(app.to_environment().as_bytes())?;
                out.flush()
            }
            Self::InDataDir => {
                let reservation = reservation(data_dir);
                write_in_place(&reservation, app.to_json().as_bytes())?;
                fs::rename(&reservation, StoredApp::path(data_dir))?;
                File::open(data_dir)?.sync_all()
            }
        }
    }

    /// Where the credentials are, for the page.
    pub(super) fn location(self, data_dir: &Path) -> String {
        match self {
            Self::InDataDir => StoredApp::path(data_dir).display().to_string(),
            Self::Print => "the service's standard output".to_owned(),
        }
    }
}

fn reservation(data_dir: &Path) -> PathBuf {
    StoredApp::path(data_dir).with_extension("json.new")
}

/// Writes over the file's existing blocks, so that no new ones are needed, and cuts the rest off.
fn write_in_place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_all()
}
