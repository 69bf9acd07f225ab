//! The model clients against the emulated provider, and against servers that break the protocol.

use std::time::Duration;

use mendwright::domain::{AssistantBlock, Message, ToolCall, ToolSpec};
use mendwright::model::{ExchangeLimits, Model, ModelConfig, ModelRequest, Provider, RetryPolicy, connect};
use mendwright_emulator::model::{Conversation, EmulatedProvider};
use secrecy::SecretString;
use serde_json::json;
use url::Url;

mod conversation;
mod faults;
mod metered_model;
mod misbehaving;
mod third_party;

const KEY: &str = "sk-not-for-anybodys-eyes";

/// A client with short delays.
fn client(provider: Provider, url: Url) -> std::sync::Arc<dyn Model> {
    connect(quick_config(provider, url)).expect("the configuration is sound")
}

fn quick_config(provider: Provider, url: Url) -> ModelConfig {
    ModelConfig {
        url: Some(url),
        retry: RetryPolicy {
            attempts_max: 3,
            delay_first: Duration::from_millis(1),
            delay_max: Duration::from_millis(2),
            retry_after_max: Duration::from_millis(60),
            call_time_max: Duration::from_secs(30),
        },
        limits: ExchangeLimits { idle_time_max: Duration::from_secs(10), ..ExchangeLimits::default() },
        ..ModelConfig::new(provider, "demo-model", SecretString::from(KEY))
    }
}

async fn provider(conversation: &str) -> EmulatedProvider {
    let conversation = Conversation::from_json(conversation).expect("the conversation is sound");
    EmulatedProvider::start(([127, 0, 0, 1], 0).into(), conversation).await.expect("loopback is free")
}

fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: format!("What {name} does."),
        input_schema: json!({"type": "object", "properties": {}}),
    }
}

fn request(messages: Vec<Message>) -> ModelRequest {
    ModelRequest {
        anchor: None,
        system: "Mend what is broken.".to_owned(),
        messages,
        tools: ["read_file", "search", "edit_file", "finish"].map(tool).into(),
        output_tokens_max: 4_000,
    }
}

fn task() -> ModelRequest {
    request(vec![Message::User { text: "the task".to_owned() }])
}

fn calls(blocks: &[AssistantBlock]) -> Vec<ToolCall> {
    let call = |block: &AssistantBlock| match block {
        AssistantBlock::ToolCall(call) => Some(call.clone()),
        AssistantBlock::Text { .. } | AssistantBlock::Opaque { .. } => None,
    };
    blocks.iter().filter_map(call).collect()
}

fn text(blocks: &[AssistantBlock]) -> String {
    let text = |block: &AssistantBlock| match block {
        AssistantBlock::Text { text } => Some(text.clone()),
        AssistantBlock::ToolCall(_) | AssistantBlock::Opaque { .. } => None,
    };
    blocks.iter().filter_map(text).collect()
}
