//! A provider that has a bad day: overload, limits, cut and silent streams.

use std::time::{Duration, Instant};

use mendwright::model::{ExchangeLimits, ModelConfig, ModelError, ModelReply, Provider, connect};
use mendwright_emulator::model::EmulatedProvider;

use super::{BOTH, client, provider, quick_config, task, text};

fn faulty(fault: &str) -> String {
    format!(r#"{{"model": "demo-model", "turns": [{{"say": "At last.", "fault": {fault}}}]}}"#)
}

async fn ask(format: Provider, provider: &EmulatedProvider) -> Result<ModelReply, ModelError> {
    client(format, provider.url_for(format)).complete(&task()).await
}

#[tokio::test]
async fn what_passes_is_waited_for_and_the_whole_call_is_made_again() {
    let faults = [
        r#"{"status": 429, "times": 2}"#,
        r#"{"status": 429, "times": 1, "retry_after": 1}"#,
        r#"{"status": 500, "times": 2}"#,
        r#"{"status": 503, "times": 2}"#,
        r#"{"status": 529, "times": 2}"#,
    ];
    for format in BOTH {
        for fault in faults {
            let provider = provider(&faulty(fault)).await;
            let reply = ask(format, &provider).await.unwrap_or_else(|error| panic!("{fault}: {error}"));
            assert_eq!(text(&reply.blocks), "At last.");
            let expected = if fault.contains("\"times\": 2") { 3 } else { 2 };
            assert_eq!(provider.requests().len(), expected, "{fault}");
            assert_eq!(provider.violations(), Vec::<String>::new());
            provider.shut_down().await;
        }
    }
}

#[tokio::test]
async fn a_provider_that_asks_for_time_gets_it_up_to_our_bound() {
    for format in BOTH {
        let provider = provider(&faulty(r#"{"status": 429, "retry_after": 3600}"#)).await;
        let before = Instant::now();
        ask(format, &provider).await.unwrap();
        let waited = before.elapsed();
        assert!(waited >= Duration::from_millis(60) && waited < Duration::from_secs(60), "{waited:?}");
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn what_does_not_pass_is_given_up_with_the_last_words() {
    for format in BOTH {
        let provider = provider(&faulty(r#"{"status": 529, "times": 9, "message": "Overloaded"}"#)).await;
        let error = ask(format, &provider).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { attempts: 3, .. }), "{error}");
        assert!(error.to_string().ends_with("cannot answer after 3 attempts: status 529: Overloaded"));
        assert_eq!(provider.requests().len(), 3);
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn silence_in_the_middle_of_an_answer_ends_the_attempt() {
    for format in BOTH {
        let provider = provider(&faulty(r#"{"stall": true, "times": 1}"#)).await;
        let impatient = ModelConfig {
            limits: ExchangeLimits { idle_time_max: Duration::from_millis(300), ..ExchangeLimits::default() },
            ..quick_config(format, provider.url_for(format))
        };
        let error = connect(impatient).unwrap().complete(&task()).await.unwrap_err();
        assert!(matches!(error, ModelError::Interrupted { retry_after: Some(_), .. }), "{error}");
        assert!(error.to_string().contains("silent for 300ms in the middle of its answer"), "{error}");
        assert_eq!(provider.requests().len(), 1);
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn what_no_retry_mends_is_said_at_once_with_what_to_do() {
    let cases = [
        (r#"{"status": 401, "times": 9}"#, "check the API key configured"),
        (r#"{"status": 403, "times": 9}"#, "may use the model \"demo-model\""),
        (r#"{"status": 404, "times": 9}"#, "check the configured model name \"demo-model\""),
        (r#"{"content_type": "text/html", "times": 9}"#, "content type \"text/html\""),
    ];
    for format in BOTH {
        for (fault, words) in cases {
            let provider = provider(&faulty(fault)).await;
            let error = ask(format, &provider).await.unwrap_err();
            assert!(matches!(error, ModelError::Refused { .. }), "{fault}: {error}");
            assert!(error.to_string().contains(words), "{fault}: {error}");
            assert_eq!(provider.requests().len(), 1, "{fault}");
            provider.shut_down().await;
        }
    }
}

#[tokio::test]
async fn a_conversation_that_is_too_long_is_told_from_other_refusals() {
    for format in BOTH {
        let message = "prompt is too long: 208310 tokens > 200000 maximum";
        let provider = provider(&faulty(&format!(r#"{{"status": 400, "message": "{message}"}}"#))).await;
        let error = ask(format, &provider).await.unwrap_err();
        assert!(matches!(error, ModelError::ContextOverflow { .. }), "{error}");
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn nobody_listening_is_unavailable_after_all_attempts() {
    for format in BOTH {
        let gone = provider(&faulty(r#"{"stall": true}"#)).await;
        let url = gone.url_for(format);
        gone.shut_down().await;
        let error = client(format, url).complete(&task()).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { attempts: 3, .. }), "{error}");
        assert!(error.to_string().contains("no connection"), "{error}");
    }
}
