//! What an emulator is started with.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

/// How an emulator is started.
#[derive(Debug, Clone)]
pub struct EmulatorOptions {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// If set, each REST exchange is appended to this file as one line of JSON.
    pub record: Option<PathBuf>,
    /// The directory of the bare repositories.
    pub data_dir: PathBuf,
    /// Where webhooks are sent; `None` sends none until an address is set.
    pub webhook_url: Option<Url>,
    /// The permissions granted to the App; empty grants the least that it needs.
    pub permissions: BTreeMap<String, String>,
}

impl EmulatorOptions {
    /// A free loopback port, no record and no webhooks yet.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            record: None,
            data_dir: data_dir.into(),
            webhook_url: None,
            permissions: BTreeMap::new(),
        }
    }
}

/// The initial content of a new repository.
#[derive(Debug, Clone, Copy)]
pub enum RepositorySource<'a> {
    /// A git repository (all branches and tags), or a plain directory (one commit on `main`).
    Path(&'a Path),
    /// Path and bytes of each file; one commit on `main`.
    Files(&'a [(String, Vec<u8>)]),
}

/// A named repository with issues: what `mendwright emulate --scenario NAME` starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmulatorSeed {
    /// The name it is chosen by.
    pub name: String,
    /// `owner/name` of the repository.
    pub repository: String,
    /// Path and bytes of each file; one commit on `main`.
    pub files: Vec<(String, Vec<u8>)>,
    /// Open issues, numbered from 1.
    pub issues: Vec<SeedIssue>,
}

/// An open issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedIssue {
    /// Its title.
    pub title: String,
    /// Its body, in Markdown.
    pub body: String,
    /// The login of its author, one of the demo accounts.
    pub author: String,
}
