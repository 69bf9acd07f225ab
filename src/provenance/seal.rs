//! A manifest with its digest, as it is in a file, in the store and in a pull request.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FORMAT, Manifest, VERSION, digest_of};

/// Larger files are refused.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// The field that holds the digest.
const SEAL: &str = "sha256";

/// A manifest and its digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sealed {
    /// The manifest.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// Its digest, in hexadecimal.
    pub sha256: String,
}

/// A file that is no manifest, or not one that can be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    /// It cannot be opened, is too large, or not a manifest of a version we know.
    #[error("the manifest {path} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// It was changed after it was made.
    #[error(
        "the manifest was changed after it was made: it says that its digest is {said}, and it is {found}"
    )]
    Changed {
        /// The digest that it names.
        said: String,
        /// The digest that it has.
        found: String,
    },
}

impl Sealed {
    /// The manifest with its digest.
    pub fn new(manifest: Manifest) -> Self {
        let value = serde_json::to_value(&manifest).expect("a manifest has only string keys");
        Self { manifest, sha256: digest_of(&value) }
    }

    /// Reads a file, and checks its digest.
    ///
    /// # Errors
    /// It cannot be read, or its digest is another one.
    pub fn load(path: &Path) -> Result<Self, InvalidManifest> {
        Self::parse(&read_manifest(path)?).map_err(|error| in_file(path, error))
    }

    /// Reads a file's text, and checks its digest.
    ///
    /// # Errors
    /// As [`Sealed::load`].
    pub fn parse(text: &str) -> Result<Self, InvalidManifest> {
        let unreadable = |why: String| InvalidManifest::Unreadable { path: "text".to_owned(), why };
        let mut value: Value = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        if value["format"] != FORMAT {
            return Err(unreadable(format!("its format is {}, not {FORMAT:?}", value["format"])));
        }
        if value["version"].as_u64().is_none_or(|version| version > u64::from(VERSION)) {
            return Err(unreadable(format!(
                "it has version {}, and this mendwright reads up to {VERSION}; use a newer one",
                value["version"]
            )));
        }
        let sealed: Self =
            serde_json::from_value(value.clone()).map_err(|error| unreadable(error.to_string()))?;
        if let Some(fields) = value.as_object_mut() {
            fields.remove(SEAL);
        }
        let found = digest_of(&value);
        if found != sealed.sha256 {
            return Err(InvalidManifest::Changed { said: sealed.sha256, found });
        }
        Ok(sealed)
    }

    /// The file's text: a line a field, ASCII only.
    pub fn to_text(&self) -> String {
        ascii_pretty(&serde_json::to_value(self).expect("a manifest has only string keys")) + "\n"
    }
}

/// The text of a manifest's file: the manifest, or an envelope with it.
///
/// # Errors
/// It cannot be read, or is too large.
pub fn read_manifest(path: &Path) -> Result<String, InvalidManifest> {
    let unreadable = |why: String| InvalidManifest::Unreadable { path: path.display().to_string(), why };
    let bytes = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(unreadable(format!("it has {bytes} bytes; at most {FILE_BYTES_MAX} are read")));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))
}

/// The error with the file's name.
pub fn in_file(path: &Path, error: InvalidManifest) -> InvalidManifest {
    match error {
        InvalidManifest::Unreadable { why, .. } => {
            InvalidManifest::Unreadable { path: path.display().to_string(), why }
        }
        changed @ InvalidManifest::Changed { .. } => changed,
    }
}

/// JSON for people, in ASCII: nothing in it is hidden, and it is the same after every copying.
pub fn ascii_pretty(value: &Value) -> String {
    let pretty = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    let mut ascii = String::with_capacity(pretty.len());
    for c in pretty.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            ascii.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
        }
    }
    ascii
}
