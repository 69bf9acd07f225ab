//! The secrets that this process knows, and the forms in which they would leave.

use std::borrow::Cow;
use std::sync::{LazyLock, PoisonError, RwLock};

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::rules;

/// Shorter texts would turn words of ordinary lines into dots.
const SECRET_BYTES_MIN: usize = 8;
/// Shorter texts are looked for only as they are: letters and digits alone could be words.
const CANONICAL_BYTES_MIN: usize = 12;
/// A key's binary form is looked for in pieces of so many bytes, so that any part of it that is
/// twice as long is found.
const PIECE_BYTES: usize = 24;
/// A service has a handful of secrets, and a token for each repository and hour.
const SECRETS_MAX: usize = 4_096;
const REPLACEMENT: &str = "***";

static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

/// Whose secret it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// The App's private key.
    AppKey,
    /// What webhooks are signed with.
    WebhookSecret,
    /// The App's client secret.
    ClientSecret,
    /// The model provider's key.
    ModelKey,
    /// A token for an installation of the App.
    InstallationToken,
    /// A planted value that nobody has an honest way to.
    Canary,
}

impl SecretKind {
    fn words(self) -> &'static str {
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

/// How a secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Base64,
    Hex,
    UrlEncoded,
}

/// Makes a secret known: it never stands in a log line, and nothing that holds it leaves. A secret of
/// many lines is known by each of them, a key by each part of it, too.
pub fn register(kind: SecretKind, secret: &SecretString) {
    write(|known| known.add(kind, secret.expose_secret(), None));
}

/// The same, of a secret that is worth nothing after `until`.
pub fn register_until(kind: SecretKind, secret: &SecretString, until: Timestamp, now: Timestamp) {
    write(|known| {
        known.secrets.retain(|secret| secret.until.is_none_or(|until| until > now));
        known.add(kind, secret.expose_secret(), Some(until));
    });
}

fn write(change: impl FnOnce(&mut Known)) {
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    change(&mut known);
    known.look_for = LookFor::new(&known.secrets);
}

/// What [`register`] made known.
pub(super) fn known() -> std::sync::RwLockReadGuard<'static, Known> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner)
}

/// The text with every known secret, and everything that has the shape of one, replaced by `***`.
pub fn redact(text: &str) -> Cow<'_, str> {
    known().redact(text)
}

#[derive(Default)]
pub(super) struct Known {
    secrets: Vec<Secret>,
    look_for: LookFor,
}

struct Secret {
    kind: SecretKind,
    until: Option<Timestamp>,
    /// Each line, and each piece of a key.
    parts: Vec<Vec<u8>>,
    /// What stands in a text that is to be redacted.
    shown: Vec<String>,
}

/// What is looked for: in the bytes as they are, and in their letters and digits alone, which is
/// the same for every alphabet of base64, every way to write hexadecimal digits, and every way to
/// break lines.
#[derive(Default)]
struct LookFor {
    plain: Option<AhoCorasick>,
    plain_meaning: Vec<(SecretKind, bool)>,
    canonical: Option<AhoCorasick>,
    canonical_meaning: Vec<(SecretKind, Form, bool)>,
    /// What stands in a text that is to be redacted, the longest first: a secret within another must
    /// not leave the rest of the longer one standing.
    shown: Vec<String>,
}

/// A known secret that was found.
pub(super) struct Hit {
    pub(super) words: String,
    /// Where it ends.
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
        let shown = lines.flat_map(shown_forms).collect();
        let is_known = self.secrets.iter().any(|known| known.parts == parts);
        if !is_known && self.secrets.len() < SECRETS_MAX {
            self.secrets.push(Secret { kind, until, parts, shown });
            self.look_for = LookFor::default();
        }
    }

    #[cfg(test)]
    pub(super) fn of(secrets: &[(SecretKind, &str)]) -> Self {
        let mut known = Self::default();
        secrets.iter().for_each(|(kind, secret)| known.add(*kind, secret, None));
        known.look_for = LookFor::new(&known.secrets);
        known
    }

    pub(super) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut redacted = Cow::Borrowed(text);
        for secret in &self.look_for.shown {
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

    /// The known secrets in `bytes`, in whatever form.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        let unescaped = unescaped(bytes);
        let as_it_is = (bytes.to_vec(), None);
        for (bytes, offsets) in std::iter::once(as_it_is).chain(unescaped.map(|(b, o)| (b, Some(o)))) {
            let original = |at: usize| offsets.as_ref().map_or(at, |offsets: &Vec<usize>| offsets[at]);
            if let Some(plain) = &self.look_for.plain {
                for found in plain.find_iter(&bytes) {
                    let (kind, reversed) = self.look_for.plain_meaning[found.pattern().as_usize()];
                    let words = words(kind, Form::Plain, reversed);
                    hits.push(Hit { words, offset: original(found.end() - 1) });
                }
            }
            if let Some(automaton) = &self.look_for.canonical {
                let (canonical, places) = canonical(&bytes);
                for found in automaton.find_iter(&canonical) {
                    let (kind, form, reversed) = self.look_for.canonical_meaning[found.pattern().as_usize()];
                    let words = words(kind, form, reversed);
                    hits.push(Hit { words, offset: original(places[found.end() - 1]) });
                }
            }
        }
        hits
    }
}

fn words(kind: SecretKind, form: Form, reversed: bool) -> String {
    let form = match form {
        Form::Plain => "",
        Form::Base64 => ", in base64",
        Form::Hex => ", in hexadecimal digits",
        Form::UrlEncoded => ", URL-encoded",
    };
    let reversed = if reversed { ", reversed" } else { "" };
    format!("{}{form}{reversed}", kind.words())
}

impl LookFor {
    fn new(secrets: &[Secret]) -> Self {
        let (mut plain, mut plain_meaning) = (Vec::new(), Vec::new());
        let (mut letters, mut canonical_meaning) = (Vec::new(), Vec::new());
        for secret in secrets {
            for part in &secret.parts {
                for (bytes, reversed) in both_ways(part.clone()) {
                    plain.push(bytes);
                    plain_meaning.push((secret.kind, reversed));
                }
                for (form, text) in forms(part) {
                    let letters_of = canonical(&text).0;
                    // `not-needed-here`, of a model that asks for no key, must not forbid these words.
                    let may_be_words = form == Form::Plain && !part.iter().any(u8::is_ascii_digit);
                    if letters_of.len() < CANONICAL_BYTES_MIN || may_be_words {
                        continue;
                    }
                    for (bytes, reversed) in both_ways(letters_of) {
                        letters.push(bytes);
                        canonical_meaning.push((secret.kind, form, reversed));
                    }
                }
            }
        }
        let mut shown: Vec<String> = secrets.iter().flat_map(|secret| secret.shown.clone()).collect();
        shown.sort_by_key(|form| std::cmp::Reverse(form.len()));
        // Nothing but memory can keep an automaton of a few thousand short texts from being made.
        let made = |texts: &[Vec<u8>]| AhoCorasick::new(texts).expect("the bound on secrets keeps it small");
        Self {
            plain: (!plain.is_empty()).then(|| made(&plain)),
            plain_meaning,
            canonical: (!letters.is_empty()).then(|| made(&letters)),
            canonical_meaning,
            shown,
        }
    }
}

fn both_ways(bytes: Vec<u8>) -> [(Vec<u8>, bool); 2] {
    let reversed = bytes.iter().rev().copied().collect();
    [(bytes, false), (reversed, true)]
}

/// The forms of a secret. Whether base64 is url-safe, and hexadecimal digits are capital, makes no
/// difference to their letters and digits.
fn forms(secret: &[u8]) -> Vec<(Form, Vec<u8>)> {
    let mut forms = vec![(Form::Plain, secret.to_vec()), (Form::Hex, hex::encode(secret).into_bytes())];
    // What stands before it in the same text moves it by no, one or two bytes. The characters that
    // also hold bits of its neighbours are left out.
    for moved in 0..3 {
        let text = STANDARD_NO_PAD.encode([&[0; 3][..moved], secret].concat());
        let first = (moved * 8).div_ceil(6);
        let whole = (moved + secret.len()) * 8 / 6;
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

/// Letters and digits, in lower case, with the place of each.
fn canonical(bytes: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let kept = bytes.iter().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric());
    kept.map(|(at, byte)| (byte.to_ascii_lowercase(), at)).unzip()
}

/// The bytes with `%41` and `\x41` decoded, and where each stood; `None` where there are none.
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

/// The texts by which a line of a secret shows: as it is, and as JSON and debug output escape it.
fn shown_forms(line: &str) -> Vec<String> {
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
