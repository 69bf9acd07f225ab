//! The names that configuration and sandboxes share.

use std::fmt;
use std::str::FromStr;

/// A sandbox backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SandboxKind {
    /// The system's bubblewrap.
    Bubblewrap,
    /// Docker Engine or Podman, through their API.
    Docker,
}

impl SandboxKind {
    /// All backends.
    pub const ALL: [Self; 2] = [Self::Bubblewrap, Self::Docker];

    /// The names of all backends.
    pub const NAMES: &'static [&'static str] = &[Self::Bubblewrap.name(), Self::Docker.name()];

    /// Its name in configuration and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bubblewrap => "bubblewrap",
            Self::Docker => "docker",
        }
    }

    /// The backend with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl FromStr for SandboxKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::from_name(name).ok_or_else(|| format!("unknown sandbox {name:?}; use one of: {}", known()))
    }
}

impl fmt::Display for SandboxKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
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
    fn unknown_sandbox_is_an_error_that_names_the_known_ones() {
        let error = "podrunner".parse::<SandboxKind>().unwrap_err();
        insta::assert_snapshot!(error, @r#"unknown sandbox "podrunner"; use one of: bubblewrap, docker"#);
        for kind in SandboxKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        for guarantee in Guarantee::ALL {
            assert_eq!(Guarantee::from_name(guarantee.name()), Some(guarantee));
        }
    }
}
