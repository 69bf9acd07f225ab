//! A repository's full name, checked when it is parsed.

use std::fmt;
use std::str::FromStr;

/// A text that is not a repository name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a repository name: owner/name of letters, digits, '-', '_' and '.'")]
pub struct InvalidRepositoryName(String);

/// `owner/name`, safe to use in a path and in an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepositoryName {
    owner: String,
    name: String,
}

impl RepositoryName {
    /// The account the repository belongs to.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The name within the account.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidRepositoryName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidRepositoryName(text.chars().take(100).collect());
        let is_valid = |part: &str| {
            (1..=100).contains(&part.len())
                && !matches!(part, "." | "..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        let (owner, name) = text.split_once('/').ok_or_else(invalid)?;
        if !is_valid(owner) || !is_valid(name) {
            return Err(invalid());
        }
        Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}
