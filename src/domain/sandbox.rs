//! What configuration and sandboxes share: a row for each backend, from which lists of backends are made, and the names
//! of what a sandbox guarantees.

use std::fmt;

/// A sandbox backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SandboxKind {
    /// The system's bubblewrap.
    Bubblewrap,
    /// Docker Engine or Podman, through their API.
    Docker,
}

/// What is known about a backend. What it does is in its folder of `sandbox`.
struct BackendRow {
    name: &'static str,
    description: &'static str,
    /// Whether it cannot use the host's own `/usr` as a root.
    needs_image: bool,
}

impl SandboxKind {
    /// All backends.
    pub const ALL: [Self; 2] = [Self::Bubblewrap, Self::Docker];

    /// The names of all backends.
    pub const NAMES: &'static [&'static str] = &{
        let mut names = [""; Self::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].row().name;
            index += 1;
        }
        names
    };

    const fn row(self) -> &'static BackendRow {
        match self {
            Self::Bubblewrap => {
                &BackendRow { name: "bubblewrap", description: "The system's bubblewrap", needs_image: false }
            }
            Self::Docker => &BackendRow {
                name: "docker",
                description: "Docker Engine or Podman, through their API; it needs an image",
                needs_image: true,
            },
        }
    }

    /// Its name in configuration and on the command line.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// What it is, for people.
    pub fn description(self) -> &'static str {
        self.row().description
    }

    /// Whether it works with images only, and not with the host's own `/usr`.
    pub fn needs_image(self) -> bool {
        self.row().needs_image
    }

    /// The backend with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for SandboxKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a container engine is reached, and what containers it makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineConfig {
    /// The API's socket, `unix:///…`; `None`: the usual places, Docker's first.
    pub socket: Option<String>,
    /// A runtime by the engine's name for it (`runsc`, `kata`); `None`: the engine's default.
    pub runtime: Option<String>,
    /// A user namespace mode; `None`: the engine's default.
    pub userns: Option<String>,
}

/// A limit or separation that the kernel or the engine enforces on everything inside a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// The memory of all processes together is limited, and running out of it is reported.
    Memory,
    /// The number of processes is limited.
    Processes,
    /// Processor time is limited.
    Processor,
    /// The bytes written are limited.
    Disk,
    /// No process inside runs as the host user of this process.
    OtherUser,
}

impl Guarantee {
    /// All guarantees.
    pub const ALL: [Self; 5] = [Self::Memory, Self::Processes, Self::Processor, Self::Disk, Self::OtherUser];

    /// Its name in configuration and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Processor => "processor",
            Self::Disk => "disk",
            Self::OtherUser => "other_user",
        }
    }

    /// The guarantee with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|guarantee| guarantee.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_and_guarantee_is_found_by_its_name() {
        assert_eq!(SandboxKind::from_name("podrunner"), None);
        assert_eq!(SandboxKind::NAMES, SandboxKind::ALL.map(SandboxKind::name));
        for kind in SandboxKind::ALL {
            assert_eq!(SandboxKind::from_name(kind.name()), Some(kind));
        }
        for guarantee in Guarantee::ALL {
            assert_eq!(Guarantee::from_name(guarantee.name()), Some(guarantee));
        }
    }
}
