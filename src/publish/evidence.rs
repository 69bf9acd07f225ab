//! What a job has to show, gathered from its transcript. Decides nothing. Everything that belongs to one round
//! comes from the current round.

use std::time::Duration;

use crate::domain::{
    AssistantBlock, FailedTest, Feedback, IssueSnapshot, Job, JobOutcome, JobSettings, JobState, Login,
    Message, PullRequestNumber, RecordedEvent, RepositoryName, Sha, Spend, TestRun, ToolArguments,
    Transcript, TranscriptEvent,
};

use crate::provenance::{ManifestSignature, Sealed};
use crate::workspace::Patch;

use super::environment_summary::EnvironmentSummary;
use super::format::thousands;
use super::marker::{Marker, MarkerKind};
use super::timeline::Timeline;

/// The label that requests work, unless the operator configures another.
const LABEL: &str = "agent-fix";

/// A round whose change was proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierRound {
    /// Its number, from 1.
    pub number: u32,
    /// The agent's summary of it.
    pub summary: String,
}

/// What a job has to show.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The job; markers are made from it.
    pub(super) job: Job,
    /// The job's state: the last one in the transcript, else the job's own.
    pub state: JobState,
    /// How the current round ended; `None` while it runs.
    pub outcome: Option<JobOutcome>,
    /// The label that requests work, to explain how to try again.
    pub label: String,
    /// The changes as a diff, if the caller has them.
    pub patch: Option<Patch>,
    /// The commit that the work started from.
    pub base: Option<BaseCommit>,
    /// The settings read from it.
    pub settings: Option<JobSettings>,
    /// The suite on the base, before any change.
    pub baseline: Option<TestRun>,
    /// The round's last verdict.
    pub verdict: Option<VerdictSummary>,
    /// The agent's own last run of the suite in this round.
    pub agent_run: Option<TestRun>,
    /// The agent's current plan, in Markdown.
    pub plan: Option<String>,
    /// The agent's summary from its last call of `finish` in this round, in Markdown.
    pub summary: Option<String>,
    /// The earlier rounds whose change was proposed, oldest first.
    pub earlier_rounds: Vec<EarlierRound>,
    /// What was spent.
    pub spend: Spend,
    /// The time of all rounds, each from its first event to the last that is not about publishing.
    pub duration: Duration,
    /// The models that answered, in order of appearance.
    pub models: Vec<String>,
    /// The sandboxes that were used; each description once.
    pub sandboxes: Vec<SandboxSummary>,
    /// Every path that the agent's tools changed.
    pub paths_written: Vec<String>,
    /// The tree of the last checkpoint.
    pub checkpoint: Option<Sha>,
    /// The number of the round, from 1.
    pub round: u32,
    /// The pull request that the job opened.
    pub pull_request: Option<PullRequestNumber>,
    /// The feedback that this round answers.
    pub feedback: Vec<Feedback>,
    /// The failed checks of others that this round fixes.
    pub failed_checks: Vec<String>,
    /// The head of the branch that the round builds on.
    pub branch_head: Option<Sha>,
    /// Other remarks.
    pub notes: Vec<String>,
    /// How the sandboxes were set up, and what they requested from the network.
    pub environment: EnvironmentSummary,
    /// The proposal's manifest, if there is a proposal.
    pub manifest: Option<Sealed>,
    /// Its signature, if a service made the proposal.
    pub signature: Option<ManifestSignature>,
    /// What happened, turn by turn.
    pub(super) timeline: Timeline,
}

/// Where the work started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseCommit {
    /// The commit.
    pub sha: Sha,
    /// Its branch, which the pull request targets.
    pub branch: String,
}

/// A sandbox that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSummary {
    /// What for: `work`, `verdict`, `proof`.
    pub purposes: Vec<String>,
    /// A description of the root file system and the limits.
    pub description: String,
}

/// A recorded verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct VerdictSummary {
    /// Whether the proposal was verified.
    pub verified: bool,
    /// Why.
    pub explanation: String,
    /// The run, if the verdict came that far.
    pub run: Option<TestRun>,
    /// The tests that fail on the base and pass on the proposal.
    pub proof: Option<Vec<FailedTest>>,
}

impl Evidence {
    /// Gathers what `transcript` says about `job`.
    pub fn from_transcript(job: &Job, transcript: Transcript<'_>) -> Self {
        let mut evidence = Self {
            job: job.clone(),
            state: job.state,
            outcome: job.outcome.clone(),
            label: LABEL.to_owned(),
            patch: None,
            base: None,
            settings: None,
            baseline: None,
            verdict: None,
            agent_run: None,
            plan: None,
            summary: None,
            earlier_rounds: Vec::new(),
            spend: transcript.spend(),
            duration: Duration::ZERO,
            models: Vec::new(),
            sandboxes: Vec::new(),
            paths_written: Vec::new(),
            checkpoint: None,
            round: transcript.round_number(),
            pull_request: transcript.opened_pull_request(),
            feedback: transcript.current_feedback().into_iter().cloned().collect(),
            failed_checks: transcript.failed_checks().into_iter().map(str::to_owned).collect(),
            branch_head: transcript.found_branch_head().cloned(),
            notes: Vec::new(),
            environment: EnvironmentSummary::default(),
            manifest: None,
            signature: None,
            timeline: Timeline::default(),
        };
        let mut round = 1;
        for recorded in transcript.events() {
            evidence.add(recorded, &mut round);
        }
        if let Some(settings) = &mut evidence.settings {
            settings.budget = transcript.budget(&settings.budget);
        }
        evidence.duration = transcript.rounds().map(duration_of).sum();
        evidence
    }

    /// With the configured label that requests work.
    pub fn with_label(self, label: &str) -> Self {
        Self { label: label.to_owned(), ..self }
    }

    /// With the changes as a diff.
    pub fn with_patch(self, patch: Patch) -> Self {
        Self { patch: Some(patch), ..self }
    }

    /// With the proposal's manifest, and its signature if there is one.
    pub fn with_manifest(self, manifest: Sealed, signature: Option<ManifestSignature>) -> Self {
        Self { manifest: Some(manifest), signature, ..self }
    }

    /// The issue when the work was requested.
    pub fn issue(&self) -> &IssueSnapshot {
        &self.job.trigger.issue
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The repository's name when the work was requested.
    pub fn repository(&self) -> &RepositoryName {
        &self.job.trigger.repository.name
    }

    /// Who requested the work.
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

    /// The marker of a text about this job.
    pub(super) fn marker(&self, kind: MarkerKind) -> Marker {
        let round = match kind {
            MarkerKind::PullRequest | MarkerKind::Progress => 1,
            MarkerKind::Escalation | MarkerKind::Held | MarkerKind::Round => self.round,
        };
        Marker { round, ..Marker::new(kind, &self.job) }
    }

    /// The last line of every text: which job wrote it.
    pub(super) fn footer(&self) -> String {
        let job = &self.job;
        let attempt =
            if job.generation > 1 { format!(", attempt {}", job.generation) } else { String::new() };
        format!("<sub>Mendwright · job `{}`{attempt}</sub>", job.id)
    }

    /// Takes one more event into account, of the round with this number.
    fn add(&mut self, recorded: &RecordedEvent, round: &mut u32) {
        self.timeline.add(&recorded.event);
        self.environment.add(&recorded.event);
        match &recorded.event {
            TranscriptEvent::Prepared { base, base_branch, settings } => {
                // The run so far was on another base.
                self.baseline = None;
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
                self.notes.extend(remark.iter().map(|remark| format!("brief: {remark}")));
            }
            TranscriptEvent::Compacted { fault, model, .. } => {
                self.notes.push("the conversation became too long and was summarized".to_owned());
                self.notes.extend(fault.iter().map(|fault| format!("no model summary: {fault}")));
                model.iter().for_each(|model| self.add_model(model));
            }
            TranscriptEvent::CommentsRead { comments, left_out } => {
                if !comments.is_empty() {
                    self.notes.push(format!("issue comments given to the model: {}", comments.len()));
                }
                self.notes.extend(left_out.iter().map(|what| format!("not given to the model: {what}")));
            }
            TranscriptEvent::CallWasted { why, usage, counted, .. } => {
                let counted = if *counted { "" } else { ", its worst case" };
                let tokens = thousands(usage.total());
                self.notes.push(format!(
                    "a model call without an answer is charged with {tokens} tokens{counted}: {why}"
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
            TranscriptEvent::PlanTried { result } => self.notes.push(format!("tried: {}", result.describe())),
            TranscriptEvent::Note { text } => self.notes.push(text.clone()),
            TranscriptEvent::StateChanged { state } => self.state = *state,
            // A new round begins: what the last one ended with no longer holds.
            TranscriptEvent::Resumed { .. } => {
                let summary = self.summary.take().filter(|summary| !summary.trim().is_empty());
                if let (Some(JobOutcome::Proposed { .. }), Some(summary)) = (&self.outcome, summary) {
                    self.earlier_rounds.push(EarlierRound { number: *round, summary });
                }
                *round += 1;
                (self.outcome, self.verdict, self.summary, self.agent_run) = (None, None, None, None);
            }
            // Others changed the branch: verdicts and runs from before no longer count.
            TranscriptEvent::BranchFound { .. } => (self.verdict, self.agent_run) = (None, None),
            // The verified change is being published.
            TranscriptEvent::Released { .. } | TranscriptEvent::PublicationRetried { .. } => {
                self.outcome = None;
            }
            TranscriptEvent::Ended { outcome } => {
                self.state = outcome.state();
                self.outcome = Some(outcome.clone());
            }
            _ => {}
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

/// The summary with which `finish` was called.
fn summary_in(blocks: &[AssistantBlock]) -> Option<String> {
    blocks.iter().rev().find_map(|block| match block {
        AssistantBlock::ToolCall(call) if call.name == "finish" => match &call.arguments {
            ToolArguments::Json(arguments) => arguments["summary"].as_str().map(str::to_owned),
            ToolArguments::Malformed(_) => None,
        },
        AssistantBlock::ToolCall(_) | AssistantBlock::Text { .. } | AssistantBlock::Opaque { .. } => None,
    })
}

/// How long a round took.
fn duration_of(round: Transcript<'_>) -> Duration {
    let times =
        || round.events().iter().filter(|recorded| recorded.event.is_work()).map(|recorded| recorded.at);
    let (Some(first), Some(last)) = (times().next(), times().next_back()) else { return Duration::ZERO };
    Duration::try_from(last.duration_since(first)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::test_evidence::{fixed, prepared, recorded, work};
    use super::*;
    use crate::domain::{BudgetExtension, ResumeReason};

    fn of(events: Vec<TranscriptEvent>) -> Evidence {
        Evidence::from_transcript(fixed().0.job(), Transcript::new(&recorded(events)))
    }

    fn head() -> Sha {
        "c".repeat(40).parse().unwrap()
    }

    fn verdict() -> TranscriptEvent {
        TranscriptEvent::VerdictReached {
            verified: true,
            tree: head(),
            explanation: "The suite passes.".into(),
            run: None,
            proof: None,
            flags: Vec::new(),
        }
    }

    fn resumed() -> TranscriptEvent {
        let why = ResumeReason::Continued { grant: BudgetExtension::default(), words: String::new() };
        TranscriptEvent::Resumed { by: "ada".parse().unwrap(), by_is_bot: false, why }
    }

    fn first_round(outcome: JobOutcome) -> Vec<TranscriptEvent> {
        let mut events = work();
        events.extend([verdict(), TranscriptEvent::Ended { outcome }]);
        events
    }

    #[test]
    fn new_round_shows_nothing_of_the_previous_one() {
        let proposed = JobOutcome::Proposed { pull_request: None, branch: "b".into(), head: head() };
        let mut events = first_round(proposed);
        let ended = of(events.clone());
        assert!(ended.outcome.is_some() && ended.verdict.is_some() && ended.agent_run.is_some());
        events.extend([resumed(), TranscriptEvent::StateChanged { state: JobState::Queued }]);
        let evidence = of(events);
        assert_eq!((evidence.round, evidence.state), (2, JobState::Queued));
        assert_eq!((evidence.outcome, evidence.verdict), (None, None));
        assert_eq!((evidence.summary, evidence.agent_run), (None, None));
    }

    #[test]
    fn approved_change_is_no_longer_waiting_for_approval() {
        let mut events = first_round(JobOutcome::Held { branch: "b".into(), head: head() });
        events.extend([
            TranscriptEvent::Released { by: "ada".parse().unwrap() },
            TranscriptEvent::StateChanged { state: JobState::Publishing },
        ]);
        let evidence = of(events);
        assert_eq!((evidence.outcome, evidence.state), (None, JobState::Publishing));
        assert!(evidence.verdict.is_some_and(|verdict| verdict.verified));
    }

    #[test]
    fn new_base_has_no_baseline_yet_and_a_changed_branch_has_no_verdict() {
        let mut events = work();
        events.push(verdict());
        events.extend([prepared(), TranscriptEvent::BranchFound { head: head(), changed: Vec::new() }]);
        let evidence = of(events);
        assert_eq!((evidence.baseline, evidence.verdict), (None, None));
    }
}
