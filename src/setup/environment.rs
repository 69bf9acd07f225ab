//! What a job's sandboxes start from: the root file system, the tree, and the result of the repository's
//! setup commands. The setup runs first, in a sandbox of its own, with the network that the operator allows
//! and without any secret. The sandboxes of the agent and of the verdict start from its result, and can
//! reach only hosts that both the repository and the operator name for them.
//!
//! What the base's own build left is kept beside it: `kept_build`.
//!
//! If the result cannot be cached, each sandbox runs the setup itself, without the setup's network: the
//! agent and the tests never have it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::cache_key::{KeyInputs, differing_paths, key_of_proposal, manifests, setup_key, setup_tree};
use super::failure::SetupFailure;
use super::kept_build::KeptBuild;
use super::locks::SetupLocks;
use super::policy::SetupPolicy;
use crate::domain::{Change, EgressReport, JobSettings, RepositoryId, SetupCommand, Sha, TranscriptEvent};
use crate::sandbox::{
    CommandSpec, ResolvedRoot, Sandbox, SandboxError, SandboxPurpose, SandboxSpec, SetupKey, SetupSnapshot,
    Toolbox,
};
use crate::testing::SuiteError;
use crate::workspace::{ChangedFiles, Workspace};

/// What a sandbox is for in which a script is tried. It has no network, whatever the agent's has.
const SCRIPT: &str = "script";
/// The snapshot that a sandbox starts from may be evicted at that moment. If this repeats, something else is
/// wrong.
const STARTS_MAX: usize = 3;

/// Starts the sandboxes of a job.
pub struct Environment {
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) spec: SandboxSpec,
    root: ResolvedRoot,
    pub(super) workspace: Workspace,
    settings: JobSettings,
    pub(super) policy: SetupPolicy,
    pub(super) locks: SetupLocks,
    pub(super) base_tree: Sha,
    /// The tree that the base's setup runs in.
    base_setup_tree: Sha,
    base_key: SetupKey,
    repository: String,
    /// What the setup can ask git, as a part of its key; empty if it has no `.git` directory.
    git_identity: String,
    /// A tar stream, the same for all sandboxes.
    git_directory: tokio::sync::OnceCell<Vec<u8>>,
    /// Why the result cannot be cached, once that is known.
    cache_error: Mutex<Option<String>>,
    pending: Mutex<PendingRecords>,
    is_reuse_recorded: AtomicBool,
    /// What the base's build left.
    pub(super) build: KeptBuild,
}

#[derive(Default)]
pub(super) struct PendingRecords {
    pub(super) events: Vec<TranscriptEvent>,
    remarks: Vec<String>,
    /// The sandboxes in which tests run: what for, and whether from the kept build.
    pub(super) starts: Vec<(String, bool)>,
}

/// How a sandbox gets the result of the setup.
pub(super) enum Preparation {
    /// There is no setup, or its result is cached.
    With(Option<SetupSnapshot>),
    /// The sandbox runs the commands itself.
    Uncached { why: String },
    /// The setup failed.
    Failed(SetupFailure),
}

impl Environment {
    /// The environment of a job on `workspace`. `spec` describes the sandboxes of the agent and the verdict.
    pub async fn of(
        sandbox: Arc<dyn Sandbox>,
        spec: SandboxSpec,
        workspace: Workspace,
        settings: JobSettings,
        policy: SetupPolicy,
        repository: RepositoryId,
        locks: SetupLocks,
    ) -> Result<Self, SuiteError> {
        let root = sandbox.resolve(&spec.root).await?;
        let spec = SandboxSpec { root: root.root.clone(), ..spec };
        let base_tree = workspace.base_tree().await?;
        let repository = policy.repository.clone().unwrap_or_else(|| repository.to_string());
        // Without `setup_files`, the setup may ask git.
        let git = match settings.setup_commands.is_empty() || !settings.setup_files.is_empty() {
            true => String::new(),
            false => workspace.git_identity().await?,
        };
        let inputs = KeyInputs {
            git: &git,
            submodules: &workspace.submodules_identity(),
            repository: &repository,
            root_digest: &root.digest,
            commands: &settings.setup_commands,
            allowed_hosts: &policy.allowed_hosts,
            variables: &policy.variables,
        };
        let base_setup_tree = match settings.setup_commands.is_empty() {
            true => base_tree.clone(),
            false => setup_tree(&workspace, &base_tree, &settings.setup_files).await?,
        };
        let base_key = setup_key(&inputs, &base_setup_tree);
        let build = KeptBuild::of(&workspace, &base_tree, &settings, &base_key, &spec).await?;
        Ok(Self {
            sandbox,
            spec,
            root,
            workspace,
            settings,
            policy,
            locks,
            base_tree,
            base_setup_tree,
            base_key,
            repository,
            git_identity: git,
            git_directory: tokio::sync::OnceCell::new(),
            cache_error: Mutex::default(),
            pending: Mutex::default(),
            is_reuse_recorded: AtomicBool::new(false),
            build,
        })
    }

    /// The job's workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The root file system of every sandbox.
    pub fn root(&self) -> &ResolvedRoot {
        &self.root
    }

    /// The job's rules.
    pub fn settings(&self) -> &JobSettings {
        &self.settings
    }

    /// Returns the events since the last call, for the transcript.
    pub fn take_events(&self) -> Vec<TranscriptEvent> {
        std::mem::take(&mut self.pending().events)
    }

    /// Records the network requests of a sandbox after its use.
    pub(crate) fn note_egress(&self, purpose: &str, toolbox: &Toolbox) {
        let report = toolbox.take_egress_report();
        if !report.is_empty() {
            self.pending().events.push(TranscriptEvent::Egress { purpose: purpose.to_owned(), report });
        }
    }

    /// Returns the remarks for a verdict since the last call.
    pub(crate) fn take_remarks(&self) -> Vec<String> {
        std::mem::take(&mut self.pending().remarks)
    }

    /// Starts a sandbox that only the setup and `tree` have touched. `purpose` is part of its name.
    pub async fn fresh(
        &self,
        tree: &Sha,
        purpose: &str,
    ) -> Result<Result<Toolbox, SetupFailure>, SuiteError> {
        self.fresh_with_setup_of(tree, tree, purpose).await
    }

    /// As [`Self::fresh`], with the base's setup, whatever `tree` changes.
    pub async fn fresh_with_base_setup(
        &self,
        tree: &Sha,
        purpose: &str,
    ) -> Result<Result<Toolbox, SetupFailure>, SuiteError> {
        self.fresh_with_setup_of(&self.base_tree, tree, purpose).await
    }

    /// Starts a sandbox in which a script is tried: the base with `changes`, set up as the base is, without network.
    ///
    /// # Errors
    /// The sandbox cannot be started, or the tree cannot be made.
    pub async fn for_script(
        &self,
        changes: Vec<Change>,
    ) -> Result<Result<Toolbox, SetupFailure>, SuiteError> {
        let proposal = self.workspace.propose(changes).await?;
        if let Some(toolbox) = self.start_warm(&proposal.tree, &self.spec_for(SCRIPT)).await? {
            return Ok(Ok(toolbox));
        }
        self.fresh_with_base_setup(&proposal.tree, SCRIPT).await
    }

    /// The paths for which a proposed tree gets a setup of its own: lock and manifest files, and what the
    /// setup commands name. Empty if it gets the base's.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub async fn own_setup_paths(&self, tree: &Sha) -> Result<Vec<String>, SuiteError> {
        if self.settings.setup_commands.is_empty() || !self.may_have_own_setup() {
            return Ok(Vec::new());
        }
        self.changed_setup_paths(tree).await
    }

    async fn fresh_with_setup_of(
        &self,
        setup_of: &Sha,
        tree: &Sha,
        purpose: &str,
    ) -> Result<Result<Toolbox, SetupFailure>, SuiteError> {
        let spec = self.spec_for(purpose);
        if let Some(left_out) = &self.settings.setup_left_out {
            self.remark(left_out);
        }
        if setup_of == tree
            && let Some(toolbox) = self.start_warm(tree, &spec).await?
        {
            self.pending().starts.push((purpose.to_owned(), true));
            return Ok(Ok(toolbox));
        }
        self.pending().starts.push((purpose.to_owned(), false));
        // If the base's build can be kept, its files have the times that they have beside it.
        let times = self.build.times_of_base().filter(|_| *tree == self.base_tree);
        for start in 1.. {
            let (snapshot, why_uncached) = match self.preparation(setup_of).await? {
                Preparation::With(snapshot) => (snapshot, None),
                Preparation::Uncached { why } => (None, Some(why)),
                Preparation::Failed(failure) => return Ok(Err(failure)),
            };
            let spec = SandboxSpec { snapshot, ..spec.clone() };
            let toolbox = match self.sandbox.start(&spec).await {
                Err(SandboxError::Gone(why)) if spec.snapshot.is_some() && start < STARTS_MAX => {
                    warn!(why, "setup snapshot was evicted, running the setup again");
                    continue;
                }
                other => other?,
            };
            self.unpack(&toolbox, tree, times.clone()).await?;
            let Some(why) = why_uncached else { return Ok(Ok(toolbox)) };
            let (_, failed) = self.run_commands(&toolbox).await?;
            let Some(failed) = failed else { return Ok(Ok(toolbox)) };
            toolbox.shut_down().await;
            let offline = (!self.policy.allowed_hosts.is_empty()).then_some(why);
            return Ok(Err(SetupFailure { offline, ..failed }));
        }
        unreachable!("the loop is left by its last round")
    }

    fn spec_for(&self, purpose: &str) -> SandboxSpec {
        let label = match purpose {
            "work" => self.spec.label.clone(),
            other => format!("{}-{other}", self.spec.label),
        };
        let allowed_hosts = match purpose {
            SCRIPT => Vec::new(),
            _ => self.spec.allowed_hosts.clone(),
        };
        SandboxSpec { label, allowed_hosts, ..self.spec.clone() }
    }

    /// Gives a sandbox the files of `tree`, with `times` if they matter, and git's directory with the base commit.
    pub(super) async fn unpack(
        &self,
        toolbox: &Toolbox,
        tree: &Sha,
        times: Option<ChangedFiles>,
    ) -> Result<(), SuiteError> {
        match times {
            Some(changed) => toolbox.unpack(self.workspace.tar_with_times(tree, changed)).await?,
            None => toolbox.unpack(self.workspace.tar(tree)).await?,
        }
        let git_directory = self.git_directory.get_or_try_init(|| self.workspace.git_directory()).await?;
        Ok(toolbox.unpack(git_directory.as_slice()).await?)
    }

    /// Starts a sandbox with the base's tree in which setups can be tried by hand, with the network of a setup. Nothing
    /// of it is kept.
    ///
    /// # Errors
    /// The sandbox cannot be started, or the tree cannot be read.
    pub async fn for_trying_setups(&self) -> Result<Toolbox, SuiteError> {
        let spec = self.setup_spec("setup-agent");
        let toolbox = self.sandbox.start(&spec).await?;
        self.unpack(&toolbox, &self.base_tree, None).await?;
        Ok(toolbox)
    }

    /// A sandbox that has the network of a setup, and of which nothing but the result of a setup is used.
    fn setup_spec(&self, purpose: &str) -> SandboxSpec {
        SandboxSpec {
            label: format!("{}-{purpose}", self.spec.label),
            purpose: SandboxPurpose::Setup,
            allowed_hosts: self.policy.allowed_hosts.clone(),
            egress_bytes_max: self.policy.egress_bytes_max,
            snapshot: None,
            ..self.spec.clone()
        }
    }

    /// Starts a sandbox with an empty tree, for a parser: no command is run in it.
    pub(crate) async fn empty(&self, purpose: &str) -> Result<Toolbox, SuiteError> {
        let label = format!("{}-{purpose}", self.spec.label);
        Ok(self.sandbox.start(&SandboxSpec { label, snapshot: None, ..self.spec.clone() }).await?)
    }

    pub(super) async fn preparation(&self, tree: &Sha) -> Result<Preparation, SuiteError> {
        if self.settings.setup_commands.is_empty() {
            return Ok(Preparation::With(None));
        }
        if let Some(why) = self.cache_error.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(Preparation::Uncached { why });
        }
        let (key, tree) = self.key_and_tree(tree).await?;
        let lock = self.locks.of(&key);
        let _held = lock.lock().await;
        if let Some(snapshot) = self.kept(&key).await {
            // Recorded once; it is the same for every later sandbox.
            if !self.is_reuse_recorded.swap(true, Ordering::Relaxed) {
                self.record_setup(&key, Vec::new(), Duration::ZERO, true, true);
            }
            return Ok(Preparation::With(Some(snapshot)));
        }
        self.run_setup(key, &tree).await
    }

    /// The cache key of the setup for `tree`, and the tree that the setup runs in: the base's, unless `tree`
    /// differs in what a setup depends on and may have a setup of its own.
    async fn key_and_tree(&self, tree: &Sha) -> Result<(SetupKey, Sha), SuiteError> {
        let base = (self.base_key.clone(), self.base_setup_tree.clone());
        if self.changed_setup_paths(tree).await?.is_empty() {
            return Ok(base);
        }
        if self.may_have_own_setup() {
            let inputs = KeyInputs {
                git: &self.git_identity,
                submodules: &self.workspace.submodules_identity(),
                repository: &self.repository,
                root_digest: &self.root.digest,
                commands: &self.settings.setup_commands,
                allowed_hosts: &self.policy.allowed_hosts,
                variables: &self.policy.variables,
            };
            let own = setup_tree(&self.workspace, tree, &self.settings.setup_files).await?;
            return Ok((key_of_proposal(&setup_key(&inputs, &own), tree, &self.spec.label), own));
        }
        self.remark(
            "The change touches lock or manifest files. The setup was not run again for it, since it has network \
             and the operator does not let a proposal use that (`sandbox.network_for_proposals`): the suite ran \
             with what the base's setup made.",
        );
        Ok(base)
    }

    /// The operator's rule for a proposal that changes what the setup depends on.
    fn may_have_own_setup(&self) -> bool {
        self.policy.allowed_hosts.is_empty() || self.policy.network_for_proposals
    }

    /// What a setup depends on and `tree` has otherwise than the base.
    pub(super) async fn changed_setup_paths(&self, tree: &Sha) -> Result<Vec<String>, SuiteError> {
        if *tree == self.base_tree {
            return Ok(Vec::new());
        }
        let files = &self.settings.setup_files;
        if !files.is_empty() {
            let own = setup_tree(&self.workspace, tree, files).await?;
            return Ok(self.workspace.changed_paths(&self.base_setup_tree, &own).await?);
        }
        let commands = &self.settings.setup_commands;
        let before = manifests(&self.workspace, &self.base_tree, commands).await?;
        let after = manifests(&self.workspace, tree, commands).await?;
        Ok(differing_paths(&before, &after))
    }

    pub(super) async fn kept(&self, key: &SetupKey) -> Option<SetupSnapshot> {
        match self.sandbox.find_snapshot(key).await {
            Ok(kept) => kept,
            Err(error) => {
                warn!(%error, "setup cache lookup failed");
                None
            }
        }
    }

    /// Runs the setup at `tree` in a sandbox of its own, and caches the result.
    async fn run_setup(&self, key: SetupKey, tree: &Sha) -> Result<Preparation, SuiteError> {
        info!(%key, "setup started");
        let started = Instant::now();
        let toolbox = self.sandbox.start(&self.setup_spec("setup")).await?;
        match self.settings.setup_files.is_empty() {
            true => self.unpack(&toolbox, tree, None).await?,
            false => toolbox.unpack(self.workspace.tar(tree)).await?,
        }
        let (commands, failed) = self.run_commands(&toolbox).await?;
        let egress = toolbox.take_egress_report();
        if !egress.is_empty() {
            let event = TranscriptEvent::Egress { purpose: "set-up".to_owned(), report: egress.clone() };
            self.pending().events.push(event);
        }
        if let Some(failed) = failed {
            toolbox.shut_down().await;
            self.record_setup(&key, commands, started.elapsed(), false, false);
            return Ok(Preparation::Failed(SetupFailure { egress, ..failed }));
        }
        // A sparse file counts with its full size here, so no more is read than the sandbox could have
        // written.
        let bytes_max = self.policy.kept.bytes_max.min(self.spec.limits.disk_bytes_max);
        let kept = self.sandbox.save_snapshot(toolbox, &key, bytes_max).await;
        self.record_setup(&key, commands, started.elapsed(), kept.is_ok(), false);
        self.is_reuse_recorded.store(true, Ordering::Relaxed);
        match kept {
            Ok(snapshot) => {
                self.evict().await;
                Ok(Preparation::With(Some(snapshot)))
            }
            Err(error @ SandboxError::Protocol(_)) => Err(error.into()),
            Err(error) => {
                warn!(%error, "setup result could not be cached, each sandbox runs the setup");
                let why = error.to_string();
                self.pending().events.push(TranscriptEvent::Note {
                    text: format!("{why}; each sandbox of this job runs the setup itself, without network"),
                });
                *self.cache_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
                Ok(Preparation::Uncached { why })
            }
        }
    }

    /// Runs the commands in order, up to the first failure.
    async fn run_commands(
        &self,
        toolbox: &Toolbox,
    ) -> Result<(Vec<SetupCommand>, Option<SetupFailure>), SuiteError> {
        let mut commands = Vec::new();
        for command in &self.settings.setup_commands {
            let spec = CommandSpec {
                env: self.policy.variables.clone(),
                ..CommandSpec::shell(command, self.settings.test_timeout)
            };
            let result = toolbox.run(&spec).await?;
            commands.push(SetupCommand { command: command.clone(), result: result.clone() });
            if !result.ending.is_success() {
                let egress = EgressReport::default();
                let (command, allowed_hosts) = (command.clone(), self.policy.allowed_hosts.clone());
                let failed = SetupFailure { command, result, egress, allowed_hosts, offline: None };
                return Ok((commands, Some(failed)));
            }
        }
        Ok((commands, None))
    }

    pub(super) async fn evict(&self) {
        match self.sandbox.evict(&self.policy.kept).await {
            Ok(evicted) if evicted.is_empty() => {}
            Ok(evicted) => info!(count = evicted.len(), "setup snapshots evicted"),
            Err(error) => warn!(%error, "setup snapshots could not be evicted"),
        }
    }

    fn record_setup(
        &self,
        key: &SetupKey,
        commands: Vec<SetupCommand>,
        took: Duration,
        kept: bool,
        reused: bool,
    ) {
        self.pending().events.push(TranscriptEvent::SetUp {
            key: key.to_string(),
            root: self.root.description.clone(),
            commands,
            seconds: took.as_secs_f64(),
            kept,
            reused,
        });
    }

    /// Adds a remark to the next verdict, once.
    pub(crate) fn remark(&self, words: &str) {
        let mut pending = self.pending();
        if !pending.remarks.iter().any(|remark| remark == words) {
            pending.remarks.push(words.to_owned());
        }
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, PendingRecords> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
