//! Whole conversations with the emulated provider, in both wire formats.

use mendwright::domain::{Message, StopReason, ToolArguments, ToolResult, Usage};
use mendwright::model::{Model, ModelError, ModelReply, ModelRequest, Provider};
use mendwright_emulator::model::{Conversation, EmulatedProvider};
use serde_json::json;

use super::{calls, client, provider, request, task, text};

async fn fixing_provider() -> EmulatedProvider {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/conversations/tests/brief-and-broken-json.json");
    let conversation = Conversation::load(&path).unwrap();
    EmulatedProvider::start(([127, 0, 0, 1], 0).into(), conversation).await.unwrap()
}

/// Continues until the model stops calling tools, and returns all replies.
async fn complete_conversation(model: &dyn Model, request: &mut ModelRequest) -> Vec<ModelReply> {
    let mut replies = Vec::new();
    loop {
        let reply = model.complete(request).await.unwrap();
        request.messages.push(Message::Assistant { blocks: reply.blocks.clone() });
        let results: Vec<_> = calls(&reply.blocks)
            .into_iter()
            .map(|call| match call.arguments {
                ToolArguments::Json(_) => {
                    ToolResult { text: format!("result of {}", call.name), call_id: call.id, is_error: false }
                }
                ToolArguments::Malformed(_) => ToolResult {
                    text: "the arguments are not JSON".to_owned(),
                    call_id: call.id,
                    is_error: true,
                },
            })
            .collect();
        let stop = reply.stop.clone();
        replies.push(reply);
        if stop == StopReason::EndOfTurn {
            return replies;
        }
        request.messages.push(Message::ToolResults { results });
    }
}

#[tokio::test]
async fn conversation_with_parallel_calls_and_malformed_json_completes_in_both_formats() {
    for format in Provider::ALL {
        let provider = fixing_provider().await;
        let model = client(format, provider.url_for(format));
        let mut request = task();
        let replies = complete_conversation(&*model, &mut request).await;

        assert_eq!(replies.len(), 4);
        assert_eq!(text(&replies[0].blocks), "Ich schaue nach – 💥 zuerst die Größe.");
        let first = calls(&replies[0].blocks);
        assert_eq!(first[0].arguments, ToolArguments::Json(json!({"path": "größe.py"})));
        assert_eq!(first[1].arguments, ToolArguments::Json(json!({"pattern": "def \"größe\"\n"})));
        assert_eq!(replies[0].stop, StopReason::ToolCalls);
        assert_eq!(
            calls(&replies[1].blocks)[0].arguments,
            ToolArguments::Malformed("{\"path\": \"größe.py\", \"edits\": [".to_owned())
        );
        assert_eq!(calls(&replies[2].blocks)[0].arguments, ToolArguments::Json(json!({})));
        assert_eq!(
            replies[2].usage,
            Usage { input_tokens: 11, output_tokens: 22, cache_read_tokens: 33, cache_write_tokens: 44 }
        );
        assert_eq!(text(&replies[3].blocks), "Done.");
        assert_eq!(provider.violations(), Vec::<String>::new());
        let turns: Vec<_> = provider.requests().iter().map(|request| request.turn).collect();
        assert_eq!(turns, [Some(0), Some(1), Some(2), Some(3)]);
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn conversation_continues_with_another_client_and_provider() {
    for format in Provider::ALL {
        let first = fixing_provider().await;
        let mut request = task();
        let reply = client(format, first.url_for(format)).complete(&request).await.unwrap();
        first.shut_down().await;
        let results = calls(&reply.blocks)
            .into_iter()
            .map(|call| ToolResult {
                text: format!("result of {}", call.name),
                call_id: call.id,
                is_error: false,
            })
            .collect();
        request.messages.push(Message::Assistant { blocks: reply.blocks });
        request.messages.push(Message::ToolResults { results });

        let second = fixing_provider().await;
        let replies = complete_conversation(&*client(format, second.url_for(format)), &mut request).await;
        assert_eq!(replies.len(), 3);
        assert_eq!(second.violations(), Vec::<String>::new());
        second.shut_down().await;
    }
}

#[tokio::test]
async fn later_turn_reads_earlier_turns_from_the_cache() {
    let turns = r#"{"model": "demo-model", "turns": [
        {"calls": [{"tool": "search", "arguments": {"pattern": "x"}}]}, {"say": "Done."}]}"#;
    for format in Provider::ALL {
        let provider = provider(turns).await;
        let model = client(format, provider.url_for(format));
        let mut request = request(vec![Message::User { text: "the task ".repeat(2_000) }]);
        let replies = complete_conversation(&*model, &mut request).await;
        let (first, second) = (replies[0].usage, replies[1].usage);
        let prompt = |usage: Usage| usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens;
        assert_eq!(first.cache_read_tokens, 0);
        assert!(prompt(first) > 4_500, "{first:?}");
        assert!(prompt(second) > prompt(first));
        assert!(second.cache_read_tokens > 4_400, "{second:?}");
        match format {
            Provider::Anthropic => assert_eq!(first.cache_write_tokens, prompt(first)),
            Provider::OpenAi => assert_eq!(first.cache_write_tokens, 0),
        }
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn request_without_tools_gets_the_brief() {
    for format in Provider::ALL {
        let provider = fixing_provider().await;
        let model = client(format, provider.url_for(format));
        let brief = |words: &str| ModelRequest {
            tools: [].into(),
            ..request(vec![Message::User { text: words.to_owned() }])
        };
        let reply = model.complete(&brief("brief, please")).await.unwrap();
        assert_eq!(text(&reply.blocks), "Likely in größe.py; start with the failing test.");
        let refused = model.complete(&brief("something else")).await;
        assert!(matches!(refused, Err(ModelError::Refused { status: 400, .. })), "{refused:?}");
        assert_eq!(provider.violations().len(), 1);
        provider.shut_down().await;
    }
}

/// As Anthropic's Python client (2.14) sends it: the key as a bearer token, and plain text instead of blocks.
#[tokio::test]
async fn request_of_the_provider_client_is_accepted() {
    let provider = fixing_provider().await;
    let ask = async |key: &str| {
        let body = json!({
            "model": "demo-model", "max_tokens": 9, "stream": true, "system": "Be brief.",
            "messages": [{"role": "user", "content": "brief, please"}],
        });
        let request = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = request.post(provider.url_for(Provider::Anthropic).join("v1/messages").unwrap());
        let request = request.header("authorization", key).header("anthropic-version", "2026-10-21");
        let answer = request.body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, answer) = ask("Bearer k").await;
    assert!(status == 200 && answer.contains("message_stop"), "{status} {answer}");
    assert_eq!(ask("Bearer ").await.0, 401);
    provider.shut_down().await;
}

#[tokio::test]
async fn invalid_conversation_is_a_violation() {
    for format in Provider::ALL {
        let provider = fixing_provider().await;
        let model = client(format, provider.url_for(format));
        let reply = model.complete(&task()).await.unwrap();
        let assistant = Message::Assistant { blocks: reply.blocks.clone() };
        let result = |id: &str| ToolResult {
            call_id: id.to_owned(),
            text: "result of search".to_owned(),
            is_error: false,
        };
        let [one, two] = [&calls(&reply.blocks)[0].id, &calls(&reply.blocks)[1].id];
        let after = |results: Vec<ToolResult>| {
            let task = Message::User { text: "the task".to_owned() };
            request(vec![task, assistant.clone(), Message::ToolResults { results }])
        };
        let mut other_system = after(vec![result(one), result(two)]);
        other_system.system += " Be quick.";
        let mut leaked = after(vec![result(one), result(two)]);
        leaked.messages.push(Message::User { text: "the secret is 42".to_owned() });
        let wrong = [
            ("a result is missing", after(vec![result(one)])),
            ("a result comes twice", after(vec![result(one), result(two), result(two)])),
            ("a result for no call", after(vec![result(one), result(two), result("x")])),
            ("the system prompt changed", other_system),
            ("an expectation is not met", leaked),
        ];
        for (index, (what, request)) in wrong.into_iter().enumerate() {
            let answer = model.complete(&request).await;
            assert!(matches!(answer, Err(ModelError::Refused { status: 400, .. })), "{what}: {answer:?}");
            assert_eq!(provider.violations().len(), index + 1, "{what}");
        }
        assert!(model.complete(&after(vec![result(one), result(two)])).await.is_ok());
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn missing_reasoning_is_a_violation_for_anthropic() {
    let provider = fixing_provider().await;
    let model = client(Provider::Anthropic, provider.url_for(Provider::Anthropic));
    let reply = model.complete(&task()).await.unwrap();
    let mut forgetful = task();
    let results = calls(&reply.blocks)
        .into_iter()
        .map(|call| ToolResult {
            text: format!("result of {}", call.name),
            call_id: call.id,
            is_error: false,
        })
        .collect();
    let blocks = calls(&reply.blocks).into_iter().map(mendwright::domain::AssistantBlock::ToolCall).collect();
    forgetful.messages.push(Message::Assistant { blocks });
    forgetful.messages.push(Message::ToolResults { results });
    assert!(matches!(model.complete(&forgetful).await, Err(ModelError::Refused { status: 400, .. })));
    assert!(provider.violations()[0].contains("reasoning of turn 0"));
    provider.shut_down().await;
}
