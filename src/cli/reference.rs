//! The reference page of the command line, made from the definitions of the commands. The test here keeps every
//! generated page and part of a page up to date.

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
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::{
        configuration_example, configuration_page, environment, repository_file_example, repository_file_page,
    };
    use crate::domain::{command_table, provider_table};
    use crate::webhook::EVENTS;

    /// Set to 1, this variable makes the test write the files instead of comparing them.
    const UPDATE: &str = "MENDWRIGHT_UPDATE_REFERENCE";

    /// A generated part of a page begins with this line, with its name, and ends with the other.
    const PART_BEGIN: &str = "generated: ";
    const PART_END: &str = "end of generated text";

    /// The text with the part between its two marks replaced. The marks are comments, of whatever language.
    fn with_part(text: &str, name: &str, part: &str) -> String {
        let begin = format!("{PART_BEGIN}{name}");
        let lines: Vec<&str> = text.lines().collect();
        let is_begin = |line: &&str| line.trim_end_matches("-->").trim_end().ends_with(&begin);
        let first = lines.iter().position(is_begin).unwrap_or_else(|| panic!("no line `{begin}`"));
        let length = lines[first..].iter().position(|line| line.contains(PART_END));
        let last = first + length.unwrap_or_else(|| panic!("no line `{PART_END}` after `{begin}`"));
        let kept = [&lines[..=first], &part.lines().collect::<Vec<_>>(), &lines[last..]].concat();
        kept.join("\n") + "\n"
    }

    #[test]
    fn generated_files_match_the_tables_that_they_are_made_from() {
        let whole = [
            ("src/guide/reference/cli.md", command_line_page()),
            ("src/guide/reference/configuration.md", configuration_page()),
            ("src/guide/reference/repository-file.md", repository_file_page()),
            ("src/deploy/mendwright.toml", configuration_example()),
            ("src/deploy/agent-fix.yml", repository_file_example()),
        ];
        let events: String = EVENTS
            .iter()
            .filter(|row| row.is_subscribed)
            .map(|row| format!("  - {:<28}# {}\n", row.name, row.meaning))
            .collect();
        let parts = [
            ("src/guide/use/commands.md", "commands", command_table()),
            ("src/guide/operate/configure.md", "providers", provider_table()),
            ("app-manifest.yml", "events", events),
        ];
        let update = environment().any(|(name, value)| name == UPDATE && value == "1");
        let read = |path: &str| std::fs::read_to_string(file(path)).unwrap_or_default();
        let parts = parts.map(|(path, name, part)| (path, with_part(&read(path), name, &part)));
        for (path, expected) in whole.into_iter().chain(parts) {
            if update {
                std::fs::write(file(path), &expected).unwrap();
            }
            let stale =
                format!("{path} is out of date: run `{UPDATE}=1 cargo test generated_files`, and commit it");
            assert!(read(path) == expected, "{stale}");
        }
    }

    fn file(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }
}
