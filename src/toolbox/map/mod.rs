//! The map of the repository, in a process of its own: parsers read untrusted files, so a failure in them
//! (memory, time, a crash) ends this process and not the toolbox. The toolbox starts it when it is first needed,
//! and again after it ended. It keeps the index in memory.
//!
//! `index` has the files, `outline` parses one with the tables of `language`, `query` reads the text that the map
//! is about, `rank` and `graph` order the files, and `render` prints them.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::net::unix::pipe;

use crate::init::hide_from_commands;
use crate::tree::{Tree, WORKSPACE};
use mendwright_protocol::frames::{FrameError, read_message, write_message};
use mendwright_protocol::{FindSymbol, RankedRepoMap, RepoMap, Response, SymbolLocations, SyntaxError};

mod find;
mod graph;
mod index;
mod language;
mod memory;
mod outline;
mod query;
mod rank;
mod render;
mod roles;
mod syntax;
mod words;

pub use syntax::FILE_BYTES_MAX as CHECKED_BYTES_MAX;

/// If memory runs out, this process is killed before the toolbox and its supervisors.
const OOM_SCORE: &str = "200";

/// A request of the toolbox to this process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    Map(RepoMap),
    Find(FindSymbol),
    Check(Check),
}

/// A file before and after an edit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Check {
    pub path: String,
    pub before: String,
    pub after: String,
}

/// The response.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Mapped(RankedRepoMap),
    Found(SymbolLocations),
    Checked(Vec<SyntaxError>),
}

/// Handles one request after the other, until standard input ends.
pub fn serve() -> Result<(), String> {
    hide_from_commands().map_err(|e| format!("cannot be made unreadable for commands: {e}"))?;
    // Best effort: without it the kernel kills by size alone.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    memory::hold().map_err(|e| format!("the bound on memory cannot be set: {e}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(|e| format!("the runtime cannot be started: {e}"))?;
    runtime.block_on(serve_pipe()).map_err(|e| format!("the pipe to the toolbox: {e}"))
}

async fn serve_pipe() -> io::Result<()> {
    let stdin = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let stdout = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let mut from_toolbox = pipe::Receiver::from_file(stdin.into())?;
    let mut to_toolbox = pipe::Sender::from_file(stdout.into())?;
    let mut mapper = MapServer { tree: Tree::open(Path::new(WORKSPACE))?, index: index::Index::default() };
    loop {
        let task = match read_message(&mut from_toolbox).await {
            Ok(task) => task,
            Err(FrameError::Ended) => return Ok(()),
            Err(FrameError::Malformed(why)) => return Err(io::Error::other(why)),
        };
        let answer = mapper.done(task).map_or_else(Response::Refused, Response::Done);
        write_message(&mut to_toolbox, &answer).await?;
    }
}

struct MapServer {
    tree: Tree,
    index: index::Index,
}

impl MapServer {
    fn done(&mut self, task: Task) -> Result<Outcome, String> {
        match task {
            Task::Map(request) => self.map(&request).map(Outcome::Mapped),
            Task::Find(request) => {
                self.index.refresh(&self.tree)?;
                find::find(&self.tree, &self.index, &request).map(Outcome::Found)
            }
            Task::Check(check) => {
                let faults = syntax::new_faults(&check.path, check.before.as_bytes(), check.after.as_bytes());
                Ok(Outcome::Checked(faults))
            }
        }
    }

    fn map(&mut self, request: &RepoMap) -> Result<RankedRepoMap, String> {
        self.index.refresh(&self.tree)?;
        let query = query::Query::of(&request.text);
        let ranking = rank::rank(&self.index, &query, &request.paths);
        Ok(render::render(&self.tree, &self.index, &query, &ranking, request.tokens_max))
    }
}
