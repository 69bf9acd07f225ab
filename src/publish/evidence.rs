//! What a job has to show, gathered from its transcript. Decides nothing.

use std::time::Duration;

use crate::domain::{
    AssistantBlock, FailedTest, Feedback, IssueSnapshot, Job, JobOutcome, JobSettings, JobState, Login,
    Message, PullRequestNumber, RecordedEvent, RepositoryName, ResumeReason, Sha, Spend, TestRun,
    ToolArguments, TranscriptEvent, branch_found, opened_pull_request, present_round, round_of, unanswered,
};

use crate::agent::Conversation;
use crate::provenance::Sealed;
use crate::workspace::Patch;

use super::marker::{Marker, MarkerKind};
use super::patch::Diff;
use super::story::Story;
use super::surroundings::Surroundings;
use super::words::thousands;

/// The label that asks for work where the operator named no other.
const LABEL: &str = "agent-fix";

/// What a job has to show.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The job; markers are made from it.
    pub(super) job: Job,
    /// Where the job stands: the transcript's last word, else the job's.
    pub state: JobState,
    /// How it ended, once it did.
    pub outcome: Option<JobOutcome>,
    /// The label that asks for work, for words on how to try again.
    pub label: String,
    /// The job's page, where the operator serves one.
    pub job_page: Option<String>,
    /// The changes as a diff, where the caller has them.
    pub patch: Option<Diff>,
    /// The commit that the work started from.
    pub base: Option<BaseCommit>,
    /// The settings read from it.
    pub settings: Option<JobSettings>,
    /// The suite before any change.
    pub baseline: Option<TestRun>,
    /// The last verdict: whether it was good, its words and its run.
    pub verdict: Option<VerdictSummary>,
    /// The agent's own last run of the suite.
    pub agent_run: Option<TestRun>,
    /// The plan as it stood last, in Markdown by the model.
    pub plan: Option<String>,
    /// What the agent said when it called `finish` last, in Markdown by the model.
    pub summary: Option<String>,
    /// What was spent.
    pub spend: Spend,
    /// Of all rounds, each from its first event to the last that is not about publishing.
    pub duration: Duration,
    /// The models that answered, in order of appearance.
    pub models: Vec<String>,
    /// The sandboxes that were used; each description once.
    pub sandboxes: Vec<SandboxSummary>,
    /// Every path that the agent's tools have written to.
    pub paths_written: Vec<String>,
    /// The tree kept last.
    pub checkpoint: Option<Sha>,
    /// Which round of the job this is, from 1.
    pub round: u32,
    /// The pull request that the job opened.
    pub pull_request: Option<PullRequestNumber>,
    /// What reviewers asked for that this round is to answer.
    pub feedback: Vec<Feedback>,
    /// The checks of others whose failing this round is to mend.
    pub failed_checks: Vec<String>,
    /// The head of the branch that the round works on top of.
    pub branch_head: Option<Sha>,
    /// What else was noted.
    pub notes: Vec<String>,
    /// What the sandboxes began with, and what they asked of the network.
    pub surroundings: Surroundings,
    /// The proposal's manifest, where there is a proposal.
    pub manifest: Option<Sealed>,
    /// What happened, turn by turn.
    pub(super) story: Story,
}

/// Where the work started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseCommit {
    /// The commit.
    pub sha: Sha,
    /// Its branch, which a pull request is to change.
    pub branch: String,
}

/// A sandbox that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSummary {
    /// What for: `work`, `verdict`, `proof`.
    pub purposes: Vec<String>,
    /// Root file system and limits, in words.
    pub description: String,
}

/// A verdict that was given.
#[derive(Debug, Clone, PartialEq)]
pub struct VerdictSummary {
    /// Whether the proposal was verified.
    pub verified: bool,
    /// The verdict's words.
    pub explanation: String,
    /// The run, where it came so far.
    pub run: Option<TestRun>,
    /// The tests that fail on the base and pass on the proposal.
    pub proof: Option<Vec<FailedTest>>,
}

impl Evidence {
    /// Gathers what `transcript` holds about `job`.
    pub fn from_transcript(job: &Job, transcript: &[RecordedEvent]) -> Self {
        let mut evidence = Self {
            job: job.clone(),
            state: job.state,
            outcome: job.outcome.clone(),
            label: LABEL.to_owned(),
            job_page: None,
            patch: None,
            base: None,
            settings: None,
            baseline: None,
            verdict: None,
            agent_run: None,
            plan: None,
            summary: None,
            spend: Conversation::replay(transcript).spend,
            duration: Duration::ZERO,
            models: Vec::new(),
            sandboxes: Vec::new(),
            paths_written: Vec::new(),
            checkpoint: None,
            round: round_of(transcript),
            pull_request: opened_pull_request(transcript),
            feedback: feedback_of(transcript),
            failed_checks: failed_checks_of(transcript),
            branch_head: branch_found(transcript).cloned(),
            notes: Vec::new(),
            surroundings: Surroundings::default(),
            manifest: None,
            story: Story::default(),
        };
        for recorded in transcript {
            evidence.add(recorded);
        }
        if let Some(settings) = &mut evidence.settings {
            settings.budget = Conversation::budget(transcript, &settings.budget);
        }
        let begins_round =
            |_: &RecordedEvent, next: &RecordedEvent| !matches!(next.event, TranscriptEvent::Resumed { .. });
        evidence.duration = transcript.chunk_by(begins_round).map(time_of).sum();
        evidence
    }

    /// With the label that asks for work where the operator named another.
    pub fn with_label(self, label: &str) -> Self {
        Self { label: label.to_owned(), ..self }
    }

    /// With the changes as a diff.
    pub fn with_patch(self, patch: &Patch) -> Self {
        Self { patch: Some(Diff::read(patch)), ..self }
    }

    /// With the proposal's manifest.
    pub fn with_manifest(self, manifest: Sealed) -> Self {
        Self { manifest: Some(manifest), ..self }
    }

    /// The issue as it was when the work was asked for.
    pub fn issue(&self) -> &IssueSnapshot {
        &self.job.trigger.issue
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The repository's name when the work was asked for.
    pub fn repository(&self) -> &RepositoryName {
        &self.job.trigger.repository.name
    }

    /// Who asked for the work.
    pub fn labeller(&self) -> &Login {
        &self.job.trigger.labeller
    }

    /// The last run of the suite that failed: the verdict's, else the agent's, else the baseline.
    pub fn last_failing_run(&self) -> Option<&TestRun> {
        let verdict = self.verdict.as_ref().and_then(|verdict| verdict.run.as_ref());
        [verdict, self.agent_run.as_ref(), self.baseline.as_ref()]
            .into_iter()
            .flatten()
            .find(|run| !run.is_green())
    }

    /// The marker of what is published of this job.
    pub(super) fn marker(&self, kind: MarkerKind) -> Marker {
        let round = match kind {
            MarkerKind::PullRequest | MarkerKind::Progress => 1,
            MarkerKind::Escalation | MarkerKind::Held | MarkerKind::Round => self.round,
        };
        Marker { round, ..Marker::new(kind, &self.job) }
    }

    fn add(&mut self, recorded: &RecordedEvent) {
        self.story.add(&recorded.event);
        self.surroundings.add(&recorded.event);
        match &recorded.event {
            TranscriptEvent::Prepared { base, base_branch, settings } => {
                self.base = Some(BaseCommit { sha: base.clone(), branch: base_branch.clone() });
                self.settings = Some(settings.as_ref().clone());
            }
            TranscriptEvent::SandboxStarted { purpose, description, .. } => {
                self.add_sandbox(purpose, description);
            }
            TranscriptEvent::BaselineRun { run } => self.baseline = Some(run.clone()),
            TranscriptEvent::MessageAdded { message, model, .. } => {
                if let Message::Assistant { blocks } = message {
                    self.summary = summary_in(blocks).or(self.summary.take());
                }
                model.iter().for_each(|model| self.add_model(model));
            }
            TranscriptEvent::BriefAnswered { remark, model, .. } => {
                self.add_model(model);
                self.notes.extend(remark.iter().map(|remark| format!("of the brief: {remark}")));
            }
            TranscriptEvent::Compacted { fault, model, .. } => {
                self.notes.push("the conversation became too long and was summed up".to_owned());
                self.notes.extend(fault.iter().map(|fault| format!("nobody could sum it up: {fault}")));
                model.iter().for_each(|model| self.add_model(model));
            }
            TranscriptEvent::CommentsRead { comments, left_out } => {
                if !comments.is_empty() {
                    self.notes
                        .push(format!("comments on the issue that the model was given: {}", comments.len()));
                }
                self.notes.extend(left_out.iter().map(|what| format!("not given to the model: {what}")));
            }
            TranscriptEvent::CallWasted { why, usage, counted, .. } => {
                let counted = if *counted { "" } else { ", the most that it can have been" };
                let tokens = thousands(usage.total());
                self.notes.push(format!(
                    "a model call that gave no answer is counted with {tokens} tokens{counted}: {why}"
                ));
            }
            TranscriptEvent::AgentTestRun { run } => self.agent_run = Some(run.clone()),
            TranscriptEvent::PlanUpdated { plan } => self.plan = Some(plan.clone()),
            TranscriptEvent::Checkpoint { tree, paths, .. } => {
                self.checkpoint = Some(tree.clone());
                self.paths_written = paths.clone();
            }
            TranscriptEvent::VerdictReached { verified, explanation, run, proof, .. } => {
                self.verdict = Some(VerdictSummary {
                    verified: *verified,
                    explanation: explanation.clone(),
                    run: run.clone(),
                    proof: proof.clone(),
                });
            }
            // The tools note each write; the paths are told with the checkpoint.
            TranscriptEvent::Note { text } if text.starts_with("wrote ") => {}
            TranscriptEvent::Note { text } => self.notes.push(text.clone()),
            TranscriptEvent::StateChanged { state } => self.state = *state,
            TranscriptEvent::Resumed { .. } => {
                (self.verdict, self.summary) = (None, None);
            }
            TranscriptEvent::Ended { outcome } => {
                self.state = outcome.state();
                self.outcome = Some(outcome.clone());
            }
            TranscriptEvent::SetUp { .. }
            | TranscriptEvent::Egress { .. }
            | TranscriptEvent::ResultKept { .. }
            | TranscriptEvent::Instructed { .. }
            | TranscriptEvent::ResultsElided { .. }
            | TranscriptEvent::Published { .. }
            | TranscriptEvent::Released { .. }
            | TranscriptEvent::BranchFound { .. }
            | TranscriptEvent::EscalationDecided { .. } => {}
        }
    }

    fn add_model(&mut self, model: &String) {
        if !self.models.contains(model) {
            self.models.push(model.clone());
        }
    }

    fn add_sandbox(&mut self, purpose: &str, description: &str) {
        match self.sandboxes.iter_mut().find(|known| known.description == description) {
            Some(known) if known.purposes.iter().any(|known| known == purpose) => {}
            Some(known) => known.purposes.push(purpose.to_owned()),
            None => self.sandboxes.push(SandboxSummary {
                purposes: vec![purpose.to_owned()],
                description: description.to_owned(),
            }),
        }
    }
}

/// What `finish` was called with.
fn summary_in(blocks: &[AssistantBlock]) -> Option<String> {
    blocks.iter().rev().find_map(|block| match block {
        AssistantBlock::ToolCall(call) if call.name == "finish" => match &call.arguments {
            ToolArguments::Json(arguments) => arguments["summary"].as_str().map(str::to_owned),
            ToolArguments::Malformed(_) => None,
        },
        AssistantBlock::ToolCall(_) | AssistantBlock::Text { .. } | AssistantBlock::Opaque { .. } => None,
    })
}

/// What the present round is to answer: all that was asked for since something was published before it.
fn feedback_of(transcript: &[RecordedEvent]) -> Vec<Feedback> {
    let (before, round) = transcript.split_at(transcript.len() - present_round(transcript).len());
    let asked = round.first().map(std::slice::from_ref).map(unanswered).unwrap_or_default();
    if before.is_empty() {
        Vec::new()
    } else {
        unanswered(before).into_iter().chain(asked).cloned().collect()
    }
}

fn failed_checks_of(transcript: &[RecordedEvent]) -> Vec<String> {
    match present_round(transcript).first().map(|recorded| &recorded.event) {
        Some(TranscriptEvent::Resumed { why: ResumeReason::ChecksFailed { checks, .. }, .. }) => {
            checks.iter().map(|check| check.name.clone()).collect()
        }
        _ => Vec::new(),
    }
}

/// How long a round took.
fn time_of(round: &[RecordedEvent]) -> Duration {
    let times = || round.iter().filter(|recorded| is_work(&recorded.event)).map(|recorded| recorded.at);
    let (Some(first), Some(last)) = (times().next(), times().next_back()) else { return Duration::ZERO };
    Duration::try_from(last.duration_since(first)).unwrap_or_default()
}

/// Whether an event is part of the work: what comes of publishing must not change what is
/// published, or a restart would find its own comment to be another one.
fn is_work(event: &TranscriptEvent) -> bool {
    match event {
        TranscriptEvent::StateChanged { state } => match state {
            JobState::Queued | JobState::Preparing | JobState::Working | JobState::Verifying => true,
            JobState::Publishing
            | JobState::Proposed
            | JobState::Held
            | JobState::Escalated
            | JobState::Cancelled
            | JobState::Failed => false,
        },
        TranscriptEvent::Published { .. }
        | TranscriptEvent::Released { .. }
        | TranscriptEvent::Ended { .. } => false,
        TranscriptEvent::Resumed { .. } | TranscriptEvent::BranchFound { .. } => true,
        TranscriptEvent::Prepared { .. }
        | TranscriptEvent::SandboxStarted { .. }
        | TranscriptEvent::SetUp { .. }
        | TranscriptEvent::Egress { .. }
        | TranscriptEvent::CommentsRead { .. }
        | TranscriptEvent::Instructed { .. }
        | TranscriptEvent::BriefAnswered { .. }
        | TranscriptEvent::ResultsElided { .. }
        | TranscriptEvent::Compacted { .. }
        | TranscriptEvent::BaselineRun { .. }
        | TranscriptEvent::MessageAdded { .. }
        | TranscriptEvent::CallWasted { .. }
        | TranscriptEvent::AgentTestRun { .. }
        | TranscriptEvent::PlanUpdated { .. }
        | TranscriptEvent::ResultKept { .. }
        | TranscriptEvent::Checkpoint { .. }
        | TranscriptEvent::VerdictReached { .. }
        | TranscriptEvent::EscalationDecided { .. }
        | TranscriptEvent::Note { .. } => true,
    }
}
