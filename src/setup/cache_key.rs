//! What a set-up depends on, as one digest: the same key, the same result. Decides nothing else.

use sha2::{Digest, Sha256};

use crate::config::AllowedHost;
use crate::domain::Sha;
use crate::sandbox::SetupKey;
use crate::sandbox::protocol::PROTOCOL_VERSION;
use crate::workspace::{Workspace, WorkspaceError};

/// Lock and manifest files of one tree; with more, the key is over the whole tree.
const FILES_MAX: usize = 10_000;

/// Files by which package managers and build tools are told what to fetch or to make, whatever
/// directory they are in.
const NAMES: &[&str] = &[
    ".bazelversion",
    ".node-version",
    ".npmrc",
    ".nvmrc",
    ".perl-version",
    ".php-version",
    ".pnpmfile.cjs",
    ".python-version",
    ".ruby-version",
    ".tool-versions",
    ".yarnrc",
    ".yarnrc.yml",
    "BSDmakefile",
    "Build.PL",
    "CMakeLists.txt",
    "CMakePresets.json",
    "Cargo.lock",
    "Cargo.toml",
    "Directory.Build.props",
    "Directory.Packages.props",
    "GNUmakefile",
    "Gemfile",
    "Gemfile.lock",
    "MODULE.bazel",
    "MODULE.bazel.lock",
    "Makefile",
    "Makefile.PL",
    "Package.resolved",
    "Package.swift",
    "Pipfile",
    "Pipfile.lock",
    "build.gradle",
    "build.gradle.kts",
    "build.sbt",
    "bun.lock",
    "bun.lockb",
    "composer.json",
    "composer.lock",
    "conanfile.py",
    "conanfile.txt",
    "conda-lock.yml",
    "configure",
    "configure.ac",
    "cpanfile",
    "cpanfile.snapshot",
    "deno.json",
    "deno.jsonc",
    "deno.lock",
    "environment.yml",
    "flake.lock",
    "flake.nix",
    "global.json",
    "go.mod",
    "go.sum",
    "go.work",
    "go.work.sum",
    "gradle-wrapper.properties",
    "gradle.lockfile",
    "gradle.properties",
    "justfile",
    "lerna.json",
    "libs.versions.toml",
    "makefile",
    "meson.build",
    "mise.toml",
    "mix.exs",
    "mix.lock",
    "noxfile.py",
    "npm-shrinkwrap.json",
    "nuget.config",
    "package-lock.json",
    "package.json",
    "packages.lock.json",
    "pdm.lock",
    "phpunit.xml",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "poetry.lock",
    "poetry.toml",
    "pom.xml",
    "pubspec.lock",
    "pubspec.yaml",
    "pyproject.toml",
    "rebar.config",
    "rebar.lock",
    "rust-toolchain",
    "rust-toolchain.toml",
    "settings.gradle",
    "settings.gradle.kts",
    "setup.cfg",
    "setup.py",
    "stack.yaml",
    "stack.yaml.lock",
    "tox.ini",
    "uv.lock",
    "uv.toml",
    "vcpkg.json",
    "yarn.lock",
];

/// What one set-up depends on, beside the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct DependsOn<'a> {
    pub repository: &'a str,
    pub root_digest: &'a str,
    pub commands: &'a [String],
    pub allowed_hosts: &'a [AllowedHost],
    pub variables: &'a [(String, String)],
}

/// The key of a set-up at `tree`.
pub(super) async fn setup_key(
    workspace: &Workspace,
    tree: &Sha,
    depends_on: DependsOn<'_>,
) -> Result<SetupKey, WorkspaceError> {
    let named: Vec<String> = depends_on.commands.iter().flat_map(|command| words_of(command)).collect();
    let wanted = move |path: &str| is_manifest(path) || named.iter().any(|name| name == path);
    let files = workspace.find_files_by_name(tree, FILES_MAX, wanted).await?;
    let files = files.unwrap_or_else(|| vec![("the whole tree".to_owned(), tree.clone())]);
    Ok(digest(&depends_on, &files))
}

/// The key of a set-up at a proposed tree whose files differ from the base's. It is for that very
/// tree: what a proposal made is never found by another one, or by a later base.
pub(super) fn key_of_proposal(key: &SetupKey, tree: &Sha) -> SetupKey {
    let mut hash = Sha256::new();
    for field in ["a proposal's set-up", key.as_str(), &tree.to_string()] {
        add(&mut hash, field);
    }
    finish(hash)
}

fn digest(depends_on: &DependsOn<'_>, files: &[(String, Sha)]) -> SetupKey {
    let mut hash = Sha256::new();
    add(&mut hash, "a set-up");
    add(&mut hash, &PROTOCOL_VERSION.to_string());
    add(&mut hash, depends_on.repository);
    add(&mut hash, depends_on.root_digest);
    let mut hosts: Vec<String> = depends_on.allowed_hosts.iter().map(ToString::to_string).collect();
    hosts.sort_unstable();
    let variables = depends_on.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    for list in [depends_on.commands.to_vec(), hosts, variables] {
        add(&mut hash, &list.len().to_string());
        list.iter().for_each(|item| add(&mut hash, item));
    }
    for (path, content) in files {
        add(&mut hash, path);
        add(&mut hash, &content.to_string());
    }
    finish(hash)
}

/// Each field with its length before it, so that no two lists of fields are the same bytes.
fn add(hash: &mut Sha256, field: &str) {
    hash.update((field.len() as u64).to_be_bytes());
    hash.update(field.as_bytes());
}

fn finish(hash: Sha256) -> SetupKey {
    SetupKey::from_hex(hex::encode(hash.finalize())).expect("a SHA-256 in lower-case hexadecimal is a key")
}

fn is_manifest(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ends = [".gemspec", ".csproj", ".fsproj", ".podspec", ".cabal", ".nimble", ".opam", ".rockspec"];
    NAMES.binary_search(&name).is_ok()
        || ends.iter().any(|end| name.ends_with(end))
        || (name.ends_with(".txt") && (name.contains("requirements") || name.contains("constraints")))
}

/// The words of a shell command that could be paths of the tree: a script that a command runs is
/// part of what the set-up depends on.
fn words_of(command: &str) -> impl Iterator<Item = String> {
    let separators = |c: char| c.is_whitespace() || "'\";|&()<>=$`".contains(c);
    command
        .split(separators)
        .map(|word| word.trim_start_matches("./").to_owned())
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(digit: char) -> Sha {
        digit.to_string().repeat(40).parse().unwrap()
    }

    #[test]
    fn names_are_in_order_and_known_wherever_they_are() {
        assert!(NAMES.is_sorted());
        for path in ["Cargo.lock", "a/b/package.json", "requirements-dev.txt", "x/y.gemspec"] {
            assert!(is_manifest(path), "{path}");
        }
        for path in ["src/main.rs", "README.md", "notes.txt", "Cargo.lock.orig"] {
            assert!(!is_manifest(path), "{path}");
        }
    }

    #[test]
    fn a_script_that_a_command_names_is_part_of_the_set_up() {
        let words: Vec<String> = words_of("FOO=1 sh ./scripts/deps.sh && make -C 'sub dir'").collect();
        assert!(words.contains(&"scripts/deps.sh".to_owned()), "{words:?}");
    }

    #[test]
    fn everything_that_a_set_up_depends_on_changes_its_key() {
        let commands = ["a".to_owned(), "b".to_owned()];
        let hosts = [AllowedHost::public("x.example")];
        let internal = [AllowedHost::parse("x.example=10.0.0.0/8").unwrap()];
        let variables = [("A".to_owned(), "1".to_owned())];
        let base = DependsOn {
            repository: "r",
            root_digest: "sha256:1",
            commands: &commands,
            allowed_hosts: &hosts,
            variables: &[],
        };
        let files = [("Cargo.lock".to_owned(), sha('1'))];
        let moved = ["a".to_owned(), "b".to_owned(), "x.example".to_owned()];
        let keys = [
            digest(&base, &files),
            digest(&DependsOn { repository: "s", ..base }, &files),
            digest(&DependsOn { root_digest: "sha256:2", ..base }, &files),
            digest(&DependsOn { commands: &commands[..1], ..base }, &files),
            digest(&DependsOn { allowed_hosts: &[], ..base }, &files),
            digest(&DependsOn { commands: &moved, allowed_hosts: &[], ..base }, &files),
            digest(&DependsOn { allowed_hosts: &internal, ..base }, &files),
            digest(&DependsOn { variables: &variables, ..base }, &files),
            digest(&base, &[("Cargo.lock".to_owned(), sha('2'))]),
            digest(&base, &[("a/Cargo.lock".to_owned(), sha('1'))]),
            key_of_proposal(&digest(&base, &files), &sha('1')),
            key_of_proposal(&digest(&base, &files), &sha('2')),
        ];
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
        assert_eq!(digest(&base, &files), keys[0]);
    }
}
