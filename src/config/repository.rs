//! The repository's own configuration: `.github/agent-fix.yml` (or `.yaml`) of the **base** branch, so that a
//! proposal can never change the rules that it is judged by. It can narrow what the operator allows,
//! never widen it. Strangers write the file, so reading it is bounded.

use std::time::Duration;

use globset::Glob;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::suggestion::nearest;
use super::yaml::yaml_options;
use crate::domain::{Budget, CommandPattern, host_name_problem, is_image_reference};

mod keys;
mod location;

pub use location::{REPOSITORY_FILE_YAML, RepositoryFiles};

pub use keys::{REPOSITORY_KEYS, RepositoryKey, RepositoryValue};

use keys::{
    AGENT_HOSTS_MAX, BUDGET_MINUTES_MAX, COMMAND_BYTES_MAX, COMMANDS_MAX, GLOBS_MAX, INSTRUCTIONS_BYTES_MAX,
    SETUP_COMMANDS_MAX, TIMEOUT_MINUTES_MAX,
};

/// The path of the file.
pub const REPOSITORY_FILE: &str = ".github/agent-fix.yml";
/// Longer files are refused.
pub const REPOSITORY_FILE_BYTES_MAX: usize = 64 * 1024;

/// A repository file that cannot be used. The messages are for the repository's maintainers.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryFileError {
    /// A place in the file is wrong.
    #[error("{path} line {line} column {column}: {problem}")]
    Invalid {
        /// The file.
        path: &'static str,
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// The file is too long.
    #[error("{path} has {bytes} bytes; at most {REPOSITORY_FILE_BYTES_MAX} are read")]
    TooLong {
        /// The file.
        path: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// There are two files.
    #[error(
        "the repository has both {REPOSITORY_FILE} and {REPOSITORY_FILE_YAML}, which may contradict each other; \
         delete one of them"
    )]
    Ambiguous,
}

impl RepositoryFileError {
    /// The error in the file at `path`.
    fn at(self, path: &'static str) -> Self {
        match self {
            Self::Invalid { line, column, problem, .. } => Self::Invalid { path, line, column, problem },
            Self::TooLong { bytes, .. } => Self::TooLong { path, bytes },
            Self::Ambiguous => Self::Ambiguous,
        }
    }
}

/// The file, read and checked. The description of each key is in [`REPOSITORY_KEYS`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RepositoryFile {
    /// The path that it was read at, if it is not [`REPOSITORY_FILE`].
    other_path: Option<&'static str>,
    /// `test`
    pub test_command: Option<String>,
    /// `setup`; `None`: the file does not say, so commands are detected. An empty list turns setup off.
    pub setup_commands: Option<Vec<String>>,
    /// `setup_files`; empty: the setup gets the whole tree.
    pub setup_files: Vec<String>,
    /// `image`
    pub image: Option<String>,
    /// `commands`
    pub commands: Vec<CommandPattern>,
    /// `network.hosts`
    pub agent_hosts: Vec<String>,
    /// `timeout_minutes`
    pub test_timeout: Option<Duration>,
    /// `protected_paths`
    pub protected_paths: Vec<String>,
    /// `test_paths`
    pub test_paths: Vec<String>,
    /// `proof`: required unless waived.
    pub proof_waived: bool,
    /// `mutants`: run unless `false`.
    pub mutants_disabled: bool,
    /// `rounds.checks`
    pub revises_on_failed_checks: bool,
    /// `publish`
    pub requires_approval: bool,
    /// `budget.turns`
    pub turns_max: Option<u32>,
    /// `budget.usd`
    pub usd_max: Option<f64>,
    /// `budget.minutes`
    pub time_max: Option<Duration>,
    /// `instructions`
    pub instructions: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    test: Option<Spanned<String>>,
    setup: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    setup_files: Vec<Spanned<String>>,
    image: Option<Spanned<String>>,
    #[serde(default)]
    commands: Vec<Spanned<String>>,
    #[serde(default)]
    network: RawNetwork,
    timeout_minutes: Option<Spanned<u64>>,
    #[serde(default)]
    protected_paths: Vec<Spanned<String>>,
    #[serde(default)]
    test_paths: Vec<Spanned<String>>,
    proof: Option<RawProof>,
    mutants: Option<bool>,
    #[serde(default)]
    rounds: RawRounds,
    publish: Option<RawPublish>,
    #[serde(default)]
    budget: RawBudget,
    instructions: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNetwork {
    #[serde(default)]
    hosts: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRounds {
    #[serde(default)]
    checks: bool,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum RawProof {
    Required,
    Waived,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum RawPublish {
    Push,
    Hold,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBudget {
    turns: Option<Spanned<u32>>,
    usd: Option<Spanned<f64>>,
    minutes: Option<Spanned<u64>>,
}

impl RepositoryFile {
    /// Its path.
    pub fn path(&self) -> &'static str {
        self.other_path.unwrap_or(REPOSITORY_FILE)
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn parse_at(path: &'static str, text: &str) -> Result<Self, RepositoryFileError> {
        let file = Self::parse(text).map_err(|error| error.at(path))?;
        Ok(Self { other_path: (path != REPOSITORY_FILE).then_some(path), ..file })
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn parse(text: &str) -> Result<Self, RepositoryFileError> {
        if text.len() > REPOSITORY_FILE_BYTES_MAX {
            return Err(RepositoryFileError::TooLong { path: REPOSITORY_FILE, bytes: text.len() });
        }
        // An empty file, or one with only comments, has no document.
        let raw: Option<RawFile> =
            serde_saphyr::from_str_with_options(text, yaml_options()).map_err(|error| parse_error(&error))?;
        let raw = raw.unwrap_or_default();
        at_most(raw.setup.as_deref().unwrap_or_default(), SETUP_COMMANDS_MAX, "commands")?;
        at_most(&raw.setup_files, GLOBS_MAX, "globs")?;
        at_most(&raw.commands, COMMANDS_MAX, "commands")?;
        at_most(&raw.network.hosts, AGENT_HOSTS_MAX, "hosts")?;
        at_most(&raw.protected_paths, GLOBS_MAX, "globs")?;
        at_most(&raw.test_paths, GLOBS_MAX, "globs")?;
        Ok(Self {
            other_path: None,
            test_command: raw.test.map(command).transpose()?,
            setup_commands: raw
                .setup
                .map(|commands| commands.into_iter().map(command).collect::<Result<_, _>>())
                .transpose()?,
            setup_files: raw.setup_files.into_iter().map(glob).collect::<Result<_, _>>()?,
            image: raw.image.map(image).transpose()?,
            commands: raw.commands.into_iter().map(command_pattern).collect::<Result<_, _>>()?,
            agent_hosts: raw.network.hosts.into_iter().map(host).collect::<Result<_, _>>()?,
            test_timeout: minutes(raw.timeout_minutes, TIMEOUT_MINUTES_MAX)?,
            protected_paths: raw.protected_paths.into_iter().map(glob).collect::<Result<_, _>>()?,
            test_paths: raw.test_paths.into_iter().map(glob).collect::<Result<_, _>>()?,
            proof_waived: raw.proof == Some(RawProof::Waived),
            mutants_disabled: raw.mutants == Some(false),
            revises_on_failed_checks: raw.rounds.checks,
            requires_approval: raw.publish == Some(RawPublish::Hold),
            turns_max: raw.budget.turns.map(turns).transpose()?,
            usd_max: raw.budget.usd.map(usd).transpose()?,
            time_max: minutes(raw.budget.minutes, BUDGET_MINUTES_MAX)?,
            instructions: raw.instructions.map(instructions).transpose()?,
        })
    }

    /// The operator's limits, lowered to what the file asks for. A higher number changes nothing, so that
    /// the operator can lower theirs without breaking anybody's file.
    pub fn lower(&self, operator: &Budget) -> Budget {
        Budget {
            turns_max: self.turns_max.map_or(operator.turns_max, |max| max.min(operator.turns_max)),
            usd_max: self.usd_max.map_or(operator.usd_max, |max| max.min(operator.usd_max)),
            time_max: self.time_max.map_or(operator.time_max, |max| max.min(operator.time_max)),
            ..operator.clone()
        }
    }
}

fn invalid(at: Location, problem: impl Into<String>) -> RepositoryFileError {
    RepositoryFileError::Invalid {
        path: REPOSITORY_FILE,
        line: at.line(),
        column: at.column(),
        problem: problem.into(),
    }
}

fn parse_error(error: &serde_saphyr::Error) -> RepositoryFileError {
    let error = error.without_snippet();
    let at = error.location().unwrap_or(Location::UNKNOWN);
    if let serde_saphyr::Error::SerdeUnknownField { field, expected, .. } = error {
        let help = match nearest(field, expected) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known here: {}", expected.join(", ")),
        };
        return invalid(at, format!("unknown key `{field}`; {help}"));
    }
    if let Some(expected) = plain_expectation(error) {
        return invalid(at, expected);
    }
    let words = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let place = format!(" at line {}, column {}", at.line(), at.column());
    invalid(at, words.strip_suffix(&place).unwrap_or(&words))
}

/// The most common mistakes, in words without YAML jargon.
fn plain_expectation(error: &serde_saphyr::Error) -> Option<&'static str> {
    use serde_saphyr::Error as E;
    match error {
        E::Unexpected { expected: "sequence start", .. } => {
            Some("a list is expected here; write each entry after `- `, on a line of its own")
        }
        E::Unexpected { expected: "string scalar", .. } => Some("text is expected here"),
        E::Unexpected { expected: "mapping start", .. } => {
            Some("`key: value` is expected here, as in `test: ./run-tests.sh`")
        }
        E::InvalidScalar { ty: "u32" | "u64", .. } => Some("a whole number is expected here"),
        E::InvalidScalar { ty: "f64", .. } => Some("a number is expected here"),
        _ => None,
    }
}

fn at_most<T>(list: &[Spanned<T>], max: usize, things: &str) -> Result<(), RepositoryFileError> {
    match list.get(max) {
        Some(first_too_many) => Err(invalid(first_too_many.referenced, format!("more than {max} {things}"))),
        None => Ok(()),
    }
}

fn command(entry: Spanned<String>) -> Result<String, RepositoryFileError> {
    let text = entry.value.trim();
    if text.is_empty() || text.len() > COMMAND_BYTES_MAX || text.contains('\0') {
        let problem = format!("this is not a shell command; write one of 1 to {COMMAND_BYTES_MAX} bytes");
        return Err(invalid(entry.referenced, problem));
    }
    Ok(text.to_owned())
}

fn command_pattern(entry: Spanned<String>) -> Result<CommandPattern, RepositoryFileError> {
    entry.value.parse().map_err(|problem| {
        let shown: String = entry.value.chars().take(120).collect();
        invalid(entry.referenced, format!("{shown:?} is not a command pattern: {problem}"))
    })
}

fn image(entry: Spanned<String>) -> Result<String, RepositoryFileError> {
    if !is_image_reference(&entry.value) {
        let shown: String = entry.value.chars().take(120).collect();
        let problem =
            format!("{shown:?} is not an image reference; write one as \"registry.example/team/image:tag\"");
        return Err(invalid(entry.referenced, problem));
    }
    Ok(entry.value)
}

fn host(entry: Spanned<String>) -> Result<String, RepositoryFileError> {
    match host_name_problem(&entry.value) {
        None => Ok(entry.value.to_ascii_lowercase()),
        Some(problem) => {
            let shown: String = entry.value.chars().take(120).collect();
            Err(invalid(entry.referenced, format!("{shown:?} {problem}")))
        }
    }
}

fn glob(entry: Spanned<String>) -> Result<String, RepositoryFileError> {
    match Glob::new(&entry.value) {
        Ok(_) if !entry.value.is_empty() => Ok(entry.value),
        Ok(_) => Err(invalid(entry.referenced, "this glob is empty and matches nothing")),
        Err(error) => {
            let problem = format!(
                "{:?} is not a glob ({}); write for example \"src/**/*.sql\"",
                entry.value,
                error.kind()
            );
            Err(invalid(entry.referenced, problem))
        }
    }
}

fn minutes(entry: Option<Spanned<u64>>, max: u64) -> Result<Option<Duration>, RepositoryFileError> {
    let Some(entry) = entry else { return Ok(None) };
    if !(1..=max).contains(&entry.value) {
        return Err(invalid(entry.referenced, format!("{} is not from 1 to {max} minutes", entry.value)));
    }
    Ok(Some(Duration::from_secs(entry.value * 60)))
}

fn turns(entry: Spanned<u32>) -> Result<u32, RepositoryFileError> {
    if entry.value == 0 {
        return Err(invalid(entry.referenced, "a job needs turns; write 1 or more"));
    }
    Ok(entry.value)
}

fn usd(entry: Spanned<f64>) -> Result<f64, RepositoryFileError> {
    if !entry.value.is_finite() || entry.value <= 0.0 {
        return Err(invalid(
            entry.referenced,
            format!("{} is not an amount; write dollars above 0", entry.value),
        ));
    }
    Ok(entry.value)
}

fn instructions(entry: Spanned<String>) -> Result<String, RepositoryFileError> {
    let bytes = entry.value.len();
    if bytes > INSTRUCTIONS_BYTES_MAX {
        let problem =
            format!("the instructions have {bytes} bytes; at most {INSTRUCTIONS_BYTES_MAX} are read");
        return Err(invalid(entry.referenced, problem));
    }
    Ok(entry.value)
}

#[cfg(test)]
mod tests;
