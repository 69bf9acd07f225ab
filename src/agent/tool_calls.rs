//! Carries out the tool calls of one answer in the sandbox, records their results, and checkpoints what they
//! wrote. Never asks the model. A call that stops the loop (`finish`, `ask_human`) is returned to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::domain::{ChangedContent, Message, RepoPath, ToolCall, ToolResult, TranscriptEvent};
use crate::sandbox::CallError;

use super::conversation::Conversation;
use super::loop_notices::notice_text;
use super::results::Results;
use super::tools::{Registry, ToolAnswer, ToolContext, changes_of};
use super::types::{Agent, AgentEnding, AgentError, Finish, user_message};

impl Agent<'_> {
    /// Carries out tool calls in order, and records their results with what they changed.
    pub(super) async fn carry_out(
        &self,
        registry: &Registry,
        state: &mut Conversation,
        calls: Vec<ToolCall>,
    ) -> Result<Option<AgentEnding>, AgentError> {
        let started = Instant::now();
        let mut context = ToolContext {
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
                context.results.give(&text);
                results.push(ToolResult { call_id: call.id, text, is_error: true });
                continue;
            }
            let (text, full, is_error) = match registry.call(&call, &mut context).await {
                Ok(ToolAnswer::Text(text)) => (text, None, false),
                Ok(ToolAnswer::Part { shown, full }) => (shown, Some(full), false),
                Err(CallError::RespondToModel(text)) => (text, None, true),
                Err(CallError::Fatal(error)) => return Err(error.into()),
                Ok(ToolAnswer::Finish { summary }) => {
                    let unanswered = remaining.map(|call| call.id).collect();
                    state.written = context.written.clone();
                    if !context.events.is_empty() {
                        self.record(state, &context.events).await?;
                    }
                    let finish = Finish { summary, call_id: call.id, answered: results, unanswered };
                    return Ok(Some(AgentEnding::Finished(finish)));
                }
                Ok(ToolAnswer::AskHuman { question }) => {
                    state.written = context.written;
                    context.events.push(self.checkpoint(&state.written).await?);
                    self.record(state, &context.events).await?;
                    return Ok(Some(AgentEnding::Asked(question)));
                }
            };
            let text = record_result(&mut context.results, &mut context.events, text, full);
            results.push(ToolResult { call_id: call.id, text, is_error });
        }
        let wrote = context.written != state.written;
        let mut events = context.events;
        state.written = context.written;
        if wrote {
            events.push(self.checkpoint(&state.written).await?);
        }
        events.push(results_message(results, elapsed(started)));
        add_notices(state, &mut events);
        self.record(state, &events).await?;
        Ok(None)
    }

    /// Answers a `finish` call with its verdict. `before` is recorded in the same transaction.
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
        let text = record_result(&mut known, &mut before, verdict.to_owned(), None);
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

    /// Stores what was written as a tree of our own.
    async fn checkpoint(
        &self,
        written: &BTreeMap<RepoPath, ChangedContent>,
    ) -> Result<TranscriptEvent, AgentError> {
        let proposal = self.workspace.propose(changes_of(written)).await?;
        self.workspace.pin_checkpoint(self.journal.job().id, &proposal.tree).await?;
        let paths = written.keys().map(ToString::to_string).collect();
        let digest = |(path, content): (&RepoPath, &ChangedContent)| {
            proposal.paths.contains(path).then(|| digest_of(content))
        };
        let contents = written.iter().map(digest).collect();
        Ok(TranscriptEvent::Checkpoint { tree: proposal.tree, paths, contents })
    }
}

/// Gives a tool's answer its number, and returns the part that the model is shown. The whole is kept if
/// that is more.
fn record_result(
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

/// Adds the notices that are due after `events`.
fn add_notices(state: &Conversation, events: &mut Vec<TranscriptEvent>) {
    let mut loops = state.loops.clone();
    events.iter().for_each(|event| loops.apply(event));
    events.extend(loops.due().iter().map(|notice| user_message(&notice_text(notice))));
}

/// Distinguishes one content of a file from another.
fn digest_of(content: &ChangedContent) -> String {
    match content {
        ChangedContent::File { bytes, .. } => hex::encode(&Sha256::digest(bytes)[..8]),
        ChangedContent::Absent => "absent".to_owned(),
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
