//! What a configuration key is: its name, the values that it takes, its default, and its description.
//! The tables of keys are in `server/*`; this file knows no key by name and reads nothing.

use std::fmt;

/// The prefix of every environment variable: `MENDWRIGHT_SERVER_LISTEN` sets `server.listen`.
pub const ENVIRONMENT_PREFIX: &str = "MENDWRIGHT_";

/// One section of the configuration file, with its keys in the order in which people read them.
#[derive(Debug)]
pub struct ConfigSection {
    /// As in the file: `server`.
    pub name: &'static str,
    /// What its keys decide.
    pub description: &'static str,
    /// Its keys.
    pub keys: &'static [ConfigKey],
}

/// One key: everything that reading, errors, the reference page and the example file need.
#[derive(Debug)]
pub struct ConfigKey {
    /// With its section: `server.listen`.
    pub name: &'static str,
    /// What it takes.
    pub value: ValueType,
    /// What holds if nobody sets it.
    pub default: DefaultValue,
    /// A value as the file spells it, for the example file.
    pub example: &'static str,
    /// What it decides.
    pub description: &'static str,
}

/// The values that a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueType {
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A path; a relative one starts at the configuration file's directory.
    Path,
    /// An `http` or `https` address.
    Url,
    /// An address and a port to listen on.
    SocketAddress,
    /// A whole number.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A number.
    Decimal {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// `true` or `false`.
    Flag,
    /// A list of texts: in the environment separated by commas.
    List {
        /// What its entries are, in the plural.
        of: &'static str,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// What holds if nobody sets a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// This value, as the file spells it.
    Value(&'static str),
    /// No value; what then holds, in words.
    Unset(&'static str),
    /// The key must be set.
    Required,
}

impl ConfigKey {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.replace('.', "_").to_uppercase())
    }

    /// The name without the section, as the file spells it below the section's header.
    pub fn name_in_section(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, name)| name)
    }

    /// Whether its value is never shown.
    pub fn is_secret(&self) -> bool {
        self.value == ValueType::Secret
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Secret => f.write_str("secret text"),
            Self::Path => f.write_str("path"),
            Self::Url => f.write_str("web address"),
            Self::SocketAddress => f.write_str("address and port"),
            Self::Integer { min, max: u64::MAX } => write!(f, "whole number from {min}"),
            Self::Integer { min, max } => write!(f, "whole number, {min} to {max}"),
            Self::Decimal { min, max } => write!(f, "number, {min} to {max}"),
            Self::Flag => f.write_str("true or false"),
            Self::List { of } => write!(f, "list of {of}"),
            Self::Choice(words) => f.write_str(&quoted(words)),
        }
    }
}

/// `"one", "two" or "three"`.
pub(super) fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The key with this name.
pub(super) fn find(sections: &'static [ConfigSection], name: &str) -> Option<&'static ConfigKey> {
    sections.iter().flat_map(|section| section.keys).find(|key| key.name == name)
}
