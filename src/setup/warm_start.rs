//! Starts sandboxes from the kept build of the base, and makes it: what `kept_build` decides, carried out.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tracing::{info, warn};

use super::environment::{Environment, Preparation};
use super::failure::SetupFailure;
use super::kept_build::{BuildTool, KeptBuild, package_of_target};
use crate::domain::{Sha, TranscriptEvent};
use crate::sandbox::{CallError, SandboxError, SandboxPurpose, SandboxSpec, SetupSnapshot, Toolbox};
use crate::testing::SuiteError;
use crate::workspace::{ChangedFiles, PathChange};

/// Differences of a tree that is compared file by file. A larger proposal starts without the kept build.
const CHANGES_MAX: usize = 100;
/// The part of the cache that one build may take.
const PART_OF_CACHE: u64 = 4;
/// The keys of a manifest that change where Cargo looks for targets.
const CARGO_DISCOVERY: &[&str] = &["autotests", "autoexamples", "autobenches", "autobins"];

/// While it lives, sandboxes start without the kept build.
pub(crate) struct ColdStarts<'a>(&'a KeptBuild);

impl Drop for ColdStarts<'_> {
    fn drop(&mut self) {
        self.0.cold.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Environment {
    /// The same environment without kept builds.
    pub fn without_kept_build(mut self) -> Self {
        self.build = self.build.none();
        self
    }

    /// Makes sandboxes start without the kept build until the result is dropped.
    pub(crate) fn start_cold(&self) -> ColdStarts<'_> {
        self.build.cold.fetch_add(1, Ordering::SeqCst);
        ColdStarts(&self.build)
    }

    /// How many sandboxes have started from the kept build.
    pub fn warm_starts(&self) -> u32 {
        self.build.starts.load(Ordering::SeqCst)
    }

    /// Forgets the sandboxes that were started so far, so that the next note counts those of a verdict.
    pub(crate) fn forget_starts(&self) {
        self.pending().starts.clear();
    }

    /// Notes for the transcript how often tests have run since [`Self::forget_starts`], and what for.
    pub(crate) fn note_starts(&self) {
        let mut pending = self.pending();
        if pending.starts.is_empty() {
            return;
        }
        let warm = pending.starts.iter().filter(|(_, is_warm)| *is_warm).count();
        let purposes: Vec<&str> = pending.starts.iter().map(|(purpose, _)| purpose.as_str()).collect();
        let text = format!(
            "The verdict ran tests {} times, {warm} of them with what was built at the base: {}",
            purposes.len(),
            purposes.join(", ")
        );
        pending.events.push(TranscriptEvent::Note { text });
    }

    /// A sandbox in which no tests run, with the result of the base's setup and nothing else that was kept.
    pub(crate) async fn with_setup_only(
        &self,
        purpose: &str,
    ) -> Result<Result<Toolbox, SetupFailure>, SuiteError> {
        let _cold = self.start_cold();
        let started = self.fresh(&self.base_tree, purpose).await;
        self.pending().starts.pop();
        started
    }

    /// What a verdict says that rests on sandboxes with the kept build.
    pub(crate) fn kept_build_remark(&self) -> String {
        let pending = self.pending();
        let warm = pending.starts.iter().filter(|(_, is_warm)| *is_warm).count();
        format!(
            "Of the {} test runs of this verdict, {warm} began with what {} had built at the base, before any change, \
             and compiled only what depends on a changed file.",
            pending.starts.len(),
            self.build.tool.map_or("the build tool", BuildTool::name)
        )
    }

    /// Keeps what the run of the suite in `toolbox`, at `tree`, built. Does nothing if that is not the base, or if it
    /// is kept already. If it cannot be kept, a note for the transcript says why, and the job goes on without.
    ///
    /// # Errors
    /// A sandbox broke the protocol.
    pub async fn keep_build(&self, toolbox: &Toolbox, tree: &Sha) -> Result<(), SuiteError> {
        let Some(tool) = self.build.active().filter(|_| *tree == self.base_tree) else { return Ok(()) };
        let key = &self.build.key;
        let lock = self.locks.of(key);
        let _held = lock.lock().await;
        if self.kept(key).await.is_some() {
            return Ok(());
        }
        let Preparation::With(setup) = self.preparation(tree).await? else { return Ok(()) };
        let note = match self.store_build(toolbox, tool, setup).await {
            Ok(None) => return Ok(()),
            Ok(Some(snapshot)) => {
                info!(%key, bytes = snapshot.bytes, "build kept");
                self.evict().await;
                let size = snapshot.bytes.div_ceil(1 << 20);
                format!(
                    "What {} built at the base is kept ({size} MiB with the setup's result): later sandboxes compile \
                     only what depends on changed files.",
                    tool.name()
                )
            }
            Err(error @ SandboxError::Protocol(_)) => return Err(error.into()),
            Err(error) => {
                warn!(%key, %error, "build could not be kept");
                format!(
                    "What {} built at the base is not kept, each sandbox compiles it: {error}",
                    tool.name()
                )
            }
        };
        self.pending().events.push(TranscriptEvent::Note { text: note });
        Ok(())
    }

    /// Stores the setup's result with the build in `toolbox`; `None` if it has none.
    async fn store_build(
        &self,
        toolbox: &Toolbox,
        tool: BuildTool,
        setup: Option<SetupSnapshot>,
    ) -> Result<Option<SetupSnapshot>, SandboxError> {
        let bytes_max = self.policy.kept.bytes_max.min(self.spec.limits.disk_bytes_max);
        let spec = SandboxSpec {
            label: format!("{}-build", self.spec.label),
            purpose: SandboxPurpose::Setup,
            allowed_hosts: Vec::new(),
            snapshot: setup,
            ..self.spec.clone()
        };
        let collector = self.sandbox.start(&spec).await?;
        let build_bytes_max = bytes_max / PART_OF_CACHE;
        match toolbox.copy_build(&collector, &tool.directories(), build_bytes_max).await {
            Ok(copied) if copied.entries == 0 => {
                collector.shut_down().await;
                Ok(None)
            }
            Ok(_) => self.sandbox.save_snapshot(collector, &self.build.key, bytes_max).await.map(Some),
            Err(error) => {
                collector.shut_down().await;
                Err(match error {
                    CallError::RespondToModel(why) => SandboxError::SnapshotFailed(why),
                    CallError::Fatal(lost) => lost,
                })
            }
        }
    }

    /// A sandbox with `tree` that starts from the kept build; `None` if there is none, or if this tree must not.
    pub(super) async fn start_warm(
        &self,
        tree: &Sha,
        spec: &SandboxSpec,
    ) -> Result<Option<Toolbox>, SuiteError> {
        let Some(tool) = self.build.active() else { return Ok(None) };
        let Some(changed) = self.followed_changes(tool, tree).await? else { return Ok(None) };
        let Some(snapshot) = self.kept(&self.build.key).await else { return Ok(None) };
        if Timestamp::now() <= snapshot.created {
            warn!(created = %snapshot.created, "kept build is newer than the clock");
            return Ok(None);
        }
        let spec = SandboxSpec { snapshot: Some(snapshot), ..spec.clone() };
        let toolbox = match self.sandbox.start(&spec).await {
            Err(SandboxError::Gone(why)) => {
                info!(why, "kept build was evicted");
                return Ok(None);
            }
            other => other?,
        };
        self.unpack(&toolbox, tree, Some(changed)).await?;
        self.build.starts.fetch_add(1, Ordering::SeqCst);
        if !self.build.is_reuse_recorded.swap(true, Ordering::SeqCst) {
            let text = format!(
                "Sandboxes start with what {} built at the base, and compile only what depends on changed files.",
                tool.name()
            );
            self.pending().events.push(TranscriptEvent::Note { text });
        }
        Ok(Some(toolbox))
    }

    /// The files in which `tree` differs from the base; `None` if the tool does not follow one of these changes.
    async fn followed_changes(
        &self,
        tool: BuildTool,
        tree: &Sha,
    ) -> Result<Option<ChangedFiles>, SuiteError> {
        if *tree == self.base_tree {
            return Ok(Some(ChangedFiles::default()));
        }
        let changes = self.workspace.path_changes(&self.base_tree, tree, CHANGES_MAX).await?;
        let Some(changes) = changes else { return Ok(None) };
        for (path, change) in &changes {
            let is_new_source = *change == PathChange::Added && path.ends_with(".rs");
            if !tool.follows(path, *change) || is_new_source && !self.is_new_target(path).await? {
                return Ok(None);
            }
        }
        // A file that a setup command names is part of the setup.
        if !self.changed_setup_paths(tree).await?.is_empty() {
            return Ok(None);
        }
        Ok(Some(ChangedFiles::at(changes.iter().map(|(path, _)| path.as_str()))))
    }

    /// Whether Cargo compiles a new source file as a target of its own, and nothing that it built has to change: its
    /// package looks for targets as usual, and it is no second file of a module (`a.rs` beside `a/mod.rs`).
    async fn is_new_target(&self, path: &str) -> Result<bool, SuiteError> {
        let Some(package) = package_of_target(path) else { return Ok(false) };
        let Some(manifest) = self.workspace.base_file(&format!("{package}Cargo.toml")).await? else {
            return Ok(false);
        };
        let manifest = String::from_utf8_lossy(&manifest);
        if CARGO_DISCOVERY.iter().any(|key| manifest.contains(key)) {
            return Ok(false);
        }
        match format!("{}/mod.rs", path.trim_end_matches(".rs")).parse() {
            Ok(module) => Ok(!self.workspace.base_contains(&module).await?),
            Err(_) => Ok(false),
        }
    }
}
