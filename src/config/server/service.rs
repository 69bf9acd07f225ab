//! The sections `[server]` and `[log]`: where the service listens, keeps its data and logs.

use std::net::SocketAddr;
use std::path::PathBuf;

use url::Url;

use crate::config::error::ConfigError;
use crate::config::key::{ConfigKey, ConfigSection, DefaultValue, ValueType};
use crate::config::raw::RawConfig;
use crate::telemetry::LogFormat;

pub(super) const SERVER: ConfigSection = ConfigSection {
    name: "server",
    description: "Where the service listens, how GitHub reaches it, and where it keeps its data.",
    keys: &[
        ConfigKey {
            name: "server.listen",
            value: ValueType::SocketAddress,
            default: DefaultValue::Value("\"127.0.0.1:8080\""),
            example: "\"127.0.0.1:8080\"",
            description: "The address and port that the service listens on, without TLS: put a TLS proxy in \
                          front of it.",
        },
        ConfigKey {
            name: "server.public_url",
            value: ValueType::Url,
            default: DefaultValue::Unset("the service is not reachable from outside"),
            example: "\"https://mendwright.example.org\"",
            description: "The address at which GitHub and people reach the service. The setup page needs \
                          it to register the App.",
        },
        ConfigKey {
            name: "server.data_dir",
            value: ValueType::Path,
            default: DefaultValue::Value("\"mendwright-data\""),
            example: "\"/var/lib/mendwright\"",
            description: "The directory for git mirrors, the store, transcripts, images and setup caches. \
                          Only the service's account may read it: `sudo install -d -m 0700 -o ACCOUNT \
                          /var/lib/mendwright`.",
        },
        ConfigKey {
            name: "server.workers",
            value: ValueType::Integer { min: 1, max: 64 },
            default: DefaultValue::Value("1"),
            example: "1",
            description: "The number of jobs that run at the same time.",
        },
    ],
};

pub(super) const LOG: ConfigSection = ConfigSection {
    name: "log",
    description: "What the service logs to standard error, and how.",
    keys: &[
        ConfigKey {
            name: "log.filter",
            value: ValueType::Text,
            default: DefaultValue::Unset(
                "everything of Mendwright from level `info` on, and warnings of its HTTP stack",
            ),
            example: "\"info,mendwright=debug\"",
            description: "A filter in the syntax of the crate `tracing-subscriber`: levels, and levels by \
                          module.",
        },
        ConfigKey {
            name: "log.format",
            value: ValueType::Choice(&["auto", "human", "json"]),
            default: DefaultValue::Value("\"auto\""),
            example: "\"auto\"",
            description: "How log lines look: `human` for people, `json` with one object a line, `auto` for \
                          `human` on a terminal and `json` elsewhere.",
        },
    ],
};

/// Where the service listens and keeps its data.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How GitHub and people reach it; `None`: not from outside.
    pub public_url: Option<Url>,
    /// Where mirrors, the store and transcripts are.
    pub data_dir: PathBuf,
    /// Jobs at the same time.
    pub workers: usize,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A filter in `tracing`'s syntax; `None`: the default.
    pub filter: Option<String>,
    /// How lines look.
    pub format: LogFormat,
}

pub(super) fn server(raw: &RawConfig) -> Result<ServiceConfig, ConfigError> {
    Ok(ServiceConfig {
        data_dir: data_dir(raw)?,
        listen: raw.setting("server.listen")?.socket_address()?,
        public_url: public_url(raw)?,
        workers: raw.integer("server.workers")?,
    })
}

pub(super) fn public_url(raw: &RawConfig) -> Result<Option<Url>, ConfigError> {
    raw.url("server.public_url")
}

pub(super) fn data_dir(raw: &RawConfig) -> Result<PathBuf, ConfigError> {
    Ok(raw.resolve(raw.setting("server.data_dir")?.text()?))
}

pub(super) fn log(raw: &RawConfig) -> Result<LogConfig, ConfigError> {
    let format = match raw.setting("log.format")?.choice()? {
        "human" => LogFormat::Human,
        "json" => LogFormat::Json,
        _ => LogFormat::Auto,
    };
    Ok(LogConfig { filter: raw.text("log.filter")?.map(str::to_owned), format })
}
