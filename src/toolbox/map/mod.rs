//! The map of the repository, in a process of its own: parsers read what the repository wrote, so
//! whatever goes wrong in them (memory, time, a fault) ends this process and not the toolbox, which
//! starts it when it is first needed and again when it is gone. It keeps what it knows in memory.
//!
//! `index` knows the files, `outline` takes one apart by the tables of `language`, `query` reads what
//! the map is to be about, `rank` and `graph` put the files in order, `render` shows them.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::net::unix::pipe;

use crate::init::hide_from_commands;
use crate::tree::{Tree, WORKSPACE};
use mendwright_protocol::frames::{FrameError, read_message, write_message};
use mendwright_protocol::{
    FindSymbol, Mutants, MutantsFound, RankedRepoMap, RepoMap, Response, SymbolLocations, SyntaxError,
    TestItems, TestItemsMoved,
};

mod find;
mod graph;
mod index;
mod language;
mod memory;
mod mutants;
mod outline;
mod query;
mod rank;
mod render;
mod roles;
mod syntax;
mod test_items;
mod words;

pub use syntax::FILE_BYTES_MAX as CHECKED_BYTES_MAX;

/// Killed before the toolbox and its commands' supervisors when memory runs out.
const OOM_SCORE: &str = "200";

/// What the toolbox asks of this process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    Map(RepoMap),
    Find(FindSymbol),
    Check(Check),
    TestItems(TestItems),
    Mutants(Mutants),
}

/// A file before and after an edit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Check {
    pub path: String,
    pub before: String,
    pub after: String,
}

/// What comes of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Mapped(RankedRepoMap),
    Found(SymbolLocations),
    Checked(Vec<SyntaxError>),
    Moved(TestItemsMoved),
    Mutated(MutantsFound),
}

/// Does one task after the other, until standard input ends.
pub fn serve() -> Result<(), String> {
    hide_from_commands().map_err(|e| format!("cannot be made unreadable for commands: {e}"))?;
    // Best effort: a kernel without it kills by size alone.
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
    let mut mapper = Mapper { tree: Tree::open(Path::new(WORKSPACE))?, index: index::Index::default() };
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

struct Mapper {
    tree: Tree,
    index: index::Index,
}

impl Mapper {
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
            Task::TestItems(request) => Ok(Outcome::Moved(test_items::move_test_items(&request))),
            Task::Mutants(request) => Ok(Outcome::Mutated(mutants::mutants(&request))),
        }
    }

    fn map(&mut self, request: &RepoMap) -> Result<RankedRepoMap, String> {
        self.index.refresh(&self.tree)?;
        let query = query::Query::of(&request.text);
        let ranking = rank::rank(&self.index, &query, &request.paths);
        Ok(render::render(&self.tree, &self.index, &query, &ranking, request.tokens_max))
    }
}
