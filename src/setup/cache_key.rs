//! The cache key of a setup: a digest of everything that the setup depends on. The same key means the same
//! result.

use sha2::{Digest, Sha256};

use crate::domain::{AllowedHost, Sha};
use crate::sandbox::SetupKey;
use crate::sandbox::protocol::PROTOCOL_VERSION;
use crate::workspace::{Workspace, WorkspaceError};

/// Most lock and manifest files of one tree. If there are more, the key covers the whole tree.
const FILES_MAX: usize = 10_000;

/// Files that tell package managers and build tools what to download or build, in any directory.
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

/// Everything that a setup depends on, except the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyInputs<'a> {
    pub repository: &'a str,
    pub root_digest: &'a str,
    pub commands: &'a [String],
    pub allowed_hosts: &'a [AllowedHost],
    pub variables: &'a [(String, String)],
}

/// The key of a setup at `tree`.
pub(super) async fn setup_key(
    workspace: &Workspace,
    tree: &Sha,
    inputs: KeyInputs<'_>,
) -> Result<SetupKey, WorkspaceError> {
    let paths_in_commands: Vec<String> =
        inputs.commands.iter().flat_map(|command| words_of(command)).collect();
    let is_relevant =
        move |path: &str| is_manifest(path) || paths_in_commands.iter().any(|name| name == path);
    let files = workspace.find_files_by_name(tree, FILES_MAX, is_relevant).await?;
    let files = files.unwrap_or_else(|| vec![("the whole tree".to_owned(), tree.clone())]);
    Ok(digest(&inputs, &files))
}

/// The key of a setup at a proposed tree whose files differ from the base's. It is for that tree only:
/// neither another proposal nor a later base can find what a proposal made.
pub(super) fn key_of_proposal(key: &SetupKey, tree: &Sha) -> SetupKey {
    let mut hash = Sha256::new();
    for field in ["a proposal's set-up", key.as_str(), &tree.to_string()] {
        add(&mut hash, field);
    }
    finish(hash)
}

fn digest(inputs: &KeyInputs<'_>, files: &[(String, Sha)]) -> SetupKey {
    let mut hash = Sha256::new();
    add(&mut hash, "a set-up");
    add(&mut hash, &PROTOCOL_VERSION.to_string());
    add(&mut hash, inputs.repository);
    add(&mut hash, inputs.root_digest);
    let mut hosts: Vec<String> = inputs.allowed_hosts.iter().map(ToString::to_string).collect();
    hosts.sort_unstable();
    let variables = inputs.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    for list in [inputs.commands.to_vec(), hosts, variables] {
        add(&mut hash, &list.len().to_string());
        list.iter().for_each(|item| add(&mut hash, item));
    }
    for (path, content) in files {
        add(&mut hash, path);
        add(&mut hash, &content.to_string());
    }
    finish(hash)
}

/// Each field is preceded by its length, so that two different lists of fields never have the same bytes.
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

/// The words of a shell command that could be paths of the tree: the setup depends on a script that one of
/// its commands runs.
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
    fn manifest_names_are_sorted_and_found_in_any_directory() {
        assert!(NAMES.is_sorted());
        for path in ["Cargo.lock", "a/b/package.json", "requirements-dev.txt", "x/y.gemspec"] {
            assert!(is_manifest(path), "{path}");
        }
        for path in ["src/main.rs", "README.md", "notes.txt", "Cargo.lock.orig"] {
            assert!(!is_manifest(path), "{path}");
        }
    }

    #[test]
    fn script_in_a_command_is_part_of_the_setup() {
        let words: Vec<String> = words_of("FOO=1 sh ./scripts/deps.sh && make -C 'sub dir'").collect();
        assert!(words.contains(&"scripts/deps.sh".to_owned()), "{words:?}");
    }

    #[test]
    fn every_input_of_a_setup_changes_its_key() {
        let commands = ["a".to_owned(), "b".to_owned()];
        let hosts = [AllowedHost::public("x.example")];
        let internal = [AllowedHost::parse("x.example=10.0.0.0/8").unwrap()];
        let variables = [("A".to_owned(), "1".to_owned())];
        let base = KeyInputs {
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
            digest(&KeyInputs { repository: "s", ..base }, &files),
            digest(&KeyInputs { root_digest: "sha256:2", ..base }, &files),
            digest(&KeyInputs { commands: &commands[..1], ..base }, &files),
            digest(&KeyInputs { allowed_hosts: &[], ..base }, &files),
            digest(&KeyInputs { commands: &moved, allowed_hosts: &[], ..base }, &files),
            digest(&KeyInputs { allowed_hosts: &internal, ..base }, &files),
            digest(&KeyInputs { variables: &variables, ..base }, &files),
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
