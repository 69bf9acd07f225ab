//! What the operator typed: a TOML file and, over it, environment variables. Knows where each
//! value came from, so that every error can say so. Knows no key by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use super::nearest;

/// `MENDWRIGHT_SERVER_LISTEN` stands for `server.listen`.
pub const ENVIRONMENT_PREFIX: &str = "MENDWRIGHT_";

const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A configuration that cannot be used: where, which key, which value, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {why}; give the path of your configuration with --config")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's words.
        why: String,
    },
    /// The file is not TOML.
    #[error("{file} line {line}: not TOML: {why}")]
    Syntax {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// The parser's words, without the line itself, which may hold a secret.
        why: String,
    },
    /// There is no such key.
    #[error("{origin}: unknown key {key}{}", suggestion(nearest, known))]
    UnknownKey {
        /// File and line.
        origin: String,
        /// The key as it stands there.
        key: String,
        /// The one that was probably meant.
        nearest: Option<String>,
        /// Where there is none: all keys of the section.
        known: String,
    },
    /// A key that must be given is not.
    #[error("{file}: {key} is missing; {remedy} (or set {variable})")]
    Missing {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// What to write.
        remedy: String,
        /// The environment variable that would do too.
        variable: String,
    },
    /// The credentials that the set-up page stored cannot be used.
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
        /// The value; dots where it is a secret.
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

/// A value as typed.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(String),
    /// A number or a truth value, as spelled.
    Bare(String),
    List(Vec<String>),
    /// A kind that no key takes.
    Other(&'static str),
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) key: &'static str,
    /// "mendwright.toml line 4", or "environment variable MENDWRIGHT_…".
    pub(super) origin: String,
    pub(super) from_environment: bool,
    value: Value,
    secret: bool,
}

impl Found {
    pub(super) fn wrong(&self, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        const VALUE_CHARS_MAX: usize = 80;
        let value = match &self.value {
            _ if self.secret => "\"…\"".to_owned(),
            Value::Text(text) => format!("{text:?}"),
            Value::Bare(text) => text.clone(),
            Value::List(list) => format!("{list:?}"),
            Value::Other(kind) => format!("({kind})"),
        };
        ConfigError::Value {
            origin: self.origin.clone(),
            key: self.key.to_owned(),
            value: value.chars().take(VALUE_CHARS_MAX).collect(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// The same, never to be shown: something in it turned out to be secret.
    pub(super) fn hidden(&self) -> Self {
        Self { secret: true, ..self.clone() }
    }

    pub(super) fn text(&self) -> Result<&str, ConfigError> {
        match &self.value {
            Value::Text(text) => Ok(text),
            Value::Bare(_) | Value::List(_) | Value::Other(_) => {
                Err(self.wrong("is not text", "put it in quotes"))
            }
        }
    }

    /// A number: bare in the file, any text in the environment.
    pub(super) fn number<T>(&self, range: RangeInclusive<T>) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + Display,
    {
        let spelled = match &self.value {
            Value::Bare(text) => Some(text),
            Value::Text(text) if self.from_environment => Some(text),
            Value::Text(_) | Value::List(_) | Value::Other(_) => None,
        };
        let number = spelled.and_then(|text| text.trim().parse::<T>().ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let remedy = format!("write a number from {} to {}, without quotes", range.start(), range.end());
            self.wrong("is not a number in range", remedy)
        })
    }

    /// A truth value: bare in the file, any text in the environment.
    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        let spelled = match &self.value {
            Value::Bare(text) => text.trim(),
            Value::Text(text) if self.from_environment => text.trim(),
            Value::Text(_) | Value::List(_) | Value::Other(_) => "",
        };
        spelled
            .parse()
            .map_err(|_| self.wrong("is neither true nor false", "write true or false, without quotes"))
    }

    /// A list of texts: an array in the file, separated by commas in the environment.
    pub(super) fn list(&self) -> Result<Vec<String>, ConfigError> {
        match &self.value {
            Value::List(list) => Ok(list.clone()),
            Value::Text(text) if self.from_environment => Ok(text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()),
            Value::Text(_) | Value::Bare(_) | Value::Other(_) => {
                Err(self.wrong("is not a list", "write it as [\"one\", \"two\"]"))
            }
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.value, Value::List(_))
    }
}

/// Everything that was typed.
#[derive(Debug)]
pub(super) struct Given {
    /// The file's name, for errors.
    pub(super) file: String,
    /// The directory that relative paths start from.
    directory: PathBuf,
    path: PathBuf,
    secret_in_file: Option<Found>,
    found: BTreeMap<&'static str, Found>,
}

impl Given {
    /// Reads the file and the environment. `keys` are all that there are, dotted; a key whose last
    /// part is in `secrets` is never shown.
    pub(super) fn read(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        keys: &[&'static str],
        secrets: &[&str],
    ) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let unreadable = |why: String| ConfigError::Unreadable { file: file.clone(), why };
        let bytes = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(unreadable(format!("it has {bytes} bytes, at most {FILE_BYTES_MAX} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let (path, found) = (path.to_owned(), BTreeMap::new());
        let mut given = Self { file, directory, path, secret_in_file: None, found };
        given.take_file(&text, keys, secrets)?;
        given.take_environment(environment, keys, secrets);
        Ok(given)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Found> {
        debug_assert!(key.contains('.'), "{key}");
        self.found.get(key)
    }

    pub(super) fn missing(&self, key: &str, remedy: impl Into<String>) -> ConfigError {
        let (file, key) = (self.file.clone(), key.to_owned());
        ConfigError::Missing { file, variable: variable(&key), key, remedy: remedy.into() }
    }

    /// A path as typed, seen from the file's directory.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// The file, where a secret stands in it.
    pub(super) fn file_with_secrets(&self) -> Option<(&Path, &Found)> {
        self.secret_in_file.as_ref().map(|found| (self.path.as_path(), found))
    }

    fn take_file(&mut self, text: &str, keys: &[&'static str], secrets: &[&str]) -> Result<(), ConfigError> {
        let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            file: self.file.clone(),
            line: error.span().map_or(1, |span| line_of(span.start)),
            why: error.message().to_owned(),
        })?;
        let mut typed = Vec::new();
        flatten("", table.get_ref(), keys, &mut typed);
        for (key, offset, value) in typed {
            let origin = format!("{} line {}", self.file, line_of(offset));
            let Some(key) = keys.iter().copied().find(|known| *known == key) else {
                return Err(unknown(origin, key, keys));
            };
            let found =
                Found { key, origin, from_environment: false, value, secret: is_secret(key, secrets) };
            if found.secret {
                self.secret_in_file = Some(found.clone());
            }
            self.found.insert(key, found);
        }
        Ok(())
    }

    fn take_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
        keys: &[&'static str],
        secrets: &[&str],
    ) {
        let by_variable: BTreeMap<String, &'static str> =
            keys.iter().copied().map(|key| (variable(key), key)).collect();
        for (name, text) in environment {
            // Unknown variables are left alone: Kubernetes makes some for every service's name.
            let Some(key) = by_variable.get(&name).copied() else { continue };
            let origin = format!("environment variable {name}");
            let (value, secret) = (Value::Text(text), is_secret(key, secrets));
            self.found.insert(key, Found { key, origin, from_environment: true, value, secret });
        }
    }
}

fn variable(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "_").to_uppercase())
}

fn is_secret(key: &str, secrets: &[&str]) -> bool {
    key.rsplit('.').next().is_some_and(|last| secrets.contains(&last))
}

/// Tables that are sections are walked into; everything else is a value, known or not.
fn flatten(prefix: &str, table: &DeTable<'_>, keys: &[&str], typed: &mut Vec<(String, usize, Value)>) {
    for (name, value) in table.iter() {
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        let is_section = keys.iter().any(|known| known.starts_with(&format!("{key}.")));
        match value.get_ref() {
            DeValue::Table(inner) if is_section => flatten(&key, inner, keys, typed),
            other => typed.push((key, name.span().start, plain(other))),
        }
    }
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Bare(number.to_string()),
            Err(_) => Value::Bare(number.as_str().to_owned()),
        },
        DeValue::Float(number) => Value::Bare(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Value::Bare(truth.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> =
                items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
            texts.map_or(Value::Other("a list of other things than text"), Value::List)
        }
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}

fn unknown(origin: String, key: String, keys: &[&'static str]) -> ConfigError {
    let section = key.rsplit_once('.').map_or("", |(section, _)| section);
    let siblings: Vec<&str> = keys
        .iter()
        .copied()
        .filter(|known| known.rsplit_once('.').is_some_and(|(parent, _)| parent == section))
        .collect();
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    let candidates: Vec<&str> = keys.iter().chain(&sections).copied().collect();
    let nearest = nearest(&key, &candidates).map(str::to_owned);
    let known = if siblings.is_empty() {
        sections.into_iter().map(|section| format!("[{section}]")).collect::<Vec<_>>().join(", ")
    } else {
        siblings.join(", ")
    };
    ConfigError::UnknownKey { origin, key, nearest, known }
}
