//! The conversation with a model, independent of providers; `model/` translates it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One message of the conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "role")]
pub enum Message {
    /// From us: the task, or an observation without a tool call.
    User {
        /// The text.
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

/// A part of a message by the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum AssistantBlock {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// A tool call, complete as received.
    ToolCall(ToolCall),
    /// What the provider needs back verbatim with the next request: reasoning with its signature, which only the provider
    /// can read. Without it, a provider may reject the next request.
    /// Source: platform.claude.com/docs, "Thinking in tool and multi-turn workflows".
    Opaque {
        /// The provider: `anthropic`.
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
    /// Text that is not JSON. The model gets an error, and the run continues.
    Malformed(String),
}

/// The result of a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolResult {
    /// The call's id.
    pub call_id: String,
    /// The text for the model.
    pub text: String,
    /// Whether the call failed.
    pub is_error: bool,
}

/// A tool as it is described to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name: `[a-zA-Z0-9_-]{1,64}`, the strictest rule among the providers.
    pub name: String,
    /// Its description.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub input_schema: Value,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It finished its turn.
    EndOfTurn,
    /// It waits for tool results.
    ToolCalls,
    /// The output limit cut it off: its last tool call may be incomplete and is not run.
    OutputLimit,
    /// The model or the provider's filter refused.
    Refusal,
}
