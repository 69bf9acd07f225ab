//! JavaScript and TypeScript: npm, Yarn, pnpm, Bun, Deno.

use serde_json::Value;

use super::{Candidate, RootListing, jsonc};

const LANGUAGE: &str = "JavaScript";
const RUNNERS: &[&str] = &[
    "npm test",
    "npm t",
    "npm run test",
    "yarn test",
    "yarn run test",
    "pnpm test",
    "pnpm run test",
    "bun test",
    "bun run test",
    "jest",
    "vitest",
    "mocha",
    "node --test",
    "deno test",
    "deno task test",
];

/// A package manager, if its commands differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Npm,
    YarnClassic,
    YarnBerry,
    Pnpm,
    Bun,
}

/// How JavaScript projects are tested.
pub(super) fn detect(root: &RootListing) -> Option<Candidate> {
    if !root.has_file("package.json") {
        return deno(root);
    }
    let new = Candidate::new(LANGUAGE, "package.json", RUNNERS);
    let text = root.text("package.json").map(|text| text.trim_start_matches('\u{feff}'));
    let Some(package) = text.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return Some(new.untested("package.json cannot be read as JSON", "npm test"));
    };
    let (manager, why) = manager(root, &package);
    let needs_nothing = ["dependencies", "devDependencies", "optionalDependencies", "workspaces"]
        .iter()
        .all(|key| package.get(*key).is_none_or(is_empty));
    let new = if needs_nothing { new } else { set_up(new, root, manager, &why) };
    let scripts = package.get("scripts");
    let script = |name: &str| scripts?.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty());
    if let Some(text) = script("test").filter(|text| !is_placeholder(text)) {
        if !watches(text) {
            return Some(new.tested_by(manager.run("test"), "the test script in package.json"));
        }
        let once = ["test:ci", "test:once", "test:run", "ci:test", "test:unit"];
        if let Some(name) = once.into_iter().find(|name| script(name).is_some_and(|text| !watches(text))) {
            let source =
                format!("the script {name} in package.json, because the script test waits for changes");
            return Some(new.tested_by(manager.run(name), source));
        }
        let why = "its test script waits for changes and never ends";
        return Some(new.untested(why, format!("{} -- --watch=false", manager.run("test"))));
    }
    if let Some(name) = ["test:unit", "test:ci", "tests", "test:all", "unit"]
        .into_iter()
        .find(|name| script(name).is_some_and(|text| !is_placeholder(text) && !watches(text)))
    {
        return Some(new.tested_by(manager.run(name), format!("the script {name} in package.json")));
    }
    let depends_on = |name: &str| {
        ["devDependencies", "dependencies"]
            .iter()
            .any(|key| package.get(*key).is_some_and(|all| all.get(name).is_some()))
    };
    let runner =
        [("vitest", "npx vitest run"), ("jest", "npx jest"), ("mocha", "npx mocha"), ("ava", "npx ava")]
            .into_iter()
            .find(|(name, _)| depends_on(name));
    if let Some((name, command)) = runner {
        let source = format!("package.json depends on {name} and has no test script");
        return Some(new.tested_by(command, source));
    }
    let why = match script("test") {
        Some(_) => "its test script is a placeholder that tests nothing",
        None => "it has no test script",
    };
    Some(new.untested(why, "node --test"))
}

impl Manager {
    fn run(self, script: &str) -> String {
        let program = match self {
            Self::Npm => "npm",
            Self::YarnClassic | Self::YarnBerry => "yarn",
            Self::Pnpm => "pnpm",
            // `bun test` is Bun's own runner, not the script.
            Self::Bun => "bun",
        };
        match (self, script) {
            (Self::Npm | Self::YarnClassic | Self::YarnBerry | Self::Pnpm, "test") => {
                format!("{program} test")
            }
            (_, script) => format!("{program} run {script}"),
        }
    }
}

/// The package manager from the field `packageManager`, else from the lock file, with the source.
fn manager(root: &RootListing, package: &Value) -> (Manager, String) {
    let is_berry = root.has_file(".yarnrc.yml")
        || root.text("yarn.lock").is_some_and(|lock| lock.contains("\n__metadata:"));
    let named = package.get("packageManager").and_then(Value::as_str);
    if let Some((name, version)) = named.and_then(|named| named.split_once('@')) {
        let manager = match name {
            "npm" => Some(Manager::Npm),
            "yarn" if version.starts_with("1.") => Some(Manager::YarnClassic),
            "yarn" => Some(Manager::YarnBerry),
            "pnpm" => Some(Manager::Pnpm),
            "bun" => Some(Manager::Bun),
            _ => None,
        };
        if let Some(manager) = manager {
            return (manager, "packageManager in package.json".to_owned());
        }
    }
    let yarn = if is_berry { Manager::YarnBerry } else { Manager::YarnClassic };
    let locks = [
        ("package-lock.json", Manager::Npm),
        ("npm-shrinkwrap.json", Manager::Npm),
        ("pnpm-lock.yaml", Manager::Pnpm),
        ("yarn.lock", yarn),
        ("bun.lock", Manager::Bun),
        ("bun.lockb", Manager::Bun),
    ];
    match locks.into_iter().find(|(lock, _)| root.has_file(lock)) {
        Some((lock, manager)) => (manager, lock.to_owned()),
        None => (Manager::Npm, "package.json; there is no lock file, so versions may differ".to_owned()),
    }
}

fn set_up(candidate: Candidate, root: &RootListing, manager: Manager, why: &str) -> Candidate {
    let has_lock = |names: &[&str]| root.first(names).is_some();
    let command = match manager {
        Manager::Npm if has_lock(&["package-lock.json", "npm-shrinkwrap.json"]) => "npm ci",
        Manager::Npm => "npm install",
        Manager::YarnClassic if has_lock(&["yarn.lock"]) => "yarn install --frozen-lockfile",
        Manager::YarnBerry if has_lock(&["yarn.lock"]) => "yarn install --immutable",
        Manager::YarnClassic | Manager::YarnBerry => "yarn install",
        Manager::Pnpm if has_lock(&["pnpm-lock.yaml"]) => "pnpm install --frozen-lockfile",
        Manager::Pnpm => "pnpm install",
        Manager::Bun if has_lock(&["bun.lock", "bun.lockb"]) => "bun install --frozen-lockfile",
        Manager::Bun => "bun install",
    };
    candidate.set_up_by(command, why)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Whether a script is a placeholder: it only prints, and sets an exit code.
fn is_placeholder(script: &str) -> bool {
    script
        .split(['&', ';', '|'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .all(|part| matches!(part.split_whitespace().next(), Some("echo" | "exit" | "true" | "false" | ":")))
}

/// Whether the script waits for changes. Sandboxes set `CI`, which ends scripts that check it.
fn watches(script: &str) -> bool {
    let mut words = script.split_whitespace();
    words.any(|word| matches!(word, "--watch" | "--watchAll" | "--watch=true" | "--watchAll=true"))
}

fn deno(root: &RootListing) -> Option<Candidate> {
    let name = root.first(&["deno.json", "deno.jsonc"])?;
    let new = Candidate::new("Deno", name, RUNNERS).set_up_by("deno install", name);
    let config = root.text(name).and_then(jsonc::parse)?;
    Some(match config.get("tasks").and_then(|tasks| tasks.get("test")) {
        Some(_) => new.tested_by("deno task test", format!("the task test in {name}")),
        None => new.untested("it has no task named test", "deno test --allow-read"),
    })
}
