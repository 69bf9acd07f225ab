//! A job's settings: the operator's limits, what the base branch's `.github/agent-fix.yml` says, and
//! what detection finds where neither the file nor the command line says anything.

use super::{Detected, DetectedEnvironment, NothingDetected, Plan, RootListing, SkippedSource, detect};
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

/// The settings of a job, one for each plan, most likely first; at least one. `file` is the text of the repository
/// file, if there is one; `given_test_command` is from the command line and takes precedence over everything.
pub fn job_settings(
    operator: &Budget,
    file: Option<&str>,
    root: &RootListing,
    given_test_command: Option<&str>,
) -> Result<Vec<JobSettings>, SettingsError> {
    let file = file.map(RepositoryFile::parse).transpose()?.unwrap_or_default();
    settings_with_file(operator, file, root, given_test_command)
}

/// As [`job_settings`], with a file that was read already.
pub fn settings_with_file(
    operator: &Budget,
    mut file: RepositoryFile,
    root: &RootListing,
    given_test_command: Option<&str>,
) -> Result<Vec<JobSettings>, SettingsError> {
    let written_test = file.test_command.take();
    file.test_command = given_test_command.map(str::to_owned).or(written_test);
    let mut environment = apply_file(&file, detect(root)).map_err(Box::new)?;
    if given_test_command.is_some() {
        let plans = &mut environment.alternatives;
        let tests = std::iter::once(&mut environment.test).chain(plans.iter_mut().map(|plan| &mut plan.test));
        tests.for_each(|test| test.source = FROM_THE_COMMAND_LINE.to_owned());
    }
    let (image, image_source) =
        environment.image.map_or((None, String::new()), |image| (Some(image.value), image.source));
    let detected = Plan { setup: environment.setup, test: environment.test };
    let settings = |plan: Plan| {
        let mut sources: Vec<String> = plan.setup.iter().map(|command| command.source.clone()).collect();
        sources.dedup();
        JobSettings {
            setup_detected: file.setup_commands.is_none() && !plan.setup.is_empty(),
            setup_commands: plan.setup.into_iter().map(|command| command.value).collect(),
            setup_source: sources.join(", "),
            setup_left_out: None,
            image: image.clone(),
            image_source: image_source.clone(),
            test_command: plan.test.value,
            test_command_source: plan.test.source,
            test_command_detected: file.test_command.is_none(),
            test_timeout: file.test_timeout.unwrap_or(TEST_TIMEOUT_DEFAULT),
            budget: file.lower(operator),
            setup_files: file.setup_files.clone(),
            commands: file.commands.clone(),
            agent_hosts: file.agent_hosts.clone(),
            protected_paths: file.protected_paths.clone(),
            test_paths: file.test_paths.clone(),
            proof_required: !file.proof_waived,
            mutants: !file.mutants_disabled,
            instructions: file.instructions.clone(),
        }
    };
    Ok(std::iter::once(detected).chain(environment.alternatives).map(settings).collect())
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
            // Without a setup that was only recognised.
            alternatives: vec![Plan { setup: Vec::new(), test: written(command) }],
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
    let written_setup: Option<Vec<_>> =
        file.setup_commands.as_ref().map(|commands| commands.iter().map(written).collect());
    let mut plans: Vec<Plan> =
        vec![Plan { setup: environment.setup.clone(), test: environment.test.clone() }];
    for plan in std::mem::take(&mut environment.alternatives) {
        let plan = Plan {
            setup: written_setup.clone().unwrap_or(plan.setup),
            test: file.test_command.as_ref().map_or(plan.test, written),
        };
        if !plans.iter().any(|known| known.runs_the_same_as(&plan)) {
            plans.push(plan);
        }
    }
    environment.alternatives = plans.split_off(1);
    let unused = replaced.into_iter().filter(|detected| detected.source != source).map(|detected| {
        let what = format!("`{}` (from {})", detected.value, detected.source);
        SkippedSource::new(what, format!("{} says otherwise", file.path()))
    });
    environment.passed_over.extend(unused);
    Ok(environment)
}
