//! The loop: make room, ask the model, observe its answer, act. Limits before every call, every step recorded before the
//! next depends on it, every ending named.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::domain::{
    AssistantBlock, BudgetExhausted, Change, ChangedContent, JobSettings, Message, RepoPath, StopReason,
    ToolCall, ToolResult, TranscriptEvent,
};
use crate::model::{ModelError, ModelRequest};
use crate::sandbox::{CallError, SandboxError, Toolbox};
use crate::store::{Journal, StoreError};
use crate::workspace::{Workspace, WorkspaceError};

use super::context::View;
use super::conversation::Conversation;
use super::prompts;
use super::purse::{Denied, Paid, Purse};
use super::results::Results;
use super::tools::{Answer, Hands, Registry, changes_of};

/// After so many answers in a row without a tool call, the model is not going to work.
const IDLE_TURNS_MAX: usize = 3;

/// Everything an agent works with.
pub struct Agent<'a> {
    /// Who thinks, and what it is paid from.
    pub purse: Purse<'a>,
    /// The most it may say in one answer.
    pub output_tokens_max: u32,
    /// What it can hold, its answer included, in tokens.
    pub context_tokens: u64,
    /// Who writes a brief before the first turn; `None`: nobody.
    pub briefer: Option<Purse<'a>>,
    /// Who sums a conversation up that has become too long.
    pub scribe: Purse<'a>,
    /// What the scribe can hold, its answer included, in tokens.
    pub scribe_context_tokens: u64,
    /// Where it works.
    pub toolbox: &'a Toolbox,
    /// Where its changes are kept.
    pub workspace: &'a Workspace,
    /// Its rules and limits.
    pub settings: &'a JobSettings,
    /// Where everything is recorded.
    pub journal: &'a Journal,
}

/// How a stretch of work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEnding {
    /// The model asks for a verdict. Its call is answered with [`Agent::answer_finish`].
    Finished(Finish),
    /// The model asks a person.
    Asked(String),
    /// A limit is reached.
    Exhausted(BudgetExhausted),
    /// The model does not work: the provider failed for good, or it no longer calls tools.
    ModelUnusable(String),
}

/// A `finish` call that waits for its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The summary for the reviewer.
    pub summary: String,
    call_id: String,
    answered: Vec<ToolResult>,
    unanswered: Vec<String>,
}

/// What ends a run without an ending: our surroundings failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The sandbox is lost.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The transcript cannot be written, or the job is another worker's now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint cannot be kept.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

impl Agent<'_> {
    /// Works until there is an ending. `state` is what the transcript says, and is kept so.
    pub async fn run(&self, state: &mut Conversation) -> Result<AgentEnding, AgentError> {
        let registry = Registry::of(self.settings);
        let mut overflows = 0;
        loop {
            let calls = state.pending_calls();
            if !calls.is_empty() {
                match self.act(&registry, state, calls).await? {
                    Some(ending) => return Ok(ending),
                    None => continue,
                }
            }
            if state.idle_turns >= IDLE_TURNS_MAX {
                return Ok(AgentEnding::ModelUnusable(format!(
                    "the model answered {IDLE_TURNS_MAX} times in a row without calling a tool"
                )));
            }
            self.make_room(state).await?;
            let request = request(&registry, &state.view, self.output_tokens_max);
            match self.purse.ask(&mut state.spend, &request).await {
                Ok(paid) => {
                    overflows = 0;
                    self.observe(state, paid).await?;
                }
                Err(Denied::Unusable(error @ ModelError::ContextOverflow { .. })) => {
                    overflows += 1;
                    if !self.make_room_at_any_rate(state, overflows).await? {
                        return Ok(AgentEnding::ModelUnusable(error.to_string()));
                    }
                }
                Err(Denied::Exhausted(limit)) => return Ok(AgentEnding::Exhausted(limit)),
                Err(Denied::Unusable(error)) => return Ok(AgentEnding::ModelUnusable(error.to_string())),
                Err(Denied::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// The least that a model can be asked: no conversation yet.
    pub fn shortest_request(output_tokens_max: u32) -> ModelRequest {
        request(&Registry::standard(), &View::default(), output_tokens_max)
    }

    /// Records the model's answer, and a reminder when it called no tool.
    async fn observe(&self, state: &mut Conversation, paid: Paid) -> Result<(), AgentError> {
        let Paid { reply, usd, milliseconds } = paid;
        let called = reply.blocks.iter().any(|block| matches!(block, AssistantBlock::ToolCall(_)));
        let blocks = match reply.blocks.is_empty() {
            // Providers refuse an empty message when it is sent back to them.
            true => vec![AssistantBlock::Text { text: "(no answer)".to_owned() }],
            false => reply.blocks,
        };
        let mut events = vec![TranscriptEvent::MessageAdded {
            message: Message::Assistant { blocks },
            usd,
            usage: Some(reply.usage),
            model: Some(reply.model),
            milliseconds,
        }];
        if !called {
            let text = match reply.stop {
                StopReason::OutputLimit => {
                    "Your answer was cut off at the output limit. Go on in smaller steps, with one tool call."
                }
                StopReason::EndOfTurn | StopReason::ToolCalls | StopReason::Refusal => {
                    "You called no tool. Go on with a tool call: `finish` when the work is ready for its \
                     verdict, `ask_human` when only a person can decide."
                }
            };
            events.push(user_message(text));
        }
        self.record(state, &events).await
    }

    /// Carries out tool calls in order and records their results with what they changed.
    async fn act(
        &self,
        registry: &Registry,
        state: &mut Conversation,
        calls: Vec<ToolCall>,
    ) -> Result<Option<AgentEnding>, AgentError> {
        let started = Instant::now();
        let mut hands = Hands {
            toolbox: self.toolbox,
            workspace: self.workspace,
            settings: self.settings,
            last_run: state.last_run.clone(),
            results: state.results.clone(),
            written: state.written.clone(),
            events: Vec::new(),
        };
        let mut results: Vec<ToolResult> = Vec::new();
        let mut remaining = calls.into_iter();
        while let Some(call) = remaining.next() {
            if state.spend.time + started.elapsed() >= self.settings.budget.time_max {
                let text = "Not carried out: the time for this job is over.".to_owned();
                hands.results.give(&text);
                results.push(ToolResult { call_id: call.id, text, is_error: true });
                continue;
            }
            let (text, full, is_error) = match registry.call(&call, &mut hands).await {
                Ok(Answer::Text(text)) => (text, None, false),
                Ok(Answer::Part { shown, full }) => (shown, Some(full), false),
                Err(CallError::Told(text)) => (text, None, true),
                Err(CallError::Lost(error)) => return Err(error.into()),
                Ok(Answer::Finish { summary }) => {
                    let unanswered = remaining.map(|call| call.id).collect();
                    state.written = hands.written.clone();
                    if !hands.events.is_empty() {
                        self.record(state, &hands.events).await?;
                    }
                    let finish = Finish { summary, call_id: call.id, answered: results, unanswered };
                    return Ok(Some(AgentEnding::Finished(finish)));
                }
                Ok(Answer::Ask { question }) => {
                    state.written = hands.written;
                    hands.events.push(self.checkpoint(&state.written).await?);
                    self.record(state, &hands.events).await?;
                    return Ok(Some(AgentEnding::Asked(question)));
                }
            };
            let text = given(&mut hands.results, &mut hands.events, text, full);
            results.push(ToolResult { call_id: call.id, text, is_error });
        }
        let wrote = hands.written != state.written;
        let mut events = hands.events;
        state.written = hands.written;
        if wrote {
            events.push(self.checkpoint(&state.written).await?);
        }
        events.push(results_message(results, elapsed(started)));
        add_notices(state, &mut events);
        self.record(state, &events).await?;
        Ok(None)
    }

    /// Answers a `finish` call with its verdict; `before` is recorded in the same transaction.
    pub async fn answer_finish(
        &self,
        state: &mut Conversation,
        finish: Finish,
        verdict: &str,
        judged_for: Duration,
        mut before: Vec<TranscriptEvent>,
    ) -> Result<(), AgentError> {
        let mut known = state.results.clone();
        finish.answered.iter().for_each(|result| known.give(&result.text));
        let text = given(&mut known, &mut before, verdict.to_owned(), None);
        let mut results = finish.answered;
        results.push(ToolResult { call_id: finish.call_id, text, is_error: true });
        let skipped = "Not carried out: the call came after `finish` in the same answer.";
        results.extend(finish.unanswered.into_iter().map(|call_id| ToolResult {
            call_id,
            text: skipped.to_owned(),
            is_error: true,
        }));
        before.push(self.checkpoint(&state.written).await?);
        let milliseconds = u64::try_from(judged_for.as_millis()).unwrap_or(u64::MAX);
        before.push(results_message(results, milliseconds));
        add_notices(state, &mut before);
        self.record(state, &before).await
    }

    /// What the agent's tools have written.
    pub fn changes(state: &Conversation) -> Vec<Change> {
        changes_of(&state.written)
    }

    /// Reads what was written before a restart from the checkpoint's tree.
    pub async fn load(&self, state: &mut Conversation) -> Result<(), AgentError> {
        if let Some((tree, paths)) = state.checkpoint.clone() {
            for path in paths {
                let content = match self.workspace.content(&tree, &path).await? {
                    Some((mode, bytes)) => ChangedContent::File { mode, bytes },
                    None => ChangedContent::Absent,
                };
                state.written.insert(path, content);
            }
        }
        Ok(())
    }

    /// Keeps what was written as a tree in our own store.
    async fn checkpoint(
        &self,
        written: &BTreeMap<RepoPath, ChangedContent>,
    ) -> Result<TranscriptEvent, AgentError> {
        let proposal = self.workspace.propose(changes_of(written)).await?;
        self.workspace.keep(&self.journal.job().id.to_string(), &proposal.tree).await?;
        let paths = written.keys().map(ToString::to_string).collect();
        let digest = |(path, content): (&RepoPath, &ChangedContent)| {
            proposal.paths.contains(path).then(|| digest_of(content))
        };
        let contents = written.iter().map(digest).collect();
        Ok(TranscriptEvent::Checkpoint { tree: proposal.tree, paths, contents })
    }

    pub(super) async fn record(
        &self,
        state: &mut Conversation,
        events: &[TranscriptEvent],
    ) -> Result<(), AgentError> {
        self.journal.append(events).await?;
        for event in events {
            state.apply(event);
        }
        Ok(())
    }
}

fn request(registry: &Registry, view: &View, output_tokens_max: u32) -> ModelRequest {
    ModelRequest {
        system: prompts::SYSTEM.to_owned(),
        messages: view.messages().to_vec(),
        anchor: view.anchor(),
        tools: registry.specs(),
        output_tokens_max,
    }
}

/// What the model is shown of a tool's answer. The whole is kept where that is more.
fn given(
    results: &mut Results,
    events: &mut Vec<TranscriptEvent>,
    text: String,
    full: Option<String>,
) -> String {
    let number = results.next_number();
    let shown = results.show(number, text, full);
    if let Some(text) = shown.kept {
        results.keep(number, &text);
        events.push(TranscriptEvent::ResultKept { result: number, text });
    }
    results.give(&shown.text);
    shown.text
}

/// Adds what the model is to be told of its habits once `events` have happened.
fn add_notices(state: &Conversation, events: &mut Vec<TranscriptEvent>) {
    let (mut habits, calls) = (state.habits.clone(), state.pending_calls());
    events.iter().for_each(|event| habits.apply(event, &calls));
    events.extend(habits.due().iter().map(|notice| user_message(&notice.in_words())));
}

/// Tells one content of a file from another.
fn digest_of(content: &ChangedContent) -> String {
    match content {
        ChangedContent::File { bytes, .. } => hex::encode(&Sha256::digest(bytes)[..8]),
        ChangedContent::Absent => "absent".to_owned(),
    }
}

fn user_message(text: &str) -> TranscriptEvent {
    TranscriptEvent::MessageAdded {
        message: Message::User { text: text.to_owned() },
        usage: None,
        usd: None,
        model: None,
        milliseconds: 0,
    }
}

fn results_message(results: Vec<ToolResult>, milliseconds: u64) -> TranscriptEvent {
    TranscriptEvent::MessageAdded {
        message: Message::ToolResults { results },
        usage: None,
        usd: None,
        model: None,
        milliseconds,
    }
}

fn elapsed(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
