//! Options that several commands share: the model, the test suite, and the sandbox.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use secrecy::SecretString;
use url::Url;

use super::allowed_host;
use crate::config::JobRules;
use crate::domain::{AllowedHost, Budget, DailyCaps, ModelProvider, Price, SandboxKind};
use crate::model::{ModelConfig, context_tokens, known_price};
use crate::sandbox::{Root, Sandbox, SandboxSpec, connect_default, detect_toolchains};
use crate::secrets::{self, SecretKind};
use crate::setup::SetupPolicy;
use crate::worker::local::{LocalContext, TestBench};
use crate::worker::{JobPolicy, SettingsOverride};

/// Which model works, and what it may spend.
#[derive(Debug, Clone, Args)]
pub(super) struct ModelArguments {
    /// The wire format of the model
    #[arg(long, value_enum, default_value = "anthropic")]
    pub(super) provider: ModelProvider,
    /// The provider's base address [default: the provider's own]
    #[arg(long, value_name = "URL")]
    model_url: Option<Url>,
    /// The model, as the provider spells it
    #[arg(long, value_name = "NAME", default_value = "claude-sonnet-4-5")]
    pub(super) model: String,
    /// A cheaper model of the same provider that writes a brief and summarises long conversations
    ///
    /// Without it there is no brief, and the model that works summarises.
    #[arg(long, value_name = "NAME")]
    brief_model: Option<String>,
    /// The size of the context window, in tokens [default: known for known models, else 64,000]
    #[arg(long, value_name = "N")]
    context_tokens: Option<u64>,
    /// The provider's key; set it in the environment rather than on the command line
    #[arg(
        long,
        value_name = "KEY",
        env = "MENDWRIGHT_MODEL_API_KEY",
        hide_env_values = true,
        default_value = ""
    )]
    model_api_key: SecretString,
    /// The most model calls
    #[arg(long, value_name = "N")]
    max_turns: Option<u32>,
    /// The most US dollars; it has no effect if the model's price is not known
    #[arg(long, value_name = "X")]
    max_usd: Option<f64>,
    /// The most of these US dollars that are spent on finding out how the repository is set up
    ///
    /// It is spent where no way that is found in the repository's files reaches passing tests, and --allow names
    /// a host. 0: nothing.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    setup_usd: f64,
    /// The most tokens, input and output together
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// The price of the model, in US dollars for a million tokens
    ///
    /// Input and output, and optionally input that is read from and written to a cache. The default is the
    /// built-in price table.
    #[arg(long, value_name = "IN,OUT[,READ,WRITE]", value_parser = parse_price)]
    price: Option<Price>,
    /// Refuse to start without a known price, instead of counting tokens only
    #[arg(long)]
    require_price: bool,
    /// The most minutes
    #[arg(long, value_name = "M")]
    max_minutes: Option<u64>,
}

impl ModelArguments {
    /// The models, together with the test bench. Without a known price, a warning says which limits still
    /// hold.
    pub(super) fn with(&self, mut bench: TestBench) -> anyhow::Result<LocalContext> {
        let model = crate::model::connect(self.config(&self.model))?;
        let planner_model = self.brief_model.as_ref();
        let planner_model = planner_model.map(|name| crate::model::connect(self.config(name))).transpose()?;
        if model.price().is_none() {
            let name = &self.model;
            if self.require_price {
                bail!("--require-price: no price is known for {name}; give it with --price IN,OUT");
            }
            eprintln!(
                "no price is known for {name}: only tokens are counted; the limits of turns, tokens and minutes \
                 hold, the limit of dollars does not (state a price with --price IN,OUT)"
            );
        }
        let own = self.context_tokens.unwrap_or_else(|| context_tokens(&self.model));
        bench.policy.setup.agent_usd = self.setup_usd;
        bench.policy.context_tokens = own;
        bench.policy.summarizer_context_tokens =
            self.brief_model.as_ref().map_or(own, |name| context_tokens(name));
        Ok(LocalContext { model, planner_model, bench })
    }

    fn config(&self, name: &str) -> ModelConfig {
        secrets::register(SecretKind::ModelKey, &self.model_api_key);
        let mut config = ModelConfig::new(self.provider, name.to_owned(), self.model_api_key.clone());
        config.url = self.model_url.clone();
        config.price = self.price;
        config
    }

    /// The model's price, if it is known. Needs no key.
    pub(super) fn price(&self) -> Option<Price> {
        self.price.or_else(|| known_price(&self.model))
    }

    /// What one job may spend.
    pub(super) fn budget(&self) -> Budget {
        let defaults = Budget::default();
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Budget {
            turns_max: self.max_turns.unwrap_or(defaults.turns_max),
            usd_max: self.max_usd.unwrap_or(defaults.usd_max),
            tokens_max: self.max_tokens.unwrap_or(defaults.tokens_max),
            time_max: self.max_minutes.map_or(defaults.time_max, minutes),
            ..defaults
        }
    }
}

/// The test suite, instead of the repository's own.
#[derive(Debug, Clone, Args)]
pub(super) struct SuiteArguments {
    /// The test command [default: from .github/agent-fix.yml, else detected]
    #[arg(long, value_name = "CMD")]
    test: Option<String>,
    /// A command to run before the tests; may be repeated
    #[arg(long, value_name = "CMD")]
    setup: Vec<String>,
}

impl SuiteArguments {
    /// The settings that replace the repository's own.
    pub(super) fn settings(&self) -> anyhow::Result<SettingsOverride> {
        if self.test.as_deref().is_some_and(|command| command.trim().is_empty()) {
            bail!(
                "--test is empty; name the command whose exit code is the verdict, or leave the option out"
            );
        }
        Ok(SettingsOverride {
            test_command: self.test.clone(),
            setup_commands: self.setup.clone(),
            image_given: false,
        })
    }
}

/// What jobs run in.
#[derive(Debug, Clone, Args)]
pub(super) struct SandboxArguments {
    /// The sandbox backend
    #[arg(long, value_name = "KIND", value_enum, default_value = "bubblewrap")]
    sandbox: SandboxKind,
    /// The image of the sandbox [default: the host's /usr, unless the backend needs an image]
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    /// A directory with a toolchain that the sandbox sees read-only; may be repeated
    ///
    /// The default is what is found in the usual places.
    #[arg(long, value_name = "DIR")]
    toolchain: Vec<PathBuf>,
    /// A host that the setup commands may reach by HTTP(S); may be repeated
    ///
    /// An internal host is given with its address range. Without this option, setup commands have no
    /// network.
    #[arg(long, value_name = "HOST[=RANGE]", value_parser = allowed_host)]
    allow: Vec<AllowedHost>,
    /// An environment variable of the setup commands, such as a mirror's address; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    setup_variable: Vec<(String, String)>,
}

impl SandboxArguments {
    /// The backend.
    pub(super) fn connect(&self) -> anyhow::Result<Arc<dyn Sandbox>> {
        Ok(connect_default(self.sandbox)?)
    }

    /// The policy of a job without GitHub. Setups are cached by `repository`.
    pub(super) fn policy(&self, repository: String, budget: Budget, settings: SettingsOverride) -> JobPolicy {
        let root = match &self.image {
            Some(image) => Root::Image(image.clone()),
            None => Root::Host {
                toolchains: match self.toolchain.is_empty() {
                    true => detect_toolchains(),
                    false => self.toolchain.clone(),
                },
            },
        };
        JobPolicy {
            rules: JobRules::default(),
            budget,
            // The store of one run begins empty, so there are no earlier calls to add up.
            caps: DailyCaps::default(),
            sandbox: SandboxSpec { root, ..SandboxSpec::named("fix") },
            setup: SetupPolicy {
                allowed_hosts: self.allow.clone(),
                variables: self.setup_variable.clone(),
                repository: Some(repository),
                ..SetupPolicy::default()
            },
            output_tokens_max: 16_384,
            context_tokens: context_tokens(""),
            summarizer_context_tokens: context_tokens(""),
            settings_override: Some(SettingsOverride { image_given: self.image.is_some(), ..settings }),
        }
    }
}

/// "3,15" or "3,15,0.3,3.75".
fn parse_price(text: &str) -> Result<Price, String> {
    let amounts: Option<Vec<f64>> = text
        .split(',')
        .map(|amount| amount.trim().parse().ok().filter(|usd: &f64| usd.is_finite() && *usd >= 0.0))
        .collect();
    match amounts.as_deref() {
        Some(&[input, output]) => Ok(Price::flat(input, output, input, input * 1.25)),
        Some(&[input, output, cache_read, cache_write]) => {
            Ok(Price::flat(input, output, cache_read, cache_write))
        }
        Some(_) | None => Err("write US dollars for a million tokens, as 3,15 or 3,15,0.3,3.75".to_owned()),
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as NAME=VALUE".to_owned()),
    }
}

impl ValueEnum for ModelProvider {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()).help(self.description()))
    }
}

impl ValueEnum for SandboxKind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()).help(self.description()))
    }
}
