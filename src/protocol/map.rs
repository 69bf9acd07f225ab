//! What host and toolbox say to each other about the repository as a whole: its map, its symbols,
//! and what an edit did to a file's syntax.

use serde::{Deserialize, Serialize};

/// Rank the files of the tree by what they have to do with a text, and show the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoMap {
    /// What it is about: an issue, a plan, some words. Only its first 64 KiB count.
    pub text: String,
    /// Files or directories that are known to matter.
    pub paths: Vec<String>,
    /// Longest rendered text, in tokens of four bytes.
    pub tokens_max: u32,
}

/// The ranked files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankedRepoMap {
    /// The files that are shown with their definitions or by name, best first.
    pub files: Vec<RankedFile>,
    /// The same for the model, within the bound asked for.
    pub text: String,
    /// What it rests on.
    pub counts: MapCounts,
}

/// A file of the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankedFile {
    /// Relative to the root.
    pub path: String,
    /// Its share of the whole rank, in millionths.
    pub score: u32,
    /// Its size.
    pub bytes: u64,
    /// Its language, where its definitions are known.
    pub language: Option<String>,
    /// The definitions shown, by line.
    pub definitions: Vec<MapDefinition>,
}

/// A definition in a file of the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapDefinition {
    /// Where it begins, from 1.
    pub line: u32,
    /// What it is: `function`, `class`, …
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What a map rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapCounts {
    /// Files in the tree, git-ignored ones left out.
    pub files: u64,
    /// Files read and taken apart for this map.
    pub read: u64,
    /// Files known from an earlier one.
    pub cached: u64,
    /// Files of which only name and size are known: binary, too large, minified, not readable.
    pub names_only: u64,
    /// Files not looked at, for want of time or memory, or because there are too many.
    pub not_looked_at: u64,
}

/// Find where a name is defined and used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindSymbol {
    /// The name; of a qualified one (`Type::name`, `module.name`) the last part, in that container
    /// where there is one.
    pub name: String,
    /// Most definitions, and most references, wanted.
    pub places_max: u32,
}

/// Where a name is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolLocations {
    /// The names that were found: the one asked for, or, where nothing defines it, those that differ
    /// from it in upper and lower case only.
    pub names: Vec<String>,
    /// Where they are defined.
    pub definitions: Vec<SymbolLocation>,
    /// Where else they stand in code.
    pub references: Vec<SymbolLocation>,
    /// Whether there are more of either.
    pub more: bool,
    /// Names that are defined and come near, where nothing was found.
    pub near: Vec<String>,
    /// Files not looked at.
    pub not_looked_at: u64,
}

/// A place of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolLocation {
    /// Relative to the root.
    pub path: String,
    /// From 1.
    pub line: u32,
    /// What is defined (`method`), or `reference`.
    pub kind: String,
    /// What it is defined in, where that has a name.
    pub container: Option<String>,
    /// The line, cut at 200 characters.
    pub text: String,
}

/// A place at which a file cannot be parsed, and could be before an edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyntaxError {
    /// From 1.
    pub line: u32,
    /// What a parser would say.
    pub what: String,
    /// The line, cut at 200 characters.
    pub text: String,
}
