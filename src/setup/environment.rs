//! What a job's sandboxes start with: the root file system, the tree, and what the repository's
//! set-up commands made. The set-up runs apart, before anything else, with the network that the
//! operator allows it and without any secret; the sandboxes of the work and of the verdict begin
//! with its result, and have no network but what repository and operator both name for them.
//!
//! Where the result cannot be kept, each sandbox runs the set-up itself, without the set-up's
//! network: what the agent and the tests run in never had it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::cache_key::{DependsOn, key_of_proposal, setup_key};
use crate::config::AllowedHost;
use crate::domain::{
    EgressReport, JobSettings, ProcessOutput, RepositoryId, SetupCommand, Sha, TranscriptEvent,
};
use crate::sandbox::{
    CacheLimits, CommandSpec, ResolvedRoot, Sandbox, SandboxError, SandboxPurpose, SandboxSpec, SetupKey,
    SetupSnapshot, Toolbox,
};
use crate::testing::SuiteError;
use crate::workspace::Workspace;

/// What a sandbox was prepared from may be evicted just then; more often it is no accident.
const STARTS_MAX: usize = 3;
/// Of a failed command's output, in words: its end.
const OUTPUT_CHARS_MAX: usize = 4_000;
/// Refused hosts in words.
const REFUSALS_SHOWN_MAX: usize = 10;

/// What the operator lets a set-up do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupPolicy {
    /// Hosts that it may reach; empty: no network.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Variables that its commands see beside the sandbox's own: where a package manager finds an
    /// internal registry, never a secret.
    pub variables: Vec<(String, String)>,
    /// Globs of images that a repository may name.
    pub images: Vec<String>,
    /// Bytes that it may move, both ways together.
    pub egress_bytes_max: u64,
    /// Whether the agent may run the commands that a repository allows.
    pub commands: bool,
    /// How much is kept of what set-ups made.
    pub kept: CacheLimits,
    /// Whether a proposal that changes lock files has its own set-up run with that network, too.
    pub network_for_proposals: bool,
    /// What the one repository there is goes by; `None`: its number, which tells many apart.
    pub repository: Option<String>,
}

impl Default for SetupPolicy {
    /// No network; 4 GiB through it where hosts are named.
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            variables: Vec::new(),
            images: Vec::new(),
            egress_bytes_max: 4 << 30,
            commands: true,
            kept: CacheLimits::default(),
            network_for_proposals: false,
            repository: None,
        }
    }
}

/// Jobs of this process that want the same set-up wait for each other.
#[derive(Debug, Clone, Default)]
pub struct SetupLocks(Arc<Mutex<HashMap<SetupKey, Weak<tokio::sync::Mutex<()>>>>>);

impl SetupLocks {
    fn of(&self, key: &SetupKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// A set-up command that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct SetupFailure {
    /// The command.
    pub command: String,
    /// What came of it.
    pub result: ProcessOutput,
    /// What the set-up asked of the network.
    pub egress: EgressReport,
    /// Why the set-up ran without the network that it may have, if it did.
    pub offline: Option<String>,
}

impl SetupFailure {
    /// For people and the model.
    pub fn describe(&self) -> String {
        let output = self.result.output.to_text();
        let skipped = output.chars().count().saturating_sub(OUTPUT_CHARS_MAX);
        let tail: String = output.chars().skip(skipped).collect();
        let cut = if skipped > 0 { "…" } else { "" };
        let mut words = format!(
            "the set-up command `{}` fails: {}\n{cut}{}",
            self.command,
            self.result.ending.explain(),
            tail.trim_end()
        );
        for refusal in self.egress.refusals().take(REFUSALS_SHOWN_MAX) {
            let why = refusal.refused.as_deref().unwrap_or_default();
            words.push_str(&match why.contains("among the allowed") {
                true => format!(
                    "\nIt asked for {}, which is not allowed: add it to `sandbox.allowed_hosts` in the operator's \
                     configuration if it should be.",
                    refusal.host
                ),
                false => format!("\nIt asked for {}:{}, and that was refused: {why}.", refusal.host, refusal.port),
            });
        }
        if let Some(why) = &self.offline {
            words.push_str(&format!("\nIt ran without network, since {why}."));
        }
        words
    }
}

/// Where all sandboxes of a job come from.
pub struct Environment {
    sandbox: Arc<dyn Sandbox>,
    spec: SandboxSpec,
    root: ResolvedRoot,
    workspace: Workspace,
    settings: JobSettings,
    policy: SetupPolicy,
    locks: SetupLocks,
    base_tree: Sha,
    base_key: SetupKey,
    repository: String,
    /// Why nothing is kept, once that is known.
    cannot_keep: Mutex<Option<String>>,
    told: Mutex<Told>,
    reuse_told: AtomicBool,
    /// Why the repository's set-up is not among the settings, for every verdict.
    skipped_setup: Option<String>,
}

#[derive(Default)]
struct Told {
    events: Vec<TranscriptEvent>,
    remarks: Vec<String>,
}

/// How a sandbox comes by what the set-up makes.
enum Preparation {
    /// There is nothing to be made, or it is there already.
    With(Option<SetupSnapshot>),
    /// By running the commands itself.
    Itself { why: String },
    /// Not at all.
    Failed(SetupFailure),
}

impl Environment {
    /// For a job on `workspace`. `spec` is what the sandboxes of work and verdict must be.
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
        let depends_on = DependsOn {
            repository: &repository,
            root_digest: &root.digest,
            commands: &settings.setup_commands,
            allowed_hosts: &policy.allowed_hosts,
            variables: &policy.variables,
        };
        let base_key = setup_key(&workspace, &base_tree, depends_on).await?;
        Ok(Self {
            sandbox,
            spec,
            root,
            workspace,
            settings,
            policy,
            locks,
            base_tree,
            base_key,
            repository,
            cannot_keep: Mutex::default(),
            told: Mutex::default(),
            reuse_told: AtomicBool::new(false),
            skipped_setup: None,
        })
    }

    /// The same, whose verdicts say that a set-up was left out.
    pub fn with_setup_skipped(self, remark: String) -> Self {
        Self { skipped_setup: Some(remark), ..self }
    }

    /// What verdicts say of a set-up that was left out, if one was.
    pub fn skipped_setup(&self) -> Option<&str> {
        self.skipped_setup.as_deref()
    }

    /// The job's work.
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

    /// What happened since this was last asked, for the transcript.
    pub fn take_events(&self) -> Vec<TranscriptEvent> {
        std::mem::take(&mut self.told().events)
    }

    /// Notes what a sandbox asked of the network, when it is done with.
    pub(crate) fn note_egress(&self, purpose: &str, toolbox: &Toolbox) {
        let report = toolbox.take_egress_report();
        if !report.is_empty() {
            self.told().events.push(TranscriptEvent::Egress { purpose: purpose.to_owned(), report });
        }
    }

    /// What a verdict has to say about what it rests on, since this was last asked.
    pub(crate) fn take_remarks(&self) -> Vec<String> {
        std::mem::take(&mut self.told().remarks)
    }

    /// A sandbox that nothing but the set-up and `tree` has touched; `purpose` is part of its name.
    pub async fn fresh(
        &self,
        tree: &Sha,
        purpose: &str,
    ) -> Result<Result<Toolbox, SetupFailure>, SuiteError> {
        let label = match purpose {
            "work" => self.spec.label.clone(),
            other => format!("{}-{other}", self.spec.label),
        };
        if let Some(left_out) = &self.skipped_setup {
            self.remark(left_out);
        }
        for start in 1.. {
            let (snapshot, itself) = match self.preparation(tree).await? {
                Preparation::With(snapshot) => (snapshot, None),
                Preparation::Itself { why } => (None, Some(why)),
                Preparation::Failed(failure) => return Ok(Err(failure)),
            };
            let spec = SandboxSpec { label: label.clone(), snapshot, ..self.spec.clone() };
            let toolbox = match self.sandbox.start(&spec).await {
                Err(SandboxError::Gone(why)) if spec.snapshot.is_some() && start < STARTS_MAX => {
                    warn!(why, "what was prepared went away; it is made again");
                    continue;
                }
                other => other?,
            };
            toolbox.unpack(self.workspace.tar(tree)).await?;
            let Some(why) = itself else { return Ok(Ok(toolbox)) };
            let (_, failed) = self.run_commands(&toolbox).await?;
            let Some(failed) = failed else { return Ok(Ok(toolbox)) };
            toolbox.shut_down().await;
            let offline = (!self.policy.allowed_hosts.is_empty()).then_some(why);
            return Ok(Err(SetupFailure { offline, ..failed }));
        }
        unreachable!("the loop is left by its last round")
    }

    async fn preparation(&self, tree: &Sha) -> Result<Preparation, SuiteError> {
        if self.settings.setup_commands.is_empty() {
            return Ok(Preparation::With(None));
        }
        if let Some(why) = self.cannot_keep.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(Preparation::Itself { why });
        }
        let (key, tree) = self.key_and_tree(tree).await?;
        let lock = self.locks.of(&key);
        let _held = lock.lock().await;
        if let Some(snapshot) = self.kept(&key).await {
            // Every sandbox begins so; once in the transcript is enough.
            if !self.reuse_told.swap(true, Ordering::Relaxed) {
                self.tell_set_up(&key, Vec::new(), Duration::ZERO, true, true);
            }
            return Ok(Preparation::With(Some(snapshot)));
        }
        self.set_up(key, &tree).await
    }

    /// What the set-up of a sandbox with `tree` is kept under, and the tree it is made from: the
    /// base's, unless `tree` differs in what a set-up depends on and may have one of its own.
    async fn key_and_tree(&self, tree: &Sha) -> Result<(SetupKey, Sha), SuiteError> {
        let base = (self.base_key.clone(), self.base_tree.clone());
        if *tree == self.base_tree {
            return Ok(base);
        }
        let depends_on = DependsOn {
            repository: &self.repository,
            root_digest: &self.root.digest,
            commands: &self.settings.setup_commands,
            allowed_hosts: &self.policy.allowed_hosts,
            variables: &self.policy.variables,
        };
        let key = setup_key(&self.workspace, tree, depends_on).await?;
        if key == self.base_key {
            return Ok(base);
        }
        if self.policy.allowed_hosts.is_empty() || self.policy.network_for_proposals {
            return Ok((key_of_proposal(&key, tree), tree.clone()));
        }
        self.remark(
            "The change touches lock or manifest files. The set-up was not run again for it, since it has network \
             and the operator does not let a proposal use that (`sandbox.network_for_proposals`): the suite ran \
             with what the base's set-up made.",
        );
        Ok(base)
    }

    async fn kept(&self, key: &SetupKey) -> Option<SetupSnapshot> {
        match self.sandbox.find_snapshot(key).await {
            Ok(kept) => kept,
            Err(error) => {
                warn!(%error, "what is kept cannot be looked up");
                None
            }
        }
    }

    /// Runs the set-up at `tree` in a sandbox of its own, and keeps what it makes.
    async fn set_up(&self, key: SetupKey, tree: &Sha) -> Result<Preparation, SuiteError> {
        info!(%key, "set-up");
        let started = Instant::now();
        let spec = SandboxSpec {
            label: format!("{}-setup", self.spec.label),
            purpose: SandboxPurpose::Setup,
            allowed_hosts: self.policy.allowed_hosts.clone(),
            egress_bytes_max: self.policy.egress_bytes_max,
            snapshot: None,
            ..self.spec.clone()
        };
        let toolbox = self.sandbox.start(&spec).await?;
        toolbox.unpack(self.workspace.tar(tree)).await?;
        let (commands, failed) = self.run_commands(&toolbox).await?;
        let egress = toolbox.take_egress_report();
        if !egress.is_empty() {
            let event = TranscriptEvent::Egress { purpose: "set-up".to_owned(), report: egress.clone() };
            self.told().events.push(event);
        }
        if let Some(failed) = failed {
            toolbox.shut_down().await;
            self.tell_set_up(&key, commands, started.elapsed(), false, false);
            return Ok(Preparation::Failed(SetupFailure { egress, ..failed }));
        }
        // A file with holes is as large here as it says: no more is taken than the sandbox could have
        // filled.
        let bytes_max = self.policy.kept.bytes_max.min(self.spec.limits.disk_bytes_max);
        let kept = self.sandbox.save_snapshot(toolbox, &key, bytes_max).await;
        self.tell_set_up(&key, commands, started.elapsed(), kept.is_ok(), false);
        self.reuse_told.store(true, Ordering::Relaxed);
        match kept {
            Ok(snapshot) => {
                self.evict().await;
                Ok(Preparation::With(Some(snapshot)))
            }
            Err(error @ SandboxError::Protocol(_)) => Err(error.into()),
            Err(error) => {
                warn!(%error, "each sandbox runs the set-up itself");
                let why = error.to_string();
                self.told().events.push(TranscriptEvent::Note {
                    text: format!("{why}; each sandbox of this job runs the set-up itself, without network"),
                });
                *self.cannot_keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
                Ok(Preparation::Itself { why })
            }
        }
    }

    /// Runs the commands in order, up to the first that fails.
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
                let failed = SetupFailure { command: command.clone(), result, egress, offline: None };
                return Ok((commands, Some(failed)));
            }
        }
        Ok((commands, None))
    }

    async fn evict(&self) {
        match self.sandbox.evict(&self.policy.kept).await {
            Ok(evicted) if evicted.is_empty() => {}
            Ok(evicted) => info!(count = evicted.len(), "evicted what set-ups made"),
            Err(error) => warn!(%error, "what set-ups made could not be evicted"),
        }
    }

    fn tell_set_up(
        &self,
        key: &SetupKey,
        commands: Vec<SetupCommand>,
        took: Duration,
        kept: bool,
        reused: bool,
    ) {
        self.told().events.push(TranscriptEvent::SetUp {
            key: key.to_string(),
            root: self.root.description.clone(),
            commands,
            seconds: took.as_secs_f64(),
            kept,
            reused,
        });
    }

    fn remark(&self, words: &str) {
        let mut told = self.told();
        if !told.remarks.iter().any(|said| said == words) {
            told.remarks.push(words.to_owned());
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
