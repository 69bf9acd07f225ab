//! The messages about source files that a parser takes apart for the verdict: the tests that stand in
//! them, and mutants of their lines.

use serde::{Deserialize, Serialize};

/// Put the test items of one version of a source file into another version of it. Test items are the parts
/// of a source file that only tests use: test functions and modules, doctests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestItems {
    /// The file's path, which tells its language.
    pub path: String,
    /// The version whose other code is kept.
    pub source: String,
    /// The version whose test items are kept; empty: none.
    pub tests: String,
}

/// The result of moving test items.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestItemsMoved {
    /// The source with the other version's test items in place of its own.
    pub content: String,
    /// The test items of the other version that the source does not have, or has differently, in the order
    /// of their names.
    pub changed: Vec<String>,
    /// The test items that only the source has.
    pub added: Vec<String>,
    /// Test items that could not be put in: what they belong to is gone, or the file cannot be parsed.
    pub lost: Vec<String>,
}

/// Make mutants of some lines of a source file: small changes after which a good test fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutants {
    /// The file's path, which tells its language.
    pub path: String,
    /// Its content.
    pub content: String,
    /// The lines, from 1.
    pub lines: Vec<u32>,
    /// Most mutants.
    pub mutants_max: u32,
}

/// Mutants of a file, by line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MutantsFound {
    /// At most as many as requested.
    pub mutants: Vec<Mutant>,
}

/// A mutant: one replacement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutant {
    /// The line, from 1.
    pub line: u32,
    /// The first byte that is replaced.
    pub start: u64,
    /// The end of the replaced bytes.
    pub end: u64,
    /// What replaces them.
    pub replacement: String,
}
