//! Hand-made servers that do what no provider should.

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

use super::{BOTH, KEY, calls, client, provider, quick_config, task, text};

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

/// Every request gets this answer.
async fn always(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Server {
    let body = body.into();
    let answer = move || {
        let status = StatusCode::from_u16(status).unwrap();
        std::future::ready((status, [("content-type", content_type)], body.clone()))
    };
    serve(Router::new().fallback(any(answer))).await
}

/// The bytes of a good answer with words and a call, as the emulated provider streams it.
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
        .post(provider.url_anthropic().join(path).unwrap())
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
async fn a_stream_cut_at_any_byte_never_gives_a_reply() {
    for format in BOTH {
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
async fn garbage_is_never_a_reply() {
    let garbage: [&[u8]; 6] = [
        b"",
        b"\xff\xfe\x00\x01 not text",
        b"data: {\"half\": \n\n",
        b"data: []\n\ndata: [DONE]\n\n",
        b"event: message_stop\ndata: {\"type\": \"message_stop\"}\n\n",
        b"data: {\"choices\": [{\"delta\": {\"content\": \"x\"}}]}\n\ndata: [DONE]\n\n",
    ];
    for format in BOTH {
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
async fn an_answer_without_end_is_cut_off_and_not_asked_for_again() {
    for format in BOTH {
        let server = always(200, "text/event-stream", ": nothing\n\n".repeat(10_000)).await;
        let config = quick_config(format, server.url.clone());
        let limits = ExchangeLimits { response_bytes_max: 20_000, ..config.limits };
        let error = connect(ModelConfig { limits, ..config }).unwrap().complete(&task()).await.unwrap_err();
        assert!(matches!(error, ModelError::Interrupted { retry_after: None, .. }), "{error}");
        assert!(error.to_string().contains("more than 20000 bytes"), "{error}");
    }
}

#[tokio::test]
async fn what_a_proxy_puts_between_the_events_changes_nothing() {
    for format in BOTH {
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
async fn an_event_that_is_no_text_or_far_too_long_breaks_the_answer_off() {
    for format in BOTH {
        let stream = good_stream(format).await.to_vec();
        let at = stream.windows(2).position(|pair| pair == "ö".as_bytes()).unwrap();
        let mut cut_letter = stream.clone();
        cut_letter.remove(at + 1);
        let huge = [b"data: {\"x\": \"".to_vec(), vec![b'x'; 4 << 20]].concat();
        for (body, why) in [(cut_letter, "not made of server-sent events"), (huge, "more than 1000000 bytes")]
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
async fn a_server_that_speaks_no_tls_is_named_and_so_is_what_is_wrong() {
    for format in BOTH {
        let server = always(200, "text/plain", "hello").await;
        let mut url = server.url.clone();
        url.set_scheme("https").unwrap();
        let error = client(format, url.clone()).complete(&task()).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { attempts: 3, .. }), "{error}");
        let words = error.to_string();
        assert!(words.contains("https://127.0.0.1") && words.contains("it speaks no TLS there"), "{words}");
    }
}

/// A server on loopback whose certificate nobody has signed but itself. It says what became of each
/// handshake.
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
    let (say, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let words = match connection.complete_io(&mut stream) {
                Ok(_) => "they talk".to_owned(),
                Err(error) => error.to_string(),
            };
            if say.send(words).is_err() {
                break;
            }
        }
    });
    (url, said)
}

#[tokio::test]
async fn a_server_whose_certificate_nobody_vouches_for_gets_nothing_and_is_named() {
    for format in BOTH {
        let (url, handshakes) = self_signed();
        let error = client(format, url.clone()).complete(&task()).await.unwrap_err();
        assert!(matches!(error, ModelError::Unavailable { .. }), "{error}");
        let words = error.to_string();
        assert!(words.contains(url.as_str().trim_end_matches('/')), "{words}");
        assert!(words.contains("its TLS certificate is not trusted here; put its authority into"), "{words}");
        let handshake = handshakes.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert!(handshake.contains("UnknownCA"), "{handshake}");
    }
}

#[tokio::test]
async fn a_date_until_which_a_provider_wants_to_be_left_alone_is_kept_up_to_our_bound() {
    for format in BOTH {
        let good = good_stream(format).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let times = asked.clone();
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
        let before = std::time::Instant::now();
        let reply = client(format, server.url.clone()).complete(&task()).await.unwrap();
        assert_eq!(text(&reply.blocks), "Größe.");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // Our own wait is 2 ms at most, and 60 ms the most that may be asked for.
        assert!(before.elapsed() >= std::time::Duration::from_millis(60), "{:?}", before.elapsed());
    }
}

#[tokio::test]
async fn a_key_that_a_provider_quotes_goes_no_further() {
    for format in BOTH {
        for status in [400, 401, 500] {
            let complaint = json!({"error": {"message": format!("Incorrect API key provided: {KEY}.")}});
            let server = always(status, "application/json", complaint.to_string()).await;
            let error = client(format, server.url.clone()).complete(&task()).await.unwrap_err();
            let words = format!("{error} {error:?}");
            assert!(!words.contains(KEY), "{words}");
            assert!(words.contains("Incorrect API key provided: [key]."), "{words}");
        }
        let event = format!("data: {{\"type\": \"error\", \"error\": {{\"message\": \"no {KEY}\"}}}}\n\n");
        let server = always(200, "text/event-stream", event).await;
        let error = client(format, server.url.clone()).complete(&task()).await.unwrap_err();
        assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_so_the_key_stays_here() {
    for format in BOTH {
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
async fn the_key_travels_in_its_header_and_nowhere_else() {
    type Seen = Arc<Mutex<Vec<(HeaderMap, String)>>>;
    for format in BOTH {
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
async fn a_server_that_only_knows_max_tokens_is_asked_with_it_from_then_on() {
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
async fn a_server_that_does_not_stream_is_understood_and_json_that_is_no_answer_is_not() {
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
    for format in BOTH {
        let server = always(200, "application/json", whole(format).to_string()).await;
        let reply = client(format, server.url.clone()).complete(&task()).await.unwrap();
        assert_eq!((text(&reply.blocks).as_str(), reply.model.as_str()), ("Größe.", "m-2"));
        assert_eq!(calls(&reply.blocks)[0].arguments, ToolArguments::Json(json!({"pattern": "x"})));
        assert_eq!((reply.usage.input_tokens, reply.usage.output_tokens), (7, 3));

        for (body, words) in [
            (json!({"error": {"type": "authentication_error", "message": "who?"}}), "who?"),
            (json!({"hello": "world"}), "JSON that is no message"),
        ] {
            let server = always(200, "application/json", body.to_string()).await;
            let error = client(format, server.url.clone()).complete(&task()).await.unwrap_err();
            assert!(matches!(error, ModelError::Refused { .. }), "{format:?}: {error}");
            assert!(error.to_string().contains(words), "{format:?}: {error}");
        }
    }
}
