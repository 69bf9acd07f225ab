//! Shortens the context: carries out what the view asks for and records it, so that a restart sends the same
//! messages and pays for no summary twice.

use super::compaction::{CompactionInput, cut, write};
use super::{ContextBudget, Reduction, View, summary};
use crate::agent::metered_model::{Completion, ModelCallError};
use crate::agent::test_summary::{Earlier, describe_run};
use crate::agent::{Agent, AgentError, Conversation};
use crate::domain::{AssistantBlock, Message, TranscriptEvent};

/// How often one request may be shortened because the provider refuses it as too long: once by eliding, once
/// by compacting.
pub const OVERFLOWS_MAX: u32 = 2;

/// Share of the summarizer's context for its prompt. The rest is for its answer, and for an estimate that is
/// too low.
const PROMPT_PERCENT: u64 = 60;

impl Agent<'_> {
    /// Sends the model less, if it is time to.
    pub(in crate::agent) async fn compact_context(&self, state: &mut Conversation) -> Result<(), AgentError> {
        let budget = ContextBudget::new(self.context_tokens, self.output_tokens_max);
        match state.view.due_reduction(budget) {
            Some(reduction) => self.reduce_context(state, reduction).await,
            None => Ok(()),
        }
    }

    /// Sends the model less although the estimate allows the request. Returns whether that was possible.
    pub(in crate::agent) async fn force_compaction(
        &self,
        state: &mut Conversation,
        overflows: u32,
    ) -> Result<bool, AgentError> {
        let first = overflows <= 1;
        let reduction = if first { state.view.forced_reduction() } else { state.view.compactable() };
        match reduction.filter(|_| overflows <= OVERFLOWS_MAX) {
            Some(reduction) => self.reduce_context(state, reduction).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn reduce_context(&self, state: &mut Conversation, reduction: Reduction) -> Result<(), AgentError> {
        let event = match reduction {
            Reduction::Elide { first, last } => TranscriptEvent::ResultsElided { first, last },
            Reduction::Compact => self.compact(state).await?,
        };
        tracing::info!(?reduction, tokens = state.view.tokens(), "conversation was shortened");
        self.record(state, &[event]).await
    }

    /// The event that replaces all messages by one. If no model can write a summary, the message holds what
    /// is recorded.
    async fn compact(&self, state: &mut Conversation) -> Result<TranscriptEvent, AgentError> {
        let prompt_bytes = self.summarizer_context_tokens * PROMPT_PERCENT / 100 * 3;
        let request = summary::request(&state.view, usize::try_from(prompt_bytes).unwrap_or(usize::MAX));
        let (paid, fault) = match self.summarizer.ask(&mut state.spend, &request).await {
            Ok(paid) => (Some(paid), None),
            Err(ModelCallError::Store(error)) => return Err(error.into()),
            Err(error @ (ModelCallError::Exhausted(_) | ModelCallError::Unusable(_))) => {
                (None, Some(error.to_string()))
            }
        };
        let summary = paid.as_ref().and_then(text_of);
        let fault = match (&paid, &summary) {
            (Some(_), None) => Some("the model wrote no words".to_owned()),
            (Some(_), Some(_)) | (None, _) => fault,
        };
        let diff = self.diff(state).await?;
        let earlier = Earlier { base: state.baseline.as_ref(), last: None };
        let input = CompactionInput {
            task: &state.task,
            plan: state.plan.as_deref(),
            diff: &diff,
            last_run: state.last_run.as_ref().map(|run| describe_run(run, earlier)),
            summary: summary.as_deref(),
            last_results: last_results(&state.view),
            turns: state.spend.turns,
            results: state.view.results_given(),
        };
        let message = write(&input, ContextBudget::new(self.context_tokens, self.output_tokens_max));
        Ok(TranscriptEvent::Compacted {
            message,
            fault,
            usage: paid.as_ref().map(|paid| paid.reply.usage),
            usd: paid.as_ref().and_then(|paid| paid.usd),
            milliseconds: paid.as_ref().map_or(0, |paid| paid.milliseconds),
            model: paid.map(|paid| paid.reply.model),
        })
    }

    /// The changes of the tools, as a diff against the base.
    async fn diff(&self, state: &Conversation) -> Result<String, AgentError> {
        match &state.checkpoint {
            Some((tree, _)) => Ok(self.workspace.patch(tree).await?.text),
            None => Ok(String::new()),
        }
    }
}

fn text_of(paid: &Completion) -> Option<String> {
    let words: Vec<&str> = paid
        .reply
        .blocks
        .iter()
        .filter_map(|block| match block {
            AssistantBlock::Text { text } => Some(text.trim()),
            AssistantBlock::ToolCall(_) | AssistantBlock::Opaque { .. } => None,
        })
        .filter(|text| !text.is_empty())
        .collect();
    // The model's own limit cuts a long summary; this is a second limit.
    let bytes_max = summary::SUMMARY_TOKENS_MAX as usize * 6;
    (!words.is_empty()).then(|| cut(&words.join("\n"), bytes_max))
}

/// The last tool results, which the model has not seen yet or has just asked for.
fn last_results(view: &View) -> String {
    let Some((Message::ToolResults { results }, first)) = view.messages.last().zip(view.first_results.last())
    else {
        return String::new();
    };
    (*first..).zip(results).map(|(number, result)| format!("Result {number}:\n{}\n\n", result.text)).collect()
}
