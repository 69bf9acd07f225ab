//! The program that runs inside the sandbox, as the first process of its process namespace.
//!
//! `init` serves the host over standard input and output until the pipe closes; `supervise` runs
//! one command and leaves no process of it behind; `map` reads the tree for the repository's map; `probe` does
//! what `init` does before it serves, so that a backend can test its arguments. The program is static: it needs
//! nothing of the root file system that it is in.

use std::process::ExitCode;
use std::time::Duration;

use mendwright_protocol::EXIT_DISK_FULL;

use crate::failure::Failure;

mod collect;
mod counters;
mod directory;
mod edit;
mod failure;
mod files;
mod filters;
mod fuzzy_match;
mod init;
mod limit_watch;
mod list;
mod map;
mod mapper;
mod output;
mod processes;
mod proxy;
mod reaper;
mod reports;
mod run;
mod search;
mod serve;
mod snapshot;
mod supervise;
mod transfer;
mod tree;
mod unpack;
mod walk;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map_while(|word| word.to_str()).collect();
    let outcome = match words.as_slice() {
        ["init", options @ ..] => init::initialize(options).and_then(|ready| Ok(serve::serve(ready)?)),
        ["probe", options @ ..] => init::initialize(options).map(drop),
        ["map"] => map::serve().map_err(Failure::from),
        ["supervise", deadline_ms, tasks_max, "--", ..] => match (deadline_ms.parse(), tasks_max.parse()) {
            (Ok(deadline_ms), Ok(tasks_max)) => {
                supervise::supervise(Duration::from_millis(deadline_ms), tasks_max, &arguments[4..])
                    .map_err(Failure::from)
            }
            (Err(error), _) | (_, Err(error)) => Err(format!("{deadline_ms}, {tasks_max}: {error}").into()),
        },
        _ => Err("this program is started by Mendwright, inside its sandbox".to_owned().into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("toolbox: {}", failure.message);
            if failure.is_disk_full { ExitCode::from(EXIT_DISK_FULL) } else { ExitCode::FAILURE }
        }
    }
}
