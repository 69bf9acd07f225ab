//! One job, top to bottom:
//! admit ▸ prepare ▸ (agent ▸ verdict)* ▸ publish. Each step is recorded before the next depends
//! on it; a restarted worker begins at the top and skips what is recorded.

use std::sync::atomic::AtomicBool;

use tracing::{info, instrument};

use super::context::WorkerContext;
use super::preparation::{Prepared, base_and_plans, sandbox_and_baseline};
use super::progress_reporter::ProgressReporter;
use super::stage::Stage;
use super::stop::Stop;
use super::{admission, issue_comments, publication, revisions};
use crate::agent::test_summary::{Earlier, describe_run};
use crate::agent::{Agent, AgentEnding, AgentRole, Conversation, MeteredModel, TaskInput, prompts};
use crate::domain::{
    Budget, EscalationReason, JobOutcome, JobTransition, RecordedEvent, TestRun, Transcript, TranscriptEvent,
    is_shortage,
};
use crate::github::Repository;
use crate::store::Journal;
use crate::verdict::{Rejected, Verdict, Verified, Verifier};

/// A model whose changes are rejected this often does not find the right one.
const REJECTIONS_MAX: u32 = 8;

/// How often a model may ask for a verdict on the very tree that was just rejected.
const REJECTIONS_UNCHANGED_MAX: u32 = 3;

/// The result of the work.
enum Decision {
    Propose(Box<Verified>),
    Escalate(EscalationReason),
}

/// Runs the job to its outcome. `is_on_branch` is set once its commit is on its branch.
pub(super) async fn run(
    context: &WorkerContext,
    journal: &Journal,
    is_on_branch: &AtomicBool,
) -> Result<JobOutcome, Stop> {
    // Boxed, so that the callers' futures stay small.
    match Box::pin(decide_and_publish(context, journal, is_on_branch)).await {
        Err(Stop::Refuse(why)) => publication::end(context, journal, JobOutcome::Cancelled { why }).await,
        Err(Stop::Ignore(why)) => publication::end_silently(journal, JobOutcome::Cancelled { why }).await,
        ended => ended,
    }
}

async fn decide_and_publish(
    context: &WorkerContext,
    journal: &Journal,
    is_on_branch: &AtomicBool,
) -> Result<JobOutcome, Stop> {
    let transcript = journal.transcript().await?;
    let decision = match recorded_decision(Transcript::new(&transcript).since_last_base_change()) {
        Some(decision) => decision,
        None => Box::pin(decide(context, journal, &transcript)).await?,
    };
    let published = match decision {
        Decision::Propose(verified) => {
            Box::pin(publication::propose(context, journal, &verified, is_on_branch)).await
        }
        Decision::Escalate(reason) => Box::pin(publication::escalate(context, journal, reason)).await,
    };
    match published {
        // Only publishing showed that a person has to decide.
        Err(Stop::Escalate(reason)) => {
            let decided = TranscriptEvent::EscalationDecided { reason: reason.clone() };
            journal.append(&[decided]).await?;
            Box::pin(publication::escalate(context, journal, reason)).await
        }
        published => published,
    }
}

/// The decision that was recorded before a crash, if there is one.
fn recorded_decision(transcript: Transcript<'_>) -> Option<Decision> {
    let escalated = transcript.escalation().map(|reason| Decision::Escalate(reason.clone()));
    escalated.or_else(|| {
        Verified::from_transcript(transcript).map(|verified| Decision::Propose(Box::new(verified)))
    })
}

/// Admits the job and works on it until there is a decision, which is recorded.
async fn decide(
    context: &WorkerContext,
    journal: &Journal,
    transcript: &[RecordedEvent],
) -> Result<Decision, Stop> {
    let mut stage = Stage::at(journal.job().state, journal);
    stage.take(JobTransition::Claimed).await?;
    let repository = admission::admit(context, journal.job(), transcript).await?;
    publication::acknowledge(context, journal).await?;
    let reporter = ProgressReporter::default();
    let working = async {
        let worked = work(context, journal, &mut stage, transcript, &repository, &reporter).await;
        reporter.close();
        worked
    };
    let decision = match tokio::join!(working, reporter.run(context, journal)).0 {
        Ok(verified) => Decision::Propose(verified),
        Err(Stop::Escalate(reason)) => Decision::Escalate(reason),
        Err(stop) => return Err(stop),
    };
    stage.take_with(JobTransition::Decided, vec![decision_event(&decision)]).await?;
    Ok(decision)
}

/// Prepares, then lets the agent work and verifies its change, until a change is verified.
#[instrument(skip_all)]
async fn work(
    context: &WorkerContext,
    journal: &Journal,
    stage: &mut Stage<'_>,
    transcript: &[RecordedEvent],
    repository: &Repository,
    reporter: &ProgressReporter,
) -> Result<Box<Verified>, Stop> {
    check_daily_caps(context, journal, transcript).await?;
    reporter.report();
    revisions::find_branch(context, journal, transcript).await?;
    let transcript = &journal.transcript().await?;
    let (workspace, plans) = base_and_plans(context, journal, transcript, repository).await?;
    let prepared = sandbox_and_baseline(context, journal, transcript, workspace, plans).await?;
    stage.take(JobTransition::Prepared).await?;
    reporter.report();
    let verified = agent_and_verdict(context, journal, stage, &prepared, reporter).await;
    record_environment(journal, &prepared).await?;
    prepared.toolbox.shut_down().await;
    verified
}

/// Stops a job that has not begun if a cap leaves no room even for the shortest call: better before
/// anything is cloned than after. A job that has begun finds out at its next call.
async fn check_daily_caps(
    context: &WorkerContext,
    journal: &Journal,
    transcript: &[RecordedEvent],
) -> Result<(), Stop> {
    let is_prepared = |recorded: &RecordedEvent| matches!(recorded.event, TranscriptEvent::Prepared { .. });
    if transcript.iter().any(is_prepared) {
        return Ok(());
    }
    let shortest = Agent::shortest_request(context.policy.output_tokens_max);
    let model = metered_model(context, journal, &context.policy.budget);
    match model.fits_daily_caps(&shortest).await? {
        Ok(()) => Ok(()),
        Err(limit) => Err(Stop::Escalate(EscalationReason::Budget { limit })),
    }
}

async fn agent_and_verdict(
    context: &WorkerContext,
    journal: &Journal,
    stage: &mut Stage<'_>,
    prepared: &Prepared,
    reporter: &ProgressReporter,
) -> Result<Box<Verified>, Stop> {
    let transcript = journal.transcript().await?;
    let mut state = Conversation::replay(&transcript);
    record_prompts(journal, &transcript, &mut state).await?;
    let settings = prepared.environment.settings();
    let metered_model = metered_model(context, journal, &settings.budget);
    let planner = context.planner_model.as_deref().map(|model| MeteredModel { model, ..metered_model });
    let agent = Agent {
        role: AgentRole::Fix,
        metered_model,
        output_tokens_max: context.policy.output_tokens_max,
        context_tokens: context.policy.context_tokens,
        planner,
        summarizer: planner.unwrap_or(metered_model),
        summarizer_context_tokens: context.policy.summarizer_context_tokens,
        toolbox: &prepared.toolbox,
        workspace: prepared.environment.workspace(),
        settings,
        abilities: Default::default(),
        scripts: context.policy.setup.scripts.then_some(&prepared.environment),
        journal,
    };
    let verifier = Verifier::new(&prepared.environment, &prepared.baseline);
    agent.load(&mut state).await?;
    if !state.has_started() {
        let comments = issue_comments::comments(context, journal, &transcript).await?;
        let input = TaskInput { issue: &journal.job().trigger.issue, comments: &comments };
        agent.open(&mut state, input, &prepared.baseline).await?;
    }
    agent.resume(&mut state, Transcript::new(&transcript)).await?;
    let mut last_refusal = None;
    let mut last_rejected: Option<Rejected> = None;
    loop {
        let finish = match agent.run(&mut state).await? {
            AgentEnding::Finished(finish) => finish,
            // The provider could not be reached because this machine was short of something.
            AgentEnding::ModelUnusable(why) if is_shortage(&why) => return Err(Stop::ended_by(why)),
            ending => return Err(Stop::Escalate(escalation_of(ending))),
        };
        info!(summary = finish.summary, "agent finished");
        stage.take(JobTransition::Finished).await?;
        reporter.report();
        let began = std::time::Instant::now();
        let verdict = verifier.judge(&Agent::changes(&state), last_rejected.as_ref()).await;
        record_environment(journal, prepared).await?;
        let rejected = match verdict? {
            Verdict::Verified(verified) => return Ok(verified),
            Verdict::Rejected(rejected) => rejected,
        };
        info!(why = rejected.explanation, "change rejected");
        last_refusal = rejected.refused.then(|| rejected.explanation.clone()).or(last_refusal);
        last_rejected = Some((*rejected).clone());
        stage
            .take_recorded_by(JobTransition::SentBack, async |change| {
                let before = vec![rejected_event(&rejected), change];
                let answer = answer_to_model(&rejected, prepared);
                Ok(agent.answer_finish(&mut state, finish, &answer, began.elapsed(), before).await?)
            })
            .await?;
        let gave_up =
            state.red_verdicts >= REJECTIONS_MAX || state.red_verdicts_unchanged >= REJECTIONS_UNCHANGED_MAX;
        if gave_up {
            return Err(Stop::Escalate(match last_refusal {
                Some(why) => EscalationReason::Refused { why },
                None => EscalationReason::NotVerified { why: rejected.explanation },
            }));
        }
    }
}

/// The model of the job, with what it may spend.
fn metered_model<'a>(
    context: &'a WorkerContext,
    journal: &'a Journal,
    budget: &'a Budget,
) -> MeteredModel<'a> {
    MeteredModel { model: context.model.as_ref(), journal, budget, caps: &context.policy.caps }
}

/// Records which version of the prompts the model is given, unless the transcript says so already.
async fn record_prompts(
    journal: &Journal,
    transcript: &[RecordedEvent],
    state: &mut Conversation,
) -> Result<(), Stop> {
    let prompts = prompts::version();
    if Transcript::new(transcript).prompts() != Some(&prompts) {
        let event = TranscriptEvent::Instructed { prompts };
        journal.append(std::slice::from_ref(&event)).await?;
        state.apply(&event);
    }
    Ok(())
}

/// Records what the sandboxes were started with, and what the agent's sandbox asked of the network.
async fn record_environment(journal: &Journal, prepared: &Prepared) -> Result<(), Stop> {
    let mut events = prepared.environment.take_events();
    let report = prepared.toolbox.take_egress_report();
    if !report.is_empty() {
        events.push(TranscriptEvent::Egress { purpose: "work".to_owned(), report });
    }
    if !events.is_empty() {
        journal.append(&events).await?;
    }
    Ok(())
}

fn decision_event(decision: &Decision) -> TranscriptEvent {
    match decision {
        Decision::Propose(verified) => TranscriptEvent::VerdictReached {
            verified: true,
            tree: verified.tree().clone(),
            explanation: verified.explanation().to_owned(),
            run: Some(verified.run().clone()),
            proof: verified.proof().map(<[_]>::to_vec),
            flags: verified.flags().to_vec(),
        },
        Decision::Escalate(reason) => TranscriptEvent::EscalationDecided { reason: reason.clone() },
    }
}

fn rejected_event(rejected: &Rejected) -> TranscriptEvent {
    TranscriptEvent::VerdictReached {
        verified: false,
        tree: rejected.tree.clone(),
        explanation: rejected.explanation.clone(),
        run: rejected.run.clone(),
        proof: None,
        flags: Vec::new(),
    }
}

/// What the model reads after its change was rejected.
fn answer_to_model(rejected: &Rejected, prepared: &Prepared) -> String {
    let run = rejected.run.as_ref().filter(|run| !run.is_green());
    let shown = |run: &TestRun| describe_run(run, Earlier::base(&prepared.baseline));
    let output = run.map(shown).unwrap_or_default();
    format!("Verdict: not verified. {}\n\n{output}", rejected.explanation).trim_end().to_owned()
}

fn escalation_of(ending: AgentEnding) -> EscalationReason {
    match ending {
        AgentEnding::Finished(finish) => EscalationReason::NotVerified { why: finish.summary },
        // The agent that fixes has no such tool.
        AgentEnding::ProposedSetup(recipe, _) => EscalationReason::NotVerified { why: recipe.test },
        AgentEnding::Asked(question) => EscalationReason::Question { question },
        AgentEnding::Exhausted(limit) => EscalationReason::Budget { limit },
        AgentEnding::ModelUnusable(why) => EscalationReason::Model { why },
    }
}
