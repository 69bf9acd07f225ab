//! What a build tool left at the base, kept for later sandboxes: a repository is compiled once, and after that only
//! what depends on a changed file.
//!
//! **What is kept.** After the baseline's run, the files that Cargo or CMake wrote into their own build directories,
//! by name (`BuildTool::directories`), beside what the setup made. Nothing else: no test database, coverage file,
//! report or lock that the tests left, no change of the home directory. Such a file never reaches another sandbox, so
//! no test can pass or fail because of it.
//!
//! **When it is made.** Once for a base, before the model's first answer, from the sandbox in which only the base's
//! own code has run. [`Environment::keep_build`](super::Environment::keep_build) does nothing for another tree. The files go to a new sandbox that
//! has only the result of the base's setup and that runs no command; that one is stored. What a proposal, the agent or
//! the verdict makes is never stored. The key covers everything that the build could depend on (`key_of_build`).
//!
//! **Who starts from it.** A sandbox whose tree is the base, or differs from it only in files that the build tool
//! follows by itself ([`BuildTool::follows`]): modified source files, documentation, and new files that Cargo
//! takes for targets of their own. Every other tree starts without it:
//! - a file is removed or moved: what was compiled from it would still be there;
//! - a source file is new elsewhere: it may come before another one (a header in an earlier directory, a second
//!   file of a module), or be read by a macro that lists a directory, and nothing that is compiled depends on it yet;
//! - a manifest, a build script, a template or data is changed: what reads it need not say so;
//! - the clock shows an earlier time than when the build was stored.
//!
//! **Times.** Files of the base have the same old time in every such sandbox, and changed ones the time of the
//! unpacking ([`ChangedFiles`]). So an unchanged file is older than everything that was built, and a changed one newer.
//!
//! **Verdicts.** A proposal that is rejected is judged once more without the kept build, and that judgement counts
//! (`verdict::judge`). An accepted one is not run again: with the restrictions above, what was kept is a compiler's
//! own output, for files that the compiler compares itself. `verify` never uses a kept build.
//!
//! **Not kept.** Make and Maven do not know every file that an object or a class was made from, and keep classes whose
//! source is gone. Gradle, Go and test runners keep results of tests beside what they compile, and would not run a test
//! again. TypeScript's output lies where its configuration says. Setups with `setup_files` see a part of the tree only.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use mendwright_protocol::BuildDirectories;

use super::cache_key::key_of_build;
use crate::domain::{JobSettings, Sha};
use crate::sandbox::{SandboxSpec, SetupKey};
use crate::workspace::{ChangedFiles, PathChange, Workspace, WorkspaceError};

/// Manifests that are looked for. A repository with more has no kept build.
const MANIFESTS_MAX: usize = 10_000;
/// What CMake takes for C and C++, and follows by the compiler's own lists of files.
const C_SOURCES: &[&str] = &["c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx"];
/// Text that no compiler reads, or that it lists if it does (`include_str!`).
const DOCUMENTATION: &[&str] = &["md", "rst", "adoc"];
/// Where Cargo looks for files that are targets of their own, in a package.
const CARGO_TARGETS: &[&str] = &["tests", "examples", "benches", "src/bin"];

/// A build tool whose own directories can be told from what tests leave, and that follows changed sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BuildTool {
    Cargo,
    CMake,
}

impl BuildTool {
    /// The tool that the suite of `tree` compiles with, if it is one of these.
    async fn of(
        workspace: &Workspace,
        tree: &Sha,
        settings: &JobSettings,
    ) -> Result<Option<Self>, WorkspaceError> {
        if !settings.setup_files.is_empty() {
            return Ok(None);
        }
        let is_manifest = |path: &str| Self::of_manifest(path).is_some();
        let found = workspace.find_files_by_name(tree, MANIFESTS_MAX, is_manifest).await?;
        let tools: Vec<Self> =
            found.unwrap_or_default().iter().filter_map(|(path, _)| Self::of_manifest(path)).collect();
        let names_cmake = ["cmake", "ctest"].iter().any(|word| settings.test_command.contains(word));
        let order = if names_cmake { [Self::CMake, Self::Cargo] } else { [Self::Cargo, Self::CMake] };
        Ok(order.into_iter().find(|tool| tools.contains(tool)))
    }

    fn of_manifest(path: &str) -> Option<Self> {
        match path.rsplit('/').next() {
            Some("Cargo.toml") => Some(Self::Cargo),
            Some("CMakeLists.txt") => Some(Self::CMake),
            Some(_) | None => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cargo => "Cargo",
            Self::CMake => "CMake",
        }
    }

    /// Its directories, and what of them only the tool itself writes. Of `target`, Cargo fills these for each profile,
    /// with or without a target platform; tests get `target/tmp`, and programs are linked again from `deps`. CMake has
    /// its objects in `CMakeFiles`; tests run in the directories beside.
    pub(super) fn directories(self) -> BuildDirectories {
        let (marker, files): (&str, Vec<String>) = match self {
            Self::Cargo => {
                let mut files = vec!["CACHEDIR.TAG".to_owned(), ".rustc_info.json".to_owned()];
                for name in [".fingerprint", "build", "deps", "examples", "incremental"] {
                    files.extend(["*", "*/*"].map(|profile| format!("{profile}/{name}/**")));
                }
                (".rustc_info.json", files)
            }
            Self::CMake => {
                let files = [
                    "CMakeCache.txt",
                    "**/CMakeFiles/**",
                    "**/*.cmake",
                    "**/Makefile",
                    "build.ninja",
                    ".ninja_deps",
                    ".ninja_log",
                ];
                ("CMakeCache.txt", files.map(str::to_owned).to_vec())
            }
        };
        BuildDirectories { marker: marker.to_owned(), files }
    }

    /// Whether the tool compiles everything again that depends on this change, and nothing that it built is out of
    /// date without its noticing.
    pub(super) fn follows(self, path: &str, change: PathChange) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let is_documentation = DOCUMENTATION.contains(&extension);
        match (self, change) {
            (_, PathChange::Removed) => false,
            (_, PathChange::Added | PathChange::Modified) if is_documentation => true,
            // What an earlier run of a build script left would still be there.
            (Self::Cargo, PathChange::Modified) => extension == "rs" && name != "build.rs",
            (Self::Cargo, PathChange::Added) => package_of_target(path).is_some(),
            (Self::CMake, PathChange::Modified) => C_SOURCES.contains(&extension),
            (Self::CMake, PathChange::Added) => false,
        }
    }
}

/// The directory of the package, with a `/` at its end, in which Cargo finds `path` as a target of its own.
pub(super) fn package_of_target(path: &str) -> Option<&str> {
    let (directory, name) = path.rsplit_once('/')?;
    let is_source = name.ends_with(".rs") && name != "mod.rs";
    let package = CARGO_TARGETS.iter().find_map(|targets| directory.strip_suffix(targets))?;
    (is_source && (package.is_empty() || package.ends_with('/'))).then_some(package)
}

/// The kept build of a base, as far as a job knows it.
pub(super) struct KeptBuild {
    pub(super) tool: Option<BuildTool>,
    pub(super) key: SetupKey,
    /// How many `ColdStarts` there are.
    pub(super) cold: AtomicU32,
    pub(super) starts: AtomicU32,
    pub(super) is_reuse_recorded: AtomicBool,
}

impl KeptBuild {
    /// That of `base`, whose setup has the key `setup`.
    pub(super) async fn of(
        workspace: &Workspace,
        base: &Sha,
        settings: &JobSettings,
        setup: &SetupKey,
        spec: &SandboxSpec,
    ) -> Result<Self, WorkspaceError> {
        let tool = BuildTool::of(workspace, base, settings).await?;
        let git = workspace.git_identity().await?;
        let key = key_of_build(setup, base, &git, &settings.test_command, &spec.allowed_hosts);
        Ok(Self {
            tool,
            key,
            cold: AtomicU32::new(0),
            starts: AtomicU32::new(0),
            is_reuse_recorded: AtomicBool::new(false),
        })
    }

    /// A base that has none, and gets none.
    pub(super) fn none(self) -> Self {
        Self { tool: None, ..self }
    }

    /// The tool, unless sandboxes start without the kept build now.
    pub(super) fn active(&self) -> Option<BuildTool> {
        self.tool.filter(|_| self.cold.load(Ordering::SeqCst) == 0)
    }

    /// The times of the base's files in a sandbox whose build could be kept.
    pub(super) fn times_of_base(&self) -> Option<ChangedFiles> {
        self.tool.map(|_| ChangedFiles::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_that_the_tool_follows_start_from_the_kept_build() {
        use PathChange::{Added, Modified, Removed};
        for (tool, path, change, follows) in [
            (BuildTool::Cargo, "src/lib.rs", Modified, true),
            (BuildTool::Cargo, "src/lib.rs", Removed, false),
            (BuildTool::Cargo, "src/new.rs", Added, false),
            (BuildTool::Cargo, "crates/a/tests/new.rs", Added, true),
            (BuildTool::Cargo, "crates/a/tests/deep/new.rs", Added, false),
            (BuildTool::Cargo, "src/bin/tool.rs", Added, true),
            (BuildTool::Cargo, "bin/tool.rs", Added, false),
            (BuildTool::Cargo, "tests/mod.rs", Added, false),
            (BuildTool::Cargo, "src/contests/a.rs", Added, false),
            (BuildTool::Cargo, "build.rs", Modified, false),
            (BuildTool::Cargo, "Cargo.toml", Modified, false),
            (BuildTool::Cargo, "src/template.html", Modified, false),
            (BuildTool::Cargo, "CHANGELOG.md", Modified, true),
            (BuildTool::CMake, "src/a.cpp", Modified, true),
            (BuildTool::CMake, "src/a.hpp", Modified, true),
            (BuildTool::CMake, "src/a.hpp", Added, false),
            (BuildTool::CMake, "src/a.cpp", Removed, false),
            (BuildTool::CMake, "CMakeLists.txt", Modified, false),
            (BuildTool::CMake, "src/lib.rs", Modified, false),
        ] {
            assert_eq!(tool.follows(path, change), follows, "{path} {change:?}");
        }
    }
}
