//! The sandbox backends over which the tests of the contract, the attacks and the setups run. The list is here only.

use std::sync::Arc;

use mendwright::domain::SandboxKind;
use mendwright::sandbox::{Root, Sandbox, connect_default};
use serde::Deserialize;

/// A backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    Bubblewrap,
    Docker,
}

/// A test of each named story for each backend.
macro_rules! on_every_backend {
    ($($(#[$mark:meta])? $story:ident),* $(,)?) => {
        mod bubblewrap {
            $(#[tokio::test]
            $(#[$mark])?
            async fn $story() {
                super::$story(crate::backends::Backend::Bubblewrap.into()).await;
            })*
        }
        mod docker {
            $(#[tokio::test]
            #[ignore = "needs Docker"]
            async fn $story() {
                super::$story(crate::backends::Backend::Docker.into()).await;
            })*
        }
    };
}

impl Backend {
    pub fn kind(self) -> SandboxKind {
        match self {
            Self::Bubblewrap => SandboxKind::Bubblewrap,
            Self::Docker => SandboxKind::Docker,
        }
    }

    pub fn name(self) -> &'static str {
        self.kind().name()
    }

    pub fn sandbox(self) -> Arc<dyn Sandbox> {
        connect_default(self.kind()).unwrap()
    }
}

impl From<Backend> for SandboxKind {
    fn from(backend: Backend) -> Self {
        backend.kind()
    }
}

/// A root that needs only what this machine has. For containers it is the image that `.ci/image` builds.
pub fn root(kind: SandboxKind) -> Root {
    match kind.needs_image() {
        true => Root::Image("mendwright-test:2".to_owned()),
        false => Root::Host { toolchains: Vec::new() },
    }
}
