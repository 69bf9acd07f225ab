//! The section `[store]`: which database the service has, and how long it keeps deliveries and commands. Where a
//! store is, is read and shown only here; `src/store/mod.rs` opens it.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use crate::config::error::ConfigError;
use crate::config::key::{ConfigKey, ConfigSection, DefaultValue, ValueType};
use crate::config::raw::RawConfig;

pub(super) const STORE: ConfigSection = ConfigSection {
    name: "store",
    description: "The database.",
    keys: &[
        ConfigKey {
            name: "store.path",
            value: ValueType::Path,
            default: DefaultValue::Unset("`mendwright.sqlite` in `server.data_dir`"),
            example: "\"/var/lib/mendwright/mendwright.sqlite\"",
            description: "The SQLite file. It must be on a local disk.",
        },
        ConfigKey {
            name: "store.keep_days",
            value: ValueType::Integer { min: KEEP_DAYS_MIN, max: 3650 },
            default: DefaultValue::Value("30"),
            example: "30",
            description: "How many days recorded deliveries and answered commands stay in the store; at most \
                          100,000 of each. Jobs, their transcripts and their costs always stay.",
        },
    ],
};

/// As long as a payload counts once.
const KEEP_DAYS_MIN: u64 = 7;

/// Where a store is. A variant for each kind of store.
#[derive(Debug, Clone)]
pub enum StoreLocation {
    /// The file of a SQLite database.
    Sqlite(PathBuf),
}

impl StoreLocation {
    /// The store of a data directory that nothing else names.
    pub fn in_directory(directory: &Path) -> Self {
        Self::Sqlite(directory.join("mendwright.sqlite"))
    }
}

/// For messages.
impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => file.display().fmt(f),
        }
    }
}

/// The database.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where it is.
    pub location: StoreLocation,
    /// How long deliveries and answered commands stay in it.
    pub keep: SignedDuration,
}

pub(super) fn store(raw: &RawConfig, data_dir: &Path) -> Result<StoreConfig, ConfigError> {
    let location = match raw.path("store.path")? {
        Some(file) => StoreLocation::Sqlite(file),
        None => StoreLocation::in_directory(data_dir),
    };
    let days: u32 = raw.integer("store.keep_days")?;
    Ok(StoreConfig { location, keep: SignedDuration::from_hours(i64::from(days) * 24) })
}
