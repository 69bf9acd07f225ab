//! What a job leaves for others to check: its transcript, its manifest, and its replay.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mendwright::provenance::{ManifestSigner, Sealed as SealedManifest};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{BINARY, CommandOutput, LocalFix, TEST_COMMAND, World, mendwright};

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

    let arguments = ["verify", "--digest", &sealed.sha256, "--test", TEST_COMMAND];
    let verified = run(&arguments, &[("--manifest", &manifest), ("--repo", &fix.repository)]).await;
    verified.assert_success();
    let out = &verified.out;
    assert!(out.ends_with("The verdict holds.\n") && !out.contains("DIFFERS"), "{out}");
    for check in ["transcript", "suite", "proof", "failing tests", "exit code", "flags"] {
        assert!(out.contains(&format!("holds      {check}: ")), "{check}: {out}");
    }
    // Anybody can make up a manifest that agrees with itself.
    let paths: [(&str, &Path); 2] = [("--manifest", &manifest), ("--repo", &fix.repository)];
    let alone = run(&["verify", "--test", TEST_COMMAND], &paths).await;
    assert_eq!(alone.code, Some(1), "{}", alone.out);
    assert!(
        alone.out.contains("unchecked  digest: ") && alone.out.contains("holds      verdict: "),
        "{}",
        alone.out
    );
    fix.end();
}

#[tokio::test]
async fn every_forgery_in_a_manifest_is_reported() {
    let fix = fixed().await;
    let (manifest, transcript, sealed) = (fix.file("manifest"), fix.file("transcript"), sealed(&fix));
    let verify = async |manifest: &Path, more: &[&str], transcript: Option<&Path>| {
        let mut paths = vec![("--manifest", manifest), ("--repo", fix.repository.as_path())];
        paths.extend(transcript.map(|path| ("--transcript", path)));
        run(&[&["verify", "--test", TEST_COMMAND][..], more].concat(), &paths).await
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
    let differs = format!(
        "DIFFERS    suite: test command: the manifest says {TEST_COMMAND}; false, the base commit {TEST_COMMAND}"
    );
    assert_reported(&verify(&suite, &[], None).await, &differs);

    // A made-up verdict: each of its claims is compared.
    let claims: [(&str, &str, Value, &str); 4] = [
        (
            "proof",
            "proof",
            json!(["tests/none::none"]),
            "DIFFERS    proof: the manifest says: tests/none::none. Now it is: ",
        ),
        ("failed_after", "failed", json!(["tests/none::none"]), "DIFFERS    failing tests: "),
        ("exit_code", "code", json!(1), "DIFFERS    exit code: the manifest says: 1. Now it is: 0"),
        ("flags", "flags", json!([{"flag": "fewer_tests", "before": 2, "after": 1}]), "DIFFERS    flags: "),
    ];
    for (field, name, claim, expected) in claims {
        let made_up = forged(&fix, name, |value| value["verdict"][field] = claim);
        assert_reported(&verify(&made_up, &[], None).await, expected);
    }

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
async fn service_signs_manifests_and_gives_out_its_public_keys() {
    let mut world = World::new().await;
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    let body = world.pull()["body"].as_str().unwrap().to_owned();
    let after = |words: &str| body.split(words).nth(1).unwrap().split([' ', '`']).next().unwrap().to_owned();
    let signature = after("--signature ");
    // The key is the same after a restart.
    world.stop_service().await;
    let address = world.restart_service().await;
    let url = format!("{address}/.well-known/mendwright-public-keys.pem");
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.status(), 200);
    let public_keys = answer.text().await.unwrap();
    world.stop_service().await;

    let path = |name: &str| world.directory.path().join(name);
    let manifest = body.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    std::fs::write(path("manifest.json"), manifest).unwrap();
    std::fs::write(path("keys.pem"), &public_keys).unwrap();
    let repository = PathBuf::from(world.repository()["git_dir"].as_str().unwrap());
    let paths = |manifest: &str, keys: &str| {
        [("--manifest", path(manifest)), ("--public-key", path(keys)), ("--repo", repository.clone())]
    };
    let verify = async |manifest: &str, keys: &str, more: &[&str]| {
        let paths = paths(manifest, keys);
        let paths: Vec<(&str, &Path)> = paths.iter().map(|(name, path)| (*name, path.as_path())).collect();
        run(&[&["verify"], more].concat(), &paths).await
    };
    let verified = verify("manifest.json", "keys.pem", &["--signature", &signature]).await;
    verified.assert_success();
    assert!(verified.out.contains("holds      signature: by the key "), "{}", verified.out);
    let unsigned = verify("manifest.json", "keys.pem", &[]).await;
    assert_eq!(unsigned.code, Some(1), "{}", unsigned.out);

    let data_dir = path("data");
    let job = world.job().await.to_string();
    let envelope = run(&["transcript", &job, "--envelope"], &[("--data-dir", &data_dir)]).await;
    envelope.assert_success();
    std::fs::write(path("envelope.json"), &envelope.out).unwrap();
    verify("envelope.json", "keys.pem", &[]).await.assert_success();

    // Another service's key.
    let other = tempfile::tempdir().unwrap();
    let other = ManifestSigner::open(other.path(), None).unwrap();
    std::fs::write(path("other.pem"), other.public_keys()).unwrap();
    for (manifest, more) in [("envelope.json", &[][..]), ("manifest.json", &["--signature", &signature])] {
        let refused = verify(manifest, "other.pem", more).await;
        assert_eq!(refused.code, Some(3), "{}", refused.out);
        assert!(refused.out.contains("DIFFERS    signature: it is not signed by any of"), "{}", refused.out);
    }
    let mode = std::fs::metadata(data_dir.join("manifest-signing-key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    world.end().await;
}

#[tokio::test]
async fn replay_repeats_a_job_and_finds_the_first_difference() {
    let fix = fixed().await;
    let transcript = fix.file("transcript");
    let replay = async |file: &Path| run(&["replay"], &[("", file), ("--repo", &fix.repository)]).await;
    let same = replay(&transcript).await;
    same.assert_success();
    assert!(same.out.starts_with("Replayed 3 of 3 recorded turns; "), "{}", same.out);

    let changed = fix.changed(&transcript, "Now passing", "Never failing");
    let different = replay(&changed).await;
    assert_eq!(different.code, Some(3), "{}\n{}", different.out, different.err);
    assert!(different.out.contains("at turn 2: the result of run_tests\n"), "{}", different.out);
    assert!(different.out.contains("- Never failing") && different.out.contains("+ Now passing"));

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
