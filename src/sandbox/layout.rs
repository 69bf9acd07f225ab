//! The paths that every sandbox has.

/// The job's tree.
pub const WORKSPACE: &str = "/workspace";
/// The home directory.
pub(super) const HOME: &str = "/home/agent";
/// The toolbox.
pub(super) const TOOLBOX_PATH: &str = "/.mendwright/toolbox";
