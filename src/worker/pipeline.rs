//! One job, top to bottom:
//! admit ▸ prepare ▸ (agent ▸ verdict)* ▸ publish. Each step is recorded before the next depends
//! on it; a restarted worker comes in at the top and finds what is done.

use std::sync::atomic::AtomicBool;

use tracing::{info, instrument};

use crate::agent::{Agent, AgentEnding, AgentError, Conversation, MeteredModel, Told, prompts};
use crate::domain::{
    Budget, BudgetExhausted, EscalationReason, JobOutcome, JobState, JobTransition, TestRun, Transcript,
    TranscriptEvent,
};
use crate::store::Journal;
use crate::verdict::{Rejected, Verdict, Verified, Verifier};

use super::admission::{Admission, admit};
use super::preparation::{
    Prepared, base_and_settings, sandbox_and_baseline, sandbox_error, suite_error, workspace_error,
};
use super::progress_reporter::Teller;
use super::{JobError, WorkerContext, issue_comments, publication, revisions};

/// A model that asks for verdict after verdict is not going to get it right.
const RED_VERDICTS_MAX: u32 = 8;

/// How often a model may ask for a verdict on the very tree that was just refused.
const RED_VERDICTS_UNCHANGED_MAX: u32 = 3;

/// What the work came to.
enum Decision {
    Propose(Box<Verified>),
    Escalate(EscalationReason),
}

/// Runs the job to its outcome. `committed` is set once a branch of ours is
/// out.
pub(super) async fn run(
    parts: &WorkerContext,
    journal: &Journal,
    committed: &AtomicBool,
) -> Result<JobOutcome, JobError> {
    let events = journal.transcript().await?;
    let transcript = Transcript::new(&events);
    let decision = match decided(transcript.since_last_base_change()) {
        Some(decision) => decision,
        None => {
            let mut stage = Stage::enter(journal, journal.job().state);
            stage.take(JobTransition::Claimed).await?;
            let remote = match admit(parts, journal.job(), transcript).await? {
                Admission::Admitted(remote) => remote,
                Admission::Refused(why) => return publication::refuse(parts, journal, why).await,
                Admission::Ignored(why) => return publication::ignore(journal, why).await,
            };
            publication::acknowledge(parts, journal).await?;
            let decision = match no_room(parts, journal, transcript).await? {
                Some(limit) => Decision::Escalate(EscalationReason::Budget { limit }),
                None => {
                    let teller = Teller::default();
                    let working = async {
                        let decision = work(parts, journal, &mut stage, transcript, &remote, &teller).await;
                        teller.close();
                        decision
                    };
                    tokio::join!(working, teller.run(parts, journal)).0?
                }
            };
            record_decision(&mut stage, &decision).await?;
            decision
        }
    };
    match decision {
        Decision::Propose(verified) => {
            Box::pin(publication::propose(parts, journal, &verified, committed)).await
        }
        Decision::Escalate(reason) => Box::pin(publication::escalate(parts, journal, reason)).await,
    }
}

/// The cap that leaves no room for a first call, however short: better found before anything is
/// cloned than after. A job that is under way finds out at its next call.
async fn no_room(
    parts: &WorkerContext,
    journal: &Journal,
    transcript: Transcript<'_>,
) -> Result<Option<BudgetExhausted>, JobError> {
    if transcript.is_prepared() {
        return Ok(None);
    }
    let shortest = Agent::shortest_request(parts.policy.output_tokens_max);
    let metered_model = metered_model(parts, journal, &parts.policy.budget);
    Ok(metered_model.fits_daily_caps(&shortest).await?.err())
}

/// The decision that was recorded before a crash, if there is one.
fn decided(transcript: Transcript<'_>) -> Option<Decision> {
    let escalated = transcript.escalation().map(|reason| Decision::Escalate(reason.clone()));
    escalated.or_else(|| {
        Verified::from_transcript(transcript).map(|verified| Decision::Propose(Box::new(verified)))
    })
}

async fn record_decision(stage: &mut Stage<'_>, decision: &Decision) -> Result<(), JobError> {
    let event = match decision {
        Decision::Propose(verified) => TranscriptEvent::VerdictReached {
            verified: true,
            tree: verified.tree().clone(),
            explanation: verified.explanation().to_owned(),
            run: Some(verified.run().clone()),
            proof: verified.proof().map(<[_]>::to_vec),
            flags: verified.flags().to_vec(),
        },
        Decision::Escalate(reason) => TranscriptEvent::EscalationDecided { reason: reason.clone() },
    };
    stage.take_with(JobTransition::Decided, vec![event]).await
}

/// Prepares, then lets the agent work and judges it, until there is a decision.
#[instrument(skip_all)]
async fn work(
    parts: &WorkerContext,
    journal: &Journal,
    stage: &mut Stage<'_>,
    transcript: Transcript<'_>,
    remote: &crate::github::Repository,
    teller: &Teller,
) -> Result<Decision, JobError> {
    teller.tell();
    if let Err(reason) = revisions::find_branch(parts, journal, transcript).await? {
        return Ok(Decision::Escalate(reason));
    }
    let events = journal.transcript().await?;
    let transcript = Transcript::new(&events);
    let (workspace, mut settings) = match base_and_settings(parts, journal, transcript, remote).await? {
        Ok(found) => found,
        Err(reason) => return Ok(Decision::Escalate(reason)),
    };
    settings.budget = transcript.budget(&settings.budget);
    let prepared = match sandbox_and_baseline(parts, journal, transcript, workspace, settings).await? {
        Ok(prepared) => prepared,
        Err(reason) => return Ok(Decision::Escalate(reason)),
    };
    stage.take(JobTransition::Prepared).await?;
    teller.tell();
    let decision = agent_and_verdict(parts, journal, stage, &prepared, teller).await;
    tell_environment(journal, &prepared).await?;
    prepared.toolbox.shut_down().await;
    decision
}

async fn agent_and_verdict(
    parts: &WorkerContext,
    journal: &Journal,
    stage: &mut Stage<'_>,
    prepared: &Prepared,
    teller: &Teller,
) -> Result<Decision, JobError> {
    let events = journal.transcript().await?;
    let transcript = Transcript::new(&events);
    let mut state = Conversation::replay(&events);
    instruct(journal, transcript, &mut state).await?;
    let settings = prepared.environment.settings();
    let metered_model = metered_model(parts, journal, &settings.budget);
    let planner = parts.brief_model.as_deref().map(|model| MeteredModel { model, ..metered_model });
    let agent = Agent {
        metered_model,
        output_tokens_max: parts.policy.output_tokens_max,
        context_tokens: parts.policy.context_tokens,
        planner,
        summarizer: planner.unwrap_or(metered_model),
        summarizer_context_tokens: parts.policy.summarizer_context_tokens,
        toolbox: &prepared.toolbox,
        workspace: prepared.environment.workspace(),
        settings,
        journal,
    };
    let judge = Verifier { environment: &prepared.environment, baseline: &prepared.baseline };
    agent.load(&mut state).await.map_err(agent_error)?;
    if !state.has_begun() {
        let comments = issue_comments::comments(parts, journal, transcript).await?;
        let told = Told { issue: &journal.job().trigger.issue, comments: &comments };
        agent.open(&mut state, told, &prepared.baseline).await.map_err(agent_error)?;
    }
    agent.resume(&mut state, transcript).await.map_err(agent_error)?;
    let mut last_refusal = None;
    let mut last_rejected: Option<Rejected> = None;
    loop {
        let finish = match agent.run(&mut state).await.map_err(agent_error)? {
            AgentEnding::Finished(finish) => finish,
            ending => return Ok(Decision::Escalate(escalation_of(ending))),
        };
        info!(summary = finish.summary, "the agent asks for a verdict");
        stage.take(JobTransition::Finished).await?;
        teller.tell();
        let asked = std::time::Instant::now();
        let judged = judge.judge(&Agent::changes(&state), last_rejected.as_ref()).await;
        tell_environment(journal, prepared).await?;
        let red = match judged.map_err(suite_error)? {
            Verdict::Verified(verified) => return Ok(Decision::Propose(verified)),
            Verdict::Rejected(red) => red,
        };
        info!(why = red.explanation, "not verified");
        last_refusal = red.refused.then(|| red.explanation.clone()).or(last_refusal);
        last_rejected = Some((*red).clone());
        let step = stage.after(JobTransition::SentBack)?;
        let before = vec![rejected_event(&red), TranscriptEvent::StateChanged { state: step }];
        let words = words_for_model(&red, prepared);
        agent
            .answer_finish(&mut state, finish, &words, asked.elapsed(), before)
            .await
            .map_err(agent_error)?;
        stage.state = step;
        let gave_up = state.red_verdicts >= RED_VERDICTS_MAX
            || state.red_verdicts_unchanged >= RED_VERDICTS_UNCHANGED_MAX;
        if gave_up {
            return Ok(Decision::Escalate(match last_refusal {
                Some(why) => EscalationReason::Refused { why },
                None => EscalationReason::NotVerified { why: red.explanation },
            }));
        }
    }
}

/// What the job's model calls are paid from.
fn metered_model<'a>(parts: &'a WorkerContext, journal: &'a Journal, budget: &'a Budget) -> MeteredModel<'a> {
    MeteredModel { model: parts.model.as_ref(), journal, budget, caps: &parts.policy.caps }
}

/// Records which texts the model is instructed with, unless the transcript says so already.
async fn instruct(
    journal: &Journal,
    transcript: Transcript<'_>,
    state: &mut Conversation,
) -> Result<(), JobError> {
    let prompts = prompts::version();
    if transcript.prompts() != Some(&prompts) {
        let event = TranscriptEvent::Instructed { prompts };
        journal.append(std::slice::from_ref(&event)).await?;
        state.apply(&event);
    }
    Ok(())
}

/// Records what the sandboxes began with, and what the agent's asked of the network.
async fn tell_environment(journal: &Journal, prepared: &Prepared) -> Result<(), JobError> {
    let mut events = prepared.environment.take_events();
    let report = prepared.toolbox.egress();
    if !report.is_empty() {
        events.push(TranscriptEvent::Egress { purpose: "work".to_owned(), report });
    }
    if !events.is_empty() {
        journal.append(&events).await?;
    }
    Ok(())
}

fn rejected_event(red: &Rejected) -> TranscriptEvent {
    TranscriptEvent::VerdictReached {
        verified: false,
        tree: red.tree.clone(),
        explanation: red.explanation.clone(),
        run: red.run.clone(),
        proof: None,
        flags: Vec::new(),
    }
}

/// The model's next observation after a red verdict.
fn words_for_model(red: &Rejected, prepared: &Prepared) -> String {
    let run = red.run.as_ref().filter(|run| !run.is_green());
    let shown = |run: &TestRun| crate::agent::tools::describe_run(run, Some(&prepared.baseline));
    let output = run.map(shown).unwrap_or_default();
    format!("Verdict: not verified. {}\n\n{output}", red.explanation).trim_end().to_owned()
}

fn escalation_of(ending: AgentEnding) -> EscalationReason {
    match ending {
        AgentEnding::Finished(finish) => EscalationReason::NotVerified { why: finish.summary },
        AgentEnding::Asked(question) => EscalationReason::Question { question },
        AgentEnding::Exhausted(limit) => EscalationReason::Budget { limit },
        AgentEnding::ModelUnusable(why) => EscalationReason::Model { why },
    }
}

fn agent_error(error: AgentError) -> JobError {
    match error {
        AgentError::Sandbox(error) => sandbox_error(error),
        AgentError::Store(error) => error.into(),
        AgentError::Workspace(error) => workspace_error(error),
    }
}

/// The job's state and its record, moved together by the one transition function.
struct Stage<'a> {
    journal: &'a Journal,
    state: JobState,
}

impl<'a> Stage<'a> {
    fn enter(journal: &'a Journal, state: JobState) -> Self {
        Self { journal, state }
    }

    fn after(&self, step: JobTransition) -> Result<JobState, JobError> {
        self.state.after(step).map_err(|error| JobError::Broke(error.to_string()))
    }

    async fn take(&mut self, step: JobTransition) -> Result<(), JobError> {
        self.take_with(step, Vec::new()).await
    }

    async fn take_with(
        &mut self,
        step: JobTransition,
        mut events: Vec<TranscriptEvent>,
    ) -> Result<(), JobError> {
        let state = self.after(step)?;
        events.push(TranscriptEvent::StateChanged { state });
        self.journal.append(&events).await?;
        self.state = state;
        Ok(())
    }
}
