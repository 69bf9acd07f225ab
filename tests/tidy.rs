//! The house rules that a compiler does not hold: layers, who knows what, file length, and what
//! may lie at the top. DESIGN is a claim; this file is its proof.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module and its layer. A module uses lower layers only.
const LAYERS: &[(&str, u8)] = &[
    ("domain", 0),
    ("config", 1),
    ("markdown", 0),
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

/// Words that only these files may hold, beside tests.
const ONLY: &[(&str, &[&str])] = &[
    ("octocrab::", &["src/github/"]),
    ("git2::", &["src/workspace/", "src/emulator/git/"]),
    ("sqlx::", &["src/store/"]),
    ("process::Command", &["src/sandbox/", "src/toolbox/", "src/build.rs"]),
    ("Command::new", &["src/sandbox/", "src/toolbox/", "src/build.rs"]),
    ("env::var", &["src/config/", "src/toolbox/", "src/build.rs"]),
    ("unsafe ", &["src/sandbox/", "src/toolbox/", "src/workspace/access.rs"]),
    // Every model call is reserved before and accounted for after.
    (".complete(", &["src/agent/metered_model.rs", "src/toolbox/", "src/cli/doctor/model.rs"]),
    // What is sent to GitHub passes the gate before it.
    (".execute(", &["src/github/transport.rs", "src/store/"]),
    ("NewCommit {", &["src/github/signed_commit.rs", "src/workspace/push.rs"]),
    ("remote.push(", &["src/workspace/push.rs"]),
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
            "src/emulator/",
            "src/demo/",
            "src/cli/emulate.rs",
        ],
    ),
];

/// Nothing is much over 500 lines.
const LINES_MAX: usize = 520;

/// What may lie at the top, beside dot-files.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "Dockerfile",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "app-manifest.yml",
    "fixtures",
    "src",
    "target",
    "tests",
];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The module of the main crate that the file belongs to, if it belongs to one.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let name = inside.split('/').next()?.trim_end_matches(".rs");
        LAYERS.iter().map(|(module, _)| *module).find(|module| *module == name)
    }

    /// Its lines of code with their numbers: no comments, nothing after the unit tests begin.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]\nmod tests {") && *line != "mod tests {")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(index, line)| (index + 1, line))
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for top in ["src", "tests"] {
        collect(&root().join(top), &mut found);
    }
    assert!(found.len() > 80, "only {} sources found: is this the checkout?", found.len());
    found
}

fn collect(directory: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            found.push(Source { path: relative, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

fn layer(module: &str) -> u8 {
    LAYERS.iter().find(|(name, _)| *name == module).unwrap_or_else(|| panic!("no layer for {module}")).1
}

/// The modules that a line names by `crate::…`.
fn named_modules(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").filter_map(|(at, _)| {
        let rest = &line[at + "crate::".len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        LAYERS.iter().map(|(module, _)| *module).find(|module| *module == &rest[..end])
    })
}

fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn a_module_uses_lower_layers_only() {
    let mut broken = Vec::new();
    let mut used: BTreeSet<(&str, &str)> = BTreeSet::new();
    let sources = sources();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let Some(module) = source.module() else { continue };
        for (number, line) in source.code() {
            for other in named_modules(line).filter(|other| *other != module) {
                let neighbours = NEIGHBOURS.iter().find(|(from, to, _)| *from == module && *to == other);
                if let Some((from, to, _)) = neighbours {
                    used.insert((from, to));
                } else if layer(other) >= layer(module) {
                    broken.push(format!(
                        "{}:{number}: {module} (layer {}) uses {other} (layer {})",
                        source.path,
                        layer(module),
                        layer(other)
                    ));
                }
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

#[test]
fn only_its_owner_knows_a_thing() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (number, line) in source.code() {
            for (word, owners) in ONLY {
                if line.contains(word) && !owners.iter().any(|owner| source.path.starts_with(owner)) {
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
