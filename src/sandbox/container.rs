//! What a backend returns besides the pipe: a handle with which to stop its container and to learn
//! how it ended.

use std::any::Any;

use async_trait::async_trait;

/// A started container. When the last reference is dropped, everything inside is killed.
#[async_trait]
pub(super) trait ContainerHandle: Any + Send + Sync {
    /// Kills everything inside. Does not wait.
    fn kill(&self);

    /// Resolves when nothing of it is left.
    async fn ended(&self);

    /// The exit code of its first process, if it exited by itself.
    fn exit_code(&self) -> Option<i64>;

    /// Why it ended, as far as that is known.
    fn exit_reason(&self) -> String;

    /// How often the kernel has killed a process inside because memory ran out; 0 if the backend
    /// cannot know.
    fn memory_kills(&self) -> u64 {
        0
    }

    /// How often the kernel has refused a new process or thread because there were too many; 0 if the
    /// backend cannot know.
    fn pid_refusals(&self) -> u64 {
        0
    }

    /// Whether [`ContainerHandle::pid_refusals`] counts. If not, the toolbox may.
    fn counts_pid_refusals(&self) -> bool {
        false
    }
}
