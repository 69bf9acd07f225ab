//! The command line's entry: everything is in `mendwright::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mendwright::cli::main()
}
