//! Making room: carries out what the view says is due, and records it, so that a restart shows the
//! same and pays for no summary twice.

use super::compaction::{Known, cut, write};
use super::{Room, Shorter, View, summary};
use crate::agent::metered_model::{CallDenied, Completion};
use crate::agent::tools::describe_run;
use crate::agent::{Agent, AgentError, Conversation};
use crate::domain::{AssistantBlock, Message, TranscriptEvent};

/// How often one request may be made shorter because the provider says that it is too long: once by
/// eliding, once by putting all together anew.
pub const OVERFLOWS_MAX: u32 = 2;

/// Of the context of the model that sums up, for the prompt: the rest is for its answer, and for an
/// estimate that is short.
const PROMPT_PERCENT: u64 = 60;

impl Agent<'_> {
    /// Shows the model less, where it is time to.
    pub(in crate::agent) async fn make_room(&self, state: &mut Conversation) -> Result<(), AgentError> {
        let room = Room::new(self.context_tokens, self.output_tokens_max);
        match state.view.due(room) {
            Some(shorter) => self.shorten(state, shorter).await,
            None => Ok(()),
        }
    }

    /// Shows the model less although our own count allows it. Answers whether that was possible.
    pub(in crate::agent) async fn make_room_at_any_rate(
        &self,
        state: &mut Conversation,
        overflows: u32,
    ) -> Result<bool, AgentError> {
        let first = overflows <= 1;
        let shorter = if first { state.view.at_any_rate() } else { state.view.compactable() };
        match shorter.filter(|_| overflows <= OVERFLOWS_MAX) {
            Some(shorter) => self.shorten(state, shorter).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn shorten(&self, state: &mut Conversation, shorter: Shorter) -> Result<(), AgentError> {
        let event = match shorter {
            Shorter::Elide { first, last } => TranscriptEvent::ResultsElided { first, last },
            Shorter::Compact => self.compact(state).await?,
        };
        tracing::info!(
            ?shorter,
            tokens = state.view.tokens(),
            "the conversation is shown shorter from here on"
        );
        self.record(state, &[event]).await
    }

    /// The event that puts one message in place of all. Where no model can sum up, it has all that
    /// we know ourselves.
    async fn compact(&self, state: &mut Conversation) -> Result<TranscriptEvent, AgentError> {
        let prompt_bytes = self.summarizer_context_tokens * PROMPT_PERCENT / 100 * 3;
        let request = summary::request(&state.view, usize::try_from(prompt_bytes).unwrap_or(usize::MAX));
        let (paid, fault) = match self.summarizer.ask(&mut state.spend, &request).await {
            Ok(paid) => (Some(paid), None),
            Err(CallDenied::Store(error)) => return Err(error.into()),
            Err(error @ (CallDenied::Exhausted(_) | CallDenied::Unusable(_))) => {
                (None, Some(error.to_string()))
            }
        };
        let summary = paid.as_ref().and_then(text_of);
        let fault = match (&paid, &summary) {
            (Some(_), None) => Some("the model wrote no words".to_owned()),
            (Some(_), Some(_)) | (None, _) => fault,
        };
        let diff = self.diff(state).await?;
        let known = Known {
            task: &state.task,
            plan: state.plan.as_deref(),
            diff: &diff,
            last_run: state.last_run.as_ref().map(|run| describe_run(run, None)),
            summary: summary.as_deref(),
            last_results: last_results(&state.view),
            turns: state.spend.turns,
            results: state.view.results_given(),
        };
        let message = write(&known, Room::new(self.context_tokens, self.output_tokens_max));
        Ok(TranscriptEvent::Compacted {
            message,
            fault,
            usage: paid.as_ref().map(|paid| paid.reply.usage),
            usd: paid.as_ref().and_then(|paid| paid.usd),
            milliseconds: paid.as_ref().map_or(0, |paid| paid.milliseconds),
            model: paid.map(|paid| paid.reply.model),
        })
    }

    /// What the tools wrote, against the base.
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
    // A model that does not stop is cut by its own limit, and once more here.
    let bytes_max = summary::SUMMARY_TOKENS_MAX as usize * 6;
    (!words.is_empty()).then(|| cut(&words.join("\n"), bytes_max))
}

/// What the tools answered last, which the model has not seen yet or has just asked for.
fn last_results(view: &View) -> String {
    let Some((Message::ToolResults { results }, first)) = view.messages.last().zip(view.first_results.last())
    else {
        return String::new();
    };
    (*first..).zip(results).map(|(number, result)| format!("Result {number}:\n{}\n\n", result.text)).collect()
}
