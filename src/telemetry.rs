//! Logging, and the redaction that every log line and every published text goes through. Secrets
//! that are known are replaced wherever they stand; what only looks like one is replaced too.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{LazyLock, PoisonError, RwLock};

use regex::{Captures, Regex};
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Ours at `info`; the HTTP stack only where it warns, octocrab not at all: it logs each refusal
/// that its caller handles.
const FILTER_DEFAULT: &str = "info,hyper=warn,hyper_util=warn,reqwest=warn,octocrab=off,sqlx=warn";
/// Shorter texts would turn words of ordinary lines into dots.
const SECRET_BYTES_MIN: usize = 8;
/// A service has a handful of secrets; a key of many lines counts once for each line.
const SECRETS_MAX: usize = 512;
const REPLACEMENT: &str = "***";

static REGISTERED: RwLock<Vec<String>> = RwLock::new(Vec::new());

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

/// Makes a secret known, so that it never stands in a log line or a published text. A secret of
/// many lines is known by each of them.
pub fn register_secret(secret: &SecretString) {
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    for form in forms(secret.expose_secret()) {
        if registered.len() < SECRETS_MAX && !registered.contains(&form) {
            registered.push(form);
        }
    }
    // A secret within another must not leave the rest of the longer one standing.
    registered.sort_by_key(|form| std::cmp::Reverse(form.len()));
}

/// The texts by which a secret shows: its lines, as they are and as JSON and debug output escape
/// them.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for line in secret.lines().map(str::trim) {
        if line.len() < SECRET_BYTES_MIN || line.starts_with("-----") {
            continue;
        }
        forms.push(line.to_owned());
        let escaped = serde_json::Value::from(line).to_string();
        let escaped = escaped.trim_matches('"');
        if escaped != line {
            forms.push(escaped.to_owned());
        }
    }
    forms
}

/// The text with every known secret, and everything that has the shape of one, replaced by `***`.
pub fn redact(text: &str) -> Cow<'_, str> {
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    redact_known(text, &registered)
}

fn redact_known<'t>(text: &'t str, secrets: &[String]) -> Cow<'t, str> {
    let mut redacted = Cow::Borrowed(text);
    for secret in secrets {
        if redacted.contains(secret.as_str()) {
            redacted = Cow::Owned(redacted.replace(secret.as_str(), REPLACEMENT));
        }
    }
    match SHAPES.replace_all(&redacted, replacement) {
        Cow::Borrowed(_) => redacted,
        Cow::Owned(changed) if changed == redacted => redacted,
        Cow::Owned(changed) => Cow::Owned(changed),
    }
}

/// GitHub's tokens ("About authentication to GitHub", token prefixes), the providers' keys, signed
/// JSON Web Tokens, private keys, bearer headers, and passwords in addresses.
static SHAPES: LazyLock<Regex> = LazyLock::new(|| {
    let shapes = [
        r"(?P<key>-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z))",
        r"(?P<github>\b(?:gh[a-z]_|github_pat_)[A-Za-z0-9_]{16,}(?:[.-][A-Za-z0-9_-]+)*)",
        r"(?P<jwt>\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,})",
        r"(?P<provider>\bsk-[A-Za-z0-9_-]{16,})",
        r"(?P<bearer>(?i:\b(?P<scheme>bearer|basic))\s+[A-Za-z0-9._~+/=-]{16,})",
        r"(?P<address>://[^\s/@:?#]*:[^\s/@?#]+@)",
    ];
    Regex::new(&shapes.join("|")).expect("the shapes are a regular expression, as the tests show")
});

fn replacement(found: &Captures<'_>) -> String {
    let whole = found.get(0).map_or("", |whole| whole.as_str());
    // `sk-` and `bearer` also begin ordinary words; keys have digits.
    let is_word = !whole.bytes().any(|byte| byte.is_ascii_digit());
    let may_be_word = found.name("provider").is_some() || found.name("bearer").is_some();
    if may_be_word && is_word {
        return whole.to_owned();
    }
    if let Some(scheme) = found.name("scheme") {
        return format!("{} {REPLACEMENT}", scheme.as_str());
    }
    if found.name("address").is_some() {
        return format!("://{REPLACEMENT}@");
    }
    REPLACEMENT.to_owned()
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

    #[test]
    fn everything_that_has_the_shape_of_a_secret_is_replaced() {
        let shapes = [
            "token ghs_16C7e42F292c6912E7710c838347Ae178B4a end",
            "token ghp_16C7e42F292c6912E7710c838347Ae178B4a, end",
            "ghs_1234_0123456789abcdef.eyJhbGciOi.c2lnbmF0dXJl-x end",
            "github_pat_11ABCDEFG0123456789_abcdefghijklmnop",
            "x-api-key: sk-ant-api03-abcdefghijklmnop-0123",
            "key=sk-proj-Abcdefghijklm0123",
            "Authorization: Bearer abcdefghijklmnop0123",
            "authorization: basic eC1hY2Nlc3MtdG9rZW46Z2hz0123",
            "jwt eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxIn0x.c2lnbmF0dXJl end",
            "https://x-access-token:hunter2@github.com/o/r",
            "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- z",
            "cut off -----BEGIN PRIVATE KEY-----\\nMIIE",
        ];
        let redacted: Vec<_> = shapes.iter().map(|text| redact_known(text, &[])).collect();
        insta::assert_snapshot!(redacted.join("\n"), @r"
        token *** end
        token ***, end
        *** end
        ***
        x-api-key: ***
        key=***
        Authorization: Bearer ***
        authorization: basic ***
        jwt *** end
        https://***@github.com/o/r
        a *** z
        cut off ***
        ");
    }

    #[test]
    fn ordinary_words_stay_and_cost_no_copy() {
        for text in [
            "the task-list-of-many-words and risk-free",
            "sk-learn-contrib-and-other-names",
            "a bearer authentication-scheme-name",
            "gh_short, ghs_short",
            "https://example.com:8080/a@b and git@github.com:o/r",
            "commit 0123456789abcdef0123456789abcdef01234567",
        ] {
            assert!(matches!(redact_known(text, &[]), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_registered_secret_is_known_by_each_of_its_lines_and_when_escaped() {
        let pem = "-----BEGIN X-----\nMIIEabcdefgh\nQUJDREVGR0g=\n-----END X-----\n";
        register_secret(&pem.into());
        register_secret(&"say \"open\" \\ sesame".into());
        register_secret(&"tiny".into());
        assert_eq!(redact("half MIIEabcdefgh\\nQUJDREVGR0g= of it"), "half ***\\n*** of it");
        assert_eq!(redact("say \"open\" \\ sesame"), REPLACEMENT);
        assert_eq!(redact(r#"{"k":"say \"open\" \\ sesame"}"#), r#"{"k":"***"}"#);
        assert_eq!(redact("a tiny house"), "a tiny house");
    }

    #[test]
    fn a_secret_within_a_longer_one_leaves_nothing_of_it() {
        register_secret(&"inner-secret".into());
        register_secret(&"outer-inner-secret-outer".into());
        assert_eq!(redact("x outer-inner-secret-outer y inner-secret z"), "x *** y *** z");
    }

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
        register_secret(&"a registered secret".into());
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
