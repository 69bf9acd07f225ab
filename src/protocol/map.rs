//! The messages about the repository as a whole: its map, its symbols, and the syntax errors that an
//! edit caused.

use serde::{Deserialize, Serialize};

/// Rank the files of the tree by how relevant they are to a text, and show the best of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoMap {
    /// The text: an issue, a plan, some words. Only its first 64 KiB count.
    pub text: String,
    /// Files or directories that are known to be relevant.
    pub paths: Vec<String>,
    /// The longest rendered text, in tokens of four bytes.
    pub tokens_max: u32,
}

/// The ranked files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankedRepoMap {
    /// The files that are shown with their definitions or by name, best first.
    pub files: Vec<RankedFile>,
    /// The same as a text for the model, within the requested limit.
    pub text: String,
    /// The files that it is based on.
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
    /// Its language, if its definitions are known.
    pub language: Option<String>,
    /// The definitions shown, by line.
    pub definitions: Vec<MapDefinition>,
}

/// A definition in a file of the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapDefinition {
    /// The line where it begins, from 1.
    pub line: u32,
    /// Its kind: `function`, `class`, …
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The files that a map is based on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapCounts {
    /// Files in the tree, without those that git ignores.
    pub files: u64,
    /// Files that were read and parsed for this map.
    pub read: u64,
    /// Files that are known from an earlier map.
    pub cached: u64,
    /// Files of which only the name and size are known: binary, too large, minified, or unreadable.
    pub names_only: u64,
    /// Files that were skipped because time or memory ran out, or because there are too many.
    pub not_looked_at: u64,
}

/// Find where a name is defined and used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindSymbol {
    /// The name. Of a qualified name (`Type::name`, `module.name`) the last part is searched for, in that
    /// container if there is one.
    pub name: String,
    /// Most definitions, and most references.
    pub places_max: u32,
    /// Most lines of the definitions' whole text, all together. 0: none.
    pub body_lines_max: u32,
}

/// Where a name is defined and used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolLocations {
    /// The names that were found: the requested one or, if nothing defines it, those that differ from it
    /// only in case.
    pub names: Vec<String>,
    /// Where they are defined.
    pub definitions: Vec<SymbolLocation>,
    /// Where else they are used in code.
    pub references: Vec<SymbolLocation>,
    /// Whether there are more of either.
    pub more: bool,
    /// Similar names that are defined, if nothing was found.
    pub near: Vec<String>,
    /// Files that were skipped.
    pub not_looked_at: u64,
}

/// One location of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolLocation {
    /// Relative to the root.
    pub path: String,
    /// From 1.
    pub line: u32,
    /// What is defined (`method`), or `reference`.
    pub kind: String,
    /// What it is defined in, if that has a name.
    pub container: Option<String>,
    /// The line, cut at 200 characters.
    pub text: String,
    /// All of a definition, if it was wanted and there was room.
    pub body: Option<DefinitionText>,
}

/// The whole text of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionText {
    /// The line where it begins, from 1.
    pub first_line: u32,
    /// Its lines. Bytes that are not UTF-8 are replaced; long lines are cut.
    pub lines: Vec<String>,
    /// How many lines at its end are left out.
    pub left_out: u32,
}

/// A location where a file cannot be parsed, but could be before an edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyntaxError {
    /// From 1.
    pub line: u32,
    /// The parser's message.
    pub what: String,
    /// The line, cut at 200 characters.
    pub text: String,
}
