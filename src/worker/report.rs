//! The machine-readable report of an ended job: one JSON object, for scripts.

use serde::Serialize;

use crate::domain::{FailedTest, Flag, Job, JobOutcome, TestRun, Transcript};

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobReport {
    /// `proposed`, `held`, `escalated`, `cancelled` or `failed`.
    pub outcome: &'static str,
    /// Why, unless it is `proposed`: one word for an escalation, otherwise a text.
    pub reason: Option<String>,
    /// The issue's number; `null` for a local issue.
    pub issue: Option<u64>,
    /// The draft pull request.
    pub pull_request: Option<PullRequestReport>,
    /// The suite before any change.
    pub baseline: Option<RunReport>,
    /// The suite at the proposal, as last verified in a fresh sandbox.
    pub verdict: Option<VerdictReport>,
    /// Model calls.
    pub turns: u32,
    /// Tool calls.
    pub tool_calls: u32,
    /// Tokens.
    pub tokens: TokenReport,
    /// US dollars; `null` if the model has no known price.
    pub cost_usd: Option<f64>,
    /// Seconds from the trigger to the end.
    pub seconds: f64,
}

/// A draft pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PullRequestReport {
    /// Its number; `null` without GitHub.
    pub number: Option<u64>,
    /// Always true: other pull requests are never opened.
    pub draft: bool,
    /// The branch.
    pub head: String,
    /// The commit.
    pub head_sha: String,
}

/// One run of the suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunReport {
    /// As in a shell: 124 timed out, 137 out of memory, 122 disk full, 123 process limit.
    pub exit_code: i32,
    /// The tests that failed.
    pub failed: Vec<FailedTest>,
}

/// The verdict's run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictReport {
    /// As in a shell; `null` if the verdict came before a run.
    pub exit_code: Option<i32>,
    /// The tests that failed.
    pub failed: Vec<FailedTest>,
    /// The tests that fail on the base and pass on the proposal; `null` if no proof was required.
    pub proof: Option<Vec<FailedTest>>,
    /// What a reviewer must examine; left out if there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
}

/// Tokens, as the provider counted them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenReport {
    /// Input that was not read from a cache.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Read from the provider's cache.
    pub cache_read: u64,
}

impl JobReport {
    /// The report of a job; `None` if it has not ended.
    pub fn of(job: &Job, transcript: Transcript<'_>) -> Option<Self> {
        let (outcome, reason) = match job.outcome.as_ref()? {
            JobOutcome::Proposed { .. } => ("proposed", None),
            JobOutcome::Held { .. } => ("held", Some("publish: hold".to_owned())),
            JobOutcome::Escalated { reason } => ("escalated", Some(reason.name().to_owned())),
            JobOutcome::Cancelled { why } => ("cancelled", Some(why.clone())),
            JobOutcome::Failed { why } => ("failed", Some(why.clone())),
        };
        let pull_request = match job.outcome.as_ref()? {
            JobOutcome::Proposed { pull_request, branch, head } => Some(PullRequestReport {
                number: pull_request.map(|number| number.0),
                draft: true,
                head: branch.clone(),
                head_sha: head.to_string(),
            }),
            JobOutcome::Held { .. }
            | JobOutcome::Escalated { .. }
            | JobOutcome::Cancelled { .. }
            | JobOutcome::Failed { .. } => None,
        };
        let baseline = transcript.baseline().map(RunReport::of);
        let verdict = transcript.last_verdict().map(|verdict| VerdictReport {
            exit_code: verdict.run.map(|run| run.result.ending.shell_code()),
            failed: verdict.run.map(TestRun::failed).unwrap_or_default(),
            proof: verdict.proof.map(<[_]>::to_vec),
            flags: verdict.flags.to_vec(),
        });
        let spend = transcript.spend();
        let issue = job.trigger.issue.number.0;
        Some(Self {
            outcome,
            reason,
            issue: (issue != 0).then_some(issue),
            pull_request,
            baseline,
            verdict,
            turns: spend.turns,
            tool_calls: spend.tool_calls,
            tokens: TokenReport {
                input: spend.usage.input_tokens + spend.usage.cache_write_tokens,
                output: spend.usage.output_tokens,
                cache_read: spend.usage.cache_read_tokens,
            },
            cost_usd: spend.usd.map(|usd| rounded(usd, 1e6)),
            seconds: rounded(job.updated_at.duration_since(job.created_at).as_secs_f64(), 1e3),
        })
    }
}

/// To so many context of one.
fn rounded(number: f64, context: f64) -> f64 {
    (number * context).round() / context
}

impl RunReport {
    fn of(run: &TestRun) -> Self {
        Self { exit_code: run.result.ending.shell_code(), failed: run.failed() }
    }
}
