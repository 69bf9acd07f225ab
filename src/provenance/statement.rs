//! A manifest as an in-toto statement, which other tools read, and its signature.

use std::path::Path;

use serde_json::{Value, json};

use super::envelope::{
    DsseEnvelope, STATEMENT_PAYLOAD_TYPE, SignatureProblem, check_signature, sign_payload,
};
use super::keys::{KeyProblem, ManifestPublicKey, ManifestSigningKey, record_public_key};
use super::{Sealed, canonical};

/// The type of a statement (<https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>).
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// What the predicate is: a manifest with its digest, version 1. A name only; nothing is served there.
pub const PREDICATE_TYPE: &str = "https://mendwright.dev/attestation/manifest/v1";

/// The path under which a service gives out the public keys of its manifests.
pub const PUBLIC_KEYS_PATH: &str = "/.well-known/mendwright-public-keys.pem";

/// A manifest's signature, as a pull request shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestSignature {
    /// The id of the key.
    pub key_id: String,
    /// The signature of the statement's envelope, in base64.
    pub signature: String,
    /// Where the service gives out its public keys, if it knows its own address.
    pub keys_url: Option<String>,
}

/// Signs manifests with the service's key.
#[derive(Debug)]
pub struct ManifestSigner {
    key: ManifestSigningKey,
    public_keys: Vec<ManifestPublicKey>,
    keys_url: Option<String>,
}

impl ManifestSigner {
    /// The signer of a service: its key is in `data_dir`, and made there at the first start. `public_url` is
    /// the service's address from outside.
    ///
    /// # Errors
    /// The key cannot be made, read or stored.
    pub fn open(data_dir: &Path, public_url: Option<&str>) -> Result<Self, KeyProblem> {
        let key = ManifestSigningKey::open(data_dir)?;
        let public_keys = record_public_key(data_dir, &key.public_key())?;
        let keys_url = public_url.map(|url| format!("{}{PUBLIC_KEYS_PATH}", url.trim_end_matches('/')));
        Ok(Self { key, public_keys, keys_url })
    }

    /// The signature of a manifest; the same however often it is made.
    pub fn sign(&self, manifest: &Sealed) -> ManifestSignature {
        ManifestSignature {
            key_id: self.key.public_key().id(),
            signature: sign_payload(&self.key, STATEMENT_PAYLOAD_TYPE, &statement_of(&value_of(manifest))),
            keys_url: self.keys_url.clone(),
        }
    }

    /// All public keys, the newest first, in PEM.
    pub fn public_keys(&self) -> String {
        self.public_keys.iter().map(ManifestPublicKey::to_pem).collect()
    }
}

/// The signed envelope of a manifest.
pub fn envelope_of(key: &ManifestSigningKey, manifest: &Sealed) -> DsseEnvelope {
    let statement = statement_of(&value_of(manifest));
    let signature = sign_payload(key, STATEMENT_PAYLOAD_TYPE, &statement);
    DsseEnvelope::new(STATEMENT_PAYLOAD_TYPE, &statement, key.public_key().id(), signature)
}

/// The id of a given key that has signed a manifest's text.
///
/// # Errors
/// None of the keys has made `signature` for it.
pub fn check_manifest_signature(
    keys: &[ManifestPublicKey],
    manifest: &str,
    signature: &str,
) -> Result<String, SignatureProblem> {
    let value: Value =
        serde_json::from_str(manifest).map_err(|error| SignatureProblem::Unreadable(error.to_string()))?;
    check_signature(keys, STATEMENT_PAYLOAD_TYPE, &statement_of(&value), signature.trim())
}

/// The manifest in an envelope's statement, as text.
///
/// # Errors
/// The payload is not a statement about a manifest, or its subject is not the manifest's head.
pub fn manifest_in(envelope: &DsseEnvelope) -> Result<String, SignatureProblem> {
    let unreadable = |why: String| SignatureProblem::Unreadable(why);
    let payload = envelope.payload(STATEMENT_PAYLOAD_TYPE)?;
    let statement: Value = serde_json::from_slice(&payload).map_err(|error| unreadable(error.to_string()))?;
    if statement["_type"] != STATEMENT_TYPE || statement["predicateType"] != PREDICATE_TYPE {
        return Err(unreadable(format!(
            "its statement is of type {} with the predicate {}, and not about a manifest",
            statement["_type"], statement["predicateType"]
        )));
    }
    let manifest = &statement["predicate"];
    if statement["subject"] != subject_of(manifest) {
        return Err(unreadable("its subject is not the commit that its manifest is about".to_owned()));
    }
    Ok(manifest.to_string())
}

/// The statement's bytes: keys in order, no blanks.
fn statement_of(manifest: &Value) -> Vec<u8> {
    let statement = json!({
        "_type": STATEMENT_TYPE,
        "subject": subject_of(manifest),
        "predicateType": PREDICATE_TYPE,
        "predicate": manifest,
    });
    canonical(&statement).into_bytes()
}

/// The proposed commit and its tree: two things, since a commit of another id can have the same tree.
fn subject_of(manifest: &Value) -> Value {
    let (repository, head) = (&manifest["repository"]["name"], &manifest["head"]);
    let repository = repository.as_str().unwrap_or_default();
    let branch = head["branch"].as_str().unwrap_or_default();
    json!([
        {"name": format!("{repository}@{branch}"), "digest": {"gitCommit": head["commit"]}},
        {"name": format!("{repository}@{branch}:"), "digest": {"gitTree": head["tree"]}},
    ])
}

fn value_of(manifest: &Sealed) -> Value {
    serde_json::to_value(manifest).expect("a manifest has only string keys")
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::super::tests::manifest;
    use super::*;

    fn signer() -> (tempfile::TempDir, ManifestSigner) {
        let directory = tempfile::tempdir().unwrap();
        let signer = ManifestSigner::open(directory.path(), Some("https://bot.example/")).unwrap();
        (directory, signer)
    }

    #[test]
    fn manifest_is_a_statement_about_its_commit_and_its_tree() {
        let sealed = Sealed::new(manifest());
        let envelope = envelope_of(&ManifestSigningKey::generate().unwrap(), &sealed);
        let payload = STANDARD.decode(&envelope.payload).unwrap();
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(envelope.payload_type, "application/vnd.in-toto+json");
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], PREDICATE_TYPE);
        assert_eq!(
            statement["subject"],
            json!([
                {"name": "octo/widgets@agent-fix/issue-7", "digest": {"gitCommit": "c".repeat(40)}},
                {"name": "octo/widgets@agent-fix/issue-7:", "digest": {"gitTree": "d".repeat(40)}},
            ])
        );
        assert_eq!(Sealed::parse(&manifest_in(&envelope).unwrap()).unwrap(), sealed);
    }

    #[test]
    fn signature_holds_for_the_manifest_in_any_layout_and_for_no_other() {
        let (_directory, signer) = signer();
        let keys = ManifestPublicKey::parse_all(&signer.public_keys()).unwrap();
        let sealed = Sealed::new(manifest());
        let signed = signer.sign(&sealed);
        assert_eq!(signer.sign(&sealed), signed);
        assert_eq!(
            signed.keys_url.as_deref(),
            Some("https://bot.example/.well-known/mendwright-public-keys.pem")
        );
        let compact = value_of(&sealed).to_string();
        for text in [sealed.to_text(), compact] {
            assert_eq!(check_manifest_signature(&keys, &text, &signed.signature).unwrap(), signed.key_id);
        }
        let mut other = manifest();
        other.spent.turns += 1;
        let other = Sealed::new(other).to_text();
        assert!(check_manifest_signature(&keys, &other, &signed.signature).is_err());
        let strangers = [ManifestSigningKey::generate().unwrap().public_key()];
        assert!(check_manifest_signature(&strangers, &sealed.to_text(), &signed.signature).is_err());
    }

    #[test]
    fn statement_about_another_commit_than_its_manifest_is_refused() {
        let key = ManifestSigningKey::generate().unwrap();
        let sealed = Sealed::new(manifest());
        let mut statement: Value = serde_json::from_slice(&statement_of(&value_of(&sealed))).unwrap();
        statement["subject"][0]["digest"]["gitCommit"] = json!("e".repeat(40));
        let wrap = |statement: &Value| {
            let payload = statement.to_string().into_bytes();
            let signature = sign_payload(&key, STATEMENT_PAYLOAD_TYPE, &payload);
            DsseEnvelope::new(STATEMENT_PAYLOAD_TYPE, &payload, String::new(), signature)
        };
        assert!(manifest_in(&wrap(&statement)).unwrap_err().to_string().contains("its subject is not"));
        statement["predicateType"] = json!("https://slsa.dev/provenance/v1");
        assert!(manifest_in(&wrap(&statement)).unwrap_err().to_string().contains("not about a manifest"));
    }
}
