//! Faults of a provider: overload, limits, truncated and stalled streams.

use std::time::Duration;

use mendwright::model::{ExchangeLimits, ModelConfig, ModelError, ModelReply, Provider, connect};
use mendwright_emulator::model::EmulatedProvider;

use super::{client, provider, quick_config, task, text};

fn faulty(fault: &str) -> String {
    format!(r#"{{"model": "demo-model", "turns": [{{"say": "At last.", "fault": {fault}}}]}}"#)
}

async fn ask(format: Provider, provider: &EmulatedProvider) -> Result<ModelReply, ModelError> {
    client(format, provider.url_for(format)).complete(&task()).await
}

#[tokio::test]
async fn transient_error_is_retried_with_the_whole_request() {
    let faults = [
        r#"{"status": 429, "times": 2}"#,
        r#"{"status": 429, "times": 1, "retry_after": 1}"#,
        r#"{"status": 500, "times": 2}"#,
        r#"{"status": 503, "times": 2}"#,
        r#"{"status": 529, "times": 2}"#,
    ];
    for format in Provider::ALL {
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
async fn hour_that_the_provider_asks_for_is_shortened_to_the_bound() {
    for format in Provider::ALL {
        let provider = provider(&faulty(r#"{"status": 429, "retry_after": 3600}"#)).await;
        tokio::time::timeout(crate::support::WAIT_MAX, ask(format, &provider)).await.unwrap().unwrap();
        assert_eq!(provider.requests().len(), 2);
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn persistent_overload_is_unavailable_with_the_last_error() {
    for format in Provider::ALL {
        let provider = provider(&faulty(r#"{"status": 529, "times": 9, "message": "Overloaded"}"#)).await;
        let error = ask(format, &provider).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { attempts: 3, .. }), "{error}");
        assert!(error.to_string().ends_with("is unavailable after 3 attempts: status 529: Overloaded"));
        assert_eq!(provider.requests().len(), 3);
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn stalled_stream_ends_the_attempt() {
    for format in Provider::ALL {
        let provider = provider(&faulty(r#"{"stall": true, "times": 1}"#)).await;
        let impatient = ModelConfig {
            limits: ExchangeLimits { idle_time_max: Duration::from_millis(300), ..ExchangeLimits::default() },
            ..quick_config(format, provider.url_for(format))
        };
        let error = connect(impatient).unwrap().complete(&task()).await.unwrap_err();
        assert!(matches!(error, ModelError::Interrupted { retry_after: Some(_), .. }), "{error}");
        assert!(
            error.to_string().contains("sent nothing for 300ms in the middle of its response"),
            "{error}"
        );
        assert_eq!(provider.requests().len(), 1);
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn permanent_error_is_reported_without_a_retry_and_with_a_remedy() {
    let cases = [
        (r#"{"status": 401, "times": 9}"#, "check the API key configured"),
        (r#"{"status": 403, "times": 9}"#, "may use the model \"demo-model\""),
        (r#"{"status": 404, "times": 9}"#, "check the configured model name \"demo-model\""),
        (r#"{"content_type": "text/html", "times": 9}"#, "content type \"text/html\""),
    ];
    for format in Provider::ALL {
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
async fn context_overflow_is_distinguished_from_other_errors() {
    for format in Provider::ALL {
        let message = "prompt is too long: 208310 tokens > 200000 maximum";
        let provider = provider(&faulty(&format!(r#"{{"status": 400, "message": "{message}"}}"#))).await;
        let error = ask(format, &provider).await.unwrap_err();
        assert!(matches!(error, ModelError::ContextOverflow { .. }), "{error}");
        provider.shut_down().await;
    }
}

#[tokio::test]
async fn refused_connection_is_unavailable_after_all_attempts() {
    for format in Provider::ALL {
        let gone = provider(&faulty(r#"{"stall": true}"#)).await;
        let url = gone.url_for(format);
        gone.shut_down().await;
        let error = client(format, url).complete(&task()).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { attempts: 3, .. }), "{error}");
        assert!(error.to_string().contains("no connection"), "{error}");
    }
}
