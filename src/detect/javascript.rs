//! JavaScript and TypeScript: npm, Yarn, pnpm, Bun, Deno.

use serde_json::Value;

use super::package_scripts::{
    by_own_runner, is_placeholder, script_of, testing_part, testing_script, watches,
};
use super::tools::{node, npm_tool};
use super::{Candidate, Detected, RootListing, jsonc};

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
    let (manager, version, why) = manager(root, &package);
    let needs_nothing = ["dependencies", "devDependencies", "optionalDependencies", "workspaces"]
        .iter()
        .all(|key| package.get(*key).is_none_or(is_empty));
    let new = match needs_nothing {
        true => bring(new, manager, version.as_deref()),
        false => set_up(bring(new, manager, version.as_deref()), root, manager, &why),
    };
    let new = or_with_node(or_parts(new, &package, manager), root, &package, manager, version.as_deref());
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
    let runner = [
        ("vitest", "npx --no-install vitest run"),
        ("jest", "npx --no-install jest"),
        ("mocha", "npx --no-install mocha"),
        ("ava", "npx --no-install ava"),
    ]
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

/// The package manager from the field `packageManager`, with its version, else from the lock file, with the source.
fn manager(root: &RootListing, package: &Value) -> (Manager, Option<String>, String) {
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
            // A hash may follow the version.
            let version = version.split('+').next().unwrap_or(version);
            let is_version = version.chars().all(|c| c.is_ascii_alphanumeric() || ".-^~".contains(c));
            let version = is_version.then(|| version.to_owned());
            return (manager, version, "packageManager in package.json".to_owned());
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
        Some((lock, manager)) => (manager, None, lock.to_owned()),
        None => {
            (Manager::Npm, None, "package.json; there is no lock file, so versions may differ".to_owned())
        }
    }
}

/// Files that name the version of Node to work with.
const NODE_FILES: &[&str] = &[".nvmrc", ".node-version"];

/// Adds what to try after that: the version of Node that the package or its package manager requires, or that the
/// repository names, if there is an older one only. Many packages run on older ones than they name.
fn or_with_node(
    candidate: Candidate,
    root: &RootListing,
    package: &Value,
    manager: Manager,
    version: Option<&str>,
) -> Candidate {
    let engines = package.get("engines").and_then(|engines| engines.get("node")).and_then(Value::as_str);
    let engines = engines.and_then(least_major).map(|major| (major, "engines in package.json"));
    let named = NODE_FILES.iter().find_map(|file| {
        let text = root.text(file)?;
        Some((least_major(text.trim().trim_start_matches('v'))?, *file))
    });
    let of_manager = least_node_of(manager, version).map(|major| (major, "what pnpm runs on"));
    let Some((major, source)) =
        [engines, named, of_manager].into_iter().flatten().max_by_key(|(major, _)| *major)
    else {
        return candidate;
    };
    let bring = Detected::new(node(major), source);
    let with_node = |setup: &[Detected<String>]| [std::slice::from_ref(&bring), setup].concat();
    let mut candidate = candidate;
    // What comes after the first one is for repositories that this machine does not suit anyway.
    candidate.other_setups = candidate.other_setups.iter().map(|setup| with_node(setup)).collect();
    let setup = with_node(&candidate.setup);
    candidate.or_set_up_by(setup)
}

/// The oldest Node on which a package manager runs, if that is not every Node in use.
/// Source: the table at pnpm.io, "Installation", "Compatibility"; without a version, the newest one is brought.
fn least_node_of(manager: Manager, version: Option<&str>) -> Option<u32> {
    let major = |version: &str| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match manager {
        Manager::Pnpm if version.is_none_or(|version| major(version).is_some_and(|major| major >= 11)) => {
            Some(22)
        }
        Manager::Pnpm | Manager::Npm | Manager::YarnClassic | Manager::YarnBerry | Manager::Bun => None,
    }
}

/// The least major version of a range: 18 for `^18.12 || >=20`. `None`: it is no plain range, or an old version, which
/// every Node in use satisfies.
fn least_major(range: &str) -> Option<u32> {
    const OLD: u32 = 18;
    let alternatives = range.split("||").map(|one| {
        let digits: String =
            one.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        let is_upper_bound = one.trim().starts_with('<');
        digits.parse().ok().filter(|_| !is_upper_bound)
    });
    let least: Option<Vec<u32>> = alternatives.collect();
    least?.into_iter().min().filter(|major| *major > OLD)
}

/// Brings the package manager, unless it is npm, which comes with Node. Corepack would load it from a host of its own.
fn bring(candidate: Candidate, manager: Manager, version: Option<&str>) -> Candidate {
    let (tool, package) = match manager {
        Manager::Npm => return candidate,
        Manager::YarnClassic => ("yarn", "yarn"),
        Manager::YarnBerry => ("yarn", "@yarnpkg/cli-dist"),
        Manager::Pnpm => ("pnpm", "pnpm"),
        Manager::Bun => ("bun", "bun"),
    };
    let exact = version.map(|version| format!("{package}@{version}"));
    let command = npm_tool(tool, exact.as_deref().unwrap_or(package));
    candidate.set_up_by(command, format!("package.json is for {tool}"))
}

/// Adds what to try if the script `test` shows no passing tests: the repository built first, and the part of the script
/// that tests, without linters and coverage.
fn or_parts(candidate: Candidate, package: &Value, manager: Manager) -> Candidate {
    let Some(test) = script_of(package, "test") else { return candidate };
    let mut candidate = candidate;
    let is_built = test.contains("build") || script_of(package, "pretest").is_some();
    if script_of(package, "build").is_some() && !is_built {
        let command = format!("{} && {}", manager.run("build"), manager.run("test"));
        candidate = candidate.or_tested_by(command, "the scripts build and test in package.json");
    }
    let source = "the part of the script test in package.json that tests";
    let part = testing_part(test, package).filter(|part| part != test);
    let script = testing_script(test, package);
    let candidate = part
        .into_iter()
        .fold(candidate, |candidate, part| candidate.or_tested_by(by_own_runner(&part), source));
    script.into_iter().fold(candidate, |candidate, name| candidate.or_tested_by(manager.run(name), source))
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
    let brought = candidate.setup.clone();
    let candidate = candidate.set_up_by(command, why);
    if manager != Manager::Npm {
        return candidate;
    }
    // A lock file that does not fit, versions that exclude each other, or a script that loads a browser.
    let lenient = "npm install --no-audit --no-fund --legacy-peer-deps --ignore-scripts";
    let mut other = brought;
    other.push(Detected::new(lenient, "package.json, without scripts of packages and with any lock file"));
    let candidate = candidate.or_set_up_by(other);
    match root.committed_at {
        Some(at) if !has_lock(&["package-lock.json", "npm-shrinkwrap.json"]) => {
            // Newer versions may break what is not pinned.
            let command = format!("{lenient} --before {}", at.strftime("%Y-%m-%dT%H:%M:%SZ"));
            candidate.or_set_up_by(vec![Detected::new(
                command,
                "package.json, with no newer versions than the commit",
            )])
        }
        Some(_) | None => candidate,
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_version_of_node_is_read_from_a_range() {
        let cases = [
            (">=22", Some(22)),
            ("^20.19.0 || >=22.12.0", Some(20)),
            ("^18.0.0 || >=20", None),
            (">= 24.1", Some(24)),
            ("*", None),
            ("<23", None),
            ("lts/*", None),
        ];
        for (range, major) in cases {
            assert_eq!(least_major(range), major, "{range}");
        }
    }
}
