//! What is generated from the tables of keys: the reference page, the listing on the terminal, and the
//! example files.

use std::fmt::Write;

use super::key::{ConfigKey, ConfigSection, DefaultValue, find};
use super::repository::{REPOSITORY_FILE, REPOSITORY_FILE_BYTES_MAX, REPOSITORY_KEYS};
use super::server::SECTIONS;

/// The keys that the example file sets. All others are comments in it.
const SET_IN_EXAMPLE: &[&str] =
    &["server.public_url", "server.data_dir", "model.provider", "model.name", "model.api_key_file"];

/// The page of the guide on the operator's configuration, in Markdown.
pub fn configuration_page() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Mendwright reads one file in TOML: `mendwright serve --config mendwright.toml`. Every key can also \
         be set by an environment variable, which takes precedence: `MENDWRIGHT_`, the section and the key, \
         in capitals and with `_` for each dot. `server.listen` is `MENDWRIGHT_SERVER_LISTEN`, \
         `model.price.input` is `MENDWRIGHT_MODEL_PRICE_INPUT`. In the environment, a list is separated by \
         commas. Relative paths start at the directory of the file.\n\n\
         An unknown key, a value of the wrong type or out of range, and a secret in a file that everybody \
         can read are errors, which name the line or the variable. `mendwright doctor` checks the whole \
         configuration without starting the service; `mendwright config` prints this table, and `mendwright \
         config --example` a commented file to start from \
         ([`src/deploy/mendwright.toml`](../../deploy/mendwright.toml)).\n\n\
         This page is generated from the program's table of keys.\n",
    );
    for section in SECTIONS {
        let _ = write!(page, "\n## `[{}]`\n\n{}\n\n", section.name, section.description);
        page.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
        for key in section.keys {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                key.name_in_section(),
                table_cell(&key.value.to_string()),
                table_cell(&default_in_markdown(key)),
                table_cell(key.description)
            );
        }
    }
    page
}

/// A commented `mendwright.toml` with every key.
pub fn configuration_example() -> String {
    let mut file = String::from(
        "# The configuration of Mendwright. Keys that begin a line with `#` show their default, or an \
         example.\n\
         # Each key can also be set by an environment variable: MENDWRIGHT_SECTION_KEY.\n\
         # The reference: mendwright guide reference/configuration\n",
    );
    for section in SECTIONS {
        let _ = write!(file, "\n[{}]\n", section.name);
        for key in section.keys {
            file.push('\n');
            for line in wrapped(&key.description.replace('`', ""), 100) {
                let _ = writeln!(file, "# {line}");
            }
            let _ = writeln!(file, "# ({}; default: {})", key.value, default_in_words(key));
            let comment = if SET_IN_EXAMPLE.contains(&key.name) { "" } else { "# " };
            let _ = writeln!(file, "{comment}{} = {}", key.name_in_section(), key.example);
        }
    }
    file
}

/// The page of the guide on the repository file, in Markdown.
pub fn repository_file_page() -> String {
    let mut page = format!(
        "# Repository file\n\n\
         A repository needs no configuration if Mendwright detects how its tests run: `mendwright detect` \
         shows what it finds, and why. To say it yourself, or to say more, write `{REPOSITORY_FILE}` on the \
         default branch. All keys are optional, and at most {REPOSITORY_FILE_BYTES_MAX} bytes are read.\n\n\
         The file is always read from the **base branch**: a proposal cannot change the rules that it is \
         judged by. It can narrow what the operator allows, never widen it. An error in the file names the \
         line and the column, and is shown on the issue.\n\n\
         This page is generated from the program's table of keys.\n\n\
         | key | value | default | meaning |\n|---|---|---|---|\n"
    );
    for key in REPOSITORY_KEYS {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name,
            table_cell(&key.value.to_string()),
            table_cell(key.default),
            table_cell(key.description)
        );
    }
    let _ = write!(
        page,
        "\n## Example\n\nEvery key, as in [`src/deploy/agent-fix.yml`](../../deploy/agent-fix.yml); `#` \
         begins a comment.\n\n```yaml\n{}```\n",
        repository_file_example()
    );
    page
}

/// A commented `.github/agent-fix.yml` with every key.
pub fn repository_file_example() -> String {
    let mut file = format!(
        "# {REPOSITORY_FILE} on the default branch. All keys are optional.\n\
         # The reference: mendwright guide reference/repository-file\n"
    );
    let mut parent = "";
    for key in REPOSITORY_KEYS {
        let (section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        file.push('\n');
        let is_new_section = section != parent && !section.is_empty();
        parent = section;
        if is_new_section {
            let _ = writeln!(file, "# {section}:");
        }
        let indent = if section.is_empty() { "" } else { "  " };
        for line in wrapped(&key.description.replace('`', ""), 90) {
            let _ = writeln!(file, "#{indent} {line}");
        }
        let _ = writeln!(file, "#{indent} ({}; default: {})", key.value, key.default.replace('`', ""));
        let comment = if key.name == "test" { "" } else { "# " };
        let _ = writeln!(file, "{comment}{indent}{name}: {}", key.example);
    }
    file
}

/// Every key in a few lines, for a terminal.
pub fn configuration_listing() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        let _ = writeln!(text, "[{}]", section.name);
        for key in section.keys {
            let _ = writeln!(
                text,
                "  {:<32} {}; default: {}",
                key.name_in_section(),
                key.value,
                default_in_words(key)
            );
        }
        text.push('\n');
    }
    text
}

/// One key, or one section, in detail; `None`: there is neither.
pub fn describe_configuration(name: &str) -> Option<String> {
    let section: Option<&ConfigSection> = SECTIONS.iter().find(|section| section.name == name);
    let keys: Vec<&ConfigKey> = match section {
        Some(section) => section.keys.iter().collect(),
        None => find(SECTIONS, name).into_iter().collect(),
    };
    if keys.is_empty() {
        return None;
    }
    let described: Vec<String> = keys.into_iter().map(describe_key).collect();
    Some(described.join("\n"))
}

/// The name of every key and of every section.
pub fn configuration_names() -> Vec<&'static str> {
    let sections = SECTIONS.iter().map(|section| section.name);
    sections.chain(SECTIONS.iter().flat_map(|section| section.keys).map(|key| key.name)).collect()
}

fn describe_key(key: &ConfigKey) -> String {
    let mut text = format!("{}\n", key.name);
    for line in wrapped(&key.description.replace('`', ""), 90) {
        let _ = writeln!(text, "  {line}");
    }
    let _ = write!(
        text,
        "  value:       {}\n  default:     {}\n  example:     {}\n  environment: {}\n",
        key.value,
        default_in_words(key),
        key.example,
        key.variable()
    );
    text
}

fn default_in_markdown(key: &ConfigKey) -> String {
    match key.default {
        DefaultValue::Value(value) => format!("`{value}`"),
        DefaultValue::Unset(meaning) => meaning.to_owned(),
        DefaultValue::Required => "**required**".to_owned(),
    }
}

fn default_in_words(key: &ConfigKey) -> String {
    match key.default {
        DefaultValue::Value(value) => value.to_owned(),
        DefaultValue::Unset(meaning) => meaning.replace('`', ""),
        DefaultValue::Required => "none, it is required".to_owned(),
    }
}

fn table_cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Lines of at most `chars_max` characters, broken between words.
fn wrapped(text: &str, chars_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= chars_max => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}
