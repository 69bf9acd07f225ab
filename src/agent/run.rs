//! The loop: make room, ask the model, observe its answer, act ([`act`](super::act)). Limits before every
//! call, every step recorded before the next depends on it, every ending named.

use crate::domain::{
    AssistantBlock, BudgetExhausted, Change, ChangedContent, JobSettings, Message, StopReason,
    TranscriptEvent,
};
use crate::model::{ModelError, ModelRequest};
use crate::sandbox::{SandboxError, Toolbox};
use crate::store::{Journal, StoreError};
use crate::workspace::{Workspace, WorkspaceError};

use super::act::Finish;
use super::context::View;
use super::conversation::Conversation;
use super::metered_model::{CallDenied, Completion, MeteredModel};
use super::prompts;
use super::tools::{Registry, changes_of};

/// After so many answers in a row without a tool call, the model is not going to work.
const IDLE_TURNS_MAX: usize = 3;

/// Everything an agent works with.
pub struct Agent<'a> {
    /// Who thinks, and what it is paid from.
    pub metered_model: MeteredModel<'a>,
    /// The most it may say in one answer.
    pub output_tokens_max: u32,
    /// What it can hold, its answer included, in tokens.
    pub context_tokens: u64,
    /// Who writes a brief before the first turn; `None`: nobody.
    pub planner: Option<MeteredModel<'a>>,
    /// Who sums a conversation up that has become too long.
    pub summarizer: MeteredModel<'a>,
    /// What the scribe can hold, its answer included, in tokens.
    pub summarizer_context_tokens: u64,
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
            match self.metered_model.ask(&mut state.spend, &request).await {
                Ok(paid) => {
                    overflows = 0;
                    self.observe(state, paid).await?;
                }
                Err(CallDenied::Unusable(error @ ModelError::ContextOverflow { .. })) => {
                    overflows += 1;
                    if !self.make_room_at_any_rate(state, overflows).await? {
                        return Ok(AgentEnding::ModelUnusable(error.to_string()));
                    }
                }
                Err(CallDenied::Exhausted(limit)) => return Ok(AgentEnding::Exhausted(limit)),
                Err(CallDenied::Unusable(error)) => return Ok(AgentEnding::ModelUnusable(error.to_string())),
                Err(CallDenied::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// The least that a model can be asked: no conversation yet.
    pub fn shortest_request(output_tokens_max: u32) -> ModelRequest {
        request(&Registry::standard(), &View::default(), output_tokens_max)
    }

    /// Records the model's answer, and a reminder when it called no tool.
    async fn observe(&self, state: &mut Conversation, paid: Completion) -> Result<(), AgentError> {
        let Completion { reply, usd, milliseconds } = paid;
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

pub(super) fn user_message(text: &str) -> TranscriptEvent {
    TranscriptEvent::MessageAdded {
        message: Message::User { text: text.to_owned() },
        usage: None,
        usd: None,
        model: None,
        milliseconds: 0,
    }
}
