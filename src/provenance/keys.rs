//! The keys that sign manifests. The private key is made at the service's first start and never leaves its
//! data directory. A key is replaced by deleting its file: the next start makes another one, and the public
//! keys of all earlier ones are still given out, so that old pull requests can be verified.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The private key's file in the data directory: PKCS#8, PEM, readable by its owner only.
pub const SIGNING_KEY_FILE: &str = "manifest-signing-key.pem";
/// The file of all public keys, the newest first, PEM.
pub const PUBLIC_KEYS_FILE: &str = "manifest-public-keys.pem";
/// Larger key files are refused.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Most public keys of one file.
const PUBLIC_KEYS_MAX: usize = 200;
const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
/// `SubjectPublicKeyInfo` of an Ed25519 key, up to its 32 bytes (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const FOR_OTHERS: u32 = 0o077;

/// A key that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// A file of keys cannot be used.
    #[error("{file}: {why}")]
    File {
        /// The file.
        file: String,
        /// Why, and what to do.
        why: String,
    },
    /// The text holds no key of ours.
    #[error("this is no Ed25519 public key in PEM: {0}")]
    NotAKey(&'static str),
    /// The system gave no random numbers, or the key is not valid.
    #[error("an Ed25519 key could not be made")]
    NotMade,
}

/// A private key.
pub struct ManifestSigningKey(Ed25519KeyPair);

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPublicKey([u8; 32]);

impl ManifestSigningKey {
    /// A new key.
    ///
    /// # Errors
    /// The system gave no random numbers.
    pub fn generate() -> Result<Self, KeyProblem> {
        Ed25519KeyPair::generate().map(Self).map_err(|_| KeyProblem::NotMade)
    }

    /// The key of `data_dir`; made and stored if there is none.
    ///
    /// # Errors
    /// The file cannot be read or written, or others can read it.
    pub fn open(data_dir: &Path) -> Result<Self, KeyProblem> {
        let path = data_dir.join(SIGNING_KEY_FILE);
        if let Some(key) = Self::read(data_dir)? {
            return Ok(key);
        }
        let key = Self::generate()?;
        let document = key.0.to_pkcs8v1().map_err(|_| KeyProblem::NotMade)?;
        write_atomically(&path, &pem(PRIVATE_LABEL, document.as_ref()))?;
        Ok(key)
    }

    /// The key of `data_dir`, if there is one.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read(data_dir: &Path) -> Result<Option<Self>, KeyProblem> {
        let path = data_dir.join(SIGNING_KEY_FILE);
        let Some(text) = read_bounded(&path)? else { return Ok(None) };
        let metadata = fs::metadata(&path).map_err(|error| in_file(&path, &error))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & FOR_OTHERS != 0 {
            let why = format!(
                "other accounts can use it (mode {mode:03o}); set its mode to 600, or delete it if others may have \
                 read it: the next start makes another key"
            );
            return Err(KeyProblem::File { file: path.display().to_string(), why });
        }
        let invalid = || KeyProblem::File {
            file: path.display().to_string(),
            why: "this is no Ed25519 key (PKCS#8, PEM); delete it, and the next start makes another one"
                .to_owned(),
        };
        let document = blocks(&text, PRIVATE_LABEL).into_iter().next().ok_or_else(invalid)?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document)
            .map(|pair| Some(Self(pair)))
            .map_err(|_| invalid())
    }

    /// Its public key.
    pub fn public_key(&self) -> ManifestPublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        ManifestPublicKey(bytes)
    }

    /// The signature of a message, in base64; the same for the same message.
    pub(super) fn sign_message(&self, message: &[u8]) -> String {
        STANDARD.encode(self.0.sign(message).as_ref())
    }
}

impl std::fmt::Debug for ManifestSigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ManifestSigningKey({})", self.public_key().id())
    }
}

impl ManifestPublicKey {
    /// SHA-256 of its `SubjectPublicKeyInfo`, in hexadecimal.
    pub fn id(&self) -> String {
        hex::encode(Sha256::digest(self.der()))
    }

    /// PEM, as `openssl pkey -pubout` writes it.
    pub fn to_pem(&self) -> String {
        pem(PUBLIC_LABEL, &self.der())
    }

    /// The keys in a text of one or more PEM blocks.
    ///
    /// # Errors
    /// There is none, there are too many, or one is of another kind.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, KeyProblem> {
        let found = blocks(text, PUBLIC_LABEL);
        if found.is_empty() {
            return Err(KeyProblem::NotAKey("there is no block `-----BEGIN PUBLIC KEY-----`"));
        }
        if found.len() > PUBLIC_KEYS_MAX {
            return Err(KeyProblem::NotAKey("there are too many keys"));
        }
        let key = |der: &Vec<u8>| {
            let bytes = der.strip_prefix(&SPKI_PREFIX[..]).and_then(|bytes| bytes.try_into().ok());
            bytes.map(Self).ok_or(KeyProblem::NotAKey("a key is of another kind"))
        };
        found.iter().map(key).collect()
    }

    /// Whether this key has made `signature` over `message`.
    pub(super) fn has_made(&self, signature: &[u8], message: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }

    fn der(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], &self.0].concat()
    }
}

/// The public keys of `data_dir`, `newest` first: it is added to their file if it is missing there.
///
/// # Errors
/// The file cannot be read or written.
pub fn record_public_key(
    data_dir: &Path,
    newest: &ManifestPublicKey,
) -> Result<Vec<ManifestPublicKey>, KeyProblem> {
    let path = data_dir.join(PUBLIC_KEYS_FILE);
    let known = match read_bounded(&path)? {
        Some(text) => ManifestPublicKey::parse_all(&text).map_err(|problem| KeyProblem::File {
            file: path.display().to_string(),
            why: problem.to_string(),
        })?,
        None => Vec::new(),
    };
    let mut keys = vec![newest.clone()];
    keys.extend(known.iter().filter(|key| *key != newest).cloned());
    keys.truncate(PUBLIC_KEYS_MAX);
    if keys != known {
        write_atomically(&path, &keys.iter().map(ManifestPublicKey::to_pem).collect::<String>())?;
    }
    Ok(keys)
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines = encoded.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.collect::<String>())
}

/// The contents of all blocks with this label.
fn blocks(text: &str, label: &str) -> Vec<Vec<u8>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let bodies = text.split(&begin).skip(1).filter_map(|after| after.split_once(&end));
    bodies
        .filter_map(|(body, _)| {
            let body: String = body.split_whitespace().collect();
            STANDARD.decode(body).ok()
        })
        .collect()
}

fn read_bounded(path: &Path) -> Result<Option<String>, KeyProblem> {
    let bytes = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(in_file(path, &error)),
    };
    if bytes > FILE_BYTES_MAX {
        return Err(in_file(path, &io::Error::other("it is too large")));
    }
    fs::read_to_string(path).map(Some).map_err(|error| in_file(path, &error))
}

/// Writes a file that only its owner can read. It is whole on the disk before it has its name.
fn write_atomically(path: &Path, text: &str) -> Result<(), KeyProblem> {
    let directory = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        fs::File::open(&directory)?.sync_all()
    };
    write().map_err(|error| in_file(path, &error))
}

fn in_file(path: &Path, error: &io::Error) -> KeyProblem {
    KeyProblem::File { file: path.display().to_string(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_made_once_and_readable_by_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let key = ManifestSigningKey::open(directory.path()).unwrap();
        let path = directory.path().join(SIGNING_KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = ManifestSigningKey::open(directory.path()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(again.sign_message(b"x"), key.sign_message(b"x"));
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let refused = ManifestSigningKey::open(directory.path()).unwrap_err().to_string();
        assert!(refused.contains("mode 640") && refused.contains("set its mode to 600"), "{refused}");
        fs::write(&path, "nothing").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert!(ManifestSigningKey::open(directory.path()).is_err(), "a broken key was replaced in silence");
    }

    #[test]
    fn public_keys_of_deleted_private_keys_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let first = ManifestSigningKey::open(directory.path()).unwrap().public_key();
        assert_eq!(record_public_key(directory.path(), &first).unwrap(), std::slice::from_ref(&first));
        fs::remove_file(directory.path().join(SIGNING_KEY_FILE)).unwrap();
        let second = ManifestSigningKey::open(directory.path()).unwrap().public_key();
        assert_ne!(first, second);
        let keys = record_public_key(directory.path(), &second).unwrap();
        assert_eq!(keys, [second, first]);
        let text = fs::read_to_string(directory.path().join(PUBLIC_KEYS_FILE)).unwrap();
        assert_eq!(ManifestPublicKey::parse_all(&text).unwrap(), keys);
    }

    /// The key of RFC 8410, section 10.1.
    #[test]
    fn public_key_is_written_as_other_programs_write_it() {
        let text = "-----BEGIN PUBLIC KEY-----\n\
                    MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                    -----END PUBLIC KEY-----\n";
        let keys = ManifestPublicKey::parse_all(text).unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].to_pem(), text);
        assert_eq!(
            hex::encode(keys[0].0),
            "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
        );
        assert_eq!(keys[0].id().len(), 64);
        for other in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(ManifestPublicKey::parse_all(other).is_err(), "{other}");
        }
    }

    /// RFC 8032, section 7.1, test 2: the signature is over the message as it is.
    #[test]
    fn signature_is_ed25519() {
        let bytes = |hexadecimal: &str| hex::decode(hexadecimal).unwrap();
        let public = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = bytes(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        let key = ManifestPublicKey(public.try_into().unwrap());
        assert!(key.has_made(&signature, &[0x72]));
        assert!(!key.has_made(&signature, &[0x73]) && !key.has_made(&signature[1..], &[0x72]));
    }
}
