//! What is left of a job for others to check: its transcript, its manifest, and doing it again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mendwright::demo::scenario::Scenario;
use mendwright::model::Provider;
use mendwright::provenance::Sealed;
use mendwright_emulator::model::{Conversation, EmulatedProvider};
use serde_json::{Value, json};
use tokio::process::Command;

use super::commands::checkout;
use crate::support::{BINARY, assert_no_sandbox_left};

/// An issue that `mendwright fix` worked on, and what it left.
struct Fixed {
    directory: tempfile::TempDir,
    repository: PathBuf,
    transcript: PathBuf,
    data_dir: PathBuf,
    body: String,
    end: Value,
}

/// What a command said, and its exit code.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn said(arguments: &[&str], paths: &[(&str, &Path)]) -> Said {
    let mut command = Command::new(BINARY);
    command.args(arguments).kill_on_drop(true);
    for (option, path) in paths {
        if !option.is_empty() {
            command.arg(option);
        }
        command.arg(path);
    }
    let output = command.output().await.unwrap();
    Said {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Fixed {
    async fn new() -> Self {
        let scenario = Scenario::by_name("fix").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let repository = directory.path().join("repository");
        checkout(scenario, &repository);
        let issue = directory.path().join("issue.md");
        std::fs::write(&issue, format!("# {}\n\n{}\n", scenario.issue_title, scenario.issue_body)).unwrap();
        let conversation = Conversation::from_json(scenario.conversation).unwrap();
        let provider =
            EmulatedProvider::start(SocketAddr::from(([127, 0, 0, 1], 0)), conversation).await.unwrap();
        let output = Command::new(BINARY)
            .args(["fix", "--json", "--provider", "openai", "--model", "scripted-1", "--repo"])
            .arg(&repository)
            .arg("--issue")
            .arg(&issue)
            .arg("--model-url")
            .arg(provider.url_for(Provider::OpenAi).as_str())
            .env("MENDWRIGHT_MODEL_API_KEY", "sk-story")
            .env("TMPDIR", directory.path())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        let end: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        provider.shut_down().await;
        let transcript = PathBuf::from(end["transcript"].as_str().unwrap());
        let data_dir = transcript.parent().unwrap().to_owned();
        Self { directory, repository, transcript, data_dir, body: said.into_owned(), end }
    }

    /// A changed copy of a file that `fix` left.
    fn changed(&self, file: &Path, from: &str, to: &str) -> PathBuf {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        let copy = self.directory.path().join(format!("changed-{}", file.file_name().unwrap().display()));
        std::fs::write(&copy, text.replacen(from, to, 1)).unwrap();
        copy
    }

    fn end(self) {
        assert_no_sandbox_left(self.directory.path());
    }
}

#[tokio::test]
async fn a_transcript_is_the_same_from_the_store_and_from_the_file() {
    let fixed = Fixed::new().await;
    let file = std::fs::read_to_string(&fixed.transcript).unwrap();
    let header: Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
    assert_eq!((&header["format"], &header["version"]), (&json!("mendwright-transcript"), &json!(1)));
    let job = header["job"].as_str().unwrap().to_owned();
    let from_store = said(&["transcript", &job[..13], "--json"], &[("--data-dir", &fixed.data_dir)]).await;
    assert_eq!((from_store.code, from_store.out), (Some(0), file.clone()), "{}", from_store.err);

    let schema = said(&["transcript", "--schema"], &[]).await.out;
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    for line in file.lines() {
        assert!(schema.is_valid(&serde_json::from_str(line).unwrap()), "{line}");
    }

    let later = fixed.directory.path().join("later.jsonl");
    let lines = file.lines().count();
    let more = format!(
        "{file}{}\n",
        json!({"sequence": lines, "at": "2026-11-22T10:00:00Z", "event": {"event": "teleported", "to": "x"}})
    );
    std::fs::write(&later, more).unwrap();
    let page = said(&["transcript"], &[("", &later)]).await;
    assert_eq!(page.code, Some(0), "{}", page.err);
    for part in ["## Issue: ", "Turn 1: ", "### The last verdict: verified", "does not know", "teleported"] {
        assert!(page.out.contains(part), "{part} is missing: {}", page.out);
    }
    fixed.end();
}

#[tokio::test]
async fn a_transcript_that_cannot_be_had_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let none = said(&["transcript", "0199"], &[("--data-dir", directory.path())]).await;
    assert_eq!(none.code, Some(1));
    assert!(none.err.contains("there is no store at") && none.err.contains("--data-dir"), "{}", none.err);
    let file = directory.path().join("t.jsonl");
    std::fs::write(&file, "{}\n").unwrap();
    let wrong = said(&["transcript"], &[("", &file)]).await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("line 1 of the transcript"), "{}", wrong.err);
}

/// A manifest with something else in it, and a digest that fits.
fn forged(fixed: &Fixed, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let manifest = PathBuf::from(fixed.end["manifest"].as_str().unwrap());
    let mut value: Value = serde_json::from_str(&std::fs::read_to_string(manifest).unwrap()).unwrap();
    change(&mut value);
    let sealed = Sealed::new(serde_json::from_value(value).unwrap());
    // Alone in its directory: nobody finds the transcript beside it.
    let directory = fixed.directory.path().join(name);
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("manifest.json");
    std::fs::write(&path, sealed.to_text()).unwrap();
    path
}

#[tokio::test]
async fn a_manifest_holds_and_stands_in_the_pull_request() {
    let fixed = Fixed::new().await;
    let manifest = PathBuf::from(fixed.end["manifest"].as_str().unwrap());
    let text = std::fs::read_to_string(&manifest).unwrap();
    let sealed = Sealed::parse(&text).unwrap();
    assert_eq!(sealed.manifest.head.commit.as_str(), fixed.end["pull_request"]["head_sha"]);
    let purposes: Vec<&str> = sealed.manifest.commands.iter().map(|run| run.purpose.as_str()).collect();
    assert_eq!(purposes, ["baseline", "agent", "verdict"]);
    assert!(sealed.manifest.sandbox.root.is_some() && sealed.manifest.prompts.is_some());

    let marker = format!("<!-- mendwright:manifest:{} -->", sealed.sha256);
    assert!(fixed.body.contains(&marker), "{}", fixed.body);
    let block = fixed.body.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(Sealed::parse(block).unwrap(), sealed);
    let job = sealed.manifest.job.to_string();
    let stored = said(&["transcript", &job, "--manifest"], &[("--data-dir", &fixed.data_dir)]).await;
    assert_eq!((stored.code, stored.out), (Some(0), text), "{}", stored.err);

    let holds = said(
        &["verify", "--digest", &sealed.sha256],
        &[("--manifest", &manifest), ("--repo", &fixed.repository)],
    )
    .await;
    assert_eq!(holds.code, Some(0), "{}\n{}", holds.out, holds.err);
    assert!(holds.out.ends_with("The verdict holds.\n") && !holds.out.contains("DIFFERS"), "{}", holds.out);
    assert!(holds.out.contains("holds      transcript: "), "{}", holds.out);
    fixed.end();
}

#[tokio::test]
async fn every_lie_in_a_manifest_is_told() {
    let fixed = Fixed::new().await;
    let manifest = PathBuf::from(fixed.end["manifest"].as_str().unwrap());
    let sealed = Sealed::parse(&std::fs::read_to_string(&manifest).unwrap()).unwrap();
    let verify = async |manifest: &Path, more: &[&str], transcript: Option<&Path>| {
        let mut paths = vec![("--manifest", manifest), ("--repo", fixed.repository.as_path())];
        paths.extend(transcript.map(|path| ("--transcript", path)));
        said(&[&["verify"][..], more].concat(), &paths).await
    };
    let told = |said: &Said, code: i32, words: &str| {
        assert!(
            said.code == Some(code) && said.out.contains(words),
            "{words}: {:?}\n{}",
            said.code,
            said.out
        );
    };

    let tampered = fixed.changed(&manifest, "\"tool_calls\": 5", "\"tool_calls\": 4");
    told(&verify(&tampered, &[], None).await, 3, "was changed after it was made");

    let cheaper = forged(&fixed, "cheaper", |value| value["spent"]["turns"] = json!(1));
    told(&verify(&cheaper, &["--digest", &sealed.sha256], None).await, 3, "DIFFERS    digest: ");
    told(&verify(&cheaper, &[], Some(&fixed.transcript)).await, 3, "DIFFERS    contents: spent: ");

    let base_tree = sealed.manifest.base.tree.to_string();
    let tree = forged(&fixed, "tree", |value| value["head"]["tree"] = json!(base_tree));
    told(&verify(&tree, &[], None).await, 3, "DIFFERS    head tree: ");
    let head = sealed.manifest.head.clone();
    let base = forged(&fixed, "base", |value| {
        value["base"]["commit"] = json!(head.commit);
        value["base"]["tree"] = json!(head.tree);
    });
    told(&verify(&base, &[], None).await, 3, "DIFFERS    head's base: ");

    let transcript = fixed.changed(&fixed.transcript, "The suite is green.", "The suite is greenish.");
    told(&verify(&manifest, &[], Some(&transcript)).await, 3, "DIFFERS    transcript: ");

    let suite = forged(&fixed, "suite", |value| value["suite"]["test_command"] = json!("cargo test; false"));
    told(&verify(&suite, &[], None).await, 3, "DIFFERS    verdict: ");

    let elsewhere = fixed.directory.path().join("elsewhere");
    checkout(Scenario::by_name("proof").unwrap(), &elsewhere);
    let lost = said(&["verify"], &[("--manifest", &manifest), ("--repo", &elsewhere)]).await;
    told(&lost, 1, "is not there");
    fixed.end();
}

#[tokio::test]
async fn a_job_is_done_again_and_the_first_difference_is_found() {
    let fixed = Fixed::new().await;
    let replay = async |file: &Path| said(&["replay"], &[("", file), ("--repo", &fixed.repository)]).await;
    let again = replay(&fixed.transcript).await;
    assert_eq!(again.code, Some(0), "{}\n{}", again.out, again.err);
    assert!(again.out.starts_with("3 of 3 recorded turns were done again; "), "{}", again.out);

    let changed = fixed.changed(&fixed.transcript, "No longer failing", "Never failing");
    let diverged = replay(&changed).await;
    assert_eq!(diverged.code, Some(3), "{}\n{}", diverged.out, diverged.err);
    assert!(diverged.out.contains("at turn 2: the result of run_tests\n"), "{}", diverged.out);
    assert!(diverged.out.contains("- Never failing") && diverged.out.contains("+ No longer failing"));

    let repository = git2::Repository::open(&fixed.repository).unwrap();
    let branches = repository.branches(None).unwrap().count();
    assert_eq!(branches, 2, "a replay writes to nobody's repository");

    // A recording that ends in the middle, as a killed job's does.
    let text = std::fs::read_to_string(&fixed.transcript).unwrap();
    let second = text.match_indices("\"role\":\"assistant\"").nth(1).unwrap().0;
    let cut = fixed.directory.path().join("cut.jsonl");
    let end = text[..second].rfind('\n').unwrap() + 1;
    std::fs::write(&cut, &text[..end]).unwrap();
    let part = replay(&cut).await;
    assert_eq!(part.code, Some(0), "{}\n{}", part.out, part.err);
    assert!(part.out.starts_with("1 of 1 recorded turns"), "{}", part.out);
    fixed.end();
}
