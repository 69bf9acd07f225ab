//! Where new credentials go: into one file of the data directory that only our own account may
//! read, or to standard output for a secret manager.
//!
//! GitHub hands the credentials out once, so room for them is made **before** they are asked for:
//! a full disk or a missing right costs nothing then. The room is a file; one that is found at a
//! start tells that the service died between GitHub's answer and its storing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::StoredApp;

/// The credentials take a quarter of this.
const ROOM_BYTES: usize = 16 * 1024;

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
        self == Self::InDataDir && room(data_dir).exists()
    }

    /// Makes room for the credentials, and checks that they can be kept at all.
    pub(super) fn prepare(self, data_dir: &Path) -> io::Result<()> {
        match self {
            Self::InDataDir => write_all(&room(data_dir), &[b' '; ROOM_BYTES]),
            Self::Print => Ok(()),
        }
    }

    /// Gives the room back, where GitHub handed nothing out.
    pub(super) fn give_up(self, data_dir: &Path) {
        if self == Self::InDataDir
            && let Err(error) = fs::remove_file(room(data_dir))
        {
            tracing::warn!(%error, "the room for the App's credentials could not be given back");
        }
    }

    /// Keeps the credentials. When this returns they are on disk, or said.
    pub(super) fn keep(self, app: &StoredApp, data_dir: &Path) -> io::Result<()> {
        match self {
            Self::Print => {
                let mut out = io::stdout().lock();
                out.write_all(app.to_environment().as_bytes())?;
                out.flush()
            }
            Self::InDataDir => {
                let room = room(data_dir);
                write_all(&room, app.to_json().as_bytes())?;
                fs::rename(&room, StoredApp::path(data_dir))?;
                File::open(data_dir)?.sync_all()
            }
        }
    }

    /// Where they are, for the page.
    pub(super) fn described(self, data_dir: &Path) -> String {
        match self {
            Self::InDataDir => StoredApp::path(data_dir).display().to_string(),
            Self::Print => "the service's standard output".to_owned(),
        }
    }
}

fn room(data_dir: &Path) -> PathBuf {
    StoredApp::path(data_dir).with_extension("json.new")
}

/// Writes in place, so that the blocks that are there already are used, and cuts what is longer.
fn write_all(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_all()
}
