//! The reference page of the command line, made from the definitions of the commands.

use std::fmt::Write;

use clap::{Command, CommandFactory};

use super::Arguments;

/// As wide as the page is readable in a browser.
const COLUMNS: usize = 100;

/// The page of the guide on the command line, in Markdown.
pub fn command_line_page() -> String {
    let mut page = String::from(
        "# Command line\n\n\
         This page is generated from the program's own definitions: it is what `mendwright COMMAND --help` \
         prints. [Exit codes and limits](exit-codes.md) has the exit code of each command.\n",
    );
    let mut root = Arguments::command().term_width(COLUMNS).disable_help_subcommand(true);
    root.build();
    add_command(&mut page, &mut root, "mendwright");
    page
}

fn add_command(page: &mut String, command: &mut Command, path: &str) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(page, "\n## `{path}`\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    for subcommand in command.get_subcommands_mut() {
        let path = format!("{path} {}", subcommand.get_name());
        add_command(page, subcommand, &path);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{
        configuration_example, configuration_page, environment, repository_file_example, repository_file_page,
    };

    /// Set to 1, this variable makes the test write the files instead of comparing them.
    const UPDATE: &str = "MENDWRIGHT_UPDATE_REFERENCE";

    #[test]
    fn generated_files_match_the_tables_that_they_are_made_from() {
        let files = [
            ("src/guide/reference/cli.md", command_line_page()),
            ("src/guide/reference/configuration.md", configuration_page()),
            ("src/guide/reference/repository-file.md", repository_file_page()),
            ("src/deploy/mendwright.toml", configuration_example()),
            ("src/deploy/agent-fix.yml", repository_file_example()),
        ];
        let update = environment().any(|(name, value)| name == UPDATE && value == "1");
        for (path, expected) in files {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            if update {
                std::fs::write(&file, &expected).unwrap();
            }
            let found = std::fs::read_to_string(&file).unwrap_or_default();
            let stale =
                format!("{path} is out of date: run `{UPDATE}=1 cargo test generated_files`, and commit it");
            assert!(found == expected, "{stale}");
        }
    }
}
