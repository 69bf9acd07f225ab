//! Identifiers, parsed once at the edge. A value of these types has been checked.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Text that is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a {what}: {why}")]
pub struct InvalidIdentity {
    /// The expected kind of identifier.
    pub what: &'static str,
    /// The text as received, cut to 100 characters.
    pub value: String,
    /// The rule it breaks.
    pub why: &'static str,
}

fn invalid(what: &'static str, value: &str, why: &'static str) -> InvalidIdentity {
    InvalidIdentity { what, value: value.chars().take(100).collect(), why }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// The number in an issue's address, unique within its repository.
    IssueNumber
);
number_id!(
    /// The number in a pull request's address; shares its sequence with issues.
    PullRequestNumber
);
number_id!(
    /// GitHub's id of one installation of the App.
    InstallationId
);
number_id!(
    /// GitHub's id of a repository. It survives renames and transfers.
    RepositoryId
);
number_id!(
    /// GitHub's id of an issue comment.
    CommentId
);

impl IssueNumber {
    /// Stands for an issue that is not on GitHub. Read it through [`super::Origin`].
    pub const LOCAL: Self = Self(0);
}

impl PullRequestNumber {
    /// Stands for a proposal that is not on GitHub.
    pub const LOCAL: Self = Self(0);
}

impl InstallationId {
    /// Stands for a job without GitHub.
    pub const LOCAL: Self = Self(0);
}

impl RepositoryId {
    /// Stands for a repository on this machine. Read it through [`super::Origin`].
    pub const LOCAL: Self = Self(0);
}

/// Our id of a job: a version 7 UUID, so that ids sort by creation time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct JobId(#[schemars(with = "String")] pub Uuid);

impl JobId {
    /// A new id.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = InvalidIdentity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self).map_err(|_| invalid("job id", text, "it must be a UUID"))
    }
}

/// `X-GitHub-Delivery`: GitHub sends a GUID; any printable text up to 100 characters is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(String);

impl DeliveryId {
    /// The text as received.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeliveryId {
    type Err = InvalidIdentity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > 100 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(invalid("delivery id", text, "1 to 100 printable ASCII characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A GitHub account name, `[bot]` suffix included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Login(String);

impl Login {
    /// The text as GitHub spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Login {
    type Err = InvalidIdentity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let stem = text.strip_suffix("[bot]").unwrap_or(text);
        let shaped = stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if stem.is_empty() || text.len() > 100 || !shaped {
            return Err(invalid("GitHub login", text, "letters, digits, '-' and '_', at most 100"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `owner/name` of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
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
    type Err = InvalidIdentity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "owner/name of letters, digits, '-', '_' and '.'";
        let what = "repository name";
        let (owner, name) = text.split_once('/').ok_or_else(|| invalid(what, text, RULE))?;
        let part_is_shaped = |part: &str| {
            !part.is_empty()
                && part.len() <= 100
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if !part_is_shaped(owner) || !part_is_shaped(name) {
            return Err(invalid(what, text, RULE));
        }
        Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// The full id of a git object: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Sha(String);

impl Sha {
    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The first ten digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl FromStr for Sha {
    type Err = InvalidIdentity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hexadecimal = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !matches!(text.len(), 40 | 64) || !hexadecimal {
            return Err(invalid("git object id", text, "40 or 64 lower-case hexadecimal digits"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Sha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! string_conversions {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = InvalidIdentity;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}
string_conversions!(Login, RepositoryName, Sha);

/// The repository of an operation, and the installation of the App that gives access to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct RepositoryRef {
    /// The installation whose token is used.
    pub installation: InstallationId,
    /// The id to follow the repository by.
    pub id: RepositoryId,
    /// The name it had when the trigger arrived.
    pub name: RepositoryName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_name_that_could_escape_a_directory_or_an_address_is_rejected() {
        for bad in ["", "a", "a/", "/b", "a/..", "../b", "a/b/c", "a b/c", "a/b?x", "a/b%2f"] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad:?} was accepted");
        }
        let name: RepositoryName = "rust-lang/rust.vim".parse().unwrap();
        assert_eq!((name.owner(), name.name()), ("rust-lang", "rust.vim"));
    }

    #[test]
    fn login_of_a_bot_is_accepted_and_markup_rejected() {
        assert!("dependabot[bot]".parse::<Login>().is_ok());
        for bad in ["", "[bot]", "a b", "<script>", "a\n@b"] {
            assert!(bad.parse::<Login>().is_err(), "{bad:?} was accepted");
        }
    }
}
