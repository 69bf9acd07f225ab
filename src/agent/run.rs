//! The loop: compact the context if it is full, ask the model, record its answer, carry out its tool calls
//! ([`tool_calls`](super::tool_calls)). Limits are checked before every call. Every step is recorded before
//! the next one depends on it. Every way to stop is an [`AgentEnding`].

use crate::domain::{AssistantBlock, BudgetExhausted, Message, StopReason, TranscriptEvent};
use crate::markdown::code_blocks;
use crate::model::{ModelError, ModelRequest};
use crate::testing::{Linters, ScriptLanguage, Selectable, find_linters, script_languages};

use super::context::View;
use super::conversation::Conversation;
use super::metered_model::{Completion, ModelCallError};
use super::tools::{Abilities, Registry, Scripts};
use super::types::{Agent, AgentEnding, AgentError, AgentRole, user_message};

/// After so many answers in a row without a tool call, the model is not expected to call one.
const IDLE_TURNS_MAX: usize = 3;

impl Agent<'_> {
    /// Runs until there is an ending. `state` is what the transcript says, and follows it.
    pub async fn run(&self, state: &mut Conversation) -> Result<AgentEnding, AgentError> {
        let registry = self.role.registry(self.settings, self.abilities().await?.clone());
        let mut overflows = 0;
        loop {
            let calls = state.pending_calls();
            if !calls.is_empty() {
                match self.carry_out(&registry, state, calls).await? {
                    Some(ending) => return Ok(ending),
                    None => continue,
                }
            }
            if state.idle_turns >= IDLE_TURNS_MAX {
                return Ok(AgentEnding::ModelUnusable(format!(
                    "the model answered {IDLE_TURNS_MAX} times in a row without calling a tool"
                )));
            }
            if let Some(turns) = state.loops.stuck_for() {
                return Ok(AgentEnding::Exhausted(BudgetExhausted::NothingNew { turns }));
            }
            self.compact_context(state).await?;
            let request = request(&self.role, &registry, &state.view, self.output_tokens_max);
            match self.metered_model.ask(&mut state.spend, &request).await {
                Ok(paid) => {
                    overflows = 0;
                    self.observe(state, paid).await?;
                }
                Err(ModelCallError::Unusable(error @ ModelError::ContextOverflow { .. })) => {
                    overflows += 1;
                    if !self.force_compaction(state, overflows).await? {
                        return Ok(AgentEnding::ModelUnusable(error.to_string()));
                    }
                }
                Err(ModelCallError::Exhausted(limit)) => return Ok(AgentEnding::Exhausted(limit)),
                Err(ModelCallError::Unusable(error)) => {
                    return Ok(AgentEnding::ModelUnusable(error.to_string()));
                }
                Err(ModelCallError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// What the tools can do in this sandbox. It is looked for once.
    pub(super) async fn abilities(&self) -> Result<&Abilities, AgentError> {
        self.abilities.get_or_try_init(|| self.find_abilities()).await
    }

    async fn find_abilities(&self) -> Result<Abilities, AgentError> {
        let package_json = self.workspace.base_file("package.json").await?;
        let selectable = Selectable::of(&self.settings.test_command, package_json.as_deref());
        if self.role != AgentRole::Fix {
            let (scripts, linters) = (Scripts::default(), Linters::default());
            return Ok(Abilities { selectable, scripts, linters });
        }
        let linters = find_linters(self.toolbox, self.workspace).await?;
        Ok(Abilities { selectable, scripts: self.scripts().await?, linters })
    }

    /// What the model can run as a script.
    async fn scripts(&self) -> Result<Scripts, AgentError> {
        if self.scripts.is_none() {
            return Ok(Scripts::default());
        }
        let languages = script_languages(self.toolbox, self.workspace).await?;
        let blocks = code_blocks(&self.journal.job().trigger.issue.body);
        let example = blocks.into_iter().find_map(|block| {
            let language = ScriptLanguage::of_fence(&block.language).filter(|one| languages.contains(one))?;
            let is_whole = !block.has_prompts() && language.is_program(&block.text);
            is_whole.then_some((language, block.text))
        });
        Ok(Scripts { languages, example })
    }

    /// The shortest request that a model can be sent: one without a conversation.
    pub fn shortest_request(output_tokens_max: u32) -> ModelRequest {
        request(&AgentRole::Fix, &Registry::standard(), &View::default(), output_tokens_max)
    }

    /// Records the model's answer, and a reminder if it called no tool.
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
                        .to_owned()
                }
                StopReason::EndOfTurn | StopReason::ToolCalls | StopReason::Refusal => {
                    format!("You called no tool. Go on with a tool call: {}.", self.role.ways_to_end())
                }
            };
            events.push(user_message(&text));
        }
        self.record(state, &events).await
    }
}

fn request(role: &AgentRole, registry: &Registry, view: &View, output_tokens_max: u32) -> ModelRequest {
    ModelRequest {
        system: role.instructions().to_owned(),
        messages: view.messages().to_vec(),
        anchor: view.anchor(),
        tools: registry.specs(),
        output_tokens_max,
    }
}
