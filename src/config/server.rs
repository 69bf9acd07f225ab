//! The operator's configuration: `mendwright.toml` and the environment over it, resolved into
//! values that need no further checking. Starts nothing and talks to nobody.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use self::engine::EngineConfig;
use self::values::{number, text, web_address};
use super::given::{ConfigError, Found, Given};
use super::secret::refuse_if_public;
use crate::domain::{Budget, DailyCap, DailyCaps, LabelName, Login, Price, PriceTable, RepositoryFilter};
use crate::secrets::SecretKind;

mod engine;
mod github;
mod model;
mod setup;
mod values;

pub use setup::SetupConfig;

/// Every key there is.
const KEYS: &[&str] = &[
    "server.listen",
    "server.public_url",
    "server.data_dir",
    "server.workers",
    "github.api_url",
    "github.web_url",
    "github.app_id",
    "github.private_key",
    "github.private_key_file",
    "github.webhook_secret",
    "github.webhook_secret_file",
    "github.webhook_secret_previous",
    "github.webhook_secret_previous_file",
    "github.label",
    "github.bots_allowed",
    "github.repositories",
    "github.repositories_denied",
    "github.reconcile_seconds",
    "github.publish",
    "github.signed_commits",
    "github.seconds_between_writes",
    "github.review_rounds_max",
    "model.provider",
    "model.url",
    "model.api_key",
    "model.api_key_file",
    "model.name",
    "model.brief_name",
    "model.context_tokens",
    "model.output_tokens_max",
    "model.price.input",
    "model.price.output",
    "model.price.cache_read",
    "model.price.cache_write",
    "model.price.long.above_tokens",
    "model.price.long.input",
    "model.price.long.output",
    "model.price.long.cache_read",
    "model.price.long.cache_write",
    "model.prices_file",
    "sandbox.kind",
    "sandbox.memory_mb",
    "sandbox.pids",
    "sandbox.cpus",
    "sandbox.disk_mb",
    "sandbox.open_files",
    "sandbox.require",
    "sandbox.toolchains",
    "sandbox.allowed_hosts",
    "sandbox.setup_variables",
    "sandbox.images",
    "sandbox.egress_mb",
    "sandbox.commands",
    "sandbox.network_for_proposals",
    "sandbox.kept_gb",
    "sandbox.kept_count",
    "sandbox.kept_days",
    "sandbox.image",
    "sandbox.docker_socket",
    "sandbox.docker_runtime",
    "sandbox.docker_userns",
    "budget.turns",
    "budget.tool_calls",
    "budget.tokens",
    "budget.usd",
    "budget.minutes",
    "budget.repository_usd_per_day",
    "budget.repository_tokens_per_day",
    "budget.installation_usd_per_day",
    "budget.installation_tokens_per_day",
    "budget.require_price",
    "store.path",
    "log.filter",
    "log.format",
];
/// Keys whose values are never shown.
const SECRETS: &[&str] = &["private_key", "webhook_secret", "webhook_secret_previous", "api_key"];

const WORKERS_MAX: usize = 64;

/// The service's configuration, checked.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where the service listens.
    pub listen: SocketAddr,
    /// How people reach it, for links; `None`: no links.
    pub public_url: Option<Url>,
    /// Where mirrors, the store and transcripts live.
    pub data_dir: PathBuf,
    /// Jobs at a time.
    pub workers: usize,
    /// The App and its GitHub.
    pub github: GitHubConfig,
    /// The models.
    pub model: ModelConfig,
    /// What jobs run in.
    pub sandbox: SandboxConfig,
    /// What a job may spend.
    pub budget: Budget,
    /// What all jobs together may spend in a day.
    pub caps: DailyCaps,
    /// Whether a model without a price is refused.
    pub require_price: bool,
    /// The SQLite file.
    pub store_path: PathBuf,
    /// What is logged, and how.
    pub log: LogConfig,
    /// What the operator should know and may leave so; to be logged at start.
    pub warnings: Vec<String>,
}

/// The App and its GitHub.
#[derive(Debug, Clone)]
pub struct GitHubConfig {
    /// The REST API.
    pub api_url: Url,
    /// Pages and git.
    pub web_url: Url,
    /// Who we are there; `None` before the set-up page registered the App.
    pub app: Option<AppConfig>,
    /// The label that asks for work.
    pub label: LabelName,
    /// Bots that may put the label on.
    pub bots_allowed: Vec<Login>,
    /// Which repositories may use this service.
    pub repository_filter: RepositoryFilter,
    /// How often is looked for what webhooks did not tell.
    pub reconcile_every: Duration,
    /// Whether every verified change is held back until somebody says that it may go out.
    pub requires_approval: bool,
    /// Between two writes for one installation; github.com asks for a second.
    pub between_writes: Duration,
    /// Whether commits are made by GitHub's API, so that GitHub signs them.
    pub signed_commits: bool,
    /// How many rounds of changes reviewers may ask for in one pull request.
    pub review_rounds_max: u32,
}

/// The App's credentials: the operator's, and where those say nothing what the set-up page stored.
#[derive(Debug, Clone)]
pub struct AppConfig {
    /// The App's id.
    pub id: u64,
    /// The App's RSA key, PEM.
    pub private_key: SecretString,
    /// What deliveries are signed with. Never empty.
    pub webhook_secret: SecretString,
    /// What they were signed with before, while it is being rotated.
    pub webhook_secret_previous: Option<SecretString>,
}

/// Who serves the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelProvider {
    /// Anthropic's Messages API.
    Anthropic,
    /// OpenAI's Chat Completions API, or whatever speaks it.
    OpenAi,
}

/// The models.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Whose wire format.
    pub provider: ModelProvider,
    /// Base address.
    pub url: Url,
    /// The key; `None` where the address needs none (a model on one's own machine).
    pub api_key: Option<SecretString>,
    /// The model that works.
    pub name: String,
    /// The cheaper model that writes the brief and sums up long conversations; `None`: no brief, and
    /// the model that works sums up.
    pub brief_name: Option<String>,
    /// What the model that works can hold, in tokens, where the operator states it.
    pub context_tokens: Option<u64>,
    /// The most that one answer may have.
    pub output_tokens_max: u32,
    /// The price of `name`, where the operator states it.
    pub price: Option<Price>,
    /// The operator's own table, which is asked before the built-in one.
    pub prices: PriceTable,
}

impl ModelConfig {
    /// What the operator says that a model costs.
    pub fn stated_price(&self, model: &str) -> Option<Price> {
        self.price.filter(|_| model == self.name).or_else(|| self.prices.price_of(model))
    }
}

/// A sandbox backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxKind {
    /// The system's bubblewrap.
    Bubblewrap,
    /// Docker Engine or Podman, through their API.
    Docker,
}

/// Which host directories with toolchains a sandbox sees, read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchains {
    /// What is found in the usual places.
    Detect,
    /// Exactly these.
    Paths(Vec<PathBuf>),
}

/// What a sandbox may be required to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxGuarantee {
    /// `memory`: bounded for all processes together.
    Memory,
    /// `processes`: their number is bounded.
    Processes,
    /// `processor`: its time is bounded.
    Processor,
    /// `disk`: the bytes written are bounded.
    Disk,
    /// `other_user`: nothing runs as this process' own user.
    OtherUser,
}

/// What jobs run in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxConfig {
    /// The backend.
    pub kind: SandboxKind,
    /// Memory of everything inside, in bytes.
    pub memory_bytes_max: u64,
    /// Processes and threads inside.
    pub pids_max: u32,
    /// Processor time, in thousandths of one processor; `None`: all there is.
    pub cpu_millis_max: Option<u32>,
    /// Bytes that may be written.
    pub disk_bytes_max: u64,
    /// Open files of one process.
    pub open_files_max: u64,
    /// What must be applied, or jobs do not run.
    pub required: Vec<SandboxGuarantee>,
    /// Toolchains inside.
    pub toolchains: Toolchains,
    /// What repositories' set-ups may do.
    pub setup: SetupConfig,
    /// The image that its root file system is; `None`: the host's own `/usr`.
    pub image: Option<String>,
    /// For `docker`.
    pub engine: EngineConfig,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Human,
    /// A JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A filter in `tracing`'s syntax; `None`: the default.
    pub filter: Option<String>,
    /// How.
    pub format: LogFormat,
}

/// The configuration section by section: what can be used of one that has faults, and the faults.
/// For those who look for all of them at once.
#[derive(Debug)]
pub struct Readings {
    /// Where mirrors, the store and transcripts live.
    pub data_dir: Result<PathBuf, ConfigError>,
    /// How people reach the service.
    pub public_url: Result<Option<Url>, ConfigError>,
    /// The App and its GitHub.
    pub github: Result<GitHubConfig, ConfigError>,
    /// The models.
    pub model: Result<ModelConfig, ConfigError>,
    /// What jobs run in.
    pub sandbox: Result<SandboxConfig, ConfigError>,
    /// Everything else.
    pub rest: Result<Rest, ConfigError>,
    /// What the operator should know and may leave so.
    pub warnings: Vec<String>,
}

/// What no section of its own is for.
#[derive(Debug)]
pub struct Rest {
    listen: SocketAddr,
    workers: usize,
    budget: Budget,
    caps: DailyCaps,
    require_price: bool,
    store_path: Option<PathBuf>,
    log: LogConfig,
}

impl Readings {
    /// Reads the file at `path`, and over it `environment`. An error here leaves nothing to use.
    pub fn of(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let environment: Vec<_> = environment.into_iter().collect();
        let given = Given::read(path, environment.iter().cloned(), KEYS, SECRETS)?;
        if let Some((file, found)) = given.file_with_secrets() {
            refuse_if_public(found, file)?;
        }
        let mut warnings = Vec::new();
        let data_dir =
            text(&given, "server.data_dir").map(|path| given.resolve(path.unwrap_or("mendwright-data")));
        let stored_in = data_dir.as_deref().unwrap_or(Path::new("mendwright-data")).to_owned();
        Ok(Self {
            public_url: web_address(&given, "server.public_url"),
            github: github::github(&given, &stored_in, &mut warnings),
            model: model::model(&given, &environment, &mut warnings),
            sandbox: sandbox(&given),
            rest: rest(&given),
            data_dir,
            warnings,
        })
    }

    /// The whole, where there is no fault; else the first one.
    fn whole(self) -> Result<ServerConfig, ConfigError> {
        let (data_dir, rest) = (self.data_dir?, self.rest?);
        Ok(ServerConfig {
            listen: rest.listen,
            public_url: self.public_url?,
            workers: rest.workers,
            github: self.github?,
            model: self.model?,
            sandbox: self.sandbox?,
            budget: rest.budget,
            caps: rest.caps,
            require_price: rest.require_price,
            log: rest.log,
            store_path: rest.store_path.unwrap_or_else(|| data_dir.join("mendwright.sqlite")),
            data_dir,
            warnings: self.warnings,
        })
    }
}

impl ServerConfig {
    /// Reads the file at `path`, and over it `environment`: `MENDWRIGHT_SECTION_KEY` for each key,
    /// and the providers' own `ANTHROPIC_API_KEY` and `OPENAI_API_KEY`. Relative paths start from
    /// the file's directory.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Readings::of(path, environment)?.whole()
    }

    /// Every secret in it, by whose it is.
    pub fn secrets(&self) -> impl Iterator<Item = (SecretKind, &SecretString)> {
        let app = self.github.app.iter().flat_map(|app| {
            [(SecretKind::AppKey, &app.private_key), (SecretKind::WebhookSecret, &app.webhook_secret)]
                .into_iter()
                .chain(app.webhook_secret_previous.iter().map(|secret| (SecretKind::WebhookSecret, secret)))
        });
        app.chain(self.model.api_key.iter().map(|key| (SecretKind::ModelKey, key)))
    }
}

fn rest(given: &Given) -> Result<Rest, ConfigError> {
    Ok(Rest {
        listen: listen(given)?,
        workers: number(given, "server.workers", 1..=WORKERS_MAX)?.unwrap_or(1),
        budget: budget(given)?,
        caps: DailyCaps { repository: cap(given, "repository")?, installation: cap(given, "installation")? },
        require_price: given.get("budget.require_price").map_or(Ok(false), Found::flag)?,
        store_path: text(given, "store.path")?.map(|path| given.resolve(path)),
        log: log(given)?,
    })
}

fn listen(given: &Given) -> Result<SocketAddr, ConfigError> {
    let Some(found) = given.get("server.listen") else {
        return Ok(SocketAddr::from(([127, 0, 0, 1], 8080)));
    };
    let remedy = "write an address and a port, as \"127.0.0.1:8080\" or \"[::]:8080\"";
    found.text()?.parse().map_err(|_| found.wrong("is no address to listen on", remedy))
}

fn sandbox(given: &Given) -> Result<SandboxConfig, ConfigError> {
    let kind = engine::kind(given)?;
    let memory_mb = number(given, "sandbox.memory_mb", 64..=1_048_576_u64)?.unwrap_or(4096);
    Ok(SandboxConfig {
        kind,
        image: engine::image(given, kind)?,
        engine: engine::engine(given)?,
        memory_bytes_max: memory_mb << 20,
        pids_max: number(given, "sandbox.pids", 16..=65_536)?.unwrap_or(1024),
        cpu_millis_max: number(given, "sandbox.cpus", 0.1..=1024.0)?.map(|cpus: f64| (cpus * 1000.0) as u32),
        disk_bytes_max: number(given, "sandbox.disk_mb", 64..=16_777_216_u64)?.unwrap_or(8192) << 20,
        open_files_max: number(given, "sandbox.open_files", 256..=1_048_576_u64)?.unwrap_or(65_536),
        required: required(given)?,
        toolchains: toolchains(given)?,
        setup: setup::setup(given)?,
    })
}

fn required(given: &Given) -> Result<Vec<SandboxGuarantee>, ConfigError> {
    let Some(found) = given.get("sandbox.require") else { return Ok(Vec::new()) };
    let remedy = "write some of [\"memory\", \"processes\", \"processor\", \"disk\", \"other_user\"]";
    let parse = |name: String| match name.as_str() {
        "memory" => Ok(SandboxGuarantee::Memory),
        "processes" => Ok(SandboxGuarantee::Processes),
        "processor" => Ok(SandboxGuarantee::Processor),
        "disk" => Ok(SandboxGuarantee::Disk),
        "other_user" => Ok(SandboxGuarantee::OtherUser),
        _ => Err(found.wrong(format!("has an entry that no sandbox has, {name:?}"), remedy)),
    };
    found.list()?.into_iter().map(parse).collect()
}

fn toolchains(given: &Given) -> Result<Toolchains, ConfigError> {
    let Some(found) = given.get("sandbox.toolchains") else { return Ok(Toolchains::Detect) };
    let remedy = "write \"detect\", or absolute paths of directories as [\"/opt/rust\"]";
    if !found.is_list() && found.text()? == "detect" {
        return Ok(Toolchains::Detect);
    }
    let paths: Vec<PathBuf> = found.list()?.into_iter().map(PathBuf::from).collect();
    match paths.iter().find(|path| !path.is_absolute() || path.parent().is_none()) {
        Some(path) => Err(found.wrong(format!("has an entry that cannot be used, {path:?}"), remedy)),
        None => Ok(Toolchains::Paths(paths)),
    }
}

fn budget(given: &Given) -> Result<Budget, ConfigError> {
    let default = Budget::default();
    let minutes = number(given, "budget.minutes", 1..=24 * 60_u64)?;
    Ok(Budget {
        turns_max: number(given, "budget.turns", 1..=10_000)?.unwrap_or(default.turns_max),
        tool_calls_max: number(given, "budget.tool_calls", 1..=100_000)?.unwrap_or(default.tool_calls_max),
        tokens_max: number(given, "budget.tokens", 1_000..=10_000_000_000)?.unwrap_or(default.tokens_max),
        usd_max: number(given, "budget.usd", 0.01..=10_000.0)?.unwrap_or(default.usd_max),
        time_max: minutes.map_or(default.time_max, |minutes| Duration::from_secs(minutes * 60)),
    })
}

/// What may be spent in a day, of one `payer`.
fn cap(given: &Given, payer: &str) -> Result<DailyCap, ConfigError> {
    Ok(DailyCap {
        usd: number(given, &format!("budget.{payer}_usd_per_day"), 0.01..=1_000_000.0)?,
        tokens: number(given, &format!("budget.{payer}_tokens_per_day"), 1_000..=1_000_000_000_000)?,
    })
}

fn log(given: &Given) -> Result<LogConfig, ConfigError> {
    let format = match given.get("log.format") {
        None => LogFormat::Auto,
        Some(found) => match found.text()? {
            "auto" => LogFormat::Auto,
            "human" => LogFormat::Human,
            "json" => LogFormat::Json,
            _ => return Err(found.wrong("is no format", "write \"auto\", \"human\" or \"json\"")),
        },
    };
    Ok(LogConfig { filter: text(given, "log.filter")?.map(str::to_owned), format })
}

#[cfg(test)]
mod tests;
