//! `mendwright serve`

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use url::Url;

use crate::app::App;
use crate::config::{ENVIRONMENT_PREFIX, LogFormat, ServerConfig, environment};
use crate::install::CredentialSink;
use crate::telemetry::{self, LineFormat};

/// Runs the service until SIGINT or SIGTERM. Jobs under way then are put back, and go on from
/// their last checkpoint at the next start.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  mendwright serve --config /etc/mendwright/mendwright.toml")]
pub struct ServeArguments {
    /// The configuration; each key can also come from the environment (MENDWRIGHT_SECTION_KEY).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where GitHub is, for GitHub Enterprise Server: https://HOST. Once the App is registered, its
    /// stored credentials know.
    #[arg(long, value_name = "URL")]
    github_url: Option<Url>,
    /// Print the credentials of an App registered on the set-up page to standard output, as
    /// environment variables for a secret manager, instead of storing them in the data directory.
    #[arg(long)]
    print_credentials: bool,
}

/// Runs the command. Answers with the exit code.
pub(super) async fn run(arguments: ServeArguments) -> anyhow::Result<i32> {
    let config = ServerConfig::load(&arguments.config, environment().chain(enterprise(&arguments)))?;
    let format = match config.log.format {
        LogFormat::Auto => None,
        LogFormat::Human => Some(LineFormat::Human),
        LogFormat::Json => Some(LineFormat::Json),
    };
    telemetry::init(config.log.filter.as_deref(), format)?;
    // Issues of private repositories are in what we write: it is for our own account only.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let keep = if arguments.print_credentials { CredentialSink::Print } else { CredentialSink::InDataDir };
    let app = App::start(config, keep).await?;
    println!("mendwright is listening on http://{}", app.address);
    if let Some(invitation) = &app.invitation {
        println!("it has no GitHub App yet; open this page to register one: {invitation}");
        // The log is where operators of a container look; the token in it works once.
        warn!(%invitation, "there is no GitHub App yet; open this page to register one");
    }
    tokio::select! {
        _ = terminate.recv() => info!("SIGTERM: shutting down"),
        _ = interrupt.recv() => info!("SIGINT: shutting down"),
    }
    app.shut_down().await;
    Ok(0)
}

/// `--github-url` as the two addresses that the configuration has for it.
fn enterprise(arguments: &ServeArguments) -> Vec<(String, String)> {
    let Some(url) = &arguments.github_url else { return Vec::new() };
    let web = url.as_str().trim_end_matches('/');
    let variable = |name: &str, value: String| (format!("{ENVIRONMENT_PREFIX}{name}"), value);
    vec![variable("GITHUB_API_URL", format!("{web}/api/v3")), variable("GITHUB_WEB_URL", format!("{web}/"))]
}
