//! `mendwright sandbox run`: runs one command as a job's command would run, and passes its output through.
//! Reads the given work tree; writes nothing outside the sandbox.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::stream;
use ignore::WalkBuilder;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use super::{allowed_host, clean_up, exit_code};
use crate::domain::{AllowedHost, ExitStatus, Guarantee, SandboxKind};
use crate::sandbox::{
    CallError, CommandSpec, OutputStream, Root, SandboxSpec, Toolbox, connect_default, detect_toolchains,
};

/// Chunks of the work tree that are buffered on their way into the sandbox.
const CHUNKS_MAX: usize = 16;
const CHUNK_BYTES: usize = 64 << 10;

/// Run a command in a sandbox, as a job would run it
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  mendwright sandbox run --repo . --timeout 300 -- cargo test\n  \
    mendwright sandbox run --sandbox docker --image debian:12 -- cat /etc/os-release\n\n\
    The exit code is the command's, or the first of these that applies:\n  \
      124  it timed out\n  \
      137  it ran out of memory\n  \
      122  a writable directory was full\n  \
      123  a process or thread was refused, because there were too many\n  \
      128+N  signal N ended it\n  \
      127  it could not be started\n\
    Standard error says which.")]
pub struct RunArguments {
    /// The work tree to copy to /workspace, without git-ignored files and .git
    #[arg(long, value_name = "DIR")]
    pub repo: Option<PathBuf>,
    /// The sandbox backend
    #[arg(long, value_name = "KIND", value_enum, default_value = "bubblewrap")]
    pub sandbox: SandboxKind,
    /// The image of the sandbox [default: the host's /usr, unless the backend needs an image]
    #[arg(long, value_name = "REF")]
    pub image: Option<String>,
    /// A host that the command may reach by HTTP(S); may be repeated
    ///
    /// An internal host is given with its address range, as in nexus.example=10.1.2.0/24.
    #[arg(long, value_name = "HOST[=RANGE]", value_parser = allowed_host)]
    pub allow: Vec<AllowedHost>,
    /// A guarantee that the sandbox must give: memory, processes, processor, disk or other_user; may be repeated
    #[arg(long, value_name = "WHAT", value_parser = guarantee)]
    pub require: Vec<Guarantee>,
    /// The seconds after which the command is killed
    #[arg(long, value_name = "S", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Run the command. Returns the exit code.
pub async fn run(arguments: RunArguments) -> anyhow::Result<i32> {
    let sandbox = connect_default(arguments.sandbox)?;
    let spec = SandboxSpec {
        root: match arguments.image {
            Some(image) => Root::Image(image),
            None => Root::Host { toolchains: detect_toolchains() },
        },
        allowed_hosts: arguments.allow,
        required: arguments.require,
        ..SandboxSpec::named("by-hand")
    };
    let toolbox = sandbox.start(&spec).await?;
    tracing::info!("{}", toolbox.description());
    if let Some(repo) = &arguments.repo {
        copy_work_tree(repo, &toolbox).await?;
    }
    let command = CommandSpec {
        argv: arguments.command,
        env: Vec::new(),
        deadline: Duration::from_secs(arguments.timeout),
        output_bytes_max: 0,
    };
    let outcome = tokio::select! {
        outcome = toolbox.run_live(&command, pass_through) => outcome,
        _ = tokio::signal::ctrl_c() => {
            toolbox.shut_down().await;
            return Ok(exit_code::INTERRUPTED);
        }
    };
    toolbox.shut_down().await;
    clean_up(&*sandbox).await;
    match outcome {
        Ok(ending) => {
            if !matches!(ending, ExitStatus::Exited { .. }) {
                eprintln!("mendwright: {}", ending.explain());
            }
            Ok(ending.shell_code())
        }
        Err(CallError::RespondToModel(why)) => {
            eprintln!("mendwright: {why}");
            Ok(exit_code::NOT_STARTED)
        }
        Err(CallError::Fatal(lost)) => Err(lost.into()),
    }
}

fn guarantee(name: &str) -> Result<Guarantee, String> {
    let known = || Guarantee::ALL.map(Guarantee::name).join(", ");
    Guarantee::from_name(name).ok_or_else(|| format!("unknown guarantee; use one of {}", known()))
}

fn pass_through(stream: OutputStream, bytes: &[u8]) {
    // If the reader is gone (`| head`), the command still runs to its end.
    let _ = match stream {
        OutputStream::Output => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        OutputStream::Error => io::stderr().write_all(bytes),
    };
}

async fn copy_work_tree(repo: &Path, toolbox: &Toolbox) -> anyhow::Result<()> {
    if !repo.is_dir() {
        bail!("--repo {}: not a directory; name a repository's work tree", repo.display());
    }
    let (sender, receiver) = mpsc::channel::<io::Result<io::Cursor<Vec<u8>>>>(CHUNKS_MAX);
    let root = repo.to_owned();
    let packing = tokio::task::spawn_blocking(move || {
        let failed = sender.clone();
        let packed = pack(&root, io::BufWriter::with_capacity(CHUNK_BYTES, Chunks(sender)));
        if let Err(error) = &packed {
            // A part of a tree must not be mistaken for the whole tree.
            let _ = failed.blocking_send(Err(io::Error::other(error.to_string())));
        }
        packed
    });
    let chunks = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let unpacked = toolbox.unpack(StreamReader::new(Box::pin(chunks))).await;
    packing
        .await
        .context("packing the work tree panicked")?
        .with_context(|| format!("--repo {}", repo.display()))?;
    Ok(unpacked?)
}

/// A tar of what git sees: no ignored files, no `.git`, symlinks as they are.
fn pack(root: &Path, writer: impl Write) -> anyhow::Result<()> {
    let mut archive = tar::Builder::new(writer);
    archive.follow_symlinks(false);
    let mut walk = WalkBuilder::new(root);
    walk.hidden(false).require_git(false).follow_links(false).sort_by_file_name(Ord::cmp);
    walk.filter_entry(|entry| entry.file_name() != ".git");
    for entry in walk.build() {
        let entry = entry?;
        let path = entry.path().strip_prefix(root)?;
        let Some(kind) = entry.file_type().filter(|_| !path.as_os_str().is_empty()) else { continue };
        if kind.is_file() {
            let mut file = File::open(entry.path()).with_context(|| entry.path().display().to_string())?;
            archive.append_file(path, &mut file)?;
        } else if kind.is_dir() || kind.is_symlink() {
            archive.append_path_with_name(entry.path(), path)?;
        }
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

/// Sends what is written to it through a channel.
struct Chunks(mpsc::Sender<io::Result<io::Cursor<Vec<u8>>>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(io::Cursor::new(bytes.to_vec())));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    #[command(name = "run")]
    struct Alone {
        #[command(flatten)]
        arguments: RunArguments,
    }

    #[test]
    fn arguments_after_the_dashes_are_the_command() {
        let words = [
            "run",
            "--repo",
            ".",
            "--allow",
            "a.example",
            "--allow",
            "b=10.0.0.1",
            "--require",
            "memory",
            "--",
            "ls",
            "--repo",
        ];
        let arguments = Alone::try_parse_from(words).ok().map(|alone| alone.arguments).unwrap();
        assert_eq!(
            (arguments.command, arguments.allow),
            (
                vec!["ls".into(), "--repo".into()],
                vec![AllowedHost::public("a.example"), AllowedHost::parse("b=10.0.0.1").unwrap()]
            )
        );
        assert_eq!((arguments.sandbox, arguments.timeout), (SandboxKind::Bubblewrap, 900));
        assert_eq!(arguments.require, [Guarantee::Memory]);
        for words in [
            &["run"][..],
            &["run", "--"],
            &["run", "--require", "all", "--", "ls"],
            &["run", "--timeout", "0", "--", "ls"],
            &["run", "--allow", "10.0.0.1", "--", "ls"],
        ] {
            assert!(Alone::try_parse_from(words).is_err(), "{words:?} was accepted");
        }
        let help = Alone::command().render_help().to_string();
        assert!(help.contains("mendwright sandbox run --repo . --timeout 300 -- cargo test"), "{help}");
    }

    #[test]
    fn work_tree_is_packed_without_ignored_files() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for path in ["src/a.rs", "target/b", ".git/config", ".github/ci.yml"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "x").unwrap();
        }
        fs::write(root.join(".gitignore"), "target\n").unwrap();
        symlink("/etc/passwd", root.join("link")).unwrap();
        let mut packed = Vec::new();
        pack(root, &mut packed).unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        let expected = [".github", ".github/ci.yml", ".gitignore", "link", "src", "src/a.rs"];
        assert_eq!(names.iter().map(|name| name.trim_end_matches('/')).collect::<Vec<_>>(), expected);
    }
}
