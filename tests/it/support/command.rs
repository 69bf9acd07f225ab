//! The commands that work without GitHub, as a person runs them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mendwright::model::Provider;
use mendwright_emulator::model::{Conversation, EmulatedProvider};
use serde_json::Value;
use tokio::process::Command;

use super::conversation::fix;
use super::world::{BINARY, ISSUE_BODY, ISSUE_TITLE, TEST_COMMAND, write_slugs};

/// What a command printed, and its exit code.
pub struct CommandOutput {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl CommandOutput {
    pub async fn of(command: &mut Command) -> Self {
        let output = command.kill_on_drop(true).output().await.unwrap();
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The command succeeded.
    pub fn assert_success(&self) {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
    }

    /// The JSON object on the last line.
    pub fn last_json(&self) -> Value {
        serde_json::from_str(self.out.lines().last().unwrap()).unwrap()
    }
}

/// Runs the binary under test.
pub async fn mendwright(arguments: &[&str]) -> CommandOutput {
    CommandOutput::of(Command::new(BINARY).args(arguments)).await
}

/// A repository with a work tree, as a person has it, with the files of the stories. Returns its commit.
fn check_out_slugs(at: &Path) -> git2::Oid {
    write_slugs(at);
    let repository = git2::Repository::init(at).unwrap();
    let mut index = repository.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.write().unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let by = git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap()
}

/// What `mendwright fix` left behind.
pub struct LocalFix {
    pub directory: tempfile::TempDir,
    pub repository: PathBuf,
    /// The commit that it began with.
    pub base: git2::Oid,
    pub output: CommandOutput,
    /// Its last line.
    pub end: Value,
}

impl LocalFix {
    /// Fixes the issue of the stories in a fresh repository; `prepare` may change the work tree first.
    pub async fn run(prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let repository = directory.path().join("repository");
        let base = check_out_slugs(&repository);
        prepare(&repository);
        let issue = directory.path().join("issue.md");
        std::fs::write(&issue, format!("# {ISSUE_TITLE}\n\n{ISSUE_BODY}\n")).unwrap();
        let conversation = Conversation::from_json(&fix().text()).unwrap();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let provider = EmulatedProvider::start(any_port, conversation).await.unwrap();
        let mut command = Command::new(BINARY);
        command
            .args(["fix", "--json", "--provider", "openai", "--model", "scripted-1", "--test", TEST_COMMAND])
            .arg("--repo")
            .arg(&repository)
            .arg("--issue")
            .arg(&issue)
            .arg("--model-url")
            .arg(provider.url_for(Provider::OpenAi).as_str())
            .env("MENDWRIGHT_MODEL_API_KEY", "sk-story")
            .env("TMPDIR", directory.path());
        let output = CommandOutput::of(&mut command).await;
        output.assert_success();
        assert_eq!(provider.violations(), [""; 0]);
        provider.shut_down().await;
        let end = output.last_json();
        Self { directory, repository, base, output, end }
    }

    /// A file that the command names in its last line.
    pub fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(self.end[name].as_str().unwrap())
    }

    /// A changed copy of a file.
    pub fn changed(&self, file: &Path, from: &str, to: &str) -> PathBuf {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        let copy = self.directory.path().join(format!("changed-{}", file.file_name().unwrap().display()));
        std::fs::write(&copy, text.replacen(from, to, 1)).unwrap();
        copy
    }

    pub fn end(self) {
        super::assert_no_sandbox_left(self.directory.path());
    }
}
