//! `mendwright verify`: checks whether a proposal's manifest, and the verdict in it, still hold.

use std::path::PathBuf;

use clap::Args;

use super::common_args::SandboxArguments;
use crate::audit::{CheckOutcome, VerificationRequest, verify};
use crate::domain::Budget;
use crate::provenance::schema;
use crate::telemetry;
use crate::worker::SettingsOverride;

/// Check whether a proposal's manifest and its verdict still hold
///
/// Compares the manifest with the repository and the transcript, and reaches the verdict again in a fresh
/// sandbox. Exit code 0: it holds; 3: something differs from the manifest; 1: it could not be checked.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  \
    mendwright verify --manifest manifest.json --digest 3b1f… --transcript transcript.jsonl --repo .\n\n\
    The pull request shows the manifest and its digest.")]
pub struct VerifyArguments {
    /// The manifest
    #[arg(long, value_name = "FILE", required_unless_present = "schema")]
    manifest: Option<PathBuf>,
    /// The repository, with the base and the proposed branch fetched
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// The digest that the manifest must have
    ///
    /// Without it, a manifest that is forged as a whole is detected by its content only.
    #[arg(long, value_name = "SHA256")]
    digest: Option<String>,
    /// The job's transcript [default: transcript.jsonl in the manifest's directory, if it exists]
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
    /// Print the JSON Schema of a manifest, and nothing else
    #[arg(long, conflicts_with = "manifest")]
    schema: bool,
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
    let policy = arguments.sandbox.policy(cache_scope, Budget::default(), SettingsOverride::default());
    let request = VerificationRequest {
        manifest,
        digest: arguments.digest.as_deref(),
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
