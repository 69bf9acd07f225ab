//! What a job leaves for others to check: its transcript, its manifest, and its replay.

use std::path::{Path, PathBuf};

use mendwright::provenance::Sealed as SealedManifest;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{BINARY, CommandOutput, LocalFix, mendwright};

async fn fixed() -> LocalFix {
    LocalFix::run(|_| {}).await
}

/// Runs a command with options whose values are paths. An option without a name is an argument.
async fn run(arguments: &[&str], paths: &[(&str, &Path)]) -> CommandOutput {
    let mut command = Command::new(BINARY);
    command.args(arguments);
    for (option, path) in paths {
        if !option.is_empty() {
            command.arg(option);
        }
        command.arg(path);
    }
    CommandOutput::of(&mut command).await
}

fn data_dir(fix: &LocalFix) -> PathBuf {
    fix.file("transcript").parent().unwrap().to_owned()
}

#[tokio::test]
async fn transcript_is_the_same_from_the_store_and_from_the_file() {
    let fix = fixed().await;
    let file = std::fs::read_to_string(fix.file("transcript")).unwrap();
    let header: Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
    assert_eq!((&header["format"], &header["version"]), (&json!("mendwright-transcript"), &json!(1)));
    let job = header["job"].as_str().unwrap().to_owned();
    let from_store = run(&["transcript", &job[..13], "--json"], &[("--data-dir", &data_dir(&fix))]).await;
    from_store.assert_success();
    assert_eq!(from_store.out, file);

    let schema = mendwright(&["transcript", "--schema"]).await.out;
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    for line in file.lines() {
        assert!(schema.is_valid(&serde_json::from_str(line).unwrap()), "{line}");
    }

    let later = fix.directory.path().join("later.jsonl");
    let unknown = json!({
        "sequence": file.lines().count(),
        "at": "2026-11-22T10:00:00Z",
        "event": {"event": "teleported", "to": "x"},
    });
    std::fs::write(&later, format!("{file}{unknown}\n")).unwrap();
    let page = run(&["transcript"], &[("", &later)]).await;
    page.assert_success();
    for part in
        ["## Issue: ", "Turn 1: ", "### The last verdict: verified", "unknown to this version", "teleported"]
    {
        assert!(page.out.contains(part), "{part} is missing: {}", page.out);
    }
    fix.end();
}

#[tokio::test]
async fn transcript_that_is_missing_or_broken_is_reported_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let missing = run(&["transcript", "0199"], &[("--data-dir", directory.path())]).await;
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.err.contains("there is no store at") && missing.err.contains("--data-dir"),
        "{}",
        missing.err
    );
    let file = directory.path().join("t.jsonl");
    std::fs::write(&file, "{}\n").unwrap();
    let broken = run(&["transcript"], &[("", &file)]).await;
    assert_eq!(broken.code, Some(1));
    assert!(broken.err.contains("line 1 of the transcript"), "{}", broken.err);
}

fn sealed(fix: &LocalFix) -> SealedManifest {
    SealedManifest::parse(&std::fs::read_to_string(fix.file("manifest")).unwrap()).unwrap()
}

/// A manifest with another content, and a digest that fits.
fn forged(fix: &LocalFix, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let text = std::fs::read_to_string(fix.file("manifest")).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    change(&mut value);
    let sealed = SealedManifest::new(serde_json::from_value(value).unwrap());
    // Alone in its directory, so that the command does not find the transcript.
    let directory = fix.directory.path().join(name);
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("manifest.json");
    std::fs::write(&path, sealed.to_text()).unwrap();
    path
}

/// A repository with one commit and no files.
fn empty_repository(at: &Path) {
    let repository = git2::Repository::init(at).unwrap();
    let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
    let by = git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap();
}

#[tokio::test]
async fn manifest_is_in_the_pull_request_and_verify_confirms_it() {
    let fix = fixed().await;
    let manifest = fix.file("manifest");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let sealed = sealed(&fix);
    assert_eq!(sealed.manifest.head.commit.as_str(), fix.end["pull_request"]["head_sha"]);
    let purposes: Vec<&str> = sealed.manifest.commands.iter().map(|run| run.purpose.as_str()).collect();
    assert_eq!(purposes, ["baseline", "agent", "verdict"]);
    assert!(sealed.manifest.sandbox.root.is_some() && sealed.manifest.prompts.is_some());

    let body = &fix.output.out;
    let marker = format!("<!-- mendwright:manifest:{} -->", sealed.sha256);
    assert!(body.contains(&marker), "{body}");
    let block = body.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(SealedManifest::parse(block).unwrap(), sealed);
    let job = sealed.manifest.job.to_string();
    let stored = run(&["transcript", &job, "--manifest"], &[("--data-dir", &data_dir(&fix))]).await;
    stored.assert_success();
    assert_eq!(stored.out, text);

    let arguments = ["verify", "--digest", &sealed.sha256];
    let verified = run(&arguments, &[("--manifest", &manifest), ("--repo", &fix.repository)]).await;
    verified.assert_success();
    let out = &verified.out;
    assert!(out.ends_with("The verdict holds.\n") && !out.contains("DIFFERS"), "{out}");
    assert!(out.contains("holds      transcript: "), "{out}");
    fix.end();
}

#[tokio::test]
async fn every_forgery_in_a_manifest_is_reported() {
    let fix = fixed().await;
    let (manifest, transcript, sealed) = (fix.file("manifest"), fix.file("transcript"), sealed(&fix));
    let verify = async |manifest: &Path, more: &[&str], transcript: Option<&Path>| {
        let mut paths = vec![("--manifest", manifest), ("--repo", fix.repository.as_path())];
        paths.extend(transcript.map(|path| ("--transcript", path)));
        run(&[&["verify"][..], more].concat(), &paths).await
    };
    let assert_reported = |output: &CommandOutput, text: &str| {
        let is_reported = output.code == Some(3) && output.out.contains(text);
        assert!(is_reported, "{text}: {:?}\n{}", output.code, output.out);
    };

    let tampered = fix.changed(&manifest, "\"tool_calls\": 5", "\"tool_calls\": 4");
    assert_reported(&verify(&tampered, &[], None).await, "was changed after it was made");

    let cheaper = forged(&fix, "cheaper", |value| value["spent"]["turns"] = json!(1));
    assert_reported(&verify(&cheaper, &["--digest", &sealed.sha256], None).await, "DIFFERS    digest: ");
    assert_reported(&verify(&cheaper, &[], Some(&transcript)).await, "DIFFERS    contents: spent: ");

    let base_tree = sealed.manifest.base.tree.to_string();
    let tree = forged(&fix, "tree", |value| value["head"]["tree"] = json!(base_tree));
    assert_reported(&verify(&tree, &[], None).await, "DIFFERS    head tree: ");
    let head = sealed.manifest.head.clone();
    let base = forged(&fix, "base", |value| {
        value["base"]["commit"] = json!(head.commit);
        value["base"]["tree"] = json!(head.tree);
    });
    assert_reported(&verify(&base, &[], None).await, "DIFFERS    head's base: ");

    let changed = fix.changed(&transcript, "The suite is green.", "The suite is greenish.");
    assert_reported(&verify(&manifest, &[], Some(&changed)).await, "DIFFERS    transcript: ");

    let failing = json!("sh run-tests.sh; false");
    let suite = forged(&fix, "suite", |value| value["suite"]["test_command"] = failing);
    assert_reported(&verify(&suite, &[], None).await, "DIFFERS    verdict: ");

    let elsewhere = fix.directory.path().join("elsewhere");
    empty_repository(&elsewhere);
    let missing = run(&["verify"], &[("--manifest", &manifest), ("--repo", &elsewhere)]).await;
    assert!(
        missing.code == Some(1) && missing.out.contains("is not there"),
        "{}\n{}",
        missing.out,
        missing.err
    );
    fix.end();
}

#[tokio::test]
async fn replay_repeats_a_job_and_finds_the_first_difference() {
    let fix = fixed().await;
    let transcript = fix.file("transcript");
    let replay = async |file: &Path| run(&["replay"], &[("", file), ("--repo", &fix.repository)]).await;
    let same = replay(&transcript).await;
    same.assert_success();
    assert!(same.out.starts_with("Replayed 3 of 3 recorded turns; "), "{}", same.out);

    let changed = fix.changed(&transcript, "No longer failing", "Never failing");
    let different = replay(&changed).await;
    assert_eq!(different.code, Some(3), "{}\n{}", different.out, different.err);
    assert!(different.out.contains("at turn 2: the result of run_tests\n"), "{}", different.out);
    assert!(different.out.contains("- Never failing") && different.out.contains("+ No longer failing"));

    let repository = git2::Repository::open(&fix.repository).unwrap();
    let branches = repository.branches(None).unwrap().count();
    assert_eq!(branches, 2, "a replay wrote to the repository");

    // A recording that ends in the middle, as a killed job's does.
    let text = std::fs::read_to_string(&transcript).unwrap();
    let second = text.match_indices("\"role\":\"assistant\"").nth(1).unwrap().0;
    let cut = fix.directory.path().join("cut.jsonl");
    let end = text[..second].rfind('\n').unwrap() + 1;
    std::fs::write(&cut, &text[..end]).unwrap();
    let part = replay(&cut).await;
    part.assert_success();
    assert!(part.out.starts_with("Replayed 1 of 1 recorded turns"), "{}", part.out);
    fix.end();
}
