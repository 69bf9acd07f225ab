//! The request for a summary of a conversation: the conversation as text, bounded, the newest part whole.

use super::View;
use super::compaction::cut;
use crate::agent::prompts;
use crate::domain::{AssistantBlock, Message, ToolArguments};
use crate::model::ModelRequest;

/// Longest summary, in tokens.
pub(super) const SUMMARY_TOKENS_MAX: u32 = 2_000;
/// Longest result, arguments and text, in bytes. The newest messages matter most.
const RESULT_BYTES_MAX: usize = 1_500;
const ARGUMENTS_BYTES_MAX: usize = 600;
const TEXT_BYTES_MAX: usize = 3_000;

/// The request, with a prompt of at most `prompt_bytes_max`.
pub(super) fn request(view: &View, prompt_bytes_max: usize) -> ModelRequest {
    let mut parts: Vec<String> = Vec::new();
    let mut bytes = 0;
    // The first message is the task, which is kept unchanged.
    for (message, first_result) in view.messages.iter().zip(&view.first_results).skip(1).rev() {
        let part = describe_message(message, *first_result);
        bytes += part.len();
        if bytes > prompt_bytes_max {
            parts.push("(What came before is left out.)\n".to_owned());
            break;
        }
        parts.push(part);
    }
    parts.reverse();
    let task = view.messages.first().map_or_else(String::new, |message| describe_message(message, 0));
    let text = format!("# The task\n\n{task}\n# What happened\n\n{}", parts.concat());
    ModelRequest {
        anchor: None,
        system: prompts::SUMMARY.to_owned(),
        messages: vec![Message::User { text }],
        tools: [].into(),
        output_tokens_max: SUMMARY_TOKENS_MAX,
    }
}

fn describe_message(message: &Message, first_result: u32) -> String {
    match message {
        Message::User { text } => format!("{}\n\n", cut(text, TEXT_BYTES_MAX)),
        Message::Assistant { blocks } => blocks.iter().map(block_text).collect(),
        Message::ToolResults { results } => (first_result..)
            .zip(results)
            .map(|(number, result)| format!("Result {number}:\n{}\n\n", cut(&result.text, RESULT_BYTES_MAX)))
            .collect(),
    }
}

fn block_text(block: &AssistantBlock) -> String {
    match block {
        AssistantBlock::Text { text } => format!("The engineer: {}\n\n", cut(text, TEXT_BYTES_MAX)),
        AssistantBlock::ToolCall(call) => {
            let arguments = match &call.arguments {
                ToolArguments::Json(value) => value.to_string(),
                ToolArguments::Malformed(text) => text.clone(),
            };
            format!("Call {} {}\n\n", call.name, cut(&arguments, ARGUMENTS_BYTES_MAX))
        }
        AssistantBlock::Opaque { .. } => String::new(),
    }
}
