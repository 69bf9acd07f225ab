//! The hosts that package managers ask if no configuration names another: public facts of each tool, so that no
//! process has to be asked for them.

use super::tools::{Tool, names_program};

/// The default hosts of some programs of a tool.
#[derive(Debug)]
pub(super) struct DefaultHosts {
    pub(super) tool: Tool,
    /// The programs that ask them; empty: every program of the tool.
    programs: &'static [&'static str],
    pub(super) hosts: &'static [&'static str],
}

const fn of(tool: Tool, programs: &'static [&'static str], hosts: &'static [&'static str]) -> DefaultHosts {
    DefaultHosts { tool, programs, hosts }
}

/// By tool. Index and downloads may be on two hosts.
pub(super) const DEFAULTS: &[DefaultHosts] = &[
    // The Cargo Book, "Registry Index" (crates.io's sparse index), and `dl` in that index's config.json.
    of(Tool::Cargo, &[], &["index.crates.io", "static.crates.io"]),
    // pip's documentation, "pip install", `--index-url`. Its index links to files on the second host (docs.pypi.org,
    // "Index API").
    of(Tool::Pip, &[], &["pypi.org", "files.pythonhosted.org"]),
    // npm's documentation, "config", `registry`. pnpm, Bun and corepack ask the same one.
    of(Tool::Npm, &["npm", "npx", "pnpm", "bun", "corepack"], &["registry.npmjs.org"]),
    // yarnpkg.com, "Settings", `npmRegistryServer`, and Yarn Classic's `registry`.
    of(Tool::Npm, &["yarn"], &["registry.yarnpkg.com"]),
    // Deno's documentation, "Modules and dependencies".
    of(Tool::Npm, &["deno"], &["jsr.io", "registry.npmjs.org"]),
    // Go Modules Reference, "Environment variables": GOPROXY, GOSUMDB.
    of(Tool::Go, &[], &["proxy.golang.org", "sum.golang.org"]),
    // Maven's super POM, and Gradle's user manual, "Declaring repositories": mavenCentral().
    of(Tool::Jvm, &["mvn", "mvnw", "gradle", "gradlew"], &["repo.maven.apache.org"]),
    // Gradle's user manual, "Using plugins" and "The Gradle wrapper".
    of(
        Tool::Jvm,
        &["gradle", "gradlew"],
        &["plugins.gradle.org", "plugins-artifacts.gradle.org", "services.gradle.org"],
    ),
    // sbt's reference manual, "Resolvers", and its launcher's default repositories.
    of(Tool::Jvm, &["sbt"], &["repo.scala-sbt.org", "repo1.maven.org"]),
    // Leiningen's sample.project.clj, `:repositories`.
    of(Tool::Jvm, &["lein"], &["repo.clojars.org", "repo1.maven.org"]),
    // RubyGems' guides, "gem sources". Its compact index is on the second host.
    of(Tool::Ruby, &[], &["rubygems.org", "index.rubygems.org"]),
    // Composer's documentation, "Repositories". Most packages name archives on the other two.
    of(Tool::Composer, &[], &["repo.packagist.org", "api.github.com", "codeload.github.com"]),
    // cpanm's manual: `--mirror`, `--metacpan` and the index that it looks modules up in.
    of(
        Tool::Perl,
        &[],
        &[
            "cpan.metacpan.org",
            "cpan.org",
            "cpanmetadb.plackperl.org",
            "fastapi.metacpan.org",
            "www.cpan.org",
        ],
    ),
    // Microsoft's documentation, "nuget.config reference": nuget.org.
    of(Tool::Dotnet, &[], &["api.nuget.org"]),
    // Hex's documentation, "mix hex.repo" and "mix local.hex".
    of(Tool::Elixir, &[], &["repo.hex.pm", "builds.hex.pm"]),
];

impl DefaultHosts {
    /// Whether a shell command asks them.
    pub(super) fn is_used_by(&self, command: &str) -> bool {
        match self.programs.is_empty() {
            true => self.tool.is_used_by(command),
            false => names_program(command, self.programs),
        }
    }
}

/// The hosts that these commands ask if nothing is configured, in order of their names. Those of commands that name
/// no known tool are not known.
pub fn default_hosts<'c>(commands: impl IntoIterator<Item = &'c str>) -> Vec<&'static str> {
    let mut hosts: Vec<&str> = commands
        .into_iter()
        .flat_map(|command| DEFAULTS.iter().filter(move |row| row.is_used_by(command)))
        .flat_map(|row| row.hosts.iter().copied())
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}
