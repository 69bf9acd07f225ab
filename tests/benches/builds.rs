//! What a kept build is worth on a repository whose suite is mostly compiled: the baseline's run, and the verdict on a
//! fix with a test, from what the base's build left and without it. A Rust workspace that is generated here, with the
//! real Cargo in a real sandbox. The floor is the same suite by hand, where it has been compiled before and the same
//! files have changed. Figure to hold: the verdict takes a third of the baseline.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mendwright::domain::{Change, ChangedContent, FileMode, JobSettings, RepositoryId, SandboxKind};
use mendwright::sandbox::{Root, SandboxOptions, SandboxSpec, connect, detect_toolchains};
use mendwright::setup::{Environment, SetupLocks, SetupPolicy};
use mendwright::testing::run_suite_of_tree;
use mendwright::verdict::{Verdict, Verifier};
use mendwright::workspace::{LocalRepository, Mirrors};

/// Crates below the one with the bug.
const CRATES: usize = 12;
/// Functions in each.
const FUNCTIONS: usize = 400;
const TEST_COMMAND: &str = "cargo test --workspace --offline";
const BROKEN: &str = "pub fn sum() -> u64 {\n    SUM + 1\n}\n";
const FIXED: &str = "pub fn sum() -> u64 {\n    SUM\n}\n";
const TEST: &str = "#[test]\nfn sums() {\n    assert_eq!(app::sum(), 0);\n}\n";

fn write(root: &Path, path: &str, text: &str) {
    let at = root.join(path);
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::write(at, text).unwrap();
}

fn manifest(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}")
}

/// The crate with the bug: what it says, besides `sum`.
fn app(sum: &str) -> String {
    let used: String = (0..CRATES).map(|number| format!(" + 0 * part_{number}::FIRST")).collect();
    format!("const SUM: u64 = 0{used};\n\n{sum}")
}

/// A workspace in which one crate uses all others.
fn workspace(root: &Path) {
    let members: Vec<String> = (0..CRATES).map(|number| format!("\"part-{number}\"")).collect();
    let head = format!("[workspace]\nmembers = [{}]\n", members.join(", "));
    let uses: String = (0..CRATES).map(|n| format!("part-{n} = {{ path = \"part-{n}\" }}\n")).collect();
    write(root, "Cargo.toml", &format!("{head}{}", manifest("app", &format!("[dependencies]\n{uses}"))));
    write(root, "src/lib.rs", &app(BROKEN));
    write(root, "tests/runs.rs", "#[test]\nfn runs() {\n    assert!(app::sum() < 2);\n}\n");
    for number in 0..CRATES {
        let mut source = "use std::collections::BTreeMap;\n\npub const FIRST: u64 = 1;\n".to_owned();
        for function in 0..FUNCTIONS {
            let _ = write!(
                source,
                "\npub fn f{function}(words: &[&str]) -> BTreeMap<String, Vec<usize>> {{\n    \
                 let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();\n    \
                 for (at, word) in words.iter().enumerate().filter(|(at, _)| at % {} != 1) {{\n        \
                 found.entry(format!(\"{{word}}-{function}\")).or_default().push(at);\n    }}\n    found\n}}\n",
                function + 2
            );
        }
        source.push_str("\n#[test]\nfn finds() {\n    assert_eq!(f1(&[\"a\"]).len(), 1);\n}\n");
        write(root, &format!("part-{number}/Cargo.toml"), &manifest(&format!("part-{number}"), ""));
        write(root, &format!("part-{number}/src/lib.rs"), &source);
    }
}

fn commit(root: &Path) {
    let repository = git2::Repository::init(root).unwrap();
    let mut index = repository.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.write().unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let by = git2::Signature::now("a", "a@example").unwrap();
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap();
}

/// The suite by hand: the first time, and after the fix.
fn by_hand(root: &Path) -> (Duration, Duration) {
    let suite = || {
        let started = Instant::now();
        let run = Command::new("sh")
            .args(["-c", TEST_COMMAND])
            .current_dir(root)
            .env_remove("CARGO_TARGET_DIR")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(run.unwrap().success());
        started.elapsed()
    };
    let first = suite();
    write(root, "src/lib.rs", &app(FIXED));
    write(root, "tests/sums.rs", TEST);
    (first, suite())
}

fn row(what: &str, ours: Duration, floor: Duration) {
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!(
        "{what:<58} {:>8.2} s   floor {:>7.2} s   {ratio:>6.2} ×",
        ours.as_secs_f64(),
        floor.as_secs_f64()
    );
}

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("repository");
    workspace(&root);
    commit(&root);
    let options = SandboxOptions {
        state_dir: directory.path().join("state"),
        ..SandboxOptions::standalone(SandboxKind::Bubblewrap)
    };
    let sandbox = connect(&options).unwrap();
    let access = LocalRepository::open(&root).unwrap().access().unwrap();
    let mirrors = Mirrors::new(directory.path().join("mirrors"));
    let workspace = mirrors.fetch(RepositoryId(1), &access, "HEAD").await.unwrap();
    let settings = JobSettings { mutants: false, ..JobSettings::of_test_command(TEST_COMMAND) };
    let environment = async || {
        let spec = SandboxSpec {
            root: Root::Host { toolchains: detect_toolchains() },
            ..SandboxSpec::named(format!("builds-{}", std::process::id()))
        };
        let made = Environment::of(
            sandbox.clone(),
            spec,
            workspace.clone(),
            settings.clone(),
            SetupPolicy::default(),
            RepositoryId(1),
            SetupLocks::default(),
        );
        made.await.unwrap()
    };
    let written = |path: &str, text: &str| {
        let content = ChangedContent::File { mode: FileMode::Regular, bytes: text.into() };
        Change { path: path.parse().unwrap(), content }
    };
    let changes = [written("src/lib.rs", &app(FIXED)), written("tests/sums.rs", TEST)];

    let (warm, cold) = (environment().await, environment().await.without_kept_build());
    let base = workspace.base_tree().await.unwrap();
    let toolbox = warm.fresh(&base, "work").await.unwrap().unwrap();
    let started = Instant::now();
    let baseline = run_suite_of_tree(&toolbox, &settings).await.unwrap();
    let baseline_took = started.elapsed();
    assert!(baseline.is_green(), "{}", baseline.result.output.to_text());
    let started = Instant::now();
    warm.keep_build(&toolbox, &base).await.unwrap();
    let keeping = started.elapsed();
    toolbox.shut_down().await;
    let judged = async |environment: &Environment| {
        let started = Instant::now();
        let verdict = Verifier::new(environment, &baseline).judge(&changes, None).await.unwrap();
        assert!(matches!(verdict, Verdict::Verified(_)), "{verdict:?}");
        started.elapsed()
    };
    let with = judged(&warm).await;
    let sandboxes = warm.warm_starts();
    let later = environment().await;
    let toolbox = later.fresh(&base, "work").await.unwrap().unwrap();
    let started = Instant::now();
    run_suite_of_tree(&toolbox, &settings).await.unwrap();
    let again = started.elapsed();
    toolbox.shut_down().await;
    let without = judged(&cold).await;
    let (first, changed) = by_hand(&root);

    println!(
        "a workspace of {} crates; {sandboxes} sandboxes of the verdict start from the build",
        CRATES + 1
    );
    row("baseline", baseline_took, first);
    row("keeping what it built", keeping, first);
    row("baseline of a later job on the same base", again, first);
    row("finish to verdict, with the kept build", with, changed);
    row("finish to verdict, without it", without, changed);
    let third = with.as_secs_f64() / baseline_took.as_secs_f64();
    println!("{:<58} {third:>8.2}     figure: 0.33", "finish to verdict, of the baseline");
}
