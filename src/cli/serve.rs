//! `mendwright serve`: runs the service.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use url::Url;

use crate::app::{App, harden_process};
use crate::config::{ENVIRONMENT_PREFIX, ServerConfig, environment};
use crate::install::CredentialSink;
use crate::telemetry;

/// Run the service
///
/// Runs until SIGINT or SIGTERM. Jobs that are under way are then put back, and continue from their last
/// checkpoint at the next start.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  mendwright serve --config /etc/mendwright/mendwright.toml\n\n\
    `mendwright config` lists all keys of the file. Each can also be set by an environment variable\n\
    (MENDWRIGHT_SECTION_KEY).")]
pub struct ServeArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The address of GitHub Enterprise Server: https://HOST
    ///
    /// It is needed to register the App. Afterwards the stored credentials contain it.
    #[arg(long, value_name = "URL")]
    github_url: Option<Url>,
    /// Print the credentials of a newly registered App instead of storing them
    ///
    /// They go to standard output as environment variables, for a secret manager. Nothing is written to the
    /// data directory.
    #[arg(long)]
    print_credentials: bool,
}

/// Run the command. Returns the exit code.
pub(super) async fn run(arguments: ServeArguments) -> anyhow::Result<i32> {
    // Before any secret is read.
    harden_process();
    let config = ServerConfig::load(&arguments.config, environment().chain(enterprise(&arguments)))?;
    telemetry::init(config.log.filter.as_deref(), config.log.format)?;
    // What the service writes contains issues of private repositories: only its own account may read it.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sink = if arguments.print_credentials { CredentialSink::Print } else { CredentialSink::InDataDir };
    let app = App::start(config, sink).await?;
    println!("mendwright is listening on http://{}", app.address);
    if let Some(setup_url) = &app.setup_url {
        println!("it has no GitHub App yet; open this page to register one: {setup_url}");
        // Operators of a container look in the log. The token in the address works once.
        warn!(%setup_url, "there is no GitHub App yet; open this page to register one");
    }
    tokio::select! {
        _ = terminate.recv() => info!("SIGTERM: shutting down"),
        _ = interrupt.recv() => info!("SIGINT: shutting down"),
    }
    app.shut_down().await;
    Ok(0)
}

/// The settings that `--github-url` stands for.
fn enterprise(arguments: &ServeArguments) -> Vec<(String, String)> {
    let Some(url) = &arguments.github_url else { return Vec::new() };
    let web = url.as_str().trim_end_matches('/');
    let variable = |name: &str, value: String| (format!("{ENVIRONMENT_PREFIX}{name}"), value);
    vec![variable("GITHUB_API_URL", format!("{web}/api/v3")), variable("GITHUB_WEB_URL", format!("{web}/"))]
}
