//! `mendwright sandbox run`: one command as a job's command would be run, with its output passed
//! through. Reads the work tree it is given; writes nothing outside the sandbox.

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

use super::{allowed_host, tidy_by_hand};
use crate::config::AllowedHost;
use crate::domain::{ExitStatus, Guarantee, SandboxKind};
use crate::sandbox::{
    CallError, CommandSpec, OutputStream, Root, SandboxSpec, Toolbox, connect_default, detect_toolchains,
};

/// Chunks of the work tree on their way into the sandbox.
const CHUNKS_MAX: usize = 16;
const CHUNK_BYTES: usize = 64 << 10;
/// As a shell's, for a command that cannot be run.
const NOT_RUN: i32 = 127;
/// As a shell's, for a command ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// What `mendwright sandbox run` is told.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  mendwright sandbox run --repo . --timeout 300 -- cargo test\n  \
    mendwright sandbox run --sandbox docker --image debian:12 -- cat /etc/os-release\n\n\
    The exit code is the command's, or, in this order:\n  \
      124  it ran into the timeout\n  \
      137  memory ran out\n  \
      122  a writable directory had no room left while it ran\n  \
      123  a process or thread was refused for their number\n  \
      128+N  signal N ended it\n  \
      127  it could not be started\n\
    What it was is said on standard error.")]
pub struct RunArguments {
    /// Work tree to copy to /workspace (git-ignored files and .git are left out)
    #[arg(long, value_name = "DIR")]
    pub repo: Option<PathBuf>,
    /// Kind of sandbox: bubblewrap, docker (Podman, too)
    #[arg(long, value_name = "KIND", default_value = "bubblewrap")]
    pub sandbox: SandboxKind,
    /// Image that its root file system is (docker must have one; default: the host's own /usr)
    #[arg(long, value_name = "REF")]
    pub image: Option<String>,
    /// Host that may be reached by HTTP(S) through the sandbox's proxy, an internal one with the
    /// addresses at which it is (nexus.example=10.1.2.0/24); may be repeated
    #[arg(long, value_name = "HOST[=RANGE]", value_parser = allowed_host)]
    pub allow: Vec<AllowedHost>,
    /// What must be applied: memory, processes, processor, disk, other_user; may be repeated
    #[arg(long, value_name = "WHAT", value_parser = guarantee)]
    pub require: Vec<Guarantee>,
    /// Seconds after which the command is killed
    #[arg(long, value_name = "S", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Program and arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Runs the command. The answer is the exit code to end with.
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
            return Ok(INTERRUPTED);
        }
    };
    toolbox.shut_down().await;
    tidy_by_hand(&*sandbox).await;
    match outcome {
        Ok(ending) => {
            if !matches!(ending, ExitStatus::Exited { .. }) {
                eprintln!("mendwright: {}", ending.explain());
            }
            Ok(ending.shell_code())
        }
        Err(CallError::RespondToModel(why)) => {
            eprintln!("mendwright: {why}");
            Ok(NOT_RUN)
        }
        Err(CallError::Fatal(lost)) => Err(lost.into()),
    }
}

fn guarantee(name: &str) -> Result<Guarantee, String> {
    let known = || Guarantee::ALL.map(Guarantee::name).join(", ");
    Guarantee::from_name(name).ok_or_else(|| format!("no sandbox has that; choose of {}", known()))
}

fn pass_through(stream: OutputStream, bytes: &[u8]) {
    // A reader that has left (`| head`) is no reason to end the command.
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
            // A part of a tree must not pass for the whole.
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
        .context("packing the work tree broke")?
        .with_context(|| format!("--repo {}", repo.display()))?;
    Ok(unpacked?)
}

/// A tar of what git would see: no ignored files, no `.git`, symlinks as they are.
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

/// Hands what is written to it to the other side of a channel.
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
    fn what_follows_the_dashes_is_the_command() {
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
    fn the_tree_is_packed_as_git_sees_it() {
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
