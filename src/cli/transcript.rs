//! `mendwright transcript`: shows what happened in a job, from its store or from a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;

use crate::audit::RequestCosts;
use crate::config::{ServerConfig, StoreLocation, environment};
use crate::domain::{Job, Transcript};
use crate::provenance::{ManifestSigningKey, SIGNING_KEY_FILE, Sealed, envelope_of};
use crate::publish::{Evidence, transcript_document};
use crate::recording::{Recording, schema};
use crate::store::{self, Store};

/// Show what happened in a job
///
/// Reads the service's store, the directory of a `fix` or `demo`, or a transcript file.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
    mendwright transcript 0199c1 --data-dir /var/lib/mendwright > job.md\n  \
    mendwright transcript 0199c1 --config mendwright.toml --json > transcript.jsonl\n  \
    mendwright transcript transcript.jsonl")]
pub struct TranscriptArguments {
    /// The job's id, or a unique prefix of it, or a transcript file (.jsonl)
    #[arg(value_name = "JOB|FILE", required_unless_present = "schema")]
    job: Option<String>,
    /// Print JSON Lines: a header, then one event a line
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown with a collapsed section for each turn; this is the default
    #[arg(long)]
    markdown: bool,
    /// Print the manifest of the job's proposal from the store, and nothing else
    #[arg(long, conflicts_with_all = ["json", "markdown"])]
    manifest: bool,
    /// Print the manifest in a signed envelope (DSSE, in-toto), and nothing else
    ///
    /// It is signed with the key in the service's data directory.
    #[arg(long, conflicts_with_all = ["json", "markdown", "manifest"])]
    envelope: bool,
    /// Print what each part of the requests to the model costs; with --json, as JSON
    #[arg(long, conflicts_with_all = ["markdown", "manifest", "envelope"])]
    costs: bool,
    /// Print the JSON Schema of the lines of --json, and nothing else
    #[arg(long, conflicts_with_all = ["job", "json", "markdown", "manifest", "envelope", "costs"])]
    schema: bool,
    #[command(flatten)]
    store: StoreArguments,
}

/// Where the store is.
#[derive(Debug, Args)]
pub(super) struct StoreArguments {
    /// The directory with the store: the service's data_dir, or the directory that `fix` prints
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// The service's configuration, which names the store
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command. Answers with the exit code.
pub(super) async fn run(arguments: TranscriptArguments) -> anyhow::Result<i32> {
    if arguments.schema {
        println!("{}", serde_json::to_string_pretty(&schema())?);
        return Ok(0);
    }
    let name = arguments.job.as_deref().unwrap_or_default();
    if arguments.manifest || arguments.envelope {
        let (store, job) = arguments.store.job(name).await?;
        let Some(manifest) = store.manifest(job.id).await? else {
            bail!("job {} has no proposal, so it has no manifest", job.id);
        };
        match arguments.envelope {
            true => println!("{}", arguments.store.signed(&manifest)?),
            false => print!("{manifest}"),
        }
        return Ok(0);
    }
    let recording = arguments.store.recording(name).await?;
    if arguments.costs {
        let costs = RequestCosts::of(&recording.known_events());
        match arguments.json {
            true => println!("{}", serde_json::to_string_pretty(&costs)?),
            false => print!("{}", costs.table()),
        }
    } else if arguments.json {
        print!("{}", recording.to_text());
    } else {
        let evidence =
            Evidence::from_transcript(&recording.job(), Transcript::new(&recording.known_events()));
        print!("{}", transcript_document(&evidence, &recording.unknown_events()));
    }
    Ok(0)
}

impl StoreArguments {
    /// The transcript of `name`: a file, or a job in the store.
    pub(super) async fn recording(&self, name: &str) -> anyhow::Result<Recording> {
        if name.ends_with(".jsonl") || Path::new(name).is_file() {
            return Ok(Recording::load(Path::new(name))?);
        }
        let (store, job) = self.job(name).await?;
        let events = store.transcript_text(job.id).await?;
        Ok(Recording::of(&job, events))
    }

    /// The job in the store whose id begins with `name`.
    async fn job(&self, name: &str) -> anyhow::Result<(Arc<dyn Store>, Job)> {
        let store = self.open().await?;
        let prefix = name.to_lowercase();
        let is_shaped = prefix.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if prefix.is_empty() || !is_shaped {
            bail!("{name:?} is neither a job's id (digits, a to f, '-') nor a file");
        }
        let job = match store.jobs_with_prefix(&prefix).await?.as_slice() {
            [job] => job.clone(),
            [] => bail!("no job's id begins with {prefix}"),
            _ => bail!("more than one job's id begins with {prefix}; write more of it"),
        };
        Ok((store, job))
    }

    /// The envelope of a manifest, with the signature of the service's key.
    fn signed(&self, manifest: &str) -> anyhow::Result<String> {
        let data_dir = match (&self.data_dir, &self.config) {
            (Some(directory), _) => directory.clone(),
            (None, Some(file)) => ServerConfig::load(file, environment())?.server.data_dir,
            (None, None) => bail!("name the service's data directory with --data-dir or --config"),
        };
        let Some(key) = ManifestSigningKey::read(&data_dir)? else {
            bail!(
                "there is no {SIGNING_KEY_FILE} in {}: a service makes it at its first start",
                data_dir.display()
            );
        };
        Ok(serde_json::to_string_pretty(&envelope_of(&key, &Sealed::parse(manifest)?))?)
    }

    async fn open(&self) -> anyhow::Result<Arc<dyn Store>> {
        let location = match (&self.data_dir, &self.config) {
            (Some(directory), _) => StoreLocation::in_directory(directory),
            (None, Some(file)) => ServerConfig::load(file, environment())?.store.location,
            (None, None) => bail!("name the store with --data-dir or --config, or a transcript file"),
        };
        let Some(store) = store::open_existing(&location).await.with_context(|| location.to_string())? else {
            bail!("there is no store at {location}; name the directory that has it with --data-dir");
        };
        Ok(store)
    }
}
