//! The conversation with a model, in no provider's dialect. `model/` translates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One message of the conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "role")]
pub enum Message {
    /// From us: the task, or an observation that no tool call asked for.
    User {
        /// The words.
        text: String,
    },
    /// From the model.
    Assistant {
        /// Text and tool calls, in order.
        blocks: Vec<AssistantBlock>,
    },
    /// From us: exactly one result for each tool call of the assistant message before it.
    ToolResults {
        /// In the order of the calls.
        results: Vec<ToolResult>,
    },
}

/// A part of what the model said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum AssistantBlock {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// A tool call, complete as received.
    ToolCall(ToolCall),
    /// What the provider wants back word for word with the next request and nobody else can read:
    /// reasoning with its signature. Left out, a provider may refuse the next request.
    /// Source: platform.claude.com/docs, "Thinking in tool and multi-turn workflows".
    Opaque {
        /// Whose it is: `anthropic`.
        provider: String,
        /// The block as received.
        block: Value,
    },
}

/// A tool call by the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCall {
    /// The provider's id, echoed in the result.
    pub id: String,
    /// The tool's name as the model wrote it.
    pub name: String,
    /// Its arguments.
    pub arguments: ToolArguments,
}

/// The arguments of a tool call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolArguments {
    /// JSON.
    Json(Value),
    /// Text that is not JSON; the model is told, the run goes on.
    Malformed(String),
}

/// What a tool call came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolResult {
    /// The call's id.
    pub call_id: String,
    /// What the model is shown.
    pub text: String,
    /// Whether the call failed.
    pub is_error: bool,
}

/// A tool as the model is told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name: `[a-zA-Z0-9_-]{1,64}`, the strictest rule among the providers.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub input_schema: Value,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It had no more to say.
    EndOfTurn,
    /// It waits for tool results.
    ToolCalls,
    /// The output limit cut it short: its last tool call may be missing and is not carried out.
    OutputLimit,
    /// It, or the provider's filter, declined.
    Refusal,
}
