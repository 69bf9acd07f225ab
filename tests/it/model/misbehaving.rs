//! Scripted servers that break the protocol.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use mendwright::domain::ToolArguments;
use mendwright::model::{ExchangeLimits, ModelConfig, ModelError, Provider, RetryPolicy, connect};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use url::Url;

use super::{KEY, calls, client, provider, quick_config, task, text};

struct Server {
    url: Url,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(router: Router) -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server { url, task }
}

/// A server that answers every request with this response.
async fn always(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Server {
    let body = body.into();
    let answer = move || {
        let status = StatusCode::from_u16(status).unwrap();
        std::future::ready((status, [("content-type", content_type)], body.clone()))
    };
    serve(Router::new().fallback(any(answer))).await
}

/// The bytes of a valid response with text and a call, as the emulated provider streams it.
async fn good_stream(format: Provider) -> Bytes {
    let provider = provider(
        r#"{"model": "demo-model", "turns": [{"say": "Größe.", "calls": [{"tool": "finish", "arguments": {"summary": "ä"}}]}]}"#,
    )
    .await;
    let (path, body) = match format {
        Provider::Anthropic => (
            "/v1/messages",
            json!({"model": "demo-model", "max_tokens": 9, "stream": true,
                "tools": [{"name": "finish", "description": "d", "input_schema": {"type": "object"}}],
                "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}]}),
        ),
        Provider::OpenAi => (
            "/v1/chat/completions",
            json!({"model": "demo-model", "stream": true, "stream_options": {"include_usage": true},
                "tools": [{"type": "function", "function": {"name": "finish", "description": "d", "parameters": {"type": "object"}}}],
                "messages": [{"role": "user", "content": "x"}]}),
        ),
    };
    let bytes = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(provider.url_for(Provider::Anthropic).join(path).unwrap())
        .header("x-api-key", "k")
        .header("authorization", "Bearer k")
        .header("anthropic-version", "2023-06-01")
        .body(body.to_string())
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap()
        .bytes()
        .await
        .unwrap();
    provider.shut_down().await;
    bytes
}

#[tokio::test]
async fn stream_truncated_at_any_byte_yields_no_reply() {
    for format in Provider::ALL {
        let whole = good_stream(format).await;
        let end_marker = match format {
            Provider::Anthropic => "event: message_stop",
            Provider::OpenAi => "data: [DONE]",
        };
        // What comes before the end marker's last line is certainly not a whole answer.
        let marker = String::from_utf8(whole.to_vec()).unwrap().find(end_marker).unwrap();
        // How many bytes the next answer has, and whether its connection is reset after them.
        let next = Arc::new(Mutex::new((0, false)));
        let (stream, cut) = (whole.clone(), Arc::clone(&next));
        let answer = move || {
            let (bytes, is_reset) = *cut.lock().unwrap();
            let end = is_reset.then(|| Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
            let parts = std::iter::once(Ok(stream.slice(..bytes))).chain(end);
            let body = Body::from_stream(stream::iter(parts));
            std::future::ready(([("content-type", "text/event-stream")], body))
        };
        let server = serve(Router::new().fallback(any(answer))).await;
        let config = quick_config(format, server.url.clone());
        let retry = RetryPolicy { attempts_max: 1, ..config.retry };
        let model = connect(ModelConfig { retry, ..config }).unwrap();
        for bytes in 0..marker + end_marker.len() {
            for is_reset in [false, true] {
                *next.lock().unwrap() = (bytes, is_reset);
                let outcome = model.complete(&task()).await;
                let is_broken = matches!(outcome, Err(ModelError::Interrupted { retry_after: Some(_), .. }));
                assert!(is_broken, "{format:?}, reset {is_reset}, after {bytes}: {outcome:?}");
            }
        }
        *next.lock().unwrap() = (whole.len(), false);
        let reply = model.complete(&task()).await.unwrap();
        assert_eq!(text(&reply.blocks), "Größe.");
    }
}

#[tokio::test]
async fn invalid_response_is_an_error() {
    let garbage: [&[u8]; 6] = [
        b"",
        b"\xff\xfe\x00\x01 not text",
        b"data: {\"half\": \n\n",
        b"data: []\n\ndata: [DONE]\n\n",
        b"event: message_stop\ndata: {\"type\": \"message_stop\"}\n\n",
        b"data: {\"choices\": [{\"delta\": {\"content\": \"x\"}}]}\n\ndata: [DONE]\n\n",
    ];
    for format in Provider::ALL {
        for bytes in garbage {
            let server = always(200, "text/event-stream", bytes).await;
            let outcome = client(format, server.url.clone()).complete(&task()).await;
            let is_broken =
                matches!(outcome, Err(ModelError::Interrupted { usage: None, retry_after: Some(_), .. }));
            assert!(is_broken, "{format:?} {:?}: {outcome:?}", String::from_utf8_lossy(bytes));
        }
    }
}

#[tokio::test]
async fn endless_response_is_aborted_and_not_retried() {
    for format in Provider::ALL {
        let server = always(200, "text/event-stream", ": nothing\n\n".repeat(10_000)).await;
        let config = quick_config(format, server.url.clone());
        let limits = ExchangeLimits { response_bytes_max: 20_000, ..config.limits };
        let error = connect(ModelConfig { limits, ..config }).unwrap().complete(&task()).await.unwrap_err();
        assert!(matches!(error, ModelError::Interrupted { retry_after: None, .. }), "{error}");
        assert!(error.to_string().contains("more than 20000 bytes"), "{error}");
    }
}

#[tokio::test]
async fn comments_between_events_are_ignored() {
    for format in Provider::ALL {
        let stream = String::from_utf8(good_stream(format).await.to_vec()).unwrap();
        let between =
            stream.replace("\n\n", "\n\n: keep-alive\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n");
        for body in [between.replace('\n', "\r\n"), format!("\u{feff}: hello\n\n{stream}")] {
            let body = if format == Provider::OpenAi {
                body.replace("event: ping\r\ndata: {\"type\": \"ping\"}\r\n\r\n", "")
            } else {
                body
            };
            let server = always(200, "text/event-stream; charset=utf-8", body).await;
            let reply = client(format, server.url.clone()).complete(&task()).await.unwrap();
            assert_eq!(
                (text(&reply.blocks).as_str(), calls(&reply.blocks).len()),
                ("Größe.", 1),
                "{format:?}"
            );
        }
    }
}

#[tokio::test]
async fn invalid_or_oversized_event_interrupts_the_response() {
    for format in Provider::ALL {
        let stream = good_stream(format).await.to_vec();
        let at = stream.windows(2).position(|pair| pair == "ö".as_bytes()).unwrap();
        let mut invalid_utf8 = stream.clone();
        invalid_utf8.remove(at + 1);
        let huge = [b"data: {\"x\": \"".to_vec(), vec![b'x'; 4 << 20]].concat();
        for (body, why) in
            [(invalid_utf8, "does not consist of server-sent events"), (huge, "more than 1000000 bytes")]
        {
            let server = always(200, "text/event-stream", body).await;
            let config = quick_config(format, server.url.clone());
            let limits = ExchangeLimits { response_bytes_max: 1_000_000, ..config.limits };
            let model = connect(ModelConfig { limits, ..config }).unwrap();
            let error = model.complete(&task()).await.unwrap_err();
            assert!(matches!(error, ModelError::Interrupted { .. }), "{format:?}: {error}");
            assert!(error.to_string().contains(why), "{format:?}: {error}");
        }
    }
}

#[tokio::test]
async fn server_without_tls_is_reported_with_a_remedy() {
    for format in Provider::ALL {
        let server = always(200, "text/plain", "hello").await;
        let mut url = server.url.clone();
        url.set_scheme("https").unwrap();
        let error = client(format, url.clone()).complete(&task()).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { attempts: 3, .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.contains("https://127.0.0.1") && message.contains("there is no TLS at this address"),
            "{message}"
        );
    }
}

/// A server on loopback with a self-signed certificate. It reports the result of each handshake.
fn self_signed() -> (Url, std::sync::mpsc::Receiver<String>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let (results, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let result = match connection.complete_io(&mut stream) {
                Ok(_) => "connected".to_owned(),
                Err(error) => error.to_string(),
            };
            if results.send(result).is_err() {
                break;
            }
        }
    });
    (url, received)
}

#[tokio::test]
async fn untrusted_certificate_is_reported_with_a_remedy() {
    for format in Provider::ALL {
        let (url, handshakes) = self_signed();
        let error = client(format, url.clone()).complete(&task()).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(url.as_str().trim_end_matches('/')), "{message}");
        assert!(
            message.contains("its TLS certificate is not trusted here; add its authority to"),
            "{message}"
        );
        let handshake = handshakes.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert!(handshake.contains("UnknownCA"), "{handshake}");
    }
}

#[tokio::test]
async fn retry_after_date_is_shortened_to_the_bound() {
    for format in Provider::ALL {
        let good = good_stream(format).await;
        let requests = Arc::new(AtomicUsize::new(0));
        let times = requests.clone();
        let answer = move || {
            let first = times.fetch_add(1, Ordering::SeqCst) == 0;
            // RFC 9110, section 10.2.3: an HTTP date.
            let later = jiff::Timestamp::now() + std::time::Duration::from_secs(3_600);
            let later = later.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            let again = ("retry-after", later);
            let kind = |kind: &str| ("content-type", kind.to_owned());
            let (status, body) = if first { (429, Bytes::from("{}")) } else { (200, good.clone()) };
            let headers = [kind(if first { "application/json" } else { "text/event-stream" }), again];
            std::future::ready((StatusCode::from_u16(status).unwrap(), headers, body))
        };
        let server = serve(Router::new().fallback(any(answer))).await;
        let (model, request) = (client(format, server.url.clone()), task());
        let reply = tokio::time::timeout(crate::support::WAIT_MAX, model.complete(&request)).await.unwrap();
        assert_eq!(text(&reply.unwrap().blocks), "Größe.");
        assert_eq!(requests.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn key_quoted_by_the_provider_is_redacted() {
    for format in Provider::ALL {
        for status in [400, 401, 500] {
            let complaint = json!({"error": {"message": format!("Incorrect API key provided: {KEY}.")}});
            let server = always(status, "application/json", complaint.to_string()).await;
            let error = client(format, server.url.clone()).complete(&task()).await.unwrap_err();
            let message = format!("{error} {error:?}");
            assert!(!message.contains(KEY), "{message}");
            assert!(message.contains("Incorrect API key provided: [key]."), "{message}");
        }
        let event = format!("data: {{\"type\": \"error\", \"error\": {{\"message\": \"no {KEY}\"}}}}\n\n");
        let server = always(200, "text/event-stream", event).await;
        let error = client(format, server.url.clone()).complete(&task()).await.unwrap_err();
        assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    }
}

#[tokio::test]
async fn redirect_is_not_followed() {
    for format in Provider::ALL {
        let elsewhere = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&elsewhere);
        let target = serve(Router::new().fallback(any(async move || {
            count.fetch_add(1, Ordering::SeqCst);
        })))
        .await;
        let location = target.url.to_string();
        let server = serve(
            Router::new()
                .fallback(any(async move || (StatusCode::PERMANENT_REDIRECT, [("location", location)]))),
        )
        .await;
        let error = client(format, server.url.clone()).complete(&task()).await.unwrap_err();
        assert!(matches!(error, ModelError::Refused { status: 308, .. }), "{error}");
        assert_eq!(elsewhere.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn key_is_sent_only_in_its_header() {
    type Seen = Arc<Mutex<Vec<(HeaderMap, String)>>>;
    for format in Provider::ALL {
        let seen = Seen::default();
        let record = async |State(seen): State<Seen>, headers: HeaderMap, body: String| {
            seen.lock().unwrap().push((headers, body));
        };
        let server = serve(Router::new().fallback(any(record)).with_state(Arc::clone(&seen))).await;
        client(format, server.url.clone()).complete(&task()).await.unwrap_err();
        let seen = seen.lock().unwrap();
        let (headers, body) = &seen[0];
        assert!(!body.contains(KEY));
        let with_key: Vec<_> = headers
            .iter()
            .filter(|(_, value)| value.to_str().is_ok_and(|value| value.contains(KEY)))
            .collect();
        assert_eq!(with_key.len(), 1);
        match format {
            Provider::Anthropic => {
                assert_eq!(headers["x-api-key"], KEY);
                assert_eq!(headers["anthropic-version"], "2023-06-01");
            }
            Provider::OpenAi => assert_eq!(headers["authorization"], format!("Bearer {KEY}")),
        }
    }
}

#[tokio::test]
async fn server_that_needs_max_tokens_gets_it_from_then_on() {
    let stream = good_stream(Provider::OpenAi).await;
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let log = Arc::clone(&asked);
    let answer = async move |body: String| -> Response {
        let body: Value = serde_json::from_str(&body).unwrap();
        let knows = body.get("max_completion_tokens").is_none();
        log.lock().unwrap().push(body);
        if knows {
            ([("content-type", "text/event-stream")], stream).into_response()
        } else {
            let complaint = json!({"error": {"message": "Unrecognized parameter: max_completion_tokens"}});
            (StatusCode::BAD_REQUEST, complaint.to_string()).into_response()
        }
    };
    let server = serve(Router::new().fallback(any(answer))).await;
    let model = client(Provider::OpenAi, server.url.clone());
    for _ in 0..2 {
        assert_eq!(text(&model.complete(&task()).await.unwrap().blocks), "Größe.");
    }
    let asked = asked.lock().unwrap();
    let limits: Vec<_> = asked
        .iter()
        .map(|body| (body["max_completion_tokens"].as_u64(), body["max_tokens"].as_u64()))
        .collect();
    assert_eq!(limits, [(Some(4_000), None), (None, Some(4_000)), (None, Some(4_000))]);
}

#[tokio::test]
async fn response_without_streaming_is_read_and_other_json_is_an_error() {
    let whole = |format| match format {
        Provider::Anthropic => {
            json!({"type": "message", "model": "m-2", "stop_reason": "tool_use",
            "content": [{"type": "text", "text": "Größe."}, {"type": "tool_use", "id": "t1", "name": "search", "input": {"pattern": "x"}}],
            "usage": {"input_tokens": 7, "output_tokens": 3}})
        }
        Provider::OpenAi => json!({"model": "m-2", "choices": [{"index": 0, "finish_reason": "tool_calls",
            "message": {"role": "assistant", "content": "Größe.", "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "search", "arguments": "{\"pattern\": \"x\"}"}}]}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3}}),
    };
    for format in Provider::ALL {
        let server = always(200, "application/json", whole(format).to_string()).await;
        let reply = client(format, server.url.clone()).complete(&task()).await.unwrap();
        assert_eq!((text(&reply.blocks).as_str(), reply.model.as_str()), ("Größe.", "m-2"));
        assert_eq!(calls(&reply.blocks)[0].arguments, ToolArguments::Json(json!({"pattern": "x"})));
        assert_eq!((reply.usage.input_tokens, reply.usage.output_tokens), (7, 3));

        for (body, message) in [
            (json!({"error": {"type": "authentication_error", "message": "who?"}}), "who?"),
            (json!({"hello": "world"}), "JSON that is not a message"),
        ] {
            let server = always(200, "application/json", body.to_string()).await;
            let error = client(format, server.url.clone()).complete(&task()).await.unwrap_err();
            assert!(matches!(error, ModelError::Refused { .. }), "{format:?}: {error}");
            assert!(error.to_string().contains(message), "{format:?}: {error}");
        }
    }
}
