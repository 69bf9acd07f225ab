//! Adds the name of the backend to its errors, so that a backend, and what several share, need not know it.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    CacheLimits, ResolvedRoot, Root, Sandbox, SandboxError, SandboxSpec, SetupKey, SetupSnapshot, Toolbox,
};
use crate::domain::SandboxKind;

/// A backend whose errors name it.
pub(super) struct Named {
    backend: Box<dyn Sandbox>,
    kind: SandboxKind,
}

impl Named {
    /// The backend that `connect` returns.
    pub(super) fn connect(
        kind: SandboxKind,
        connect: impl FnOnce() -> Result<Box<dyn Sandbox>, SandboxError>,
    ) -> Result<Arc<dyn Sandbox>, SandboxError> {
        let backend = connect().map_err(|error| error.of(kind))?;
        Ok(Arc::new(Self { backend, kind }))
    }
}

#[async_trait]
impl Sandbox for Named {
    fn kind(&self) -> SandboxKind {
        self.backend.kind()
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError> {
        self.backend.start(spec).await.map_err(|error| error.of(self.kind))
    }

    async fn resolve(&self, root: &Root) -> Result<ResolvedRoot, SandboxError> {
        self.backend.resolve(root).await.map_err(|error| error.of(self.kind))
    }

    async fn save_snapshot(
        &self,
        toolbox: Toolbox,
        key: &SetupKey,
        bytes_max: u64,
    ) -> Result<SetupSnapshot, SandboxError> {
        self.backend.save_snapshot(toolbox, key, bytes_max).await.map_err(|error| error.of(self.kind))
    }

    async fn find_snapshot(&self, key: &SetupKey) -> Result<Option<SetupSnapshot>, SandboxError> {
        self.backend.find_snapshot(key).await.map_err(|error| error.of(self.kind))
    }

    async fn evict(&self, limits: &CacheLimits) -> Result<Vec<SetupKey>, SandboxError> {
        self.backend.evict(limits).await.map_err(|error| error.of(self.kind))
    }

    async fn sweep(&self) -> Result<u32, SandboxError> {
        self.backend.sweep().await.map_err(|error| error.of(self.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_a_backend_gets_its_name() {
        let missing = || Err(SandboxError::unavailable("the image 'x': it is not an image", "name another"));
        let error = Named::connect(SandboxKind::Docker, missing).err().unwrap();
        let named = "the docker sandbox cannot be used: the image 'x': it is not an image; name another";
        assert_eq!(error.to_string(), named);
        assert_eq!(error.of(SandboxKind::Bubblewrap).to_string(), named, "only the first name counts");
    }
}
