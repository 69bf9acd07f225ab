//! The rules of the house that no compiler checks: layers and their exceptions, circles of imports, which
//! module may use what, the vocabulary, clocks in tests, file length, links of the guide, and what may lie at
//! the top. The architecture page is a claim; these tests are its proof.

use std::collections::BTreeSet;
use std::fs;

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/guide.rs"]
mod guide;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/sources.rs"]
mod sources;
#[path = "tidy/time.rs"]
mod time;
#[path = "tidy/vocabulary.rs"]
mod vocabulary;

use imports::imports;
use sources::{root, sources};

/// Each module and its layer. A module uses lower layers only.
const LAYERS: &[(&str, u8)] = &[
    ("domain", 0),
    ("markdown", 0),
    ("config", 1),
    ("recording", 1),
    ("secrets", 1),
    ("telemetry", 1),
    ("detect", 2),
    ("github", 2),
    ("model", 2),
    ("sandbox", 2),
    ("store", 2),
    ("agent", 3),
    ("provenance", 3),
    ("publish", 3),
    ("setup", 3),
    ("testing", 3),
    ("verdict", 3),
    ("webhook", 3),
    ("workspace", 3),
    ("evaluate", 4),
    ("install", 4),
    ("worker", 4),
    ("app", 5),
    ("audit", 5),
    ("demo", 5),
    ("cli", 6),
];

/// Uses within a layer, each with its reason.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("telemetry", "secrets", "log lines are redacted"),
    ("config", "secrets", "each secret says whose it is"),
    ("domain", "markdown", "a command counts only outside quotes and code"),
    ("config", "telemetry", "the format of log lines is a setting"),
    ("agent", "setup", "a script runs in an environment as fresh as a verdict's"),
    ("agent", "testing", "run_tests runs the suite exactly as the verdict does"),
    ("agent", "workspace", "each turn is checkpointed as a git tree"),
    ("setup", "testing", "a suite that cannot run ends an environment"),
    ("setup", "workspace", "a fresh sandbox is filled from a tree"),
    ("testing", "workspace", "a tree that cannot be read ends a run"),
    ("verdict", "setup", "a verdict is given in a fresh environment"),
    ("verdict", "testing", "a verdict is given on test runs"),
    ("verdict", "workspace", "a fresh sandbox is filled from the proposed tree"),
    ("publish", "verdict", "a draft pull request demands a Verified"),
    ("publish", "workspace", "a patch is shown"),
    ("publish", "provenance", "a pull request carries its manifest"),
    ("evaluate", "worker", "an instance is worked on by the same pipeline as any job"),
    ("demo", "app", "the demo runs the real service"),
];

/// Texts that only these files may contain, besides tests. `*` is one folder.
const ONLY: &[(&str, &[&str])] = &[
    ("octocrab::", &["src/github/"]),
    ("git2::", &["src/workspace/", "src/emulator/git/"]),
    // The product does not depend on the emulator, but for its demo.
    ("mendwright_emulator", &["src/demo/", "src/cli/"]),
    ("sqlx::", &["src/store/*/"]),
    ("process::Command", &["src/sandbox/", "src/toolbox/", "src/build.rs"]),
    ("Command::new", &["src/sandbox/", "src/toolbox/", "src/build.rs"]),
    ("env::var", &["src/config/", "src/toolbox/", "src/build.rs"]),
    ("unsafe ", &["src/sandbox/", "src/toolbox/", "src/workspace/access.rs"]),
    // Every model call is reserved before it and charged after it.
    ("model.complete(", &["src/agent/metered_model.rs", "src/cli/doctor/model.rs"]),
    // Everything that is sent to GitHub passes the secret gate before.
    (".execute(", &["src/github/transport.rs", "src/store/*/"]),
    ("NewCommit {", &["src/github/types.rs", "src/github/signed_commit.rs", "src/workspace/push.rs"]),
    ("remote.push(", &["src/workspace/push.rs"]),
    // Trees are walked within bounds. libgit2's own walk has none.
    ("TreeWalkMode", &[]),
    // Trees are compared where they were checked.
    (
        "diff_tree_to_tree",
        &[
            "src/workspace/branch.rs",
            "src/workspace/changes.rs",
            "src/workspace/history.rs",
            "src/workspace/patch.rs",
            "src/workspace/push.rs",
            "src/emulator/git/",
        ],
    ),
    ("jsonwebtoken::", &["src/github/", "src/emulator/github/"]),
    (
        "expose_secret",
        &[
            "src/github/",
            "src/model/",
            "src/webhook/",
            "src/workspace/access.rs",
            "src/secrets/known.rs",
            "src/config/",
            "src/store/*/",
            "src/emulator/",
            "src/demo/",
            "src/cli/emulate.rs",
        ],
    ),
];

/// Nothing is much over 500 lines.
const LINES_MAX: usize = 520;

/// What may lie at the top, besides dot-files.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "app-manifest.yml",
    "fixtures",
    "src",
    "target",
    "tests",
];

/// The module of the product that a file belongs to, and its layer.
fn module(path: &str) -> Option<(&'static str, u8)> {
    let inside = path.strip_prefix("src/")?;
    layer_of(inside.split('/').next()?.trim_end_matches(".rs"))
}

fn layer_of(name: &str) -> Option<(&'static str, u8)> {
    LAYERS.iter().copied().find(|(module, _)| *module == name)
}

fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn a_module_uses_lower_layers_only() {
    let mut broken = Vec::new();
    let mut used: BTreeSet<(&str, &str)> = BTreeSet::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let Some(own) = module(&source.path) else { continue };
        let path: Vec<String> = source.path["src/".len()..].split('/').map(str::to_owned).collect();
        let depth = if source.path.ends_with("/mod.rs") { path.len() - 1 } else { path.len() };
        for (line, path) in imports(source, &path[..depth]).paths {
            let Some(other) = path.first().and_then(|first| layer_of(first)) else { continue };
            if other.0 == own.0 {
                continue;
            }
            match NEIGHBOURS.iter().find(|(from, to, _)| *from == own.0 && *to == other.0) {
                Some((from, to, _)) => drop(used.insert((from, to))),
                None if other.1 < own.1 => {}
                None => broken.push(format!("{}:{line}: {own:?} uses {other:?}", source.path)),
            }
        }
    }
    assert_none(&broken, "a module uses lower layers only");
    let unused: Vec<String> = NEIGHBOURS
        .iter()
        .filter(|(from, to, _)| !used.contains(&(*from, *to)))
        .map(|(from, to, _)| format!("{from} no longer uses {to}"))
        .collect();
    assert_none(&unused, "an exception that nothing needs is taken out of NEIGHBOURS");
}

/// Whether `path` is the file `owner` or in that directory.
fn owns(owner: &str, path: &str) -> bool {
    match owner.split_once("*/") {
        Some((above, below)) => path
            .strip_prefix(above)
            .and_then(|inside| inside.split_once('/'))
            .is_some_and(|(_, inside)| inside.starts_with(below)),
        None => path.starts_with(owner),
    }
}

#[test]
fn owner_of_a_text_is_a_file_a_directory_or_each_folder_of_one() {
    assert!(owns("src/store/*/", "src/store/sqlite/mod.rs"));
    assert!(!owns("src/store/*/", "src/store/port.rs"));
    assert!(owns("src/sandbox/", "src/sandbox/docker/mod.rs"));
}

#[test]
fn only_its_owner_knows_a_thing() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (number, line) in source.code() {
            for (word, owners) in ONLY {
                if line.contains(word) && !owners.iter().any(|owner| owns(owner, &source.path)) {
                    broken.push(format!(
                        "{}:{number}: `{word}` belongs to {}",
                        source.path,
                        owners.join(", ")
                    ));
                }
            }
        }
    }
    assert_none(&broken, "only its owner knows a thing");
}

#[test]
fn no_file_is_much_over_500_lines() {
    let long: Vec<String> = sources()
        .iter()
        .map(|source| (source.text.lines().count(), &source.path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert_none(&long, "no file is much over 500 lines");
}

#[test]
fn every_file_says_what_it_owns() {
    let silent: Vec<String> = sources()
        .iter()
        .filter(|source| !source.is_test() && !source.text.starts_with("//! "))
        .map(|source| source.path.clone())
        .collect();
    assert_none(&silent, "a file opens by saying what it owns");
}

#[test]
fn unsafe_code_says_why_it_is_sound() {
    let mut broken = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let is_block = line.contains("unsafe {") || line.trim_start().starts_with("unsafe impl");
            let before = &lines[index.saturating_sub(6)..index];
            if is_block
                && !source.path.contains("tidy.rs")
                && !before.iter().any(|line| line.contains("SAFETY:"))
            {
                broken.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    assert_none(&broken, "an unsafe block has a SAFETY comment before it");
}

#[test]
fn only_agreed_things_lie_at_the_top() {
    let strangers: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .collect();
    assert_none(&strangers, "only agreed things lie at the top");
}

#[test]
fn every_story_is_run() {
    let main = fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    let forgotten: Vec<String> = fs::read_dir(root().join("tests/it"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".rs") && name != "main.rs")
        .filter(|name| !main.contains(&format!("mod {};", name.trim_end_matches(".rs"))))
        .collect();
    assert_none(&forgotten, "every file of tests/it is a module of its main.rs");
}
