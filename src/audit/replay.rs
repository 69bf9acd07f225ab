//! Replays a job with the model's recorded answers: the real worker, pipeline and agent loop, with a model
//! that reads from the recording and stops at the first divergence.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow, bail};
use async_trait::async_trait;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::compare::{Divergence, ReplayStep, first_divergence, steps};
use crate::domain::{
    JobId, JobOutcome, Message, Price, RecordedEvent, StopReason, Transcript, TranscriptEvent,
};
use crate::model::{Model, ModelError, ModelReply, ModelRequest, context_tokens};
use crate::recording::Recording;
use crate::sandbox::Sandbox;
use crate::setup::SetupLocks;
use crate::store::Store;
use crate::worker::JobPolicy;
use crate::worker::local::{LocalContext, LocalJob, LocalTask, TestBench};
use crate::workspace::LocalRepository;

/// The name of the base branch in the replay's own repository.
const BASE: &str = "base";

/// The result of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// The number of the model's answers that were used.
    pub turns: usize,
    /// The number of the model's answers that were recorded.
    pub turns_recorded: usize,
    /// The number of further revision rounds. They are not replayed, because other people's commits came in
    /// between.
    pub rounds_left_out: u32,
    /// The number of equal steps.
    pub same: usize,
    /// The first step that differs.
    pub divergence: Option<Divergence>,
}

/// Does the job of `recording` again, on the repository at `repository`, which is only read.
/// `on_event` is given each event as it happens.
///
/// # Errors
/// There is nothing to be done again, or it cannot be done here: no base commit, no sandbox.
pub async fn replay(
    recording: &Recording,
    repository: &Path,
    sandbox: Arc<dyn Sandbox>,
    policy: &JobPolicy,
    on_event: impl FnMut(&RecordedEvent),
) -> anyhow::Result<ReplayReport> {
    let events = recording.known_events();
    let recorded = Transcript::new(&events).first_round();
    let rounds_left_out = Transcript::new(&events).round_number() - 1;
    let Some(prepared @ TranscriptEvent::Prepared { base, .. }) = recorded.first_base_event() else {
        bail!("the job ended before its base was known; there is nothing to do again");
    };
    let scratch = tempfile::Builder::new().prefix("mendwright-replay-").tempdir()?;
    let source = LocalRepository::open(repository)?;
    let repository = LocalRepository::clone_sharing_objects(
        &source.git_dir,
        &scratch.path().join("remote.git"),
        BASE,
        base,
    )
    .with_context(|| format!("the base commit {base} is not there; fetch it first"))?;
    let trigger = &recording.header.trigger;
    let mut issue = trigger.issue.clone();
    issue.labels.push(policy.rules.label.clone());
    let name = trigger.repository.name.clone();
    let work = LocalTask { issue, name, repository, base: BASE.to_owned() };
    let local = LocalJob::open(&scratch.path().join("job"), work).await?;
    local.workspace(base).await?;
    // What was known before the first turn, as recorded: a brief is not requested again.
    let known = [Some(prepared), recorded.issue_comments_event(), recorded.brief_event()];
    let before: Vec<TranscriptEvent> = known.into_iter().flatten().cloned().collect();
    local.begin_with(&before).await?;

    // It is not done again: what it found is in the settings.
    let own = recorded.without_setup_agent();
    let expected = steps(&own);
    let model = Arc::new(RecordedModel {
        store: local.store.clone(),
        job: local.id,
        expected: expected.clone(),
        answers: own.iter().filter_map(answer).collect(),
        stopped: Mutex::default(),
    });
    let mut policy = policy.clone();
    // Results were elided and the conversation was compacted by the recorded model's context size.
    let full = model.answers.first().map_or(policy.context_tokens, |answer| context_tokens(&answer.model));
    (policy.context_tokens, policy.summarizer_context_tokens) = (full, full);
    let bench = TestBench { sandbox, policy, setup_locks: SetupLocks::default() };
    let parts = LocalContext { model: model.clone(), planner_model: None, bench };
    let ended = local.run(&parts, &CancellationToken::new(), on_event).await?;
    let end = ended.ok_or_else(|| anyhow!("the replay was stopped"))?;
    let now = steps(&end.transcript);
    let stopped = model.stopped();
    let divergence = match stopped {
        Some(Stopped::Diverged(divergence)) => Some(*divergence),
        Some(Stopped::NoMoreAnswers) => first_divergence(&expected, &now, false),
        None => first_divergence(&expected, &now, true),
    };
    if let (Some(JobOutcome::Failed { why }), None) = (&end.job.outcome, &divergence) {
        bail!("it cannot be done again here: {why}");
    }
    let same = expected.iter().zip(&now).take_while(|(one, other)| one == other).count();
    let turns = end.transcript.iter().filter(|recorded| answer(recorded).is_some()).count();
    Ok(ReplayReport { turns, turns_recorded: model.answers.len(), rounds_left_out, same, divergence })
}

/// The model's answer that an event holds.
fn answer(recorded: &RecordedEvent) -> Option<ModelReply> {
    match &recorded.event {
        TranscriptEvent::MessageAdded { message: Message::Assistant { blocks }, usage, model, .. } => {
            Some(ModelReply {
                blocks: blocks.clone(),
                stop: StopReason::EndOfTurn,
                usage: usage.unwrap_or_default(),
                model: model.clone().unwrap_or_default(),
            })
        }
        _ => None,
    }
}

/// Why the recorded model gave no further answer.
#[derive(Debug, Clone)]
enum Stopped {
    Diverged(Box<Divergence>),
    NoMoreAnswers,
}

/// A model that repeats its recorded answers. It compares the new transcript before each answer, and ends
/// the replay at the first difference.
struct RecordedModel {
    store: Arc<dyn Store>,
    job: JobId,
    expected: Vec<ReplayStep>,
    answers: Vec<ModelReply>,
    stopped: Mutex<Option<Stopped>>,
}

impl RecordedModel {
    fn stopped(&self) -> Option<Stopped> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stop(&self, why: Stopped, words: &str) -> ModelError {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        ModelError::Refused { url: "recording:".to_owned(), status: 0, detail: words.to_owned() }
    }
}

#[async_trait]
impl Model for RecordedModel {
    fn name(&self) -> &str {
        "recorded"
    }

    fn price(&self) -> Option<Price> {
        None
    }

    async fn complete(&self, request: &ModelRequest) -> Result<ModelReply, ModelError> {
        if request.tools.is_empty() {
            // A summary of what became too long. It changes what the model would be shown, and the
            // model's answers are recorded.
            let detail = "summaries are not recorded word for word".to_owned();
            return Err(ModelError::Refused { url: "recording:".to_owned(), status: 0, detail });
        }
        let transcript = self.store.transcript(self.job).await.map_err(|error| ModelError::Unavailable {
            url: "recording:".to_owned(),
            attempts: 1,
            detail: error.to_string(),
        })?;
        if let Some(divergence) = first_divergence(&self.expected, &steps(&transcript), false) {
            return Err(self.stop(Stopped::Diverged(Box::new(divergence)), "the replay diverged"));
        }
        let turn = transcript.iter().filter(|recorded| answer(recorded).is_some()).count();
        match self.answers.get(turn) {
            Some(answer) => Ok(answer.clone()),
            None => Err(self.stop(Stopped::NoMoreAnswers, "no more answers were recorded")),
        }
    }
}
