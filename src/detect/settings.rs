//! A job's settings: the operator's limits, what the base branch's `.github/agent-fix.yml` says, and
//! what detection finds where neither the file nor the command line says anything.

use super::{Detected, DetectedEnvironment, NothingDetected, RootListing, SkippedSource, detect};
use crate::config::{RepositoryFile, RepositoryFileError};
use crate::domain::{Budget, FROM_THE_COMMAND_LINE, JobSettings, TEST_TIMEOUT_DEFAULT};

/// Why a job has no settings. The messages are for the repository's maintainers.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The repository file cannot be used.
    #[error(transparent)]
    File(#[from] RepositoryFileError),
    /// Nobody wrote a test command, and none was detected.
    #[error(transparent)]
    NoTestCommand(#[from] Box<NothingDetected>),
}

/// The settings of a job. `file` is the text of the repository file, if there is one;
/// `given_test_command` is from the command line and takes precedence over everything.
pub fn job_settings(
    operator: &Budget,
    file: Option<&str>,
    root: &RootListing,
    given_test_command: Option<&str>,
) -> Result<JobSettings, SettingsError> {
    let file = file.map(RepositoryFile::parse).transpose()?.unwrap_or_default();
    settings_with_file(operator, file, root, given_test_command)
}

/// As [`job_settings`], with a file that was read already.
pub fn settings_with_file(
    operator: &Budget,
    mut file: RepositoryFile,
    root: &RootListing,
    given_test_command: Option<&str>,
) -> Result<JobSettings, SettingsError> {
    let written_test = file.test_command.take();
    file.test_command = given_test_command.map(str::to_owned).or(written_test);
    let mut environment = apply_file(&file, detect(root)).map_err(Box::new)?;
    if given_test_command.is_some() {
        environment.test.source = FROM_THE_COMMAND_LINE.to_owned();
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
        budget: file.lower(operator),
        setup_files: file.setup_files,
        commands: file.commands,
        agent_hosts: file.agent_hosts,
        protected_paths: file.protected_paths,
        test_paths: file.test_paths,
        proof_required: !file.proof_waived,
        mutants: !file.mutants_disabled,
        instructions: file.instructions,
    })
}

/// What was detected, with what the file says in its place.
pub fn apply_file(
    file: &RepositoryFile,
    detected: Result<DetectedEnvironment, NothingDetected>,
) -> Result<DetectedEnvironment, NothingDetected> {
    let source = format!("`{}`", file.path());
    let written = |value: &String| Detected { value: value.clone(), source: source.clone() };
    let mut environment = match (detected, &file.test_command) {
        (Ok(environment), _) => environment,
        (Err(nothing), Some(command)) => DetectedEnvironment {
            image: nothing.image,
            setup: nothing.setup,
            test: written(command),
            passed_over: nothing.passed_over,
            notes: Vec::new(),
        },
        (Err(mut nothing), None) => {
            nothing.image = file.image.as_ref().map(written).or(nothing.image);
            if let Some(commands) = &file.setup_commands {
                nothing.setup = commands.iter().map(written).collect();
            }
            return Err(nothing);
        }
    };
    let mut replaced: Vec<Detected<String>> = Vec::new();
    if let Some(command) = &file.test_command {
        replaced.push(std::mem::replace(&mut environment.test, written(command)));
    }
    if let Some(image) = &file.image {
        replaced.extend(environment.image.replace(written(image)));
    }
    if let Some(commands) = &file.setup_commands {
        let commands = commands.iter().map(written).collect();
        replaced.append(&mut std::mem::replace(&mut environment.setup, commands));
    }
    let unused = replaced.into_iter().filter(|detected| detected.source != source).map(|detected| {
        let what = format!("`{}` (from {})", detected.value, detected.source);
        SkippedSource::new(what, format!("{} says otherwise", file.path()))
    });
    environment.passed_over.extend(unused);
    Ok(environment)
}
