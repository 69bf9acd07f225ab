//! The program that runs inside the sandbox, as the first process of its process namespace.
//!
//! `init` serves the host over standard input and output until the pipe closes; `supervise` runs
//! one command and leaves nothing of it behind; `probe` does what `init` does before it serves, so
//! that a backend can try its arguments. Static: it needs nothing of the root file system it is in.

use std::process::ExitCode;
use std::time::Duration;

mod collect;
mod edit;
mod files;
mod filters;
mod frames;
mod init;
mod list;
mod mux;
mod nearest;
mod output;
mod prepared;
mod processes;
mod protocol;
mod proxy;
mod reaper;
mod run;
mod search;
mod serve;
mod supervise;
mod transfer;
mod tree;
mod unpack;
mod walk;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map_while(|word| word.to_str()).collect();
    let outcome = match words.as_slice() {
        ["init", options @ ..] => init::settle(options).and_then(serve::serve),
        ["probe", options @ ..] => init::settle(options).map(drop),
        ["supervise", deadline_ms, "--", ..] => match deadline_ms.parse() {
            Ok(deadline_ms) => supervise::supervise(Duration::from_millis(deadline_ms), &arguments[3..]),
            Err(error) => Err(format!("the deadline {deadline_ms} is no number: {error}")),
        },
        _ => Err("this program is started by Mendwright, inside its sandbox".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("toolbox: {error}");
            ExitCode::FAILURE
        }
    }
}
