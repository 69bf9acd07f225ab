//! Submodules of a base commit: those whose files sandboxes have, and those whose files they do not have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RepoPath, Sha};

/// A submodule whose files sandboxes have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FetchedSubmodule {
    /// Where it is, from the root of the outermost repository.
    #[schemars(with = "String")]
    pub path: RepoPath,
    /// Its commit.
    pub commit: Sha,
    /// Where it is from, for people.
    pub source: String,
}

/// A submodule whose files sandboxes do not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MissingSubmodule {
    /// Where it is, from the root of the outermost repository.
    pub path: String,
    /// Why. Reads on after "because".
    pub why: String,
}
