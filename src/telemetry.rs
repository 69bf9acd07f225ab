//! Logging: every line goes through the redaction of [`secrets`](crate::secrets).

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::secrets::redact;

/// Ours at `info`; the HTTP stack only where it warns, octocrab not at all: it logs each refusal
/// that its caller handles.
const FILTER_DEFAULT: &str = "info,hyper=warn,hyper_util=warn,reqwest=warn,octocrab=off,sqlx=warn";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    /// For people.
    Human,
    /// A JSON object a line.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("log.filter = {filter:?} is no filter ({why}); write for example \"info,mendwright=debug\"")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong.
        why: String,
    },
    /// Logging was set up before.
    #[error("logging is set up already: {0}")]
    Again(String),
}

/// Logs to standard error, redacted. Without a filter the default holds; without a format, lines
/// are for people on a terminal and JSON elsewhere.
pub fn init(filter: Option<&str>, format: Option<LineFormat>) -> Result<(), TelemetryError> {
    let filter = filter.unwrap_or(FILTER_DEFAULT);
    let parsed = EnvFilter::try_new(filter)
        .map_err(|error| TelemetryError::Filter { filter: filter.to_owned(), why: error.to_string() })?;
    let terminal = io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_ansi(terminal)
        .with_writer(Redacting(io::stderr as fn() -> io::Stderr));
    let result = match format.unwrap_or(if terminal { LineFormat::Human } else { LineFormat::Json }) {
        LineFormat::Human => subscriber.try_init(),
        LineFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    result.map_err(|error| TelemetryError::Again(error.to_string()))
}

/// Hands on what it is given, redacted.
struct Redacting<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Redacting<M> {
    type Writer = RedactingWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactingWriter { line: Vec::new(), inner: self.0.make_writer() }
    }
}

/// Keeps a whole event back until it is complete, so that no secret passes in two parts.
struct RedactingWriter<W: Write> {
    line: Vec<u8>,
    inner: W,
}

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Drop for RedactingWriter<W> {
    fn drop(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        // A log that cannot be written has nowhere to say so.
        let _ = self.inner.write_all(redact(&line).as_bytes()).and_then(|()| self.inner.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::secrets::{SecretKind, register};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_log_line_carries_a_secret_in_any_format() {
        register(SecretKind::ModelKey, &"a registered secret".into());
        let sink = Sink::default();
        let make = {
            let sink = sink.clone();
            Redacting(move || sink.clone())
        };
        let human = tracing_subscriber::fmt().with_ansi(false).with_writer(make).finish();
        let sink_json = Sink::default();
        let make = {
            let sink = sink_json.clone();
            Redacting(move || sink.clone())
        };
        let json = tracing_subscriber::fmt().json().with_writer(make).finish();
        let log = || {
            let span = tracing::info_span!("job", token = "ghs_0123456789abcdef0123");
            let _in = span.enter();
            tracing::info!(field = "a registered secret", "message with a registered secret");
        };
        tracing::subscriber::with_default(human, log);
        tracing::subscriber::with_default(json, log);
        for sink in [sink, sink_json] {
            let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
            assert!(text.contains("message with ***"), "{text}");
            assert!(!text.contains("registered") && !text.contains("0123456789"), "{text}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_named() {
        let error = init(Some("mendwright=loud"), None).unwrap_err();
        insta::assert_snapshot!(error, @r#"log.filter = "mendwright=loud" is no filter (error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5); write for example "info,mendwright=debug""#);
    }
}
