//! The sandbox: connected as configured, tried once, and cleaned up regularly.

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
    CacheLimits, Limits, Root, Sandbox, SandboxOptions, SandboxSpec, connect, detect_toolchains,
};
use crate::setup::SetupPolicy;

/// The time between two cleanups.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(600);

/// The configured sandbox, without leftovers of earlier processes. It is tried once, so that not a job is the
/// first to find out that it does not work.
pub async fn start_sandbox(config: &SandboxConfig, data_dir: &Path) -> anyhow::Result<Arc<dyn Sandbox>> {
    let sandbox = connect(&sandbox_options(config, data_dir)?)?;
    let removed = sandbox.sweep().await?;
    if removed > 0 {
        info!(removed, "removed leftovers of earlier sandboxes");
    }
    let description = try_one(sandbox.as_ref(), config).await?;
    info!(sandbox = description, "sandbox works");
    Ok(sandbox)
}

/// Tries the configured sandbox without a change to a service that may be running. Returns its description.
pub async fn probe_sandbox(config: &SandboxConfig, data_dir: &Path) -> anyhow::Result<String> {
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

/// Removes leftovers of sandboxes, and reduces the caches to their limits, regularly until `shutdown`.
pub(super) fn clean_up_regularly(
    sandbox: Arc<dyn Sandbox>,
    bounds: CacheLimits,
    shutdown: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match sandbox.sweep().await {
                Ok(0) => {}
                Ok(swept) => info!(removed = swept, "removed leftovers of earlier sandboxes"),
                Err(error) => warn!(%error, "leftovers of earlier sandboxes could not be removed"),
            }
            match sandbox.evict(&bounds).await {
                Ok(evicted) if evicted.is_empty() => {}
                Ok(evicted) => info!(count = evicted.len(), "evicted cached setups"),
                Err(error) => warn!(%error, "cached setups could not be evicted"),
            }
            tokio::select! {
                () = tokio::time::sleep(CLEANUP_INTERVAL) => {}
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
        agent_usd: config.agent_usd,
        commands: config.commands,
        kept: CacheLimits {
            count_max: config.kept_count_max,
            bytes_max: config.kept_bytes_max,
            age_max: config.kept_age_max,
        },
        scripts: config.scripts,
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
        .with_context(|| format!("the directory {} cannot be created", state_dir.display()))?;
    Ok(SandboxOptions {
        kind: config.kind,
        owner: owner(&state_dir)?,
        state_dir,
        engine: config.engine.clone(),
    })
}

/// The id that marks this data directory's containers, made at its first start.
fn owner(state_dir: &Path) -> anyhow::Result<String> {
    let path = state_dir.join("owner");
    let what = || format!("{} cannot be used", path.display());
    match std::fs::read_to_string(&path) {
        Ok(owner) if uuid::Uuid::try_parse(owner.trim()).is_ok() => return Ok(owner.trim().to_owned()),
        // A full disk or a crash cut the file off. Containers with the old id are left to a person.
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(what),
    }
    let owner = uuid::Uuid::new_v4().to_string();
    std::fs::write(&path, &owner).with_context(what)?;
    Ok(owner)
}

/// The sandbox of every job.
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
