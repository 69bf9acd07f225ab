//! The operator's file: what it means, and the error for each mistake.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::domain::{
    AllowedHost, Budget, DailyCap, DailyCaps, EngineConfig, Guarantee, LongPromptPrice, ModelProvider, Price,
    SandboxKind,
};
use crate::telemetry::LogFormat;

mod every_key;
mod stored;

const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\n";
const WHOLE: &str = r#"
[github]
app_id = 12345
private_key_file = "app.pem"
webhook_secret_file = "secret"

[model]
provider = "anthropic"
name = "a-model"
api_key_file = "key"
"#;

struct ConfigDirectory(tempfile::TempDir);

impl ConfigDirectory {
    fn new() -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        directory.write("app.pem", KEY, 0o600);
        directory.write("secret", "0123456789abcdef\n", 0o600);
        directory.write("key", "sk-ant-1\n", 0o640);
        directory
    }
    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    fn load_with(&self, text: &str, environment: &[(&str, &str)]) -> Result<ServerConfig, ConfigError> {
        self.write("mendwright.toml", text, 0o600);
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ServerConfig::load(&self.0.path().join("mendwright.toml"), environment)
    }
    fn load(&self, text: &str) -> Result<ServerConfig, ConfigError> {
        self.load_with(text, &[])
    }
    fn error_with(&self, text: &str, environment: &[(&str, &str)]) -> String {
        let error = self.load_with(text, environment).unwrap_err().to_string();
        error.replace(self.0.path().to_str().unwrap(), "DIR")
    }
}

fn error(text: &str) -> String {
    ConfigDirectory::new().error_with(text, &[])
}
/// The file [`WHOLE`] with a line below a section's header.
fn with(section: &str, line: &str) -> String {
    let header = format!("[{section}]\n");
    match WHOLE.contains(&header) {
        true => WHOLE.replace(&header, &format!("{header}{line}\n")),
        false => format!("{WHOLE}{header}{line}\n"),
    }
}

#[test]
fn docker_settings_are_read() {
    let lines = "kind = \"docker\"\nimage = \"debian:12\"\ndocker_socket = \"unix:///run/podman/podman.sock\"\n\
                 docker_runtime = \"runsc\"\ndocker_userns = \"auto\"";
    let sandbox = ConfigDirectory::new().load(&with("sandbox", lines)).unwrap().sandbox;
    assert_eq!((sandbox.kind, sandbox.image.as_deref()), (SandboxKind::Docker, Some("debian:12")));
    let engine = EngineConfig {
        socket: Some("unix:///run/podman/podman.sock".to_owned()),
        runtime: Some("runsc".to_owned()),
        userns: Some("auto".to_owned()),
    };
    assert_eq!(sandbox.engine, engine);
    let plain = ConfigDirectory::new().load(WHOLE).unwrap().sandbox;
    assert_eq!(
        (plain.kind, plain.image, plain.engine),
        (SandboxKind::Bubblewrap, None, EngineConfig::default())
    );
}

#[test]
fn setup_settings_are_read_and_checked() {
    let setup = |lines: &str| ConfigDirectory::new().load(&with("sandbox", lines)).unwrap().sandbox.setup;
    let plain = ConfigDirectory::new().load(WHOLE).unwrap().sandbox.setup;
    assert!(plain.commands && plain.scripts);
    assert_eq!((plain.allowed_hosts.len(), plain.images.len(), plain.network_for_proposals), (0, 0, false));
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    assert_eq!((plain.kept_bytes_max, plain.kept_count_max, plain.kept_age_max), (20 << 30, 20, days(14)));
    let given = setup(
        "allowed_hosts = [\"registry.example.org\", \"nexus=10.1.0.0/16\"]\n\
         setup_variables = [\"PIP_INDEX_URL=http://nexus/simple?a=b\", \"GOPROXY=http://nexus/go\"]\nimages = [\"registry.example.org/ci/*\"]\negress_mb = 7\n\
         commands = false\nscripts = false\nnetwork_for_proposals = true\nkept_gb = 3\nkept_count = 4\nkept_days = 5",
    );
    let expected = SetupConfig {
        allowed_hosts: vec![
            AllowedHost::public("registry.example.org"),
            AllowedHost::parse("nexus=10.1.0.0/16").unwrap(),
        ],
        variables: vec![
            ("PIP_INDEX_URL".to_owned(), "http://nexus/simple?a=b".to_owned()),
            ("GOPROXY".to_owned(), "http://nexus/go".to_owned()),
        ],
        images: vec!["registry.example.org/ci/*".to_owned()],
        egress_bytes_max: 7 << 20,
        agent_usd: 1.0,
        commands: false,
        scripts: false,
        network_for_proposals: true,
        kept_bytes_max: 3 << 30,
        kept_count_max: 4,
        kept_age_max: days(5),
    };
    assert_eq!(given, expected);
    let wrong: Vec<String> = [
        "allowed_hosts = [\"*.example.org\"]",
        "allowed_hosts = \"registry.example.org\"",
        "allowed_hosts = [\"a.example=127.0.0.0/8\"]",
        "setup_variables = [\"PIP_INDEX_URL\"]",
        "setup_variables = [\"PIP INDEX=1\"]",
        "setup_variables = [\"https_proxy=http://a.example\"]",
        "setup_variables = [\"PIP_INDEX_URL=https://me:secret@a.example/simple\"]",
        "setup_variables = [\"NPM_TOKEN=x\"]",
        "images = [\"a[\"]",
        "network_for_proposals = \"yes\"",
        "kept_days = 0",
    ]
    .iter()
    .map(|line| error(&with("sandbox", line)))
    .collect();
    insta::assert_snapshot!(wrong.join("\n"), @r#"
    DIR/mendwright.toml line 12: sandbox.allowed_hosts = ["*.example.org"] has an entry that holds a wildcard; write each host name out: "*.example.org"; write names as ["registry.example.org", "mirror.internal.example=10.1.2.0/24"]
    DIR/mendwright.toml line 12: sandbox.allowed_hosts = "registry.example.org" is not a list; write it as ["one", "two"]
    DIR/mendwright.toml line 12: sandbox.allowed_hosts = ["a.example=127.0.0.0/8"] has an entry that names loopback, link-local, multicast or metadata addresses, which a sandbox never reaches; give the host an address of the network: "a.example=127.0.0.0/8"; write names as ["registry.example.org", "mirror.internal.example=10.1.2.0/24"]
    DIR/mendwright.toml line 12: sandbox.setup_variables = ["PIP_INDEX_URL"] has an entry that has no value: "PIP_INDEX_URL"; write entries as ["PIP_INDEX_URL=https://mirror.internal.example/simple"]
    DIR/mendwright.toml line 12: sandbox.setup_variables = ["PIP INDEX=1"] has an entry that is not a variable's name: "PIP INDEX"; use letters, digits and '_'
    DIR/mendwright.toml line 12: sandbox.setup_variables = ["https_proxy=http://a.example"] has an entry that would bypass the sandbox's own proxy: "https_proxy"; remove it: the sandbox sets the proxy variables itself
    DIR/mendwright.toml line 12: sandbox.setup_variables = ["PIP_INDEX_URL=https://me:secret@a.example/simple"] has an entry that looks like a secret, which code of the repository could read: "PIP_INDEX_URL"; let the registry serve these networks without a login
    DIR/mendwright.toml line 12: sandbox.setup_variables = ["NPM_TOKEN=x"] has an entry that looks like a secret, which code of the repository could read: "NPM_TOKEN"; let the registry serve these networks without a login
    DIR/mendwright.toml line 12: sandbox.images = ["a["] has an entry that is not a pattern, "a[" (error parsing glob 'a[': unclosed character class; missing ']'); write image references, with * for any text
    DIR/mendwright.toml line 12: sandbox.network_for_proposals = "yes" is neither true nor false; write true or false, without quotes
    DIR/mendwright.toml line 12: sandbox.kept_days = 0 is not a number in range; write a number from 1 to 3650, without quotes
    "#);
}

#[test]
fn smallest_file_gets_the_defaults() {
    let directory = ConfigDirectory::new();
    let config = directory.load(WHOLE).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.github.api_url.as_str(), "https://api.github.com/");
    assert_eq!(config.github.web_url.as_str(), "https://github.com/");
    let app = config.github.app.as_ref().unwrap();
    assert_eq!((app.id, config.github.rules.label.as_str()), (12345, "agent-fix"));
    assert_eq!(app.webhook_secret.expose_secret(), "0123456789abcdef");
    assert_eq!(config.model.provider, ModelProvider::Anthropic);
    assert_eq!(config.model.url.as_str(), "https://api.anthropic.com/");
    assert_eq!(config.model.api_key.as_ref().unwrap().expose_secret(), "sk-ant-1");
    assert_eq!(config.sandbox.toolchains, Toolchains::Detect);
    assert_eq!((config.sandbox.cpu_millis_max, config.sandbox.required.len()), (None, 0));
    assert_eq!(config.budget.job, Budget::default());
    let data_dir = directory.0.path().join("mendwright-data");
    assert_eq!(config.server.data_dir, data_dir);
    assert_eq!(config.store.location.to_string(), data_dir.join("mendwright.sqlite").display().to_string());
    assert_eq!(config.server.workers, 1);
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.secrets().count(), 3);
    let shown = format!("{config:?}");
    for secret in ["MIIabc", "0123456789abcdef", "sk-ant-1"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn every_kind_of_key_is_read() {
    let text = r#"
[server]
listen = "[::]:9000"
public_url = "https://mend.example/base"
data_dir = "/var/lib/mendwright"
workers = 4
[github]
api_url = "https://ghe.example/api/v3"
app_id = 1
private_key_file = "app.pem"
webhook_secret_file = "secret"
webhook_secret_previous = "the one before, long enough"
label = "please fix"
bots_allowed = ["renovate[bot]"]
repositories = ["octo-org", "ada/web-*"]
repositories_denied = ["octo-org/secret"]
reconcile_seconds = 60
[model]
provider = "openai"
url = "http://127.0.0.1:11434/v1"
name = "big"
brief_name = "small"
context_tokens = 32_000
output_tokens_max = 4_000
price = { input = 3, output = 15.0, cache_read = 0.3 }
[sandbox]
kind = "bubblewrap"
memory_mb = 2048
pids = 500
cpus = 1.5
disk_mb = 1024
open_files = 4096
require = ["memory", "other_user"]
toolchains = ["/opt/rust"]
[budget]
turns = 10
tool_calls = 20
tokens = 100000
usd = 1.5
minutes = 5
[store]
path = "db/x.sqlite"
keep_days = 14
[log]
filter = "debug"
format = "json"
"#;
    let directory = ConfigDirectory::new();
    let config = directory.load(text).unwrap();
    assert_eq!(config.server.listen.to_string(), "[::]:9000");
    assert_eq!(config.github.web_url.as_str(), "https://ghe.example/");
    assert!(config.github.app.unwrap().webhook_secret_previous.is_some());
    assert_eq!(config.github.rules.bots_allowed[0].as_str(), "renovate[bot]");
    let allows = |name: &str| config.github.rules.repository_filter.allows(&name.parse().unwrap());
    assert!(allows("octo-org/x") && allows("ada/web-1") && !allows("octo-org/secret") && !allows("ada/x"));
    assert_eq!(config.github.reconcile_interval, Duration::from_secs(60));
    assert!(config.model.api_key.is_none());
    assert_eq!(config.model.price, Some(Price::flat(3.0, 15.0, 0.3, 3.75)));
    assert_eq!(config.model.planner_name.as_deref(), Some("small"));
    assert_eq!(config.model.context_tokens, Some(32_000));
    let without = directory.load(&text.replace("\"small\"", "\"none\"")).unwrap();
    assert_eq!(without.model.planner_name, None);
    assert_eq!((config.sandbox.memory_bytes_max, config.sandbox.pids_max), (2 << 30, 500));
    assert_eq!(config.sandbox.toolchains, Toolchains::Paths(vec!["/opt/rust".into()]));
    assert_eq!((config.sandbox.cpu_millis_max, config.sandbox.disk_bytes_max), (Some(1_500), 1 << 30));
    assert_eq!(config.sandbox.open_files_max, 4_096);
    assert_eq!(config.sandbox.required, [Guarantee::Memory, Guarantee::OtherUser]);
    let job = &config.budget.job;
    assert_eq!((job.turns_max, job.tool_calls_max, job.tokens_max), (10, 20, 100_000));
    assert_eq!((job.usd_max, job.time_max), (1.5, Duration::from_secs(300)));
    let store = directory.0.path().join("db/x.sqlite");
    assert_eq!(config.store.location.to_string(), store.display().to_string());
    assert_eq!(config.store.keep.as_hours(), 14 * 24);
    assert_eq!(config.log, LogConfig { filter: Some("debug".into()), format: LogFormat::Json });
}

#[test]
fn environment_takes_precedence_and_the_providers_own_variable_counts() {
    let directory = ConfigDirectory::new();
    let environment = [
        ("MENDWRIGHT_GITHUB_WEBHOOK_SECRET", "from the environment"),
        ("MENDWRIGHT_GITHUB_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\\nx\\n-----END PRIVATE KEY-----"),
        ("MENDWRIGHT_BUDGET_TURNS", "7"),
        ("MENDWRIGHT_GITHUB_BOTS_ALLOWED", "a[bot], b[bot]"),
        ("MENDWRIGHT_SERVICE_HOST", "10.0.0.1"),
        ("ANTHROPIC_API_KEY", "sk-ant-2"),
    ];
    let config = directory.load_with(&WHOLE.replace("api_key_file = \"key\"\n", ""), &environment).unwrap();
    let app = config.github.app.unwrap();
    assert_eq!(app.webhook_secret.expose_secret(), "from the environment");
    assert!(app.private_key.expose_secret().contains("-----\nx\n"));
    assert_eq!(config.budget.job.turns_max, 7);
    assert_eq!(config.github.rules.bots_allowed.len(), 2);
    assert_eq!(config.model.api_key.unwrap().expose_secret(), "sk-ant-2");
}

#[test]
fn missing_webhook_secret_is_an_error() {
    let directory = ConfigDirectory::new();
    let missing = WHOLE.replace("webhook_secret_file = \"secret\"\n", "");
    insta::assert_snapshot!(directory.error_with(&missing, &[]), @"DIR/mendwright.toml: github.webhook_secret is missing; without it anybody could send deliveries; write the secret of the App's webhook settings (or set MENDWRIGHT_GITHUB_WEBHOOK_SECRET)");
    insta::assert_snapshot!(directory.error_with(&missing.replace("[github]", "[github]\nwebhook_secret = ''"), &[]), @r#"DIR/mendwright.toml line 3: github.webhook_secret = "…" is empty; give the secret, or remove github.webhook_secret"#);
    insta::assert_snapshot!(directory.error_with(WHOLE, &[("MENDWRIGHT_GITHUB_WEBHOOK_SECRET", " ")]), @r#"environment variable MENDWRIGHT_GITHUB_WEBHOOK_SECRET: github.webhook_secret = "…" is empty; give the secret, or remove github.webhook_secret"#);
    insta::assert_snapshot!(directory.error_with(&with("github", "webhook_secret_previous = ''"), &[]), @r#"DIR/mendwright.toml line 3: github.webhook_secret_previous = "…" is empty; give the secret, or remove github.webhook_secret_previous"#);
    directory.write("secret", "\n", 0o600);
    insta::assert_snapshot!(directory.error_with(WHOLE, &[]), @r#"DIR/mendwright.toml line 5: github.webhook_secret_file = "secret" is empty; give the secret, or remove github.webhook_secret_file"#);
}

#[test]
fn short_webhook_secret_and_plain_http_are_warnings() {
    let directory = ConfigDirectory::new();
    directory.write("secret", "short", 0o600);
    let config = directory.load(&with("github", "api_url = 'http://ghe.example/api/v3'")).unwrap();
    insta::assert_snapshot!(config.warnings.join("\n"), @r"
    github.webhook_secret_file has 5 bytes and could be guessed; make one with: openssl rand -hex 32
    github.api_url = http://ghe.example/api/v3: tokens cross the network unencrypted; use https
    ");
}

#[test]
fn secret_in_a_public_file_is_an_error_with_the_command_that_fixes_it() {
    let directory = ConfigDirectory::new();
    directory.write("app.pem", KEY, 0o644);
    insta::assert_snapshot!(directory.error_with(WHOLE, &[]), @r#"DIR/mendwright.toml line 4: github.private_key_file = "app.pem" is a secret in a file that everybody can read (mode 644); run: chmod 600 DIR/app.pem"#);

    let inline = WHOLE.replace("api_key_file = \"key\"", "api_key = \"sk-ant-1\"");
    let directory = ConfigDirectory::new();
    directory.load(&inline).unwrap();
    directory.write("public.toml", &inline, 0o644);
    let environment = [("MENDWRIGHT_MODEL_API_KEY".to_owned(), "sk-ant-2".to_owned())];
    let error = ServerConfig::load(&directory.0.path().join("public.toml"), environment).unwrap_err();
    let error = error.to_string().replace(directory.0.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(error, @r#"DIR/public.toml line 10: model.api_key = "…" is a secret in a file that everybody can read (mode 644); run: chmod 600 DIR/public.toml"#);
}

#[test]
fn error_names_file_key_value_and_remedy() {
    let all: Vec<String> = [
        with("server", "listen = \"8080\""),
        with("server", "workers = 0"),
        with("server", "workers = \"4\""),
        with("server", "wrokers = 4"),
        with("server", "completely_different = 4"),
        with("serve", "listen = \"x\""),
        "listen = \"x\"".to_owned(),
        "[server]\nlisten = \n".to_owned(),
        with("server", "public_url = \"mend.example\""),
        with("github", "api_url = \"https://me:word@ghe.example\""),
        with("github", "label = \"\""),
        with("github", "bots_allowed = \"renovate[bot]\""),
        with("github", "bots_allowed = [\"a b\"]"),
        with("github", "repositories = []"),
        with("github", "repositories_denied = [\"a b/c\"]"),
        with("github", "private_key = \"nonsense\"").replace("private_key_file = \"app.pem\"", ""),
        with("github", "webhook_secret = \"beside a file\""),
        WHOLE.replace("app_id = 12345", ""),
        WHOLE.replace("12345", "-1"),
        WHOLE.replace("private_key_file = \"app.pem\"", ""),
        WHOLE.replace("app.pem", "gone.pem"),
        WHOLE.replace("app.pem", "secret"),
        WHOLE.replace("\"anthropic\"", "\"anthropix\""),
        WHOLE.replace("name = \"a-model\"", ""),
        WHOLE.replace("api_key_file = \"key\"", ""),
        with("model", "price = { input = 3 }"),
        with("model", "output_tokens_max = 1e3"),
        with("sandbox", "kind = \"podman\""),
        with("sandbox", "kind = \"docker\""),
        with("sandbox", "docker_socket = \"tcp://10.0.0.1:2375\""),
        with("sandbox", "toolchains = [\"rust\"]"),
        with("sandbox", "toolchains = \"all\""),
        with("sandbox", "require = [\"memory\", \"all\"]"),
        with("sandbox", "cpus = 0"),
        with("budget", "usd = nan"),
        with("budget", "minutes = 1.5"),
        with("log", "format = \"xml\""),
    ]
    .iter()
    .map(|text| error(text))
    .collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    DIR/mendwright.toml line 12: server.listen = "8080" is not an address and a port; write an address and a port, as "127.0.0.1:8080" or "[::]:8080"
    DIR/mendwright.toml line 12: server.workers = 0 is not a number in range; write a number from 1 to 64, without quotes
    DIR/mendwright.toml line 12: server.workers = "4" is not a number in range; write a number from 1 to 64, without quotes
    DIR/mendwright.toml line 12: unknown key server.wrokers; did you mean server.workers?
    DIR/mendwright.toml line 12: unknown key server.completely_different; known there: server.listen, server.public_url, server.data_dir, server.workers
    DIR/mendwright.toml line 11: unknown key serve; did you mean server?
    DIR/mendwright.toml line 1: unknown key listen; known there: [budget], [github], [log], [model], [sandbox], [server], [store]
    DIR/mendwright.toml line 2: not TOML: string values must be quoted, expected literal string
    DIR/mendwright.toml line 12: server.public_url = "mend.example" is not a web address; write it as "https://host/path", without user name, query or fragment
    DIR/mendwright.toml line 3: github.api_url = "…" is not a web address; write it as "https://host/path", without user name, query or fragment
    DIR/mendwright.toml line 3: github.label = "" is not a valid label; use 1 to 50 characters
    DIR/mendwright.toml line 3: github.bots_allowed = "renovate[bot]" is not a list; write it as ["one", "two"]
    DIR/mendwright.toml line 3: github.bots_allowed = ["a b"] has an invalid entry: "a b" is not a GitHub login: letters, digits, '-' and '_', at most 100; write logins as ["renovate[bot]"]
    DIR/mendwright.toml line 3: github.repositories = [] is empty; remove it to allow all repositories, or name some
    DIR/mendwright.toml line 3: github.repositories_denied = ["a b/c"] has an invalid entry ("a b/c" is no pattern of repositories); write accounts or repositories, such as "octo-org" or "octo-org/web-*"
    DIR/mendwright.toml line 3: github.private_key = "…" is not a private key in PEM format; it must hold everything from -----BEGIN to -----END, as you downloaded it from GitHub
    DIR/mendwright.toml line 3: github.webhook_secret = "…" is set beside github.webhook_secret_file; remove one of them (DIR/mendwright.toml line 6 has the other)
    DIR/mendwright.toml: github.app_id is missing; write the number on the App's settings page (or set MENDWRIGHT_GITHUB_APP_ID)
    DIR/mendwright.toml line 3: github.app_id = -1 is not a number in range; write a number from 1 to 18446744073709551615, without quotes
    DIR/mendwright.toml: github.private_key_file is missing; write the path of the .pem file that GitHub let you download (or set MENDWRIGHT_GITHUB_PRIVATE_KEY_FILE)
    DIR/mendwright.toml line 4: github.private_key_file = "gone.pem" cannot be read (DIR/gone.pem); No such file or directory (os error 2)
    DIR/mendwright.toml line 4: github.private_key_file = "secret" is not a private key in PEM format; it must hold everything from -----BEGIN to -----END, as you downloaded it from GitHub
    DIR/mendwright.toml line 8: model.provider = "anthropix" is not a known value; write "anthropic" or "openai"
    DIR/mendwright.toml: model.name is missing; write the model's name as the provider spells it (or set MENDWRIGHT_MODEL_NAME)
    DIR/mendwright.toml: model.api_key_file is missing; write the path of a file with the key, or set ANTHROPIC_API_KEY in the environment (or set MENDWRIGHT_MODEL_API_KEY_FILE)
    DIR/mendwright.toml: model.price.output is missing; write US dollars for a million tokens, or remove [model.price] (or set MENDWRIGHT_MODEL_PRICE_OUTPUT)
    DIR/mendwright.toml line 8: model.output_tokens_max = 1e3 is not a number in range; write a number from 256 to 1000000, without quotes
    DIR/mendwright.toml line 12: sandbox.kind = "podman" is not a known value; write "bubblewrap" or "docker"
    DIR/mendwright.toml: sandbox.image is missing; containers need an image; write one as NAME:TAG or NAME@sha256:… (or set MENDWRIGHT_SANDBOX_IMAGE)
    DIR/mendwright.toml line 12: sandbox.docker_socket = "tcp://10.0.0.1:2375" is not a Unix socket; write it as "unix:///var/run/docker.sock": an engine is never reached over the network
    DIR/mendwright.toml line 12: sandbox.toolchains = ["rust"] has an entry that cannot be used, "rust"; write "detect", or absolute paths of directories as ["/opt/rust"]
    DIR/mendwright.toml line 12: sandbox.toolchains = "all" is not a list; write it as ["one", "two"]
    DIR/mendwright.toml line 12: sandbox.require = ["memory", "all"] has an unknown guarantee, "all"; write some of ["memory", "processes", "processor", "disk", "other_user"]
    DIR/mendwright.toml line 12: sandbox.cpus = 0 is not a number in range; write a number from 0.1 to 1024, without quotes
    DIR/mendwright.toml line 12: budget.usd = nan is not a number in range; write a number from 0.01 to 10000, without quotes
    DIR/mendwright.toml line 12: budget.minutes = 1.5 is not a number in range; write a number from 1 to 1440, without quotes
    DIR/mendwright.toml line 12: log.format = "xml" is not a known value; write "auto", "human" or "json"
    "#);
}

#[test]
fn missing_file_is_an_error_that_names_it() {
    let error = ServerConfig::load(Path::new("/nowhere/mendwright.toml"), []).unwrap_err();
    insta::assert_snapshot!(error.to_string(), @"/nowhere/mendwright.toml: cannot be read: No such file or directory (os error 2); give the path of your configuration with --config");
}

#[test]
fn error_shows_no_secret() {
    let directory = ConfigDirectory::new();
    let secret = "hunter2-hunter2-hunter2";
    for text in [
        with("github", &format!("private_key = \"{secret}\"")),
        with("github", &format!("webhook_secret = [\"{secret}\"]")).replace("webhook_secret_file", "#"),
        with("model", &format!("api_key = \"{secret}\"")),
        format!("[model]\napi_key = \"{secret}"),
        format!("[model]\napi_key = {secret}"),
    ] {
        let error = directory.error_with(&text, &[]);
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn daily_caps_are_read_and_absent_by_default() {
    let directory = ConfigDirectory::new();
    let config = directory.load(WHOLE).unwrap();
    assert_eq!((config.budget.daily_caps, config.budget.require_price), (DailyCaps::default(), false));
    let text = format!(
        "{WHOLE}\n[budget]\nrepository_usd_per_day = 20\nrepository_tokens_per_day = 5_000_000\n\
         installation_usd_per_day = 99.5\nrequire_price = true\n"
    );
    let config = directory.load(&text).unwrap();
    let repository = DailyCap { usd: Some(20.0), tokens: Some(5_000_000) };
    let installation = DailyCap { usd: Some(99.5), tokens: None };
    assert_eq!(config.budget.daily_caps, DailyCaps { repository, installation });
    assert!(config.budget.require_price);
}

#[test]
fn price_comes_from_the_section_for_the_model_and_from_the_file_for_others() {
    let directory = ConfigDirectory::new();
    let row = "input = 1\noutput = 2\ncache_read = 0.1\ncache_write = 1.25\n";
    let file = |rows: &str| std::fs::write(directory.0.path().join("prices.toml"), rows).unwrap();
    file(&format!("[[price]]\nmodel = \"small\"\n{row}"));
    let long = "long = { above_tokens = 200_000, input = 6, output = 22.5 }";
    let lines = format!("prices_file = \"prices.toml\"\nprice = {{ input = 3, output = 15, {long} }}");
    let text = WHOLE.replace("[model]", &format!("[model]\n{lines}"));
    let config = directory.load(&text).unwrap();
    let long = LongPromptPrice {
        above_tokens: 200_000,
        input: 6.0,
        output: 22.5,
        cache_read: 6.0,
        cache_write: 7.5,
    };
    let own = Price { long: Some(long), ..Price::flat(3.0, 15.0, 3.0, 3.75) };
    assert_eq!(config.model.stated_price("a-model"), Some(own));
    assert_eq!(config.model.stated_price("small"), Some(Price::flat(1.0, 2.0, 0.1, 1.25)));
    assert_eq!(config.model.stated_price("another"), None);

    let error = |text: &str| {
        let message = directory.load(text).unwrap_err().to_string();
        message.replace(&directory.0.path().display().to_string(), "DIR")
    };
    let mut wrong = vec![error(&text.replace("prices.toml", "gone.toml"))];
    wrong.push(error(&text.replace("above_tokens = 200_000, ", "")));
    file(&format!("[[price]]\nmodel = \"small\"\n{}", row.replace("= 2", "= -2")));
    wrong.push(error(&text));
    insta::assert_snapshot!(wrong.join("\n"), @r#"
    DIR/mendwright.toml line 8: model.prices_file = "gone.toml" cannot be read (No such file or directory (os error 2)); write [[price]] tables with model, input, output, cache_read and cache_write in it
    DIR/mendwright.toml: model.price.long.above_tokens is missing; write the length of a prompt, in tokens, above which these prices hold (or set MENDWRIGHT_MODEL_PRICE_LONG_ABOVE_TOKENS)
    DIR/mendwright.toml line 8: model.prices_file = "prices.toml" cannot be used (the model small has the price -2 for output; it is US dollars for a million tokens, 0 or more); write [[price]] tables with model, input, output, cache_read and cache_write in it
    "#);
}
