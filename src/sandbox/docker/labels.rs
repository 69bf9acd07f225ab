//! The names under which containers and images of ours are known to an engine, and the user inside.

use std::sync::OnceLock;

/// The user of everything inside while the agent works.
pub(super) const WORK_USER: u32 = 1000;

/// A label of a container or image: to whom it belongs, and what it is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Label {
    /// The owner: a data directory, with all processes that use it.
    Owner,
    /// The process that created it.
    Instance,
    /// For a container: the sandbox's label.
    Job,
    /// For an image: the id of the image that the toolbox was added to.
    Base,
    /// For an image: the digest of the toolbox in it.
    Toolbox,
    /// For an image: the key of the setup snapshot in it.
    Setup,
    /// For an image: the size of the setup snapshot.
    Bytes,
}

impl Label {
    /// The label's key.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Owner => "mendwright.owner",
            Self::Instance => "mendwright.instance",
            Self::Job => "mendwright.job",
            Self::Base => "mendwright.base",
            Self::Toolbox => "mendwright.toolbox",
            Self::Setup => "mendwright.setup",
            Self::Bytes => "mendwright.bytes",
        }
    }
}

/// The value of [`Label::Instance`] for this process.
pub(super) fn instance() -> &'static str {
    static INSTANCE: OnceLock<String> = OnceLock::new();
    INSTANCE.get_or_init(|| uuid::Uuid::new_v4().simple().to_string())
}
