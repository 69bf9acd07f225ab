//! What an agent works with, how its work ends, and what both the loop and the tool calls need: recording
//! an event, and loading what was written before a restart. Imports neither of them.

use tokio::sync::OnceCell;

use crate::domain::{
    BudgetExhausted, Change, ChangedContent, JobSettings, Message, SetupRecipe, ToolResult, TranscriptEvent,
};
use crate::sandbox::{SandboxError, Toolbox};
use crate::setup::Environment;
use crate::store::{Journal, StoreError};
use crate::testing::SuiteError;
use crate::workspace::{Workspace, WorkspaceError};

use super::conversation::Conversation;
use super::metered_model::MeteredModel;
use super::prompts;
use super::tools::{Abilities, Registry, changes_of};

/// What an agent works at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentRole {
    /// It fixes an issue.
    Fix,
    /// It finds out how a repository is set up and how its tests are run.
    Setup {
        /// What setup commands see in addition to the sandbox's own variables.
        variables: Vec<(String, String)>,
    },
}

impl AgentRole {
    /// The tools of a job. They stay the same until the agent ends.
    pub(super) fn registry(&self, settings: &JobSettings, abilities: Abilities) -> Registry {
        match self {
            Self::Fix => Registry::of(settings, abilities),
            Self::Setup { variables } => Registry::for_setup(variables.clone()),
        }
    }

    /// The system prompt.
    pub(super) fn instructions(&self) -> &'static str {
        match self {
            Self::Fix => prompts::SYSTEM,
            Self::Setup { .. } => prompts::SETUP,
        }
    }

    /// The tools with which the work ends, for an answer that called none.
    pub(super) fn ways_to_end(&self) -> &'static str {
        match self {
            Self::Fix => {
                "`finish` when the work is ready for its verdict, `ask_human` when only a person can decide"
            }
            Self::Setup { .. } => {
                "`propose_setup` when the suite ran, `give_up` when something is missing that no command can bring"
            }
        }
    }
}

/// Everything an agent works with.
pub struct Agent<'a> {
    /// What it works at.
    pub role: AgentRole,
    /// The model that works on the issue.
    pub metered_model: MeteredModel<'a>,
    /// Longest answer, in tokens.
    pub output_tokens_max: u32,
    /// Size of the model's context, its answer included, in tokens.
    pub context_tokens: u64,
    /// The model that writes a brief before the first turn; `None`: no brief is written.
    pub planner: Option<MeteredModel<'a>>,
    /// The model that summarizes a conversation that has become too long.
    pub summarizer: MeteredModel<'a>,
    /// Size of the summarizer's context, its answer included, in tokens.
    pub summarizer_context_tokens: u64,
    /// The sandbox.
    pub toolbox: &'a Toolbox,
    /// The repository's object store, which keeps the changes.
    pub workspace: &'a Workspace,
    /// The job's rules and limits.
    pub settings: &'a JobSettings,
    /// What its tools can do in the sandbox; empty until it is looked for.
    pub abilities: OnceCell<Abilities>,
    /// Starts sandboxes for scripts of the model; `None`: it may run none.
    pub scripts: Option<&'a Environment>,
    /// The job's transcript.
    pub journal: &'a Journal,
}

/// Why the loop stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEnding {
    /// The model asks for a verdict. [`Agent::answer_finish`] answers its call.
    Finished(Finish),
    /// The setup agent proposes how to set the repository up. [`Agent::answer_call`] answers its call.
    ProposedSetup(SetupRecipe, OpenCall),
    /// The model asks a person, or the setup agent says what is missing.
    Asked(String),
    /// A limit is reached.
    Exhausted(BudgetExhausted),
    /// The model cannot go on: the provider failed permanently, or the model no longer calls tools.
    ModelUnusable(String),
}

/// The loop could not go on: the sandbox, the store or git failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The sandbox is lost.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The transcript cannot be written, or another worker has the job's lease.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint cannot be kept.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

impl From<SuiteError> for AgentError {
    fn from(error: SuiteError) -> Self {
        match error {
            SuiteError::Sandbox(error) => Self::Sandbox(error),
            SuiteError::Workspace(error) => Self::Workspace(error),
        }
    }
}

/// A `finish` call that waits for its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The summary for the reviewer.
    pub summary: String,
    pub(super) call: OpenCall,
}

/// A tool call that stopped the loop and waits for its answer, with the other calls of the same message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    pub(super) tool: String,
    pub(super) id: String,
    pub(super) answered: Vec<ToolResult>,
    pub(super) unanswered: Vec<String>,
}

impl Agent<'_> {
    /// The changes that the agent's tools made.
    pub fn changes(state: &Conversation) -> Vec<Change> {
        changes_of(&state.written)
    }

    /// Loads the changes made before a restart from the checkpoint's tree.
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

    /// Gives the model a message.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub async fn tell(&self, state: &mut Conversation, text: &str) -> Result<(), AgentError> {
        self.record(state, &[user_message(text)]).await
    }

    /// Appends events to the transcript, then applies them to the state.
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

/// A message of ours to the model.
pub(super) fn user_message(text: &str) -> TranscriptEvent {
    TranscriptEvent::MessageAdded {
        message: Message::User { text: text.to_owned() },
        usage: None,
        usd: None,
        model: None,
        milliseconds: 0,
    }
}
