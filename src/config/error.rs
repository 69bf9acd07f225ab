//! Why a configuration cannot be used.

/// A configuration that cannot be used. Each variant names the origin, the key and the value, says
/// what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {why}; give the path of your configuration with --config")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's message.
        why: String,
    },
    /// The file is not TOML.
    #[error("{file} line {line}: not TOML: {why}")]
    Syntax {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// The parser's message, without the line itself, which may hold a secret.
        why: String,
    },
    /// There is no such key.
    #[error("{origin}: unknown key {key}{}", suggestion(nearest, known))]
    UnknownKey {
        /// File and line.
        origin: String,
        /// The key as the file spells it.
        key: String,
        /// The known key that is nearest to it.
        nearest: Option<String>,
        /// If none is near: all keys of the section.
        known: String,
    },
    /// A required key is not set.
    #[error("{file}: {key} is missing; {remedy} (or set {variable})")]
    Missing {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// What to write.
        remedy: String,
        /// The environment variable that sets the same key.
        variable: String,
    },
    /// The credentials that the setup page stored cannot be used.
    #[error("{file} {problem}; {remedy}")]
    Stored {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A value that cannot be used.
    #[error("{origin}: {key} = {value} {problem}; {remedy}")]
    Value {
        /// File and line, or the environment variable.
        origin: String,
        /// The key.
        key: String,
        /// The value; dots if it is a secret.
        value: String,
        /// What is wrong with it.
        problem: String,
        /// What to write instead, or to do.
        remedy: String,
    },
}

fn suggestion(nearest: &Option<String>, known: &str) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None => format!("; known there: {known}"),
    }
}
