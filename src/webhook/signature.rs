//! Verifies that a delivery was signed with a secret that we share with GitHub. Never parses a body.
//!
//! Source: docs.github.com, "Validating webhook deliveries": HMAC-SHA256 over the raw body, in
//! `X-Hub-Signature-256` as `sha256=` and 64 hexadecimal digits.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

const HEADER_SHA256: &str = "x-hub-signature-256";
const HEADER_SHA1: &str = "x-hub-signature";

/// The secrets that deliveries may be signed with: the current one and, during a rotation, the previous
/// one.
#[derive(Debug, Clone)]
pub struct WebhookSecrets {
    current: SecretString,
    previous: Option<SecretString>,
}

/// An empty secret: anybody could sign with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is empty; anybody could sign deliveries with it")]
pub struct EmptySecret;

impl WebhookSecrets {
    /// Creates the secrets. No configuration can switch verification off.
    ///
    /// # Errors
    /// A secret is empty.
    pub fn new(current: SecretString, previous: Option<SecretString>) -> Result<Self, EmptySecret> {
        let empty = |secret: &SecretString| secret.expose_secret().trim().is_empty();
        if empty(&current) || previous.as_ref().is_some_and(empty) {
            return Err(EmptySecret);
        }
        Ok(Self { current, previous })
    }

    /// Checks in constant time that `signature` was made for `body` with one of the secrets.
    pub fn verify(&self, signature: &Signature, body: &[u8]) -> Result<(), SignatureRefusal> {
        let current = signed_with(&self.current, signature, body);
        // Both are always computed, so that timing does not show which of them matched.
        let previous = self.previous.as_ref().map(|secret| signed_with(secret, signature, body));
        if current | previous.unwrap_or(false) { Ok(()) } else { Err(SignatureRefusal::Wrong) }
    }
}

fn signed_with(secret: &SecretString, signature: &Signature, body: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("HMAC takes keys of every length");
    mac.update(body);
    mac.verify_slice(&signature.0).is_ok()
}

/// A well-formed signature that is not verified yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 32]);

impl Signature {
    /// Reads the signature of a delivery. This is done before the body is read, so that a sender without
    /// a signature cannot make us read 25 MB.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, SignatureRefusal> {
        let mut values = headers.get_all(HEADER_SHA256).iter();
        let Some(value) = values.next() else {
            let old = headers.contains_key(HEADER_SHA1);
            return Err(if old { SignatureRefusal::OldSha1Only } else { SignatureRefusal::Missing });
        };
        if values.next().is_some() {
            return Err(SignatureRefusal::Malformed);
        }
        let digits = value.as_bytes().strip_prefix(b"sha256=").ok_or(SignatureRefusal::Malformed)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| SignatureRefusal::Malformed)?;
        Ok(Self(bytes))
    }
}

/// Why a delivery is not authentic. Only the log says so: the sender does not learn the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureRefusal {
    /// No signature.
    #[error("there is no X-Hub-Signature-256 header: is a secret set in the App's webhook settings?")]
    Missing,
    /// Only the SHA-1 signature, which GitHub still sends for old receivers.
    #[error("there is only a SHA-1 signature, which is not accepted")]
    OldSha1Only,
    /// Not `sha256=` and 64 hexadecimal digits, or more than one.
    #[error("the X-Hub-Signature-256 header is not one sha256= and 64 hexadecimal digits")]
    Malformed,
    /// Made with another secret or for another body.
    #[error("the signature does not match: is the webhook secret here the one in the App's settings?")]
    Wrong,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GitHub's documented example.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const GOOD: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }
    fn check(secrets: &WebhookSecrets, pairs: &[(&'static str, &str)]) -> Result<(), SignatureRefusal> {
        secrets.verify(&Signature::from_headers(&headers(pairs))?, BODY)
    }
    fn secrets(current: &str, previous: Option<&str>) -> WebhookSecrets {
        WebhookSecrets::new(current.into(), previous.map(Into::into)).unwrap()
    }

    #[test]
    fn documented_example_of_github_is_accepted() {
        assert_eq!(check(&secrets(SECRET, None), &[(HEADER_SHA256, GOOD)]), Ok(()));
    }

    #[test]
    fn previous_secret_is_accepted_during_a_rotation() {
        let good = [(HEADER_SHA256, GOOD)];
        assert_eq!(check(&secrets("the new one", Some(SECRET)), &good), Ok(()));
        assert_eq!(check(&secrets(SECRET, Some("the old one")), &good), Ok(()));
        assert_eq!(check(&secrets("a", Some("b")), &good), Err(SignatureRefusal::Wrong));
    }

    #[test]
    fn malformed_header_is_refused_with_its_reason() {
        use SignatureRefusal as R;
        let secrets = secrets(SECRET, None);
        let upper = GOOD.to_uppercase();
        let without_prefix = &GOOD[7..];
        let short = &GOOD[..GOOD.len() - 1];
        let long = format!("{GOOD}00");
        let not_hex = GOOD.replace("757", "xyz");
        let wrong = GOOD.replace("757", "758");
        let sha1 = "sha1=0000000000000000000000000000000000000000";
        let cases: &[(&[(&'static str, &str)], R)] = &[
            (&[], R::Missing),
            (&[(HEADER_SHA1, sha1)], R::OldSha1Only),
            (&[(HEADER_SHA256, "")], R::Malformed),
            (&[(HEADER_SHA256, "sha256=")], R::Malformed),
            (&[(HEADER_SHA256, sha1)], R::Malformed),
            (&[(HEADER_SHA256, &upper)], R::Malformed),
            (&[(HEADER_SHA256, without_prefix)], R::Malformed),
            (&[(HEADER_SHA256, short)], R::Malformed),
            (&[(HEADER_SHA256, &long)], R::Malformed),
            (&[(HEADER_SHA256, &not_hex)], R::Malformed),
            (&[(HEADER_SHA256, GOOD), (HEADER_SHA256, GOOD)], R::Malformed),
            (&[(HEADER_SHA256, &wrong)], R::Wrong),
        ];
        for (pairs, refusal) in cases {
            assert_eq!(check(&secrets, pairs), Err(*refusal), "{pairs:?}");
        }
    }

    #[test]
    fn empty_secret_is_refused() {
        assert!(WebhookSecrets::new("".into(), None).is_err());
        assert!(WebhookSecrets::new(" \n".into(), None).is_err());
        assert!(WebhookSecrets::new("good".into(), Some("".into())).is_err());
    }
}
