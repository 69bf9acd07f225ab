//! `mendwright verify`: checks whether a proposal's manifest, and the verdict in it, still hold.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::common_args::{SandboxArguments, SuiteArguments};
use crate::audit::{CheckOutcome, VerificationRequest, verify};
use crate::domain::Budget;
use crate::provenance::{ManifestPublicKey, schema};
use crate::telemetry;

/// Longer key files are a mistake.
const KEYS_BYTES_MAX: u64 = 64 * 1024;

/// Check whether a proposal's manifest and its verdict still hold
///
/// Compares the manifest with the repository and the transcript, and reaches the verdict again in a fresh
/// sandbox, by the rules of the base commit's own configuration. Exit code 0: it holds; 3: something differs
/// from the manifest; 1: it could not be checked. Without --digest or --public-key nothing shows that the
/// manifest is the service's, so that the exit code is never 0.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  \
    mendwright verify --manifest manifest.json --digest 3b1f… --transcript transcript.jsonl --repo .\n  \
    mendwright verify --manifest manifest.json --signature ab3d… --public-key keys.pem --repo .\n\n\
    The pull request shows the manifest, its digest and its signature.")]
pub struct VerifyArguments {
    /// The manifest, or a signed envelope with it
    #[arg(long, value_name = "FILE", required_unless_present = "schema")]
    manifest: Option<PathBuf>,
    /// The repository, with the base and the proposed branch fetched
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// The digest that the manifest must have
    ///
    /// The pull request shows it.
    #[arg(long, value_name = "SHA256")]
    digest: Option<String>,
    /// The signature of the manifest, which the pull request shows
    ///
    /// An envelope has its own.
    #[arg(long, value_name = "BASE64", requires = "public_key")]
    signature: Option<String>,
    /// The service's public keys, in PEM; `-` reads them from standard input
    ///
    /// The service gives them out at /.well-known/mendwright-public-keys.pem.
    #[arg(long, value_name = "FILE|-")]
    public_key: Option<PathBuf>,
    /// The job's transcript [default: transcript.jsonl in the manifest's directory, if it exists]
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
    /// Print the JSON Schema of a manifest, and nothing else
    #[arg(long, conflicts_with = "manifest")]
    schema: bool,
    #[command(flatten)]
    suite: SuiteArguments,
    #[command(flatten)]
    sandbox: SandboxArguments,
}

/// Run the command. Returns the exit code.
pub(super) async fn run(arguments: VerifyArguments) -> anyhow::Result<i32> {
    let Some(manifest) = arguments.manifest.as_deref().filter(|_| !arguments.schema) else {
        println!("{}", serde_json::to_string_pretty(&schema())?);
        return Ok(0);
    };
    telemetry::init(Some("warn"), telemetry::LogFormat::Human)?;
    let beside = manifest.with_file_name("transcript.jsonl");
    let transcript = arguments.transcript.or_else(|| beside.is_file().then_some(beside));
    let repository = std::path::absolute(&arguments.repo)?;
    let cache_scope = repository.display().to_string();
    let policy = arguments.sandbox.policy(cache_scope, Budget::default(), arguments.suite.settings()?);
    let public_keys = arguments.public_key.as_deref().map(read_public_keys).transpose()?.unwrap_or_default();
    let request = VerificationRequest {
        manifest,
        digest: arguments.digest.as_deref(),
        signature: arguments.signature.as_deref(),
        public_keys: &public_keys,
        transcript: transcript.as_deref(),
        repository: &repository,
    };
    let verification = verify(&request, arguments.sandbox.connect()?, &policy).await;
    for check in &verification.checks {
        let word = match check.outcome {
            CheckOutcome::Holds => "holds",
            CheckOutcome::Differs => "DIFFERS",
            CheckOutcome::Unchecked => "unchecked",
            CheckOutcome::Noted => "note",
        };
        println!("{word:<9}  {}: {}", check.what, check.words);
    }
    let code = verification.exit_code();
    println!(
        "\n{}",
        match code {
            0 => "The verdict holds.",
            3 => "The verdict does NOT hold: something differs.",
            _ => "The verdict could not be checked.",
        }
    );
    Ok(code)
}

/// The keys in a file, or on standard input.
fn read_public_keys(path: &Path) -> anyhow::Result<Vec<ManifestPublicKey>> {
    let what = || format!("--public-key {}", path.display());
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(KEYS_BYTES_MAX).read_to_string(&mut text).with_context(what)?;
    } else {
        let file = std::fs::File::open(path).with_context(what)?;
        file.take(KEYS_BYTES_MAX).read_to_string(&mut text).with_context(what)?;
    }
    ManifestPublicKey::parse_all(&text).with_context(what)
}
