//! `mendwright serve`

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::app::App;
use crate::config::{LogFormat, ServerConfig, environment};
use crate::telemetry::{self, LineFormat};

/// Runs the service until SIGINT or SIGTERM. Jobs under way then are put back, and go on from
/// their last checkpoint at the next start.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  mendwright serve --config /etc/mendwright/mendwright.toml")]
pub struct ServeArguments {
    /// The configuration; each key can also come from the environment (MENDWRIGHT_SECTION_KEY).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs the command. Answers with the exit code.
pub(super) async fn run(arguments: ServeArguments) -> anyhow::Result<i32> {
    let config = ServerConfig::load(&arguments.config, environment())?;
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
    let app = App::start(config).await?;
    println!("mendwright is listening on http://{}", app.address);
    tokio::select! {
        _ = terminate.recv() => info!("SIGTERM: shutting down"),
        _ = interrupt.recv() => info!("SIGINT: shutting down"),
    }
    app.shut_down().await;
    Ok(0)
}
