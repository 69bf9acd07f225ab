//! What a backend hands over beside the pipe: how to end its container, and what became of it.

use super::bubblewrap::Guarded;
use super::docker::Running;

/// A started container.
pub(super) enum Container {
    /// Processes below a guarded `bwrap`.
    Bubblewrap(Guarded),
    /// A container of an engine.
    Docker(Running),
}

impl Container {
    /// Ends everything in it. Does not wait.
    pub(super) fn kill(&self) {
        match self {
            Self::Bubblewrap(guarded) => guarded.kill(),
            Self::Docker(running) => running.kill(),
        }
    }

    /// Resolves when nothing of it is left.
    pub(super) async fn ended(&self) {
        match self {
            Self::Bubblewrap(guarded) => guarded.ended().await,
            Self::Docker(running) => running.ended().await,
        }
    }

    /// How often the kernel has killed something in it for memory; 0 where that cannot be known.
    pub(super) fn memory_kills(&self) -> u64 {
        match self {
            Self::Bubblewrap(guarded) => guarded.memory_kills(),
            // The toolbox says it from inside.
            Self::Docker(_) => 0,
        }
    }

    /// How often the kernel has refused it a process or thread for their number; 0 where that cannot
    /// be known from outside.
    pub(super) fn pid_refusals(&self) -> u64 {
        match self {
            Self::Bubblewrap(guarded) => guarded.pid_refusals(),
            Self::Docker(_) => 0,
        }
    }

    /// Whether [`Container::pid_refusals`] counts. Where it does not, the toolbox may.
    pub(super) fn counts_pid_refusals(&self) -> bool {
        match self {
            // By its control group; and where it has none, the toolbox counts processes.
            Self::Bubblewrap(_) => true,
            Self::Docker(_) => false,
        }
    }

    /// Why it is gone, as far as that can be told.
    pub(super) fn last_words(&self) -> String {
        match self {
            Self::Bubblewrap(guarded) => guarded.last_words(),
            Self::Docker(running) => running.last_words(),
        }
    }
}
