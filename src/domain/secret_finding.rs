//! A secret in content that was to be published: its kind and location, never the secret itself.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A secret that must not be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SecretFound")]
pub struct SecretFinding {
    /// Its kind, for people: "the App's private key, in base64", "what looks like a GitHub token".
    pub what: String,
    /// Its location.
    pub place: SecretLocation,
}

/// The location of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[schemars(rename = "SecretPlace")]
pub enum SecretLocation {
    /// In a line that the change adds.
    Line {
        /// The file; `None` if its name contains a secret, too.
        path: Option<String>,
        /// From 1.
        line: u32,
    },
    /// In the name of a file that the change adds.
    FileName,
    /// In a text: "the commit message".
    Text {
        /// Which one.
        of: String,
    },
}

impl fmt::Display for SecretLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { path: Some(path), line } => write!(f, "{path}:{line}"),
            Self::Line { path: None, line } => write!(f, "line {line} of a file whose name is not shown"),
            Self::FileName => f.write_str("the name of a file"),
            Self::Text { of } => f.write_str(of),
        }
    }
}

impl fmt::Display for SecretFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.what, self.place)
    }
}
