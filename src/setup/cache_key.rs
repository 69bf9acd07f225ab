//! The cache key of a setup: a digest of everything that the setup could read, the tree that it runs in
//! included. A setup runs commands of the repository, which may read any file of that tree: a key over some
//! named files would let one commit's scripts prepare the sandboxes of another. Commits share a result only
//! if their trees are the same, or if the repository names the files that its setup needs (`setup_files`):
//! then it runs in a tree that holds nothing else, and without a `.git` directory. Where it has one, the base commit and
//! its tags are part of the key.

use std::collections::HashSet;

use globset::{Glob, GlobSet, GlobSetBuilder};
use sha2::{Digest, Sha256};

use crate::domain::{AllowedHost, Sha};
use crate::sandbox::SetupKey;
use crate::sandbox::protocol::PROTOCOL_VERSION;
use crate::workspace::{Workspace, WorkspaceError};

/// Most lock and manifest files of one tree that are compared. If there are more, the whole trees are.
const FILES_MAX: usize = 10_000;

/// Files that tell package managers and build tools what to download or build, in any directory. A proposal
/// that changes one needs a setup of its own.
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
    /// The submodules that are there, which not every job may have. Empty: none.
    pub submodules: &'a str,
    /// What its `.git` directory has besides the tree. Empty: it has none.
    pub git: &'a str,
}

/// The tree that the setup for `tree` runs in: all of it, or only what `files` names, if it names anything.
pub(super) async fn setup_tree(
    workspace: &Workspace,
    tree: &Sha,
    files: &[String],
) -> Result<Sha, WorkspaceError> {
    if files.is_empty() {
        return Ok(tree.clone());
    }
    let globs = glob_set(files);
    workspace.reduced_tree(tree, move |path| globs.is_match(path)).await
}

/// The key of a setup that runs in `tree`.
pub(super) fn setup_key(inputs: &KeyInputs<'_>, tree: &Sha) -> SetupKey {
    let mut hash = Sha256::new();
    add(&mut hash, "a set-up in a tree");
    add(&mut hash, &PROTOCOL_VERSION.to_string());
    add(&mut hash, inputs.repository);
    add(&mut hash, inputs.root_digest);
    add(&mut hash, inputs.git);
    if !inputs.submodules.is_empty() {
        add(&mut hash, inputs.submodules);
    }
    let mut hosts: Vec<String> = inputs.allowed_hosts.iter().map(ToString::to_string).collect();
    hosts.sort_unstable();
    let variables = inputs.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    for list in [inputs.commands.to_vec(), hosts, variables] {
        add(&mut hash, &list.len().to_string());
        list.iter().for_each(|item| add(&mut hash, item));
    }
    add(&mut hash, &tree.to_string());
    finish(hash)
}

/// The key of a setup for a proposed tree, whose own key would be `key`. It is for the job `label` only:
/// neither another job nor a later base can find what a proposal made.
pub(super) fn key_of_proposal(key: &SetupKey, tree: &Sha, label: &str) -> SetupKey {
    let mut hash = Sha256::new();
    for field in ["a proposal's set-up", key.as_str(), &tree.to_string(), label] {
        add(&mut hash, field);
    }
    finish(hash)
}

/// The key of what the base's build left. `setup` is the key of the base's setup, which covers repository, root and
/// toolchains; `git` is what the sandbox's `.git` directory has; `hosts` are those that the suite can reach.
pub(super) fn key_of_build(
    setup: &SetupKey,
    base: &Sha,
    git: &str,
    test_command: &str,
    hosts: &[AllowedHost],
) -> SetupKey {
    let mut hash = Sha256::new();
    for field in ["a kept build", setup.as_str(), &base.to_string(), git, test_command] {
        add(&mut hash, field);
    }
    let mut hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    hosts.sort_unstable();
    hosts.iter().for_each(|host| add(&mut hash, host));
    finish(hash)
}

/// The lock and manifest files of `tree`, and the files that `commands` name, with their contents' ids.
pub(super) async fn manifests(
    workspace: &Workspace,
    tree: &Sha,
    commands: &[String],
) -> Result<Vec<(String, Sha)>, WorkspaceError> {
    let paths_in_commands: Vec<String> = commands.iter().flat_map(|command| words_of(command)).collect();
    let is_relevant =
        move |path: &str| is_manifest(path) || paths_in_commands.iter().any(|name| name == path);
    let files = workspace.find_files_by_name(tree, FILES_MAX, is_relevant).await?;
    Ok(files.unwrap_or_else(|| vec![("more files than are compared".to_owned(), tree.clone())]))
}

/// The paths that are in only one of two lists, or have another content in the other; sorted.
pub(super) fn differing_paths(one: &[(String, Sha)], other: &[(String, Sha)]) -> Vec<String> {
    let only = |one: &[(String, Sha)], other: &[(String, Sha)]| {
        let known: HashSet<&(String, Sha)> = other.iter().collect();
        one.iter().filter(|file| !known.contains(file)).map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    let mut paths = [only(one, other), only(other, one)].concat();
    paths.sort();
    paths.dedup();
    paths
}

/// The repository's globs, which were checked when its file was read.
fn glob_set(globs: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        if let Ok(glob) = Glob::new(glob) {
            set.add(glob);
        }
    }
    set.build().unwrap_or_else(|_| GlobSet::empty())
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
            git: "",
            submodules: "",
        };
        let moved = ["a".to_owned(), "b".to_owned(), "x.example".to_owned()];
        let tree = sha('1');
        let keys = [
            setup_key(&base, &tree),
            setup_key(&base, &sha('2')),
            setup_key(&KeyInputs { repository: "s", ..base }, &tree),
            setup_key(&KeyInputs { root_digest: "sha256:2", ..base }, &tree),
            setup_key(&KeyInputs { commands: &commands[..1], ..base }, &tree),
            setup_key(&KeyInputs { allowed_hosts: &[], ..base }, &tree),
            setup_key(&KeyInputs { commands: &moved, allowed_hosts: &[], ..base }, &tree),
            setup_key(&KeyInputs { allowed_hosts: &internal, ..base }, &tree),
            setup_key(&KeyInputs { variables: &variables, ..base }, &tree),
            setup_key(&KeyInputs { git: "a commit", ..base }, &tree),
            setup_key(&KeyInputs { submodules: "a commit a/path\n", ..base }, &tree),
            key_of_proposal(&setup_key(&base, &tree), &tree, "job-1"),
            key_of_proposal(&setup_key(&base, &tree), &sha('2'), "job-1"),
            key_of_proposal(&setup_key(&base, &tree), &tree, "job-2"),
            key_of_build(&setup_key(&base, &tree), &tree, "", "make", &[]),
            key_of_build(&setup_key(&base, &sha('2')), &tree, "", "make", &[]),
            key_of_build(&setup_key(&base, &tree), &sha('2'), "", "make", &[]),
            key_of_build(&setup_key(&base, &tree), &tree, "a commit", "make", &[]),
            key_of_build(&setup_key(&base, &tree), &tree, "", "make all", &[]),
            key_of_build(&setup_key(&base, &tree), &tree, "", "make", &hosts),
        ];
        let different: HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
        assert_eq!(setup_key(&base, &tree), keys[0]);
    }

    #[test]
    fn differing_paths_are_added_removed_and_changed_ones() {
        let files = |list: &[(&str, char)]| -> Vec<(String, Sha)> {
            list.iter().map(|(path, digit)| ((*path).to_owned(), sha(*digit))).collect()
        };
        let before = files(&[("Makefile", '1'), ("go.mod", '2'), ("go.sum", '3')]);
        let after = files(&[("Makefile", '1'), ("a/package.json", '5'), ("go.mod", '4')]);
        assert_eq!(differing_paths(&before, &after), ["a/package.json", "go.mod", "go.sum"]);
        assert_eq!(differing_paths(&before, &before), Vec::<String>::new());
    }
}
