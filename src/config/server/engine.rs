//! The keys that say which sandboxes there are, and of what they are made: the backend, its image,
//! and how an engine is reached.

use super::values::text;
use super::{ConfigError, Given};
use crate::domain::SandboxKind;

/// Longest path of a Unix socket.
const SOCKET_BYTES_MAX: usize = 107;

/// How Docker or Podman is reached, and what it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineConfig {
    /// The API's socket, `unix:///…`; `None`: the usual places.
    pub socket: Option<String>,
    /// A runtime by the engine's name for it; `None`: the engine's own.
    pub runtime: Option<String>,
    /// A user namespace mode of the engine's; `None`: the engine's own.
    pub userns: Option<String>,
}

pub(super) fn kind(given: &Given) -> Result<SandboxKind, ConfigError> {
    let Some(found) = given.get("sandbox.kind") else { return Ok(SandboxKind::Bubblewrap) };
    SandboxKind::from_name(found.text()?).ok_or_else(|| {
        found.wrong("is no sandbox that this version has", "write \"bubblewrap\" or \"docker\" (Podman, too)")
    })
}

/// The image; containers of an engine cannot be without.
pub(super) fn image(given: &Given, kind: SandboxKind) -> Result<Option<String>, ConfigError> {
    let image = text(given, "sandbox.image")?.filter(|image| !image.trim().is_empty()).map(str::to_owned);
    match (kind, &image) {
        (SandboxKind::Docker, None) => Err(given.missing(
            "sandbox.image",
            "containers are made of an image; name one as NAME:TAG or NAME@sha256:…",
        )),
        (SandboxKind::Bubblewrap | SandboxKind::Docker, _) => Ok(image),
    }
}

pub(super) fn engine(given: &Given) -> Result<EngineConfig, ConfigError> {
    let named = |key: &str| Ok(text(given, key)?.map(str::to_owned));
    if let Some(found) = given.get("sandbox.docker_socket") {
        let path = found.text()?.strip_prefix("unix://");
        if !path.is_some_and(|path| path.starts_with('/') && path.len() <= SOCKET_BYTES_MAX) {
            return Err(found.wrong(
                "is no Unix socket",
                "write it as \"unix:///var/run/docker.sock\": an engine is reached over no network",
            ));
        }
    }
    Ok(EngineConfig {
        socket: named("sandbox.docker_socket")?,
        runtime: named("sandbox.docker_runtime")?,
        userns: named("sandbox.docker_userns")?,
    })
}
