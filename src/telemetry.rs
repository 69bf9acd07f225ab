//! Logging: every line goes through the redaction of [`secrets`](crate::secrets).

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::secrets::redact;

/// Mendwright at `info`; the HTTP stack only from `warn` on; octocrab not at all, because it logs each
/// error that its caller handles.
const FILTER_DEFAULT: &str = "info,hyper=warn,hyper_util=warn,reqwest=warn,octocrab=off,sqlx=warn";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be parsed.
    #[error("log.filter = {filter:?} is not a filter ({why}); write for example \"info,mendwright=debug\"")]
    Filter {
        /// As written.
        filter: String,
        /// What is wrong.
        why: String,
    },
    /// Logging was set up before.
    #[error("logging is set up already: {0}")]
    AlreadySet(String),
}

/// Starts logging to standard error, redacted. `None` as the filter is the default filter.
pub fn init(filter: Option<&str>, format: LogFormat) -> Result<(), TelemetryError> {
    let filter = filter.unwrap_or(FILTER_DEFAULT);
    let parsed = EnvFilter::try_new(filter)
        .map_err(|error| TelemetryError::Filter { filter: filter.to_owned(), why: error.to_string() })?;
    let terminal = io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_ansi(terminal)
        .with_writer(Redacting(io::stderr as fn() -> io::Stderr));
    let is_json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let result = match is_json {
        true => subscriber.json().flatten_event(true).try_init(),
        false => subscriber.try_init(),
    };
    result.map_err(|error| TelemetryError::AlreadySet(error.to_string()))
}

/// Writes everything redacted.
struct Redacting<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Redacting<M> {
    type Writer = RedactingWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactingWriter { line: Vec::new(), inner: self.0.make_writer() }
    }
}

/// Buffers a whole event, so that no secret passes in two parts.
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
        // If the log cannot be written, there is no place to report it.
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
    fn log_line_in_any_format_carries_no_secret() {
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
    fn invalid_filter_is_an_error_that_names_it() {
        let error = init(Some("mendwright=loud"), LogFormat::Auto).unwrap_err();
        insta::assert_snapshot!(error, @r#"log.filter = "mendwright=loud" is not a filter (error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5); write for example "info,mendwright=debug""#);
    }
}
