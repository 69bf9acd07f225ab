//! `mendwright emulate`: runs the emulated GitHub, and a scripted model if one is given, as a process of its
//! own, so that the service can be run, killed and restarted against it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use mendwright_emulator::github::{
    EmulatedGitHub, EmulatorOptions, EmulatorSeed, FaultRule, RepositorySource,
};
use mendwright_emulator::model::{Conversation, EmulatedProvider, Provider};

/// The owner of an imported repository: the demo's administrator.
const OWNER: &str = "octo-maintainer";

/// Emulate GitHub, and optionally a model provider, as a process of its own
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  mendwright emulate --listen 127.0.0.1:8790 --repo ./fixture \\
      --webhook-url http://127.0.0.1:8080/webhooks/github

The first line on standard output is one JSON object with the addresses and the App's id, private
key and webhook secret. With --conversation it also has the scripted model's name and addresses, one
for each wire format (fixtures/conversations has such files). Then, for example:
  curl -X POST 127.0.0.1:8790/_emulator/issues -d '{\"title\":\"Bug\",\"body\":\"…\",\"by\":\"octo-reader\"}'
  curl -X POST 127.0.0.1:8790/_emulator/issues/1/labels \\
      -d '{\"label\":\"agent-fix\",\"by\":\"octo-maintainer\"}'
  curl 127.0.0.1:8790/_emulator/state")]
pub struct EmulateArguments {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8790")]
    pub listen: SocketAddr,
    /// Start with the repository and the issues of a demo scenario
    #[arg(long, value_name = "NAME", conflicts_with = "repo")]
    pub scenario: Option<String>,
    /// Start with this git repository or plain directory
    #[arg(long, value_name = "DIR")]
    pub repo: Option<PathBuf>,
    /// The address for webhooks; PUT /_emulator/webhook sets it later
    #[arg(long, value_name = "URL")]
    pub webhook_url: Option<Url>,
    /// Append each REST exchange to this file, one JSON object a line, without secrets
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Keep the bare repositories here instead of in a temporary directory
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Inject these faults from the start
    ///
    /// The file is a JSON list of what POST /_emulator/faults takes, such as
    /// [{"method": "POST", "path": "/pulls$", "fault": {"first": "suspend"}}]
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Also emulate a model provider, whose model says what this file contains
    #[arg(long, value_name = "FILE")]
    pub conversation: Option<PathBuf>,
}

/// Run the emulator until SIGINT or SIGTERM. `seeds` are the known scenarios.
pub async fn run(arguments: EmulateArguments, seeds: &[EmulatorSeed]) -> anyhow::Result<()> {
    // Both handlers are installed before the address is printed, so that no signal is lost.
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let seed = arguments.scenario.as_deref().map(|name| find_seed(seeds, name)).transpose()?;
    let provider = match &arguments.conversation {
        Some(file) => Some(scripted(file).await?),
        None => None,
    };
    let temporary = tempfile::tempdir().context("a temporary directory cannot be created")?;
    let emulator = EmulatedGitHub::start(EmulatorOptions {
        listen: arguments.listen,
        record: arguments.record,
        webhook_url: arguments.webhook_url,
        ..EmulatorOptions::new(arguments.data_dir.unwrap_or_else(|| temporary.path().to_owned()))
    })
    .await?;
    let git = match (seed, &arguments.repo) {
        (Some(seed), _) => emulator.add_seed(seed)?,
        (None, Some(directory)) => {
            let name = format!("{OWNER}/{}", repository_name(directory)?);
            emulator.add_repository(&name, RepositorySource::Path(directory))?
        }
        (None, None) => {
            let files = [("README.md".to_owned(), b"# An empty demo\n".to_vec())];
            emulator.add_repository(&format!("{OWNER}/demo"), RepositorySource::Files(&files))?
        }
    };
    for rule in arguments.faults.as_deref().map(faults).transpose()?.into_iter().flatten() {
        emulator.inject_fault(rule)?;
    }
    announce(&emulator, &git, provider.as_ref())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    emulator.shut_down().await;
    if let Some((_, provider)) = provider {
        provider.violations().iter().for_each(|violation| eprintln!("mendwright: the model: {violation}"));
        provider.shut_down().await;
    }
    Ok(())
}

fn faults(file: &Path) -> anyhow::Result<Vec<FaultRule>> {
    let text = std::fs::read(file).with_context(|| format!("--faults {}: cannot be read", file.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("--faults {}: not a list of faults", file.display()))
}

/// A model provider on a free port, and its model's name.
async fn scripted(file: &Path) -> anyhow::Result<(String, EmulatedProvider)> {
    let conversation = Conversation::load(file)?;
    let name = conversation.model.clone();
    let provider = EmulatedProvider::start(SocketAddr::from(([127, 0, 0, 1], 0)), conversation)
        .await
        .context("the emulated model provider cannot listen on loopback")?;
    Ok((name, provider))
}

fn find_seed<'a>(seeds: &'a [EmulatorSeed], name: &str) -> anyhow::Result<&'a EmulatorSeed> {
    seeds.iter().find(|seed| seed.name == name).with_context(|| {
        let names: Vec<&str> = seeds.iter().map(|seed| seed.name.as_str()).collect();
        format!("unknown scenario {name:?}; the scenarios are {}", names.join(", "))
    })
}

/// The directory's name, with `-` for every character that a repository's name cannot have.
fn repository_name(directory: &Path) -> anyhow::Result<String> {
    let whole = directory
        .canonicalize()
        .with_context(|| format!("--repo {}: there is no such directory", directory.display()))?;
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(".git").unwrap_or(&name);
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(allowed).collect();
    Ok(if name.trim_matches('.').is_empty() { "repository".to_owned() } else { name })
}

fn announce(
    emulator: &EmulatedGitHub,
    git: &Url,
    provider: Option<&(String, EmulatedProvider)>,
) -> anyhow::Result<()> {
    let credentials = emulator.credentials();
    let admin = emulator.url().join("_emulator/")?;
    let model = provider.map(|(name, provider)| {
        let mut model = json!({"name": name});
        for format in Provider::ALL {
            model[format.name()] = json!(provider.url_for(format));
        }
        model
    });
    let line = json!({
        "model": model,
        "web": emulator.url(),
        "api": emulator.api_url(),
        "git": git,
        "admin": admin,
        "repository": git.path().trim_start_matches('/').trim_end_matches(".git"),
        "app": {
            "app_id": credentials.app_id,
            "slug": credentials.slug,
            "client_id": credentials.client_id,
            "installation_id": credentials.installation_id,
            "private_key_pem": credentials.private_key_pem.expose_secret(),
            "webhook_secret": credentials.webhook_secret.expose_secret(),
        },
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output cannot be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_scenario_is_an_error_that_lists_the_known_ones() {
        let seed = |name: &str| EmulatorSeed {
            name: name.to_owned(),
            repository: "o/r".to_owned(),
            files: Vec::new(),
            issues: Vec::new(),
        };
        let error = find_seed(&[seed("fix"), seed("proof")], "fox").unwrap_err();
        insta::assert_snapshot!(error, @r#"unknown scenario "fox"; the scenarios are fix, proof"#);
    }

    #[test]
    fn directory_name_with_special_characters_becomes_a_valid_repository_name() {
        let parent = tempfile::tempdir().unwrap();
        let odd = parent.path().join("my project (old).git");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(repository_name(&odd).unwrap(), "my-project--old-");
        assert!(repository_name(&parent.path().join("missing")).is_err());
    }
}
