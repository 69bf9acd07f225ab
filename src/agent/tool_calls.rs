//! Carries out the tool calls of one answer in the sandbox, records their results, and checkpoints what they
//! wrote. Never asks the model. A call that stops the loop (`finish`, `ask_human`) is returned to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::domain::{ChangedContent, Message, RepoPath, ToolCall, ToolEffect, ToolResult, TranscriptEvent};
use crate::sandbox::CallError;

use super::conversation::Conversation;
use super::loop_notices::notice_text;
use super::results::Results;
use super::tools::{Registry, ToolAnswer, ToolContext, changes_of};
use super::types::{Agent, AgentEnding, AgentError, AgentRole, Finish, OpenCall, user_message};

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
            scripts: self.scripts,
            baseline: state.baseline.clone(),
            last_run: state.last_run.clone(),
            plan: state.plan.clone(),
            results: state.results.clone(),
            written: state.written.clone(),
            events: Vec::new(),
        };
        let mut results: Vec<ToolResult> = Vec::new();
        let mut remaining = calls.into_iter();
        let mut refused_change: Option<String> = None;
        while let Some(call) = remaining.next() {
            if state.spend.time + started.elapsed() >= self.settings.budget.time_max {
                let text = "Not carried out: the time for this job is over.".to_owned();
                context.results.give(&text);
                results.push(ToolResult { call_id: call.id, text, is_error: true });
                continue;
            }
            let effect = ToolEffect::of(&call.name);
            if let (Some(ToolEffect::Tries), Some(refused)) = (effect, &refused_change) {
                let text = format!(
                    "Not carried out: `{refused}` before it in the same answer was refused, so this would run without \
                     that change. Correct the change first."
                );
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
                    state.written = context.written;
                    self.record_some(state, &context.events).await?;
                    let call = OpenCall::of(call, results, remaining);
                    return Ok(Some(AgentEnding::Finished(Finish { summary, call })));
                }
                Ok(ToolAnswer::ProposeSetup { recipe }) => {
                    self.record_some(state, &context.events).await?;
                    let call = OpenCall::of(call, results, remaining);
                    return Ok(Some(AgentEnding::ProposedSetup(recipe, call)));
                }
                Ok(ToolAnswer::AskHuman { question }) => {
                    state.written = context.written;
                    if self.role == AgentRole::Fix {
                        context.events.push(self.checkpoint(&state.written).await?);
                    }
                    self.record_some(state, &context.events).await?;
                    return Ok(Some(AgentEnding::Asked(question)));
                }
            };
            if effect == Some(ToolEffect::Changes) {
                refused_change = is_error.then(|| call.name.clone()).or(refused_change);
            }
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
        self.add_notices(state, &mut events);
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
        before.push(self.checkpoint(&state.written).await?);
        self.answer_call(state, finish.call, verdict, judged_for, before).await
    }

    /// Answers a call that stopped the loop. `before` is recorded in the same transaction.
    pub async fn answer_call(
        &self,
        state: &mut Conversation,
        call: OpenCall,
        answer: &str,
        took: Duration,
        mut before: Vec<TranscriptEvent>,
    ) -> Result<(), AgentError> {
        let mut known = state.results.clone();
        call.answered.iter().for_each(|result| known.give(&result.text));
        let text = record_result(&mut known, &mut before, answer.to_owned(), None);
        let mut results = call.answered;
        results.push(ToolResult { call_id: call.id, text, is_error: true });
        let skipped = format!("Not carried out: the call came after `{}` in the same answer.", call.tool);
        results.extend(call.unanswered.into_iter().map(|call_id| ToolResult {
            call_id,
            text: skipped.clone(),
            is_error: true,
        }));
        before.push(results_message(results, u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
        self.add_notices(state, &mut before);
        self.record(state, &before).await
    }

    /// Adds the notices that are due after `events`. They name tools that only the agent which fixes has.
    fn add_notices(&self, state: &Conversation, events: &mut Vec<TranscriptEvent>) {
        if self.role == AgentRole::Fix {
            let mut loops = state.loops.clone();
            events.iter().for_each(|event| loops.apply(event));
            events.extend(loops.due().iter().map(|notice| user_message(&notice_text(notice))));
        }
    }

    async fn record_some(
        &self,
        state: &mut Conversation,
        events: &[TranscriptEvent],
    ) -> Result<(), AgentError> {
        if events.is_empty() { Ok(()) } else { self.record(state, events).await }
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

impl OpenCall {
    fn of(call: ToolCall, answered: Vec<ToolResult>, remaining: impl Iterator<Item = ToolCall>) -> Self {
        let unanswered = remaining.map(|call| call.id).collect();
        Self { tool: call.name, id: call.id, answered, unanswered }
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
