//! The operator's settings as they were written: a TOML file and, over it, environment variables.
//! Knows where each value comes from, so that every error can name its origin. Knows no key by name:
//! the table of keys says what each one takes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use url::Url;

use super::error::ConfigError;
use super::key::{ConfigKey, ConfigSection, DefaultValue, find};
use super::setting::{Setting, Value};
use super::suggestion::nearest;

const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// All settings: written ones, and defaults from the table of keys.
#[derive(Debug)]
pub(super) struct RawConfig {
    /// The file's name, for errors.
    pub(super) file: String,
    sections: &'static [ConfigSection],
    /// Relative paths start here.
    directory: PathBuf,
    path: PathBuf,
    secret_in_file: Option<Setting>,
    settings: BTreeMap<&'static str, Setting>,
}

impl RawConfig {
    /// Reads the file and the environment.
    pub(super) fn read(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        sections: &'static [ConfigSection],
    ) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let unreadable = |why: String| ConfigError::Unreadable { file: file.clone(), why };
        let bytes = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(unreadable(format!("it has {bytes} bytes, at most {FILE_BYTES_MAX} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let mut raw = Self {
            file,
            sections,
            directory: path.parent().unwrap_or(Path::new("")).to_owned(),
            path: path.to_owned(),
            secret_in_file: None,
            settings: BTreeMap::new(),
        };
        raw.add_defaults();
        raw.add_file(&text)?;
        raw.add_environment(environment);
        Ok(raw)
    }

    /// The setting: written, or a default of the table. `None`: it is unset.
    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        debug_assert!(find(self.sections, name).is_some(), "the table has no key {name}");
        self.settings.get(name)
    }

    /// The setting, or an error that says what to write.
    pub(super) fn require(&self, name: &str, remedy: &str) -> Result<&Setting, ConfigError> {
        self.get(name).ok_or_else(|| self.missing(name, remedy))
    }

    /// The setting of a key that has a default.
    pub(super) fn setting(&self, name: &str) -> Result<&Setting, ConfigError> {
        self.require(name, "write a value for it")
    }

    /// The error for a setting that is not there.
    pub(super) fn missing(&self, name: &str, remedy: impl Into<String>) -> ConfigError {
        let variable = find(self.sections, name).map(ConfigKey::variable).unwrap_or_default();
        ConfigError::Missing {
            file: self.file.clone(),
            key: name.to_owned(),
            variable,
            remedy: remedy.into(),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        self.get(name).map(Setting::text).transpose()
    }

    pub(super) fn url(&self, name: &str) -> Result<Option<Url>, ConfigError> {
        self.get(name).map(Setting::url).transpose()
    }

    pub(super) fn path(&self, name: &str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.text(name)?.map(|path| self.resolve(path)))
    }

    pub(super) fn decimal(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        self.get(name).map(Setting::decimal).transpose()
    }

    pub(super) fn optional_integer<T: TryFrom<u64>>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        self.get(name).map(Setting::integer).transpose()
    }

    /// The number under a key that has a default.
    pub(super) fn integer<T: TryFrom<u64>>(&self, name: &str) -> Result<T, ConfigError> {
        self.setting(name)?.integer()
    }

    /// The truth value under a key that has a default.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ConfigError> {
        self.setting(name)?.flag()
    }

    /// A path as written, seen from the file's directory.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    /// The file, if it holds a secret.
    pub(super) fn file_with_secret(&self) -> Option<(&Path, &Setting)> {
        self.secret_in_file.as_ref().map(|setting| (self.path.as_path(), setting))
    }

    fn keys(&self) -> impl Iterator<Item = &'static ConfigKey> + use<> {
        self.sections.iter().flat_map(|section| section.keys)
    }

    fn add_defaults(&mut self) {
        for key in self.keys() {
            let DefaultValue::Value(text) = key.default else { continue };
            let value = parse_value(text);
            self.settings.insert(key.name, Setting::new(key, "the default".to_owned(), false, value));
        }
    }

    fn add_file(&mut self, text: &str) -> Result<(), ConfigError> {
        let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            file: self.file.clone(),
            line: error.span().map_or(1, |span| line_of(span.start)),
            why: error.message().to_owned(),
        })?;
        let mut written = Vec::new();
        self.flatten("", table.get_ref(), &mut written);
        for (name, offset, value) in written {
            let origin = format!("{} line {}", self.file, line_of(offset));
            let Some(key) = find(self.sections, &name) else { return Err(self.unknown_key(origin, name)) };
            let setting = Setting::new(key, origin, false, value);
            if key.is_secret() {
                self.secret_in_file = Some(setting.clone());
            }
            self.settings.insert(key.name, setting);
        }
        Ok(())
    }

    /// Environment variables replace what the file says. Unknown ones are ignored: Kubernetes sets some
    /// that begin like ours for every service's name.
    fn add_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let by_variable: BTreeMap<String, &'static ConfigKey> =
            self.keys().map(|key| (key.variable(), key)).collect();
        for (name, text) in environment {
            let Some(key) = by_variable.get(&name) else { continue };
            let origin = format!("environment variable {name}");
            self.settings.insert(key.name, Setting::new(key, origin, true, Value::Text(text)));
        }
    }

    /// Every value of the file with its dotted name and its place. Tables that are sections, or begin a
    /// key's name, are walked into; every other value is kept, known or not.
    fn flatten(&self, prefix: &str, table: &DeTable<'_>, written: &mut Vec<(String, usize, Value)>) {
        for (name, value) in table.iter() {
            let name_ref = name.get_ref();
            let full = if prefix.is_empty() { name_ref.to_string() } else { format!("{prefix}.{name_ref}") };
            let is_section = self.keys().any(|key| key.name.starts_with(&format!("{full}.")));
            match value.get_ref() {
                DeValue::Table(inner) if is_section => self.flatten(&full, inner, written),
                other => written.push((full, name.span().start, plain(other))),
            }
        }
    }

    fn unknown_key(&self, origin: String, name: String) -> ConfigError {
        let section = name.rsplit_once('.').map_or("", |(section, _)| section);
        let names: Vec<&str> = self.keys().map(|key| key.name).collect();
        let siblings: Vec<&str> = names
            .iter()
            .copied()
            .filter(|known| known.rsplit_once('.').is_some_and(|(parent, _)| parent == section))
            .collect();
        let sections: BTreeSet<&str> = self.sections.iter().map(|section| section.name).collect();
        let candidates: Vec<&str> = names.iter().chain(&sections).copied().collect();
        let nearest = nearest(&name, &candidates).map(str::to_owned);
        let known = if siblings.is_empty() {
            sections.into_iter().map(|section| format!("[{section}]")).collect::<Vec<_>>().join(", ")
        } else {
            siblings.join(", ")
        };
        ConfigError::UnknownKey { origin, key: name, nearest, known }
    }
}

/// A value as the file spells it: text of this program, from the table of keys.
fn parse_value(text: &str) -> Value {
    let parsed = DeValue::parse(text);
    parsed.map_or(Value::Other("a default that is not TOML"), |value| plain(value.get_ref()))
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
            texts.map_or(Value::Other("a list of something other than text"), Value::List)
        }
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}
