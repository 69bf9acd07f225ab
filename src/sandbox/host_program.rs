//! The paths of the host's programs, for backends that start some.

use std::path::{Path, PathBuf};

/// The path of a program on the operator's `PATH`. A backend's programs are started with an empty environment, in which
/// the system would search only its default directories.
pub(super) fn find_program(program: &str) -> PathBuf {
    let path = crate::config::environment().find(|(name, _)| name == "PATH").map(|(_, value)| value);
    let directories = path.iter().flat_map(|path| path.split(':'));
    let candidates = directories.map(|directory| Path::new(directory).join(program));
    candidates.filter(|file| file.is_absolute()).find(|file| file.is_file()).unwrap_or_else(|| program.into())
}
