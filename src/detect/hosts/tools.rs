//! Package managers: which commands use them, and how a person finds out where they download from.

use std::sync::LazyLock;

use regex::Regex;

/// A family of package managers that share a registry's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// cargo
    Cargo,
    /// pip, uv, Poetry, Pipenv, PDM
    Pip,
    /// npm, Yarn, pnpm, Bun
    Npm,
    /// go
    Go,
    /// Maven, Gradle, sbt
    Jvm,
    /// Bundler, gem
    Ruby,
    /// Composer
    Composer,
    /// cpanm
    Perl,
    /// NuGet
    Dotnet,
    /// mix, hex
    Elixir,
    /// apt
    Apt,
}

impl Tool {
    /// All tools.
    pub(super) const ALL: [Self; 11] = [
        Self::Cargo,
        Self::Pip,
        Self::Npm,
        Self::Go,
        Self::Jvm,
        Self::Ruby,
        Self::Composer,
        Self::Perl,
        Self::Dotnet,
        Self::Elixir,
        Self::Apt,
    ];

    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Cargo => &["cargo"],
            Self::Pip => &["pip", "pip3", "pipx", "uv", "poetry", "pipenv", "pdm", "tox", "nox", "hatch"],
            Self::Npm => &["npm", "npx", "yarn", "pnpm", "bun", "corepack", "deno"],
            Self::Go => &["go"],
            Self::Jvm => &["mvn", "mvnw", "gradle", "gradlew", "sbt", "lein"],
            Self::Ruby => &["bundle", "gem", "bundler"],
            Self::Composer => &["composer"],
            Self::Perl => &["cpanm", "cpan", "cpm"],
            Self::Dotnet => &["dotnet", "nuget"],
            Self::Elixir => &["mix", "rebar3"],
            Self::Apt => &["apt", "apt-get"],
        }
    }

    /// Whether a shell command names one of its programs.
    pub(super) fn is_used_by(self, command: &str) -> bool {
        static WORDS: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"[\w.+/-]+").expect("a pattern of this file, which a test compiles")
        });
        WORDS.find_iter(command).any(|word| {
            let name = word.as_str().rsplit('/').next().unwrap_or_default();
            self.programs().contains(&name)
        })
    }

    /// The advice for an operator if nothing names the tool's host.
    pub(super) fn how_to_look_up(self) -> &'static str {
        match self {
            Self::Cargo => {
                "cargo: no configuration names its registry, so it asks the one that is built into it. Its \
                 index and its downloads may be on two hosts: `cargo fetch -vv` on a machine with network shows \
                 them, or point ~/.cargo/config.toml to a mirror of your own"
            }
            Self::Pip => {
                "pip and its like: no configuration names an index, so they ask the one that is built into \
                 them. The index and its files may be on two hosts: `python3 -m pip download -v PACKAGE` on a \
                 machine with network shows them, or set index-url in /etc/pip.conf to a mirror of your own"
            }
            Self::Npm => {
                "npm and its like: nothing names a registry, so they ask the one that is built into them: \
                 `npm config get registry` says which, or set registry in ~/.npmrc to a mirror of your own"
            }
            Self::Go => {
                "go: nothing sets GOPROXY or GOSUMDB, so go asks those that are built into it: `go env GOPROXY \
                 GOSUMDB` says which, or set GOPROXY to a proxy of your own"
            }
            Self::Jvm => {
                "Maven and Gradle: nothing names a repository by its address, so they ask those that are built \
                 into them or named by word: `mvn -B -X dependency:resolve` or `gradle --info dependencies` on a \
                 machine with network shows them, or set a mirror in ~/.m2/settings.xml"
            }
            Self::Ruby => {
                "Bundler: nothing names a source; `gem sources` says which one is built in, or set a mirror with \
                 `bundle config set --global mirror.all ADDRESS`"
            }
            Self::Composer => {
                "Composer: nothing names a repository; `composer diagnose` on a machine with network says which \
                 one is built in"
            }
            Self::Perl => {
                "cpanm: nothing names a mirror; `cpanm --verbose` on a machine with network shows which one it \
                 asks, or set PERL_CPANM_OPT"
            }
            Self::Dotnet => {
                "NuGet: nothing names a source; `dotnet nuget list source` says which ones are configured"
            }
            Self::Elixir => {
                "mix: it asks the package registry that is built into it; `mix hex.config` says which"
            }
            Self::Apt => {
                "apt: nothing on this machine names an archive; look into /etc/apt of the image that the jobs run in"
            }
        }
    }
}
