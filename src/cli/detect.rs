//! `mendwright detect`: shows what a job would detect in a repository. Reads the repository, and the package
//! managers' configuration of this machine. Runs nothing in it, unless `--try` is given: then in sandboxes.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::common_args::SandboxArguments;
use super::detect_try::{try_repository, without_control_characters};
use super::exit_code;
use crate::config::{REPOSITORY_FILE, RepositoryFiles, environment};
use crate::detect::{
    Detected, DetectedEnvironment, Explanation, HostSource, NothingDetected, Plan, ProposedHosts,
    RootListing, SkippedSource, UntestedProject, apply_file, detect, propose_hosts, repository_file_for,
    repository_host_files, worker_host_files,
};
use crate::domain::{CommandPattern, PlanResult};
use crate::workspace::{LocalRepository, WorkspaceError};

/// The largest configuration file of this machine that is read.
const WORKER_FILE_BYTES_MAX: u64 = 1 << 20;
/// The most files of one configuration directory.
const WORKER_FILES_MAX: usize = 50;

/// Show how a repository's tests are run, and why
///
/// Prints the test command, setup commands and image that a job would use, the file that each comes from,
/// what was not used, and the hosts that setup needs, as lock files and this machine's package managers name
/// them. Runs nothing without --try. Reads the commit of HEAD, as a job reads the base branch, or the files themselves
/// if the directory is not a git repository. Exit code 0: a test command was found, or with --try, its tests pass;
/// 3: none was found, or none reaches passing tests, and the text says what to write; 1: failed.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  mendwright detect --repo .\n  \
    mendwright detect --repo . --try --allow pypi.org --allow files.pythonhosted.org")]
pub struct DetectArguments {
    /// The repository: its work tree, or a bare repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Set the repository up and run its tests, in sandboxes, as a job does before it asks the model
    ///
    /// Tries one way after another until tests pass, shows what came of each, and ends with the file to commit.
    #[arg(long)]
    r#try: bool,
    #[command(flatten)]
    sandbox: SandboxArguments,
}

/// The object of `--json`.
#[derive(Debug, Serialize)]
struct DetectResult<'a> {
    repository: &'a str,
    found: bool,
    test: Option<&'a Detected<String>>,
    image: Option<&'a Detected<String>>,
    setup: &'a [Detected<String>],
    alternatives: &'a [Plan],
    passed_over: &'a [SkippedSource],
    notes: &'a [String],
    recognised: &'a [UntestedProject],
    hosts: &'a ProposedHosts,
    agent_hosts: &'a [String],
    commands: &'a [CommandPattern],
    operator_toml: Option<String>,
    repository_file: Option<String>,
    /// What an escalation would say, if nothing was found, or nothing that was tried can be used.
    message: Option<String>,
    /// The ways that were tried, with --try.
    #[serde(skip_serializing_if = "Option::is_none")]
    tried: Option<&'a [PlanResult]>,
}

/// The content of a repository that detection reads.
struct RepositoryContent {
    /// For people.
    name: String,
    listing: RootListing,
    files: RepositoryFiles,
    host_files: Vec<HostSource>,
}

/// Run the command. Returns the exit code.
pub(super) async fn run(arguments: &DetectArguments) -> anyhow::Result<i32> {
    let content = read_repository(&arguments.repo)?;
    let file = content.files.parse()?.unwrap_or_default();
    content.files.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
    let found = apply_file(&file, detect(&content.listing));
    let setup = match &found {
        Ok(found) => &found.setup,
        Err(nothing) => &nothing.setup,
    };
    let hosts = propose_hosts(setup, &content.host_files, &worker_sources(), environment());
    let explanation = Explanation {
        repository: &content.name,
        found: found.as_ref(),
        hosts: &hosts,
        agent_hosts: &file.agent_hosts,
        commands: &file.commands,
    };
    if !arguments.json {
        println!("{}", without_control_characters(explanation.to_string().trim_end()));
    }
    let mut result = detect_result(&explanation, setup);
    if arguments.r#try && found.is_ok() {
        let trial = try_repository(&arguments.repo, &arguments.sandbox).await?;
        if arguments.json {
            result.tried = Some(&trial.tried);
            result.repository_file = trial.repository_file.or(result.repository_file);
            result.message = trial.why;
            println!("{}", serde_json::to_string(&result)?);
        } else {
            let ending = match (trial.repository_file, trial.why) {
                (Some(file), None) => format!("What was used, as {REPOSITORY_FILE}\n\n{file}"),
                (Some(file), Some(why)) => {
                    format!("No way is good; the best one was: {why}\n\nIt, as {REPOSITORY_FILE}\n\n{file}")
                }
                (None, why) => format!("No way can be used: {}", why.unwrap_or_default()),
            };
            println!("\n{}", without_control_characters(ending.trim_end()));
        }
        let is_good = trial.tried.iter().any(|result| result.good);
        return Ok(if is_good { exit_code::SUCCESS } else { exit_code::OTHER_RESULT });
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&result)?);
    }
    Ok(if found.is_ok() { exit_code::SUCCESS } else { exit_code::OTHER_RESULT })
}

fn detect_result<'a>(explanation: &Explanation<'a>, setup: &'a [Detected<String>]) -> DetectResult<'a> {
    let hosts = explanation.hosts;
    let (found, nothing): (Option<&DetectedEnvironment>, Option<&NothingDetected>) =
        (explanation.found.ok(), explanation.found.err());
    let image = found.map(|found| &found.image).or(nothing.map(|nothing| &nothing.image));
    let passed_over = found.map(|found| &found.passed_over).or(nothing.map(|nothing| &nothing.passed_over));
    DetectResult {
        repository: explanation.repository,
        found: found.is_some(),
        test: found.map(|found| &found.test),
        image: image.and_then(Option::as_ref),
        setup,
        alternatives: found.map_or(&[], |found| &found.alternatives),
        passed_over: passed_over.map_or(&[], Vec::as_slice),
        notes: found.map_or(&[], |found| &found.notes),
        recognised: nothing.map_or(&[], |nothing| &nothing.recognised),
        hosts,
        agent_hosts: explanation.agent_hosts,
        commands: explanation.commands,
        operator_toml: (!hosts.hosts.is_empty()).then(|| hosts.as_toml()),
        repository_file: found.map(repository_file_for),
        message: nothing.map(ToString::to_string),
        tried: None,
    }
}

/// Reads through git if there is a repository, else from the disk.
fn read_repository(path: &Path) -> anyhow::Result<RepositoryContent> {
    if !path.is_dir() {
        bail!("--repo {}: not a directory; name a repository's work tree", path.display());
    }
    let Ok(repository) = LocalRepository::open(path) else {
        return read_directory(path).with_context(|| format!("--repo {}", path.display()));
    };
    let (commit, (listing, files, host_files)) = repository.read_head(|head| {
        let listing = head.listing()?;
        let files = head.repository_files()?;
        let mut host_files = Vec::new();
        for (path, bytes_max) in repository_host_files(&listing) {
            host_files.extend(head.file(&path, bytes_max)?.map(|bytes| host_source(path, bytes)));
        }
        Ok::<_, WorkspaceError>((listing, files, host_files))
    })?;
    let location = repository.git_dir.display().to_string();
    let location = location.trim_end_matches('/').trim_end_matches("/.git");
    let branch = if repository.head == commit.to_string() { "detached" } else { &repository.head };
    Ok(RepositoryContent {
        name: format!("{location} at {} ({branch})", commit.short()),
        listing,
        files,
        host_files,
    })
}

fn read_directory(root: &Path) -> io::Result<RepositoryContent> {
    let names = |directory: &str| -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(root.join(directory)) {
            Ok(entries) => entries,
            Err(error) if directory.is_empty() => return Err(error),
            Err(_) => return Ok(Vec::new()),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != ".git" && !kind.is_symlink() {
                names.push(if kind.is_dir() { format!("{name}/") } else { name });
            }
        }
        names.sort();
        Ok(names)
    };
    let listing = RootListing::read(names, |path, bytes_max| read_file(&root.join(path), bytes_max))?;
    let files = RepositoryFiles::read(names, |path| read_file(&root.join(path), WORKER_FILE_BYTES_MAX))?;
    let mut host_files = Vec::new();
    for (path, bytes_max) in repository_host_files(&listing) {
        host_files.extend(read_file(&root.join(&path), bytes_max)?.map(|bytes| host_source(path, bytes)));
    }
    let location = fs::canonicalize(root)?;
    Ok(RepositoryContent {
        name: format!("{} (no git repository: its files as they are)", location.display()),
        listing,
        files,
        host_files,
    })
}

fn host_source(path: String, bytes: Vec<u8>) -> HostSource {
    HostSource { path, text: String::from_utf8_lossy(&bytes).into_owned() }
}

/// The bytes of a regular file; `None`: there is none, or it has more than `bytes_max`.
fn read_file(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= bytes_max).then_some(bytes))
}

/// The package managers' configuration on this machine, as far as this user can read it.
fn worker_sources() -> Vec<HostSource> {
    let home = environment().find(|(name, _)| name == "HOME").map(|(_, value)| value);
    let mut paths = Vec::new();
    for path in worker_host_files(home.as_deref()) {
        match fs::read_dir(&path) {
            Ok(entries) => {
                let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
                inside.sort();
                paths.extend(inside.into_iter().take(WORKER_FILES_MAX));
            }
            Err(_) => paths.push(path),
        }
    }
    let source = |path: PathBuf| {
        // A configuration file is often a symbolic link.
        let real = fs::canonicalize(&path).ok()?;
        let bytes = read_file(&real, WORKER_FILE_BYTES_MAX).ok().flatten()?;
        Some(host_source(path.display().to_string(), bytes))
    };
    paths.into_iter().filter_map(source).collect()
}
