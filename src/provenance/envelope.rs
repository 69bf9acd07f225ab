//! A signed statement: a DSSE envelope (<https://github.com/secure-systems-lab/dsse>, version 1.0) with
//! Ed25519 signatures. What is signed names its own type, so that no signature can be taken for one of
//! something else.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use super::keys::{ManifestPublicKey, ManifestSigningKey};

/// The type of an in-toto statement in an envelope.
pub const STATEMENT_PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Most signatures of an envelope that are looked at.
const SIGNATURES_MAX: usize = 20;

/// An envelope, as its file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DsseEnvelope {
    /// The type of the payload.
    pub payload_type: String,
    /// The payload, in base64.
    pub payload: String,
    /// The signatures.
    pub signatures: Vec<DsseSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DsseSignature {
    /// Which key made it: a hint only. See [`ManifestPublicKey::id`].
    #[serde(default)]
    pub keyid: String,
    /// The signature, in base64.
    pub sig: String,
}

/// A signature that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// The envelope is not one of ours.
    #[error("the signed envelope cannot be read: {0}")]
    Unreadable(String),
    /// No signature was made by one of the given keys.
    #[error("it is not signed by any of the given public keys ({known})")]
    NotSigned {
        /// The beginnings of the ids of the given keys.
        known: String,
    },
}

/// What a signature is made over: DSSE's PAE, which names the payload's type and both lengths in bytes.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// The signature of a payload, in base64; the same for the same payload.
pub fn sign_payload(key: &ManifestSigningKey, payload_type: &str, payload: &[u8]) -> String {
    key.sign_message(&pre_authentication_encoding(payload_type, payload))
}

/// Which of `keys` has made `signature`, which is base64, over a payload. Every key is tried: the id in an
/// envelope is only a hint.
///
/// # Errors
/// None of them has.
pub fn check_signature(
    keys: &[ManifestPublicKey],
    payload_type: &str,
    payload: &[u8],
    signature: &str,
) -> Result<String, SignatureProblem> {
    let encoded = pre_authentication_encoding(payload_type, payload);
    let signature = decode(signature).unwrap_or_default();
    let made_by = keys.iter().find(|key| key.has_made(&signature, &encoded));
    made_by.map(ManifestPublicKey::id).ok_or_else(|| {
        let known: Vec<String> = keys.iter().map(|key| key.id()[..12].to_owned()).collect();
        SignatureProblem::NotSigned { known: known.join(", ") }
    })
}

impl DsseEnvelope {
    /// An envelope with one signature.
    pub fn new(payload_type: &str, payload: &[u8], keyid: String, sig: String) -> Self {
        Self {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![DsseSignature { keyid, sig }],
        }
    }

    /// The payload.
    ///
    /// # Errors
    /// It is not base64, or of another type than `payload_type`.
    pub fn payload(&self, payload_type: &str) -> Result<Vec<u8>, SignatureProblem> {
        if self.payload_type != payload_type {
            let why = format!("its payload is {:?}, not {payload_type:?}", self.payload_type);
            return Err(SignatureProblem::Unreadable(why));
        }
        decode(&self.payload)
            .ok_or_else(|| SignatureProblem::Unreadable("its payload is not base64".to_owned()))
    }

    /// The id of a given key that has signed the payload.
    ///
    /// # Errors
    /// The payload is of another type, or none of the keys has signed it.
    pub fn check(&self, keys: &[ManifestPublicKey], payload_type: &str) -> Result<String, SignatureProblem> {
        let payload = self.payload(payload_type)?;
        let mut last = SignatureProblem::Unreadable("it has no signature".to_owned());
        for signature in self.signatures.iter().take(SIGNATURES_MAX) {
            match check_signature(keys, payload_type, &payload, &signature.sig) {
                Ok(key) => return Ok(key),
                Err(problem) => last = problem,
            }
        }
        Err(last)
    }
}

/// Base64, in either of the alphabets that the specification allows.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(key: &ManifestSigningKey, payload_type: &str, payload: &[u8]) -> DsseEnvelope {
        let sig = sign_payload(key, payload_type, payload);
        DsseEnvelope::new(payload_type, payload, key.public_key().id(), sig)
    }

    /// The example of the specification, "protocol.md".
    #[test]
    fn encoding_is_that_of_the_specification() {
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
        assert_eq!(pre_authentication_encoding("é", "ü".as_bytes()), "DSSEv1 2 é 2 ü".as_bytes());
        assert_eq!(pre_authentication_encoding("", b""), b"DSSEv1 0  0 ");
    }

    #[test]
    fn envelope_is_accepted_with_its_key_and_with_no_other() {
        let (key, other) = (ManifestSigningKey::generate().unwrap(), ManifestSigningKey::generate().unwrap());
        let envelope = signed(&key, "t", b"payload");
        let keys = [other.public_key(), key.public_key()];
        assert_eq!(envelope.check(&keys, "t").unwrap(), key.public_key().id());
        let refused = envelope.check(&keys[..1], "t").unwrap_err();
        assert_eq!(refused, SignatureProblem::NotSigned { known: other.public_key().id()[..12].to_owned() });
        assert!(envelope.check(&[], "t").is_err());
        // The id in the envelope proves nothing.
        let mut renamed = envelope.clone();
        renamed.signatures[0].keyid = other.public_key().id();
        assert!(renamed.check(&keys[..1], "t").is_err());
        assert_eq!(renamed.check(&keys, "t").unwrap(), key.public_key().id());
    }

    #[test]
    fn every_change_of_an_envelope_is_detected() {
        let key = ManifestSigningKey::generate().unwrap();
        let keys = [key.public_key()];
        let envelope = signed(&key, "t", b"payload");
        let mut payload = envelope.clone();
        payload.payload = STANDARD.encode(b"paylord");
        let mut kind = envelope.clone();
        kind.payload_type = "u".into();
        let mut signature = envelope.clone();
        signature.signatures[0].sig = sign_payload(&key, "u", b"payload");
        let mut unsigned = envelope.clone();
        unsigned.signatures.clear();
        for changed in [&payload, &signature, &unsigned] {
            assert!(changed.check(&keys, "t").is_err(), "{changed:?}");
        }
        assert!(kind.check(&keys, "t").is_err() && kind.check(&keys, "u").is_err());
        assert_eq!(envelope.check(&keys, "t"), Ok(key.public_key().id()));
    }

    #[test]
    fn envelope_is_read_as_other_tools_write_it() {
        let text = r#"{"payload": "_-8=", "payloadType": "t", "signatures": [{"sig": "AA=="}], "more": 1}"#;
        let envelope: DsseEnvelope = serde_json::from_str(text).unwrap();
        assert_eq!(envelope.payload("t").unwrap(), [0xff, 0xef]);
        let written = serde_json::to_value(&envelope).unwrap();
        assert_eq!(written["payloadType"], "t");
        assert_eq!(written["signatures"][0]["keyid"], "");
    }
}
