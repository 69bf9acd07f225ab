//! The repository's own configuration: `.github/agent-fix.yml` of the **base** branch, so that a
//! proposal can never change the rules it is judged by. It may narrow what the operator allows,
//! never widen it. The file is a stranger's: bounded, and never trusted to be small when expanded.

use std::time::Duration;

use globset::Glob;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::nearest;
use crate::detect::{
    Environment, Found, NothingDetected, PassedOver, RootListing, detect, yaml_options,
};
use crate::domain::{host_name_problem, is_image_reference};
use crate::domain::{Budget, CommandPattern, JobSettings, TEST_TIMEOUT_DEFAULT};

/// Where the file is.
pub const REPOSITORY_FILE: &str = ".github/agent-fix.yml";
/// Longer files are refused.
pub const REPOSITORY_FILE_BYTES_MAX: usize = 64 * 1024;

const TIMEOUT_MINUTES_MAX: u64 = 120;
const COMMAND_BYTES_MAX: usize = 4096;
const SETUP_COMMANDS_MAX: usize = 20;
const GLOBS_MAX: usize = 200;
const COMMANDS_MAX: usize = 50;
const INSTRUCTIONS_BYTES_MAX: usize = 16 * 1024;
const AGENT_HOSTS_MAX: usize = 20;

/// A repository configuration that cannot be used. The words are for the repository's people.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryConfigError {
    /// A place in the file is wrong.
    #[error("{REPOSITORY_FILE} line {line} column {column}: {problem}")]
    Wrong {
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// The file is too long.
    #[error("{REPOSITORY_FILE} has {bytes} bytes; at most {REPOSITORY_FILE_BYTES_MAX} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Nobody wrote a test command down and none was found.
    #[error(transparent)]
    NoTestCommand(#[from] Box<NothingDetected>),
}

/// The file, read and checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RepositoryFile {
    /// `test`
    pub test_command: Option<String>,
    /// `setup`; `None`: the file does not say, which is not the same as saying that there is none.
    pub setup_commands: Option<Vec<String>>,
    /// `image`
    pub image: Option<String>,
    /// `commands`: what the agent may run beside the tests.
    pub commands: Vec<CommandPattern>,
    /// `network.hosts`: what the agent and its tests may reach.
    pub agent_hosts: Vec<String>,
    /// `timeout_minutes`
    pub test_timeout: Option<Duration>,
    /// `protected_paths`
    pub protected_paths: Vec<String>,
    /// `test_paths`
    pub test_paths: Vec<String>,
    /// `proof`: required unless waived.
    pub proof_waived: bool,
    /// `rounds.checks`: whether a failing check of others on a draft pull request starts a round of
    /// changes.
    pub revises_on_failed_checks: bool,
    /// `publish`: whether a verified change is held back until somebody says that it may go out.
    pub requires_approval: bool,
    /// `budget.turns`
    pub turns_max: Option<u32>,
    /// `budget.usd`
    pub usd_max: Option<f64>,
    /// `budget.minutes`
    pub time_max: Option<Duration>,
    /// `instructions`: what the agent should know about working here.
    pub instructions: Option<String>,
}

/// A job's settings, from the operator's limits, the base branch's file (`None`: there is none)
/// and, for what neither it nor the command line names, what detection finds.
pub fn resolve(
    operator: &Budget,
    file: Option<&str>,
    root: &RootListing,
    given_test_command: Option<&str>,
) -> Result<JobSettings, RepositoryConfigError> {
    let mut file = file.map(RepositoryFile::parse).transpose()?.unwrap_or_default();
    let written_test = file.test_command.take();
    file.test_command = given_test_command.map(str::to_owned).or(written_test);
    let mut environment = file.over(detect(root)).map_err(Box::new)?;
    if given_test_command.is_some() {
        environment.test.source = "the command line".to_owned();
    }
    let mut sources: Vec<String> = environment.setup.iter().map(|command| command.source.clone()).collect();
    sources.dedup();
    let (image, image_source) =
        environment.image.map_or((None, String::new()), |image| (Some(image.value), image.source));
    Ok(JobSettings {
        setup_detected: file.setup_commands.is_none() && !environment.setup.is_empty(),
        setup_commands: environment.setup.into_iter().map(|command| command.value).collect(),
        setup_source: sources.join(", "),
        image,
        image_source,
        test_command: environment.test.value,
        test_command_source: environment.test.source,
        test_timeout: file.test_timeout.unwrap_or(TEST_TIMEOUT_DEFAULT),
        budget: file.lowered(operator),
        commands: file.commands,
        agent_hosts: file.agent_hosts,
        protected_paths: file.protected_paths,
        test_paths: file.test_paths,
        proof_required: !file.proof_waived,
        instructions: file.instructions,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    test: Option<Spanned<String>>,
    setup: Option<Vec<Spanned<String>>>,
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
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, RepositoryConfigError> {
        if text.len() > REPOSITORY_FILE_BYTES_MAX {
            return Err(RepositoryConfigError::TooLong { bytes: text.len() });
        }
        // A file of comments only, or an empty one, says nothing.
        let raw: Option<Raw> =
            serde_saphyr::from_str_with_options(text, yaml_options()).map_err(|error| explained(&error))?;
        let raw = raw.unwrap_or_default();
        at_most(raw.setup.as_deref().unwrap_or_default(), SETUP_COMMANDS_MAX, "commands")?;
        at_most(&raw.commands, COMMANDS_MAX, "commands")?;
        at_most(&raw.network.hosts, AGENT_HOSTS_MAX, "hosts")?;
        at_most(&raw.protected_paths, GLOBS_MAX, "globs")?;
        at_most(&raw.test_paths, GLOBS_MAX, "globs")?;
        Ok(Self {
            test_command: raw.test.map(command).transpose()?,
            setup_commands: raw
                .setup
                .map(|commands| commands.into_iter().map(command).collect::<Result<_, _>>())
                .transpose()?,
            image: raw.image.map(image).transpose()?,
            commands: raw.commands.into_iter().map(command_pattern).collect::<Result<_, _>>()?,
            agent_hosts: raw.network.hosts.into_iter().map(host).collect::<Result<_, _>>()?,
            test_timeout: minutes(raw.timeout_minutes, TIMEOUT_MINUTES_MAX)?,
            protected_paths: raw.protected_paths.into_iter().map(glob).collect::<Result<_, _>>()?,
            test_paths: raw.test_paths.into_iter().map(glob).collect::<Result<_, _>>()?,
            proof_waived: raw.proof == Some(RawProof::Waived),
            revises_on_failed_checks: raw.rounds.checks,
            requires_approval: raw.publish == Some(RawPublish::Hold),
            turns_max: raw.budget.turns.map(turns).transpose()?,
            usd_max: raw.budget.usd.map(usd).transpose()?,
            time_max: minutes(raw.budget.minutes, u64::from(u32::MAX))?,
            instructions: raw.instructions.map(instructions).transpose()?,
        })
    }

    /// What was detected, with what the file says in its place.
    pub fn over(
        &self,
        detected: Result<Environment, NothingDetected>,
    ) -> Result<Environment, NothingDetected> {
        let written = |value: &String| Found { value: value.clone(), source: format!("`{REPOSITORY_FILE}`") };
        let mut environment = match (detected, &self.test_command) {
            (Ok(environment), _) => environment,
            (Err(nothing), Some(command)) => Environment {
                image: nothing.image,
                setup: nothing.setup,
                test: written(command),
                passed_over: nothing.passed_over,
                notes: Vec::new(),
            },
            (Err(mut nothing), None) => {
                nothing.image = self.image.as_ref().map(written).or(nothing.image);
                if let Some(commands) = &self.setup_commands {
                    nothing.setup = commands.iter().map(written).collect();
                }
                return Err(nothing);
            }
        };
        let mut replaced: Vec<Found<String>> = Vec::new();
        if let Some(command) = &self.test_command {
            replaced.push(std::mem::replace(&mut environment.test, written(command)));
        }
        if let Some(image) = &self.image {
            replaced.extend(environment.image.replace(written(image)));
        }
        if let Some(commands) = &self.setup_commands {
            let commands = commands.iter().map(written).collect();
            replaced.append(&mut std::mem::replace(&mut environment.setup, commands));
        }
        let file = format!("`{REPOSITORY_FILE}`");
        environment.passed_over.extend(replaced.into_iter().filter(|found| found.source != file).map(
            |found| {
                let what = format!("`{}` (from {})", found.value, found.source);
                PassedOver { what, why: format!("{REPOSITORY_FILE} says otherwise") }
            },
        ));
        Ok(environment)
    }

    /// The operator's limits, lowered where the file asks for less. A higher number changes
    /// nothing, so that the operator can lower theirs without breaking anybody's file.
    fn lowered(&self, operator: &Budget) -> Budget {
        Budget {
            turns_max: self.turns_max.map_or(operator.turns_max, |max| max.min(operator.turns_max)),
            tool_calls_max: operator.tool_calls_max,
            tokens_max: operator.tokens_max,
            usd_max: self.usd_max.map_or(operator.usd_max, |max| max.min(operator.usd_max)),
            time_max: self.time_max.map_or(operator.time_max, |max| max.min(operator.time_max)),
        }
    }
}

fn wrong(at: Location, problem: impl Into<String>) -> RepositoryConfigError {
    RepositoryConfigError::Wrong { line: at.line(), column: at.column(), problem: problem.into() }
}

fn explained(error: &serde_saphyr::Error) -> RepositoryConfigError {
    let error = error.without_snippet();
    let at = error.location().unwrap_or(Location::UNKNOWN);
    if let serde_saphyr::Error::SerdeUnknownField { field, expected, .. } = error {
        let help = match nearest(field, expected) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known here: {}", expected.join(", ")),
        };
        return wrong(at, format!("unknown key `{field}`; {help}"));
    }
    if let Some(expected) = plain_expectation(error) {
        return wrong(at, expected);
    }
    let words = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let place = format!(" at line {}, column {}", at.line(), at.column());
    wrong(at, words.strip_suffix(&place).unwrap_or(&words))
}

/// The commonest mistakes, for people who do not know what a scalar is.
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

fn at_most<T>(list: &[Spanned<T>], max: usize, things: &str) -> Result<(), RepositoryConfigError> {
    match list.get(max) {
        Some(first_too_many) => Err(wrong(first_too_many.referenced, format!("more than {max} {things}"))),
        None => Ok(()),
    }
}

fn command(given: Spanned<String>) -> Result<String, RepositoryConfigError> {
    let text = given.value.trim();
    if text.is_empty() || text.len() > COMMAND_BYTES_MAX || text.contains('\0') {
        let problem = format!("this is no shell command; write one of 1 to {COMMAND_BYTES_MAX} bytes");
        return Err(wrong(given.referenced, problem));
    }
    Ok(text.to_owned())
}

fn command_pattern(given: Spanned<String>) -> Result<CommandPattern, RepositoryConfigError> {
    given.value.parse().map_err(|problem| {
        let shown: String = given.value.chars().take(120).collect();
        wrong(given.referenced, format!("{shown:?} is no pattern of a command: {problem}"))
    })
}

fn image(given: Spanned<String>) -> Result<String, RepositoryConfigError> {
    if !is_image_reference(&given.value) {
        let shown: String = given.value.chars().take(120).collect();
        let problem =
            format!("{shown:?} is no image reference; write one as \"registry.example/team/image:tag\"");
        return Err(wrong(given.referenced, problem));
    }
    Ok(given.value)
}

fn host(given: Spanned<String>) -> Result<String, RepositoryConfigError> {
    match host_name_problem(&given.value) {
        None => Ok(given.value.to_ascii_lowercase()),
        Some(problem) => {
            let shown: String = given.value.chars().take(120).collect();
            Err(wrong(given.referenced, format!("{shown:?} {problem}")))
        }
    }
}

fn glob(given: Spanned<String>) -> Result<String, RepositoryConfigError> {
    match Glob::new(&given.value) {
        Ok(_) if !given.value.is_empty() => Ok(given.value),
        Ok(_) => Err(wrong(given.referenced, "this glob is empty and matches nothing")),
        Err(error) => {
            let problem = format!(
                "{:?} is no glob ({}); write for example \"src/**/*.sql\"",
                given.value,
                error.kind()
            );
            Err(wrong(given.referenced, problem))
        }
    }
}

fn minutes(given: Option<Spanned<u64>>, max: u64) -> Result<Option<Duration>, RepositoryConfigError> {
    let Some(given) = given else { return Ok(None) };
    if !(1..=max).contains(&given.value) {
        return Err(wrong(given.referenced, format!("{} is not from 1 to {max} minutes", given.value)));
    }
    Ok(Some(Duration::from_secs(given.value * 60)))
}

fn turns(given: Spanned<u32>) -> Result<u32, RepositoryConfigError> {
    if given.value == 0 {
        return Err(wrong(given.referenced, "a job without turns can do nothing; write 1 or more"));
    }
    Ok(given.value)
}

fn usd(given: Spanned<f64>) -> Result<f64, RepositoryConfigError> {
    if !given.value.is_finite() || given.value <= 0.0 {
        return Err(wrong(given.referenced, format!("{} is no amount; write dollars above 0", given.value)));
    }
    Ok(given.value)
}

fn instructions(given: Spanned<String>) -> Result<String, RepositoryConfigError> {
    let bytes = given.value.len();
    if bytes > INSTRUCTIONS_BYTES_MAX {
        let problem =
            format!("the instructions have {bytes} bytes; at most {INSTRUCTIONS_BYTES_MAX} are read");
        return Err(wrong(given.referenced, problem));
    }
    Ok(given.value)
}

#[cfg(test)]
mod tests;
