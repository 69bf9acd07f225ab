//! The sandbox: as configured, tried, and kept tidy.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{SandboxConfig, SetupConfig, Toolchains};
use crate::sandbox::{
    CacheLimits, DockerOptions, Limits, Root, Sandbox, SandboxOptions, SandboxSpec, connect,
    detect_toolchains,
};
use crate::setup::SetupPolicy;

/// How often is looked for what sandboxes left behind.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// The configured sandbox, without what predecessors left of it, tried once: a job must not be the
/// first to find out that it cannot be had.
pub async fn sandbox(config: &SandboxConfig, data_dir: &Path) -> anyhow::Result<Arc<dyn Sandbox>> {
    let sandbox = connect(&sandbox_options(config, data_dir)?)?;
    let removed = sandbox.sweep().await?;
    if removed > 0 {
        info!(removed, "removed what earlier processes had left of their sandboxes");
    }
    let description = try_one(sandbox.as_ref(), config).await?;
    info!(sandbox = description, "the sandbox works");
    Ok(sandbox)
}

/// Tries the configured sandbox beside a service that may be running: leaves everything as it is.
/// Answers with its description.
pub async fn try_sandbox(config: &SandboxConfig, data_dir: &Path) -> anyhow::Result<String> {
    let sandbox = connect(&sandbox_options(config, data_dir)?)?;
    try_one(sandbox.as_ref(), config).await
}

async fn try_one(sandbox: &dyn Sandbox, config: &SandboxConfig) -> anyhow::Result<String> {
    let spec = SandboxSpec { label: "probe".to_owned(), ..sandbox_spec(config) };
    let probe = sandbox.start(&spec).await?;
    let description = probe.description().to_owned();
    probe.shut_down().await;
    Ok(description)
}

/// Removes what sandboxes leave behind, now and then, until `shutdown`.
pub(super) fn tidy(
    sandbox: Arc<dyn Sandbox>,
    bounds: CacheLimits,
    shutdown: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match sandbox.sweep().await {
                Ok(0) => {}
                Ok(swept) => info!(swept, "removed what earlier sandboxes left behind"),
                Err(error) => warn!(%error, "what earlier sandboxes left behind could not be removed"),
            }
            match sandbox.evict(&bounds).await {
                Ok(evicted) if evicted.is_empty() => {}
                Ok(evicted) => info!(count = evicted.len(), "evicted what set-ups made"),
                Err(error) => warn!(%error, "what set-ups made could not be evicted"),
            }
            tokio::select! {
                () = tokio::time::sleep(TIDY_EVERY) => {}
                () = shutdown.cancelled() => return,
            }
        }
    })
}

pub(super) fn setup_policy(config: &SetupConfig) -> SetupPolicy {
    SetupPolicy {
        allowed_hosts: config.allowed_hosts.clone(),
        variables: config.variables.clone(),
        images: config.images.clone(),
        egress_bytes_max: config.egress_bytes_max,
        commands: config.commands,
        kept: CacheLimits {
            count_max: config.kept_count_max,
            bytes_max: config.kept_bytes_max,
            age_max: config.kept_age_max,
        },
        network_for_proposals: config.network_for_proposals,
        repository: None,
    }
}

fn sandbox_options(config: &SandboxConfig, data_dir: &Path) -> anyhow::Result<SandboxOptions> {
    let state_dir = absolute(data_dir)?.join("sandbox");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&state_dir)
        .with_context(|| format!("the directory {} cannot be made", state_dir.display()))?;
    Ok(SandboxOptions {
        kind: config.kind,
        owner: owner(&state_dir)?,
        state_dir,
        docker: DockerOptions {
            socket: config.engine.socket.clone(),
            runtime: config.engine.runtime.clone(),
            userns: config.engine.userns.clone(),
        },
    })
}

/// What this data directory's containers are signed with, from its first start on.
fn owner(state_dir: &Path) -> anyhow::Result<String> {
    let path = state_dir.join("owner");
    let what = || format!("{} cannot be used", path.display());
    match std::fs::read_to_string(&path) {
        Ok(owner) if uuid::Uuid::try_parse(owner.trim()).is_ok() => return Ok(owner.trim().to_owned()),
        // Cut off by a full disk or a crash: what was signed with it is left to a person.
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(what),
    }
    let owner = uuid::Uuid::new_v4().to_string();
    std::fs::write(&path, &owner).with_context(what)?;
    Ok(owner)
}

/// What every job's sandbox must be.
pub fn sandbox_spec(config: &SandboxConfig) -> SandboxSpec {
    SandboxSpec {
        limits: Limits {
            memory_bytes_max: config.memory_bytes_max,
            pids_max: config.pids_max,
            cpu_millis_max: config.cpu_millis_max,
            disk_bytes_max: config.disk_bytes_max,
            open_files_max: config.open_files_max,
        },
        required: config.required.clone(),
        root: match &config.image {
            Some(image) => Root::Image(image.clone()),
            None => Root::Host {
                toolchains: match &config.toolchains {
                    Toolchains::Detect => detect_toolchains(),
                    Toolchains::Paths(paths) => paths.clone(),
                },
            },
        },
        ..SandboxSpec::named("job")
    }
}

pub(super) fn absolute(path: &Path) -> anyhow::Result<std::path::PathBuf> {
    std::path::absolute(path).with_context(|| format!("the path {} cannot be resolved", path.display()))
}
