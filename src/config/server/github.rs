//! The section `[github]`: the App, whose work counts, and how Mendwright behaves there.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::values::{known_url, warn_of_plain_http};
use crate::config::error::ConfigError;
use crate::config::key::{ConfigKey, ConfigSection, DefaultValue, ValueType};
use crate::config::raw::RawConfig;
use crate::config::secret::secret;
use crate::config::stored_app::StoredApp;
use crate::domain::{Login, RepositoryFilter, RepositoryPattern};

/// Shorter secrets are accepted, with a warning: GitHub advises random text of high entropy.
const WEBHOOK_SECRET_BYTES_ADVISED: usize = 16;
/// GitHub's bound on a label's name.
const LABEL_CHARS_MAX: usize = 50;

pub(super) const GITHUB: ConfigSection = ConfigSection {
    name: "github",
    description: "The GitHub App, who may use the service, and how it behaves on GitHub. The setup page \
                  stores the App's credentials in the data directory; keys that are set here take \
                  precedence.",
    keys: &[
        ConfigKey {
            name: "github.app_id",
            value: ValueType::Integer { min: 1, max: u64::MAX },
            default: DefaultValue::Unset("as the setup page stored it"),
            example: "123456",
            description: "The App's number, from its settings page.",
        },
        ConfigKey {
            name: "github.private_key_file",
            value: ValueType::Path,
            default: DefaultValue::Unset("as the setup page stored it"),
            example: "\"/etc/mendwright/app.pem\"",
            description: "The `.pem` file with the App's private key. Everybody else must not be able to \
                          read it (`chmod 600`).",
        },
        ConfigKey {
            name: "github.private_key",
            value: ValueType::Secret,
            default: DefaultValue::Unset("`github.private_key_file`"),
            example: "\"-----BEGIN RSA PRIVATE KEY-----\\n…\"",
            description: "The private key itself; `\\n` stands for a line end. Set it as an environment \
                          variable rather than in the file.",
        },
        ConfigKey {
            name: "github.webhook_secret_file",
            value: ValueType::Path,
            default: DefaultValue::Unset("as the setup page stored it"),
            example: "\"/etc/mendwright/webhook-secret\"",
            description: "A file with the secret that GitHub signs deliveries with: at least 16 bytes, for \
                          example from `openssl rand -hex 32`.",
        },
        ConfigKey {
            name: "github.webhook_secret",
            value: ValueType::Secret,
            default: DefaultValue::Unset("`github.webhook_secret_file`"),
            example: "\"…\"",
            description: "The webhook secret itself.",
        },
        ConfigKey {
            name: "github.webhook_secret_previous_file",
            value: ValueType::Path,
            default: DefaultValue::Unset("one secret only is accepted"),
            example: "\"/etc/mendwright/webhook-secret-previous\"",
            description: "A file with the webhook secret before the current one. Both are accepted: set it \
                          while you rotate the secret.",
        },
        ConfigKey {
            name: "github.webhook_secret_previous",
            value: ValueType::Secret,
            default: DefaultValue::Unset("`github.webhook_secret_previous_file`"),
            example: "\"…\"",
            description: "The previous webhook secret itself.",
        },
        ConfigKey {
            name: "github.api_url",
            value: ValueType::Url,
            default: DefaultValue::Unset("as the setup page stored it, else `https://api.github.com`"),
            example: "\"https://github.example.org/api/v3\"",
            description: "The REST API. Set it for GitHub Enterprise Server.",
        },
        ConfigKey {
            name: "github.web_url",
            value: ValueType::Url,
            default: DefaultValue::Unset("derived from `github.api_url`"),
            example: "\"https://github.example.org\"",
            description: "The address of pages and of git.",
        },
        ConfigKey {
            name: "github.label",
            value: ValueType::Text,
            default: DefaultValue::Value("\"agent-fix\""),
            example: "\"agent-fix\"",
            description: "The label that asks for work on an issue: 1 to 50 characters. As on GitHub, case \
                          makes no difference.",
        },
        ConfigKey {
            name: "github.repositories",
            value: ValueType::List { of: "patterns" },
            default: DefaultValue::Unset("every repository that the App is installed on"),
            example: "[\"octo-org\", \"ada/web-*\"]",
            description: "The repositories that may use the service: `OWNER`, or `OWNER/NAME` with `*` for \
                          any text. Events of all others are ignored.",
        },
        ConfigKey {
            name: "github.repositories_denied",
            value: ValueType::List { of: "patterns" },
            default: DefaultValue::Unset("none"),
            example: "[\"octo-org/secret-*\"]",
            description: "Repositories that may not use the service. It takes precedence over \
                          `github.repositories`.",
        },
        ConfigKey {
            name: "github.bots_allowed",
            value: ValueType::List { of: "logins" },
            default: DefaultValue::Value("[]"),
            example: "[\"renovate[bot]\"]",
            description: "Bots whose labels and commands count. Those of all other bots are ignored.",
        },
        ConfigKey {
            name: "github.publish",
            value: ValueType::Choice(&["push", "hold"]),
            default: DefaultValue::Value("\"push\""),
            example: "\"push\"",
            description: "`hold` shows every verified change in a comment, and pushes it only after \
                          somebody with write access comments `/agent-fix publish`. With `push`, each \
                          repository decides.",
        },
        ConfigKey {
            name: "github.review_rounds_max",
            value: ValueType::Integer { min: 0, max: 100 },
            default: DefaultValue::Value("5"),
            example: "5",
            description: "How many rounds of changes reviewers may ask for in one pull request.",
        },
        ConfigKey {
            name: "github.signed_commits",
            value: ValueType::Flag,
            default: DefaultValue::Value("false"),
            example: "false",
            description: "Whether commits are made through GitHub's API, so that GitHub signs them. The \
                          tree is the verified one, or no pull request is opened. A change that sets a \
                          file's mode is pushed by git, unsigned.",
        },
        ConfigKey {
            name: "github.reconcile_seconds",
            value: ValueType::Integer { min: 1, max: 86_400 },
            default: DefaultValue::Value("300"),
            example: "300",
            description: "Seconds between two searches for labels whose webhook was lost.",
        },
        ConfigKey {
            name: "github.seconds_between_writes",
            value: ValueType::Integer { min: 0, max: 60 },
            default: DefaultValue::Value("1"),
            example: "1",
            description: "Seconds between two writes for one installation: github.com asks for one. 0 is \
                          for servers without such a limit.",
        },
    ],
};

/// The App and its GitHub.
#[derive(Debug, Clone)]
pub struct GitHubConfig {
    /// The REST API.
    pub api_url: Url,
    /// Pages and git.
    pub web_url: Url,
    /// The App's credentials; `None` until the setup page has registered the App.
    pub app: Option<AppConfig>,
    /// The operator's rules.
    pub rules: JobRules,
    /// The time between two searches for labels whose webhook was lost.
    pub reconcile_interval: Duration,
    /// The time between two writes for one installation; github.com asks for a second.
    pub write_interval: Duration,
}

/// The operator's rules for every job. They reach the job as they are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRules {
    /// The label that starts work.
    pub label: String,
    /// The bots that may start work and give commands.
    pub bots_allowed: Vec<Login>,
    /// The repositories that may use this service.
    pub repository_filter: RepositoryFilter,
    /// Whether every verified change waits for approval before it is published. A repository can ask for
    /// this, too, but not switch it off.
    pub approval_required: bool,
    /// How often reviewers and failed checks may have one pull request revised.
    pub review_rounds_max: u32,
    /// Whether GitHub creates the commits by its API, and so signs them, if it can.
    pub signed_commits: bool,
}

impl Default for JobRules {
    /// The rules of a job without GitHub.
    fn default() -> Self {
        Self {
            label: "agent-fix".to_owned(),
            bots_allowed: Vec::new(),
            repository_filter: RepositoryFilter::default(),
            approval_required: false,
            review_rounds_max: 0,
            signed_commits: false,
        }
    }
}

/// The App's credentials: the operator's, completed with what the setup page stored.
#[derive(Debug, Clone)]
pub struct AppConfig {
    /// The App's id.
    pub id: u64,
    /// The App's RSA key, PEM.
    pub private_key: SecretString,
    /// The secret that deliveries are signed with. Never empty.
    pub webhook_secret: SecretString,
    /// The secret before it, during a rotation.
    pub webhook_secret_previous: Option<SecretString>,
}

impl From<&StoredApp> for AppConfig {
    fn from(app: &StoredApp) -> Self {
        Self {
            id: app.app_id,
            private_key: app.private_key.clone(),
            webhook_secret: app.webhook_secret.clone(),
            webhook_secret_previous: None,
        }
    }
}

pub(super) fn github(
    raw: &RawConfig,
    data_dir: &Path,
    warnings: &mut Vec<String>,
) -> Result<GitHubConfig, ConfigError> {
    let written = WrittenApp::read(raw, warnings)?;
    let stored = if written.is_complete() { None } else { StoredApp::read(data_dir)? };
    // The operator's keys take precedence, and another App's key is of no use with them.
    let stored = stored.filter(|stored| written.id.is_none_or(|id| id == stored.app_id));
    let (api_url, web_url) = addresses(raw, data_dir, stored.as_ref())?;
    warn_of_plain_http(&api_url, "github.api_url", warnings);
    Ok(GitHubConfig {
        api_url,
        web_url,
        app: written.complete(raw, stored.as_ref())?,
        rules: JobRules {
            label: label(raw)?,
            bots_allowed: bots_allowed(raw)?,
            repository_filter: RepositoryFilter {
                allowed: patterns(raw, "github.repositories")?,
                denied: patterns(raw, "github.repositories_denied")?,
            },
            approval_required: raw.setting("github.publish")?.choice()? == "hold",
            review_rounds_max: raw.integer("github.review_rounds_max")?,
            signed_commits: raw.flag("github.signed_commits")?,
        },
        reconcile_interval: Duration::from_secs(raw.integer("github.reconcile_seconds")?),
        write_interval: Duration::from_secs(raw.integer("github.seconds_between_writes")?),
    })
}

/// The credentials as the operator wrote them: all, some or none.
struct WrittenApp {
    id: Option<u64>,
    private_key: Option<SecretString>,
    webhook_secret: Option<SecretString>,
    webhook_secret_previous: Option<SecretString>,
}

impl WrittenApp {
    fn read(raw: &RawConfig, warnings: &mut Vec<String>) -> Result<Self, ConfigError> {
        let mut webhook_secret = |key: &'static str, file_key: &'static str| {
            let found = secret(raw, key, file_key)?;
            if let Some((secret, setting)) = &found {
                warn_of_short_secret(secret, setting.key.name, warnings);
            }
            Ok(found.map(|(secret, _)| secret))
        };
        Ok(Self {
            id: raw.optional_integer("github.app_id")?,
            private_key: private_key(raw)?,
            webhook_secret: webhook_secret("github.webhook_secret", "github.webhook_secret_file")?,
            webhook_secret_previous: webhook_secret(
                "github.webhook_secret_previous",
                "github.webhook_secret_previous_file",
            )?,
        })
    }

    fn is_complete(&self) -> bool {
        self.id.is_some() && self.private_key.is_some() && self.webhook_secret.is_some()
    }

    fn is_empty(&self) -> bool {
        self.id.is_none() && self.private_key.is_none() && self.webhook_secret.is_none()
    }

    /// The credentials, completed with the stored ones. `None`: there are none at all.
    fn complete(self, raw: &RawConfig, stored: Option<&StoredApp>) -> Result<Option<AppConfig>, ConfigError> {
        if self.is_empty() && stored.is_none() {
            return Ok(None);
        }
        let id = self
            .id
            .or(stored.map(|app| app.app_id))
            .ok_or_else(|| raw.missing("github.app_id", "write the number on the App's settings page"))?;
        let private_key =
            self.private_key.or(stored.map(|app| app.private_key.clone())).ok_or_else(|| {
                let remedy = "write the path of the .pem file that GitHub let you download";
                raw.missing("github.private_key_file", remedy)
            })?;
        let webhook_secret =
            self.webhook_secret.or(stored.map(|app| app.webhook_secret.clone())).ok_or_else(|| {
                let remedy = "without it anybody could send deliveries; write the secret of the App's \
                              webhook settings";
                raw.missing("github.webhook_secret", remedy)
            })?;
        let webhook_secret_previous = self.webhook_secret_previous;
        Ok(Some(AppConfig { id, private_key, webhook_secret, webhook_secret_previous }))
    }
}

/// The addresses of the API and of the pages.
fn addresses(
    raw: &RawConfig,
    data_dir: &Path,
    stored: Option<&StoredApp>,
) -> Result<(Url, Url), ConfigError> {
    let api_url = raw.url("github.api_url")?;
    let web_url = raw.url("github.web_url")?;
    if let (Some(api_url), Some(stored)) = (&api_url, stored)
        && *api_url != stored.api_url
    {
        return Err(ConfigError::Stored {
            file: StoredApp::path(data_dir).display().to_string(),
            problem: format!("is from {}, and github.api_url is {api_url}", stored.api_url),
            remedy: "set github.api_url to the former; or move the file away and register the App again"
                .to_owned(),
        });
    }
    if let (None, Some(stored)) = (&api_url, stored) {
        return Ok((stored.api_url.clone(), web_url.unwrap_or_else(|| stored.web_url.clone())));
    }
    let api_url = api_url.unwrap_or_else(|| known_url("https://api.github.com"));
    let web_url = web_url.unwrap_or_else(|| pages_of(&api_url));
    Ok((api_url, web_url))
}

fn private_key(raw: &RawConfig) -> Result<Option<SecretString>, ConfigError> {
    let Some((key, setting)) = secret(raw, "github.private_key", "github.private_key_file")? else {
        return Ok(None);
    };
    // Environment variables often hold the key in one line, with `\n` for its line ends.
    let key = SecretString::from(key.expose_secret().replace("\\n", "\n"));
    let pem = key.expose_secret();
    if !(pem.contains("-----BEGIN ") && pem.contains("PRIVATE KEY-----") && pem.contains("-----END ")) {
        let remedy = "it must hold everything from -----BEGIN to -----END, as you downloaded it from GitHub";
        return Err(setting.invalid("is not a private key in PEM format", remedy));
    }
    Ok(Some(key))
}

fn label(raw: &RawConfig) -> Result<String, ConfigError> {
    let setting = raw.setting("github.label")?;
    let label = setting.text()?;
    if label.trim().is_empty() || label.chars().count() > LABEL_CHARS_MAX {
        let remedy = format!("use 1 to {LABEL_CHARS_MAX} characters");
        return Err(setting.invalid("is not a valid label", remedy));
    }
    Ok(label.to_owned())
}

fn bots_allowed(raw: &RawConfig) -> Result<Vec<Login>, ConfigError> {
    let setting = raw.setting("github.bots_allowed")?;
    let login = |text: String| {
        let login: Result<Login, _> = text.parse();
        login.map_err(|error| {
            setting.invalid(format!("has an invalid entry: {error}"), "write logins as [\"renovate[bot]\"]")
        })
    };
    setting.list()?.into_iter().map(login).collect()
}

fn patterns(raw: &RawConfig, key: &'static str) -> Result<Vec<RepositoryPattern>, ConfigError> {
    let Some(setting) = raw.get(key) else { return Ok(Vec::new()) };
    let remedy = "write accounts or repositories, such as \"octo-org\" or \"octo-org/web-*\"";
    let list = setting.list()?;
    if list.is_empty() {
        return Err(setting.invalid("is empty", "remove it to allow all repositories, or name some"));
    }
    let pattern = |text: String| {
        text.parse()
            .map_err(|why| setting.invalid(format!("has an invalid entry ({text:?} is {why})"), remedy))
    };
    list.into_iter().map(pattern).collect()
}

/// The address of the pages: github.com for its API, else the same host (GitHub Enterprise Server).
fn pages_of(api_url: &Url) -> Url {
    if api_url.host_str() == Some("api.github.com") {
        return known_url("https://github.com");
    }
    let mut pages = api_url.clone();
    pages.set_path("/");
    pages
}

fn warn_of_short_secret(secret: &SecretString, key: &str, warnings: &mut Vec<String>) {
    let bytes = secret.expose_secret().len();
    if bytes < WEBHOOK_SECRET_BYTES_ADVISED {
        warnings.push(format!(
            "{key} has {bytes} bytes and could be guessed; make one with: openssl rand -hex 32"
        ));
    }
}
