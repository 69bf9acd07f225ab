//! The secrets that this process knows, and the encodings in which they could leave it.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use jiff::Timestamp;
use parking_lot::{RwLock, RwLockReadGuard};
use secrecy::{ExposeSecret, SecretString};

use super::rules;

/// Shorter texts could be ordinary words, which must not be redacted.
const SECRET_BYTES_MIN: usize = 8;
/// Shorter texts are searched only unchanged: their letters and digits alone could be words.
const CANONICAL_BYTES_MIN: usize = 12;
/// A key's binary form is searched in pieces of this size, so that every part of it that is twice as long
/// is found.
const PIECE_BYTES: usize = 24;
/// A service has a handful of secrets, and a token for each repository and hour.
const SECRETS_MAX: usize = 4_096;
const REPLACEMENT: &str = "***";

static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// The App's private key.
    AppKey,
    /// The secret that signs webhooks.
    WebhookSecret,
    /// The App's client secret.
    ClientSecret,
    /// The model provider's key.
    ModelKey,
    /// A token for an installation of the App.
    InstallationToken,
    /// A planted value without any legitimate use.
    Canary,
}

impl SecretKind {
    fn description(self) -> &'static str {
        match self {
            Self::AppKey => "the App's private key",
            Self::WebhookSecret => "the webhook secret",
            Self::ClientSecret => "the App's client secret",
            Self::ModelKey => "the model provider's key",
            Self::InstallationToken => "an installation token",
            Self::Canary => "a canary (a value planted where only a break-out finds it)",
        }
    }
}

/// The encoding of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Base64,
    Hex,
    UrlEncoded,
}

/// Registers a secret: it is redacted from log lines, and nothing that contains it is published. Each line
/// of a secret is registered, and each piece of a key.
pub fn register(kind: SecretKind, secret: &SecretString) {
    write(|known| known.add(kind, secret.expose_secret(), None));
}

/// Registers a secret that is valid until `until`.
pub fn register_until(kind: SecretKind, secret: &SecretString, until: Timestamp, now: Timestamp) {
    write(|known| {
        known.secrets.retain(|secret| secret.until.is_none_or(|until| until > now));
        known.add(kind, secret.expose_secret(), Some(until));
    });
}

fn write(change: impl FnOnce(&mut Known)) {
    let mut known = KNOWN.write();
    change(&mut known);
    known.matcher = Matcher::new(&known.secrets);
}

/// The registered secrets.
pub(super) fn known() -> RwLockReadGuard<'static, Known> {
    KNOWN.read()
}

/// The text with every known secret, and everything that looks like one, replaced by `***`.
pub fn redact(text: &str) -> Cow<'_, str> {
    known().redact(text)
}

#[derive(Default)]
pub(super) struct Known {
    secrets: Vec<Secret>,
    matcher: Matcher,
}

struct Secret {
    kind: SecretKind,
    until: Option<Timestamp>,
    /// Each line, and each piece of a key.
    parts: Vec<Vec<u8>>,
    /// The texts to redact.
    redactable: Vec<String>,
}

/// Searches for secrets in the bytes, and in their letters and digits alone. The latter are the same for
/// every alphabet of base64, every notation of hexadecimal digits, and every way to break lines.
#[derive(Default)]
struct Matcher {
    plain: Option<AhoCorasick>,
    plain_owners: Vec<(SecretKind, bool)>,
    canonical: Option<AhoCorasick>,
    canonical_owners: Vec<(SecretKind, Form, bool)>,
    /// The texts to redact, longest first: a secret inside a longer one must not leave the rest of the longer
    /// one visible.
    redactable: Vec<String>,
}

/// A known secret that was found.
pub(super) struct Hit {
    /// What the secret is for, and its encoding.
    pub(super) description: String,
    /// The offset of its last byte.
    pub(super) offset: usize,
}

impl Known {
    pub(super) fn add(&mut self, kind: SecretKind, secret: &str, until: Option<Timestamp>) {
        let lines = secret.lines().map(str::trim);
        let lines = lines.filter(|line| line.len() >= SECRET_BYTES_MIN && !line.starts_with("-----"));
        let mut parts: Vec<Vec<u8>> = lines.clone().map(|line| line.as_bytes().to_vec()).collect();
        if secret.contains("-----BEGIN ") {
            let body: String = secret.lines().filter(|line| !line.contains("-----")).map(str::trim).collect();
            let binary = STANDARD.decode(body).unwrap_or_default();
            parts.extend(binary.chunks_exact(PIECE_BYTES).map(<[u8]>::to_vec));
        }
        let redactable = lines.flat_map(redactable_forms).collect();
        let is_known = self.secrets.iter().any(|known| known.parts == parts);
        if !is_known && self.secrets.len() < SECRETS_MAX {
            self.secrets.push(Secret { kind, until, parts, redactable });
            self.matcher = Matcher::default();
        }
    }

    #[cfg(test)]
    pub(super) fn of(secrets: &[(SecretKind, &str)]) -> Self {
        let mut known = Self::default();
        secrets.iter().for_each(|(kind, secret)| known.add(*kind, secret, None));
        known.matcher = Matcher::new(&known.secrets);
        known
    }

    pub(super) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut redacted = Cow::Borrowed(text);
        for secret in &self.matcher.redactable {
            if redacted.contains(secret.as_str()) {
                redacted = Cow::Owned(redacted.replace(secret.as_str(), REPLACEMENT));
            }
        }
        match rules::redact(&redacted, REPLACEMENT) {
            Cow::Borrowed(_) => redacted,
            Cow::Owned(changed) if changed == redacted => redacted,
            Cow::Owned(changed) => Cow::Owned(changed),
        }
    }

    /// The known secrets in `bytes`, in any encoding.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        let unescaped = unescaped(bytes);
        let unchanged = (bytes.to_vec(), None);
        for (bytes, offsets) in std::iter::once(unchanged).chain(unescaped.map(|(b, o)| (b, Some(o)))) {
            let original = |at: usize| offsets.as_ref().map_or(at, |offsets: &Vec<usize>| offsets[at]);
            if let Some(plain) = &self.matcher.plain {
                for found in plain.find_iter(&bytes) {
                    let (kind, reversed) = self.matcher.plain_owners[found.pattern().as_usize()];
                    let description = describe(kind, Form::Plain, reversed);
                    hits.push(Hit { description, offset: original(found.end() - 1) });
                }
            }
            if let Some(automaton) = &self.matcher.canonical {
                let (canonical, places) = canonical(&bytes);
                for found in automaton.find_iter(&canonical) {
                    let (kind, form, reversed) = self.matcher.canonical_owners[found.pattern().as_usize()];
                    let description = describe(kind, form, reversed);
                    hits.push(Hit { description, offset: original(places[found.end() - 1]) });
                }
            }
        }
        hits
    }
}

fn describe(kind: SecretKind, form: Form, reversed: bool) -> String {
    let form = match form {
        Form::Plain => "",
        Form::Base64 => ", in base64",
        Form::Hex => ", in hexadecimal digits",
        Form::UrlEncoded => ", URL-encoded",
    };
    let reversed = if reversed { ", reversed" } else { "" };
    format!("{}{form}{reversed}", kind.description())
}

impl Matcher {
    fn new(secrets: &[Secret]) -> Self {
        let (mut plain, mut plain_owners) = (Vec::new(), Vec::new());
        let (mut canonical_texts, mut canonical_owners) = (Vec::new(), Vec::new());
        for secret in secrets {
            for part in &secret.parts {
                for (bytes, reversed) in with_reversed(part.clone()) {
                    plain.push(bytes);
                    plain_owners.push((secret.kind, reversed));
                }
                for (form, text) in forms(part) {
                    let canonical_text = canonical(&text).0;
                    // The placeholder `not-needed-here`, for a model without a key, must not block these words.
                    let may_be_words = form == Form::Plain && !part.iter().any(u8::is_ascii_digit);
                    if canonical_text.len() < CANONICAL_BYTES_MIN || may_be_words {
                        continue;
                    }
                    for (bytes, reversed) in with_reversed(canonical_text) {
                        canonical_texts.push(bytes);
                        canonical_owners.push((secret.kind, form, reversed));
                    }
                }
            }
        }
        let mut redactable: Vec<String> =
            secrets.iter().flat_map(|secret| secret.redactable.clone()).collect();
        redactable.sort_by_key(|form| std::cmp::Reverse(form.len()));
        // An automaton of a few thousand short texts can always be built.
        let build = |texts: &[Vec<u8>]| AhoCorasick::new(texts).expect("the bound on secrets keeps it small");
        Self {
            plain: (!plain.is_empty()).then(|| build(&plain)),
            plain_owners,
            canonical: (!canonical_texts.is_empty()).then(|| build(&canonical_texts)),
            canonical_owners,
            redactable,
        }
    }
}

fn with_reversed(bytes: Vec<u8>) -> [(Vec<u8>, bool); 2] {
    let reversed = bytes.iter().rev().copied().collect();
    [(bytes, false), (reversed, true)]
}

/// The encodings of a secret. The alphabet of base64 and the case of hexadecimal digits do not change their
/// canonical letters and digits.
fn forms(secret: &[u8]) -> Vec<(Form, Vec<u8>)> {
    let mut forms = vec![(Form::Plain, secret.to_vec()), (Form::Hex, hex::encode(secret).into_bytes())];
    // The text before it shifts it by zero, one or two bytes. Characters that also contain bits of its
    // neighbours are left out.
    for shift in 0..3 {
        let text = STANDARD_NO_PAD.encode([&[0; 3][..shift], secret].concat());
        let first = (shift * 8).div_ceil(6);
        let whole = (shift + secret.len()) * 8 / 6;
        forms.push((Form::Base64, text.as_bytes()[first..whole].to_vec()));
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    if !secret.iter().all(is_plain) {
        let encoded = secret.iter().map(|byte| match is_plain(byte) {
            true => char::from(*byte).to_string(),
            false => format!("%{byte:02X}"),
        });
        forms.push((Form::UrlEncoded, encoded.collect::<String>().into_bytes()));
    }
    forms
}

/// The letters and digits in lower case, with the offset of each.
fn canonical(bytes: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let kept = bytes.iter().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric());
    kept.map(|(at, byte)| (byte.to_ascii_lowercase(), at)).unzip()
}

/// The bytes with `%41` and `\x41` decoded, and the original offset of each; `None` if there are none.
fn unescaped(bytes: &[u8]) -> Option<(Vec<u8>, Vec<usize>)> {
    let (mut out, mut places) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len()));
    let (mut at, mut any) = (0, false);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let prefix = match rest {
            [b'%', ..] => 1,
            [b'\\', b'x' | b'X', ..] => 2,
            _ => 0,
        };
        let digits = rest.get(prefix..prefix + 2).filter(|_| prefix > 0);
        let byte = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        places.push(at);
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += prefix + 2;
                any = true;
            }
            None => {
                out.push(rest[0]);
                at += 1;
            }
        }
    }
    any.then_some((out, places))
}

/// The texts in which a line of a secret appears: unchanged, and escaped as in JSON and debug output.
fn redactable_forms(line: &str) -> Vec<String> {
    let mut forms = vec![line.to_owned()];
    let escaped = serde_json::Value::from(line).to_string();
    let escaped = escaped.trim_matches('"');
    if escaped != line {
        forms.push(escaped.to_owned());
    }
    forms
}

#[cfg(test)]
mod tests;
