//! What a job needs to run: the ports, and the operator's policy. All I/O of a job goes through the ports.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::config::JobRules;
use crate::domain::{Budget, DailyCaps, FROM_THE_COMMAND_LINE, JobSettings};
use crate::github::GitHub;
use crate::model::Model;
use crate::provenance::ManifestSigner;
use crate::sandbox::{Sandbox, SandboxSpec};
use crate::setup::{SetupLocks, SetupPolicy};
use crate::store::Store;
use crate::workspace::Mirrors;

/// The ports, and the operator's policy. Cheap to clone.
#[derive(Clone)]
pub struct WorkerContext {
    /// Where everything is recorded.
    pub store: Arc<dyn Store>,
    /// GitHub, or what stands for it on this machine.
    pub github: Arc<dyn GitHub>,
    /// The model that works on issues.
    pub model: Arc<dyn Model>,
    /// The model that writes briefs, and summarizes conversations that are too long. `None`: there is no
    /// brief, and `model` summarizes.
    pub planner_model: Option<Arc<dyn Model>>,
    /// Starts the sandboxes.
    pub sandbox: Arc<dyn Sandbox>,
    /// The mirrors of the repositories.
    pub mirrors: Mirrors,
    /// The operator's policy.
    pub policy: JobPolicy,
    /// Wakes an idle worker.
    pub wake: Arc<Notify>,
    /// Signs manifests; `None`: a job on this machine has no service to sign for.
    pub signer: Option<Arc<ManifestSigner>>,
    /// The setups that are being run in this process.
    pub setup_locks: SetupLocks,
    /// The clock.
    pub clock: fn() -> Timestamp,
}

/// The operator's policy for every job.
#[derive(Debug, Clone)]
pub struct JobPolicy {
    /// The operator's rules, as they are configured.
    pub rules: JobRules,
    /// The most that a job may spend; a repository can only lower it.
    pub budget: Budget,
    /// The most that all jobs together may spend in a day.
    pub caps: DailyCaps,
    /// The sandbox of every job, without its label.
    pub sandbox: SandboxSpec,
    /// What a repository's setup commands may do.
    pub setup: SetupPolicy,
    /// The longest answer of the model, in tokens.
    pub output_tokens_max: u32,
    /// The context window of the model, its answer included, in tokens.
    pub context_tokens: u64,
    /// The context window of the model that summarizes, its answer included, in tokens.
    pub summarizer_context_tokens: u64,
    /// Settings from the command line, which replace the repository's.
    pub settings_override: Option<SettingsOverride>,
}

/// Settings from the command line of `mendwright fix`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsOverride {
    /// The test command.
    pub test_command: Option<String>,
    /// The setup commands; empty: the repository's.
    pub setup_commands: Vec<String>,
    /// Whether an image was given, so that the repository's is not used.
    pub image_given: bool,
}

impl SettingsOverride {
    /// `settings` with the command line's in their place.
    pub(crate) fn applied_to(&self, mut settings: JobSettings) -> JobSettings {
        if !self.setup_commands.is_empty() {
            settings.setup_commands = self.setup_commands.clone();
            settings.setup_source = FROM_THE_COMMAND_LINE.to_owned();
            settings.setup_detected = false;
            settings.setup_files = Vec::new();
        }
        if self.image_given {
            settings.image = None;
        }
        settings
    }
}
