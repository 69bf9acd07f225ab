//! Package managers: which commands use them.

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
        names_program(command, self.programs())
    }

    /// Its name, for people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Pip => "pip and its like",
            Self::Npm => "npm and its like",
            Self::Go => "go",
            Self::Jvm => "Maven, Gradle and their like",
            Self::Ruby => "RubyGems and Bundler",
            Self::Composer => "Composer",
            Self::Perl => "cpanm",
            Self::Dotnet => "NuGet",
            Self::Elixir => "mix",
            Self::Apt => "apt",
        }
    }
}

/// Whether a shell command names one of the programs.
pub(super) fn names_program(command: &str, programs: &[&str]) -> bool {
    static WORDS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[\w.+/-]+").expect("a pattern of this file, which a test compiles"));
    WORDS.find_iter(command).any(|word| {
        let name = word.as_str().rsplit('/').next().unwrap_or_default();
        programs.contains(&name)
    })
}
