//! The manifest of a proposal: what was run, on what, with what, and what came of it; enough for
//! somebody else to do it again. Gathered from the transcript; nothing in it is anybody's word. A service
//! signs it: an in-toto statement in a DSSE envelope.
//!
//! # The file, version 1
//! A JSON object: the fields of [`Manifest`] and `sha256`, its digest. The digest is the SHA-256 of
//! the object without `sha256`, written with its keys in order and without blanks (RFC 8785; there
//! are no fractions in it). The schema is `fixtures/schemas/manifest.schema.json`. Fields are only
//! added within a version, and the digest is over those that a reader does not know, too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::{
    Flag, IssueNumber, IssueSnapshot, JobId, PromptVersion, RepositoryId, RepositoryName, Sha,
};

mod envelope;
mod gather;
mod keys;
mod seal;
mod statement;

pub use envelope::{DsseEnvelope, DsseSignature, STATEMENT_PAYLOAD_TYPE, SignatureProblem};
pub use gather::{ProposedCommit, build_manifest};
pub use keys::{KeyProblem, ManifestPublicKey, ManifestSigningKey, PUBLIC_KEYS_FILE, SIGNING_KEY_FILE};
pub use seal::{InvalidManifest, Sealed, ascii_pretty, in_file, read_manifest};
pub use statement::{
    ManifestSignature, ManifestSigner, PREDICATE_TYPE, PUBLIC_KEYS_PATH, check_manifest_signature,
    envelope_of, manifest_in,
};

/// What the manifest's `format` says.
pub const FORMAT: &str = "mendwright-manifest";
/// The version that is written, and the newest that is read.
pub const VERSION: u32 = 1;

/// What stands behind a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Always `mendwright-manifest`.
    pub format: String,
    /// The format's version: 1.
    pub version: u32,
    /// The version of Mendwright that made the proposal.
    pub mendwright: String,
    /// SHA-256 of the program that ran inside the sandboxes.
    pub toolbox_sha256: String,
    /// The job.
    pub job: JobId,
    /// Which attempt on the issue.
    pub generation: u32,
    /// Where.
    pub repository: Repository,
    /// The issue as it was when the work was asked for.
    pub issue: Issue,
    /// What the work started from.
    pub base: Commit,
    /// What is proposed.
    pub head: Commit,
    /// The commit of its branch that it was made on top of, in a further round; absent: the base. It is
    /// the head itself where the round had nothing to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_top_of: Option<Sha>,
    /// How the tests are run, by the base's own configuration.
    pub suite: Suite,
    /// What the work was done in.
    pub sandbox: SandboxUsed,
    /// The models that answered, in order of appearance.
    pub models: Vec<String>,
    /// Which texts they were instructed with.
    pub prompts: Option<PromptVersion>,
    /// The commands that were run, in order.
    pub commands: Vec<CommandRun>,
    /// Commands beyond the bound, which are in the transcript only.
    pub commands_omitted: u64,
    /// What the job might spend.
    pub budget: Allowance,
    /// What it had spent when the verdict was given.
    pub spent: Spent,
    /// The verdict.
    pub verdict: VerdictGiven,
    /// The transcript up to the verdict.
    pub transcript: TranscriptDigest,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repository {
    /// Its name when the work was asked for.
    pub name: RepositoryName,
    /// GitHub's id; 0 for a local one.
    pub id: RepositoryId,
}

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Issue {
    /// Its number; 0 for a local one.
    pub number: IssueNumber,
    /// SHA-256 of its snapshot (number, title, body, author, labels) as JSON, written as for the
    /// manifest's own digest.
    pub sha256: String,
}

/// A commit on a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: Sha,
    /// Its tree.
    pub tree: Sha,
}

/// How the tests are run, and what a proposal may not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suite {
    /// The shell command whose exit code is the verdict.
    pub test_command: String,
    /// Where it is written.
    pub test_command_source: String,
    /// The setup's shell commands.
    pub setup_commands: Vec<String>,
    /// Globs of the only files that the setup is given; absent: the whole tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup_files: Vec<String>,
    /// The image that the repository names.
    pub image: Option<String>,
    /// Host names that the repository wants its tests to reach.
    pub hosts: Vec<String>,
    /// Longest time for one command, in milliseconds.
    pub timeout_milliseconds: u64,
    /// Globs that a proposal may not touch, beside the built-in ones.
    pub protected_paths: Vec<String>,
    /// Globs that count as tests, beside the built-in ones.
    pub test_paths: Vec<String>,
    /// Whether a change to a green base must bring a test that fails on the base.
    pub proof_required: bool,
}

/// What the work was done in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SandboxUsed {
    /// Root file system and limits, in words.
    pub description: String,
    /// The root file system's digest: an image's, or one of what a host has installed.
    pub root: Option<String>,
}

/// A command that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandRun {
    /// `set_up`, `baseline`, `agent` or `verdict`.
    pub purpose: String,
    /// The shell command.
    pub command: String,
    /// As a shell shows it: 124 timed out, 137 out of memory, 122 disk full, 123 process limit.
    pub exit_code: i32,
    /// Wall time.
    pub milliseconds: u64,
}

/// What a job may spend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Allowance {
    /// Model calls.
    pub turns: u32,
    /// Tool calls.
    pub tool_calls: u32,
    /// Tokens.
    pub tokens: u64,
    /// Millionths of a US dollar.
    pub micro_usd: u64,
    /// Wall time of the agent.
    pub milliseconds: u64,
}

/// What was spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spent {
    /// Model calls.
    pub turns: u32,
    /// Tool calls.
    pub tool_calls: u32,
    /// Input tokens that no cache had to do with.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Input tokens read from the provider's cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to it.
    pub cache_write_tokens: u64,
    /// Millionths of a US dollar; null where the model has no known price.
    pub micro_usd: Option<u64>,
    /// Wall time of the agent.
    pub milliseconds: u64,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictGiven {
    /// Why it is verified, in words.
    pub explanation: String,
    /// Of the suite, at the proposed tree, in a fresh sandbox.
    pub exit_code: i32,
    /// The tests that fail on the base and pass on the proposal; null where no proof was asked for.
    pub proof: Option<Vec<String>>,
    /// What a reviewer must look at.
    pub flags: Vec<Flag>,
    /// The tests that failed at the base.
    pub failed_before: Vec<String>,
    /// The tests that still fail.
    pub failed_after: Vec<String>,
}

/// A part of a transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TranscriptDigest {
    /// How many events, from the first.
    pub events: u64,
    /// SHA-256 of their lines, see the transcript's format.
    pub sha256: String,
}

/// JSON Schema of a manifest's file.
pub fn schema() -> Value {
    schemars::schema_for!(Sealed).to_value()
}

/// SHA-256 of an issue's snapshot, in hexadecimal.
pub fn issue_digest(issue: &IssueSnapshot) -> String {
    digest_of(&serde_json::to_value(issue).expect("an issue has only string keys"))
}

/// SHA-256 of a JSON value without fractions, in hexadecimal; the same however it was written.
fn digest_of(value: &Value) -> String {
    hex::encode(Sha256::digest(canonical(value)))
}

/// Keys in order, no blanks.
fn canonical(value: &Value) -> String {
    let text = |text: &str| Value::String(text.to_owned()).to_string();
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            let fields = keys.into_iter().map(|key| format!("{}:{}", text(key), canonical(&fields[key])));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
