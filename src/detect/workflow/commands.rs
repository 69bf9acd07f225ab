//! The purpose of each command of a CI step: to install, to test, or something else.

use std::sync::LazyLock;

use regex::Regex;

use crate::detect::shell_quoting::quoted;

/// The purpose of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::detect) enum Purpose {
    /// It brings what the repository needs.
    Install,
    /// It makes something of the repository's own sources, so it is repeated before each run of the tests.
    Build,
    Test,
    Other,
}

/// The start of a command: at the beginning, after an operator of the shell, and after a program that runs another.
const HEAD: &str = r#"(?:^|[;&|(]\s*|\b(?:sudo|time|xvfb-run|env)\s+(?:-\S+\s+)*(?:\w+=\S*\s+)*)(?:\w+=(?:'[^']*'|"[^"]*"|[^\s'"])*\s+)*"#;

static TESTS: LazyLock<Regex> = LazyLock::new(|| {
    let tests = r"(?:
        cargo\s+(?:\+\S+\s+)?(?:nextest\s+run|test|t)\b
      | (?:\S*python\S*\s+-m\s+|(?:uv|poetry|pipenv|pdm|hatch|rye)\s+run\s+(?:-\S+\s+)*(?:python\S*\s+-m\s+)?|coverage\s+run\s+(?:-\S+\s+)*-m\s+)?
        (?:pytest|py\.test|tox|nox|unittest|nose2|stestr)\b
      | hatch\s+test\b | \S*python\S*\s+\S*(?:manage\.py\s+test|run[-_]?tests?\S*|setup\.py\s+test)\b
      | (?:npm|yarn|pnpm|bun)\s+(?:--?\S+\s+)*(?:run\s+)?(?:test|t)(?:[:\w-]*)\b
      | (?:npx|yarn|pnpm|bunx)\s+(?:exec\s+)?(?:jest|vitest|mocha|ava)\b | node\s+(?:\S+\s+)*--test\b
      | deno\s+(?:task\s+)?test\b | go\s+test\b | gotestsum\b
      | (?:\./|sh\s+)?mvnw?\s.*\b(?:test|verify|install)\b | (?:\./|sh\s+)?gradlew?\s.*\b(?:test|check|build)\b
      | (?:g|re)?make\s+(?:\S+\s+)*(?:test|tests|check|distcheck)\b | ctest\b | meson\s+test\b | ninja\s+(?:\S+\s+)*test\b
      | bazel(?:isk)?\s+test\b | (?:bundle\s+exec\s+)?(?:rspec\b|rake(?:\s+(?:test|spec)\b|\s*$)) | (?:ruby\s+)?bin/rails\s+(?:\S+\s+)*test\b
      | (?:\./)?vendor/bin/(?:phpunit|pest)\b | phpunit\b | composer\s+(?:run(?:-script)?\s+)?test\b
      | prove\b | dotnet\s+test\b | mix\s+test\b | swift\s+test\b | zig\s+build\s+test\b | stack\s+test\b
      | cabal\s+(?:v2-|new-)?test\b | (?:opam\s+exec\s+--\s+)?dune\s+(?:runtest|test)\b | lein\s+test\b | sbt\s.*\btest\b
      | rebar3\s+(?:eunit|ct)\b | gleam\s+test\b | (?:dart|flutter)\s+test\b | crystal\s+spec\b | just\s+(?:test|check)\b
      | bats\b | busted\b | (?:(?:ba)?sh\s+)?(?:\./)?\S*(?:run[-_]?tests?|/tests?|\btests?\.sh)(?:\.sh|\.py|\.pl)?(?:\s|$)
    )";
    pattern(tests)
});

static INSTALLS: LazyLock<Regex> = LazyLock::new(|| {
    let installs = r"(?:
        (?:\S*python\S*\s+-m\s+)?(?:pip[\d.]*|pipx)\s+install\b | uv\s+(?:sync|pip\s+install|tool\s+install|venv)\b
      | (?:poetry|pdm|pipenv|conda|mamba|rye)\s+(?:install|sync)\b | \S*python\S*\s+-m\s+venv\b
      | npm\s+(?:ci|i|install)\b | yarn(?:\s+install\b|\s+--\S+|\s*$) | pnpm\s+(?:i|install)\b | bun\s+(?:i|install)\b
      | corepack\s+enable\b | go\s+(?:mod\s+download|get|install)\b | cargo\s+(?:fetch|install)\b | rustup\s+(?:target|component|toolchain)\b
      | bundle(?:\s+install\b|\s+config\b|\s*$) | gem\s+install\b | composer\s+(?:install|update|require)\b
      | cpanm?\b | cpm\s+install\b | dotnet\s+restore\b | mix\s+(?:deps\.get|local\.\w+)\b
      | apt(?:-get)?\s+(?:-\S+\s+)*(?:update|install)\b | apk\s+add\b | (?:dnf|yum)\s+(?:-\S+\s+)*install\b
      | opam\s+(?:install|update)\b | luarocks\s+(?:\S+\s+)*install\b | shards\s+install\b | rebar3\s+get-deps\b | lein\s+deps\b
      | g?make(?:\s+-\S+)*\s+(?:deps|install-deps|setup)\s*$
    )";
    pattern(installs)
});

static BUILDS: LazyLock<Regex> = LazyLock::new(|| {
    let builds = r"(?:
        (?:\./|sh\s+)?(?:configure|autogen\.sh|bootstrap)\b | autoreconf\b | cmake\b | meson\s+(?:setup|compile)\b | ninja\b
      | g?make(?:\s+-\S+|\s+\w+=\S*)*(?:\s+(?:all|build))?(?:\s+-\S+|\s+\w+=\S*)*\s*$
      | (?:npm|bun)\s+run\s+build\b | (?:yarn|pnpm)\s+(?:run\s+)?build\b | cargo\s+build\b | go\s+build\b
    )";
    pattern(builds)
});

fn pattern(alternatives: &str) -> Regex {
    Regex::new(&format!("(?x){HEAD}{alternatives}")).expect("a pattern of this file, which a test compiles")
}

/// The purpose of one command line.
pub(in crate::detect) fn purpose(line: &str) -> Purpose {
    if TESTS.is_match(line) {
        Purpose::Test
    } else if INSTALLS.is_match(line) {
        Purpose::Install
    } else if BUILDS.is_match(line) {
        Purpose::Build
    } else {
        Purpose::Other
    }
}

/// The parts of a script: commands that install or build, and one that tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) installs: Vec<String>,
    pub(super) builds: Vec<String>,
    pub(super) test: Option<String>,
}

/// Splits a `run:` script. If its lines depend on each other (loops, variables, directories), it stays in one
/// piece, with the purpose of its most important line.
pub(super) fn split_script(script: &str) -> Script {
    // Sandboxes have no sudo, and do not need it.
    let joined = without_sudo(&script.replace("\\\n", " "));
    let lines: Vec<String> = joined
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let purposes: Vec<Purpose> = lines.iter().map(|line| purpose(line)).collect();
    let stands_alone = lines.iter().zip(&purposes).all(|(line, purpose)| {
        *purpose != Purpose::Other
            || ["echo ", "set -", "pwd", "ls", "which "].iter().any(|word| line.starts_with(word))
    });
    let mut taken = Script::default();
    if stands_alone && !joined.contains("<<") {
        let of = |wanted: Purpose| {
            lines
                .iter()
                .zip(&purposes)
                .filter(move |(_, purpose)| **purpose == wanted)
                .map(|(line, _)| line.clone())
        };
        let tests: Vec<String> = of(Purpose::Test).collect();
        taken.installs = of(Purpose::Install).filter(|line| !needs_root(line)).collect();
        taken.builds = of(Purpose::Build).collect();
        taken.test = (!tests.is_empty()).then(|| tests.join(" && "));
        return taken;
    }
    // As GitHub's runner does: bash, and the first failing line ends the script.
    let whole = || {
        let script = without_sudo(script.trim());
        match needs_bash(&script) {
            true => format!("bash -ec {}", quoted(&script)),
            false => format!("set -e\n{script}"),
        }
    };
    if purposes.contains(&Purpose::Test) {
        taken.test = Some(whole());
    } else if purposes.contains(&Purpose::Install) {
        if !needs_root(&joined) {
            taken.installs = vec![whole()];
        }
    } else if purposes.contains(&Purpose::Build) {
        taken.builds = vec![whole()];
    }
    taken
}

/// Whether a script has syntax that other shells lack.
fn needs_bash(script: &str) -> bool {
    ["[[ ", " == ", "source ", "=(", "pipefail", "<(", "${!"].iter().any(|syntax| script.contains(syntax))
}

/// Whether a command installs packages of the system. Nobody in a sandbox may do that.
fn needs_root(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .any(|word| matches!(word, "apt" | "apt-get" | "apk" | "dnf" | "yum"))
}

fn without_sudo(script: &str) -> String {
    static SUDO: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\bsudo\s+(?:-[EHn]+\s+)*").expect("a pattern of this file, which a test compiles")
    });
    SUDO.replace_all(script, "").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purpose_of_a_command_follows_from_its_words() {
        let tests = [
            "cargo test --all",
            "cargo +nightly nextest run",
            "python -m pytest -x",
            "pytest",
            "uv run pytest",
            "uv run --frozen python -m pytest",
            "tox -e py312",
            "npm test",
            "npm run test:unit",
            "yarn test",
            "pnpm test",
            "go test ./...",
            "./mvnw -B verify",
            "mvn test",
            "./gradlew check",
            "make -j4 check",
            "ctest --output-on-failure",
            "bundle exec rake",
            "bundle exec rspec",
            "vendor/bin/phpunit",
            "composer test",
            "prove -l t",
            "dotnet test",
            "mix test",
            "./run-tests.sh",
            "bash scripts/run_tests.sh",
            "xvfb-run -a npm test",
            "CI=1 npm test",
            "coverage run -m pytest",
            "cd x && go test ./...",
            "python manage.py test",
            "python3 ./scripts/run-tests.py",
            "./test.sh",
            "opam exec -- dune runtest",
        ];
        for line in tests {
            assert_eq!(purpose(line), Purpose::Test, "{line}");
        }
        let installs = [
            "pip install -e .[test]",
            "python -m pip install --upgrade pip pytest",
            "npm ci",
            "yarn",
            "yarn install --immutable",
            "apt-get install -y x",
            "sudo apt-get update",
            "bundle install",
            "uv sync",
            "pip install tox",
            "go mod download",
            "composer install",
            "npm install -g jest",
        ];
        for line in installs {
            assert_eq!(purpose(line), Purpose::Install, "{line}");
        }
        let builds = [
            "cmake -S . -B build",
            "CFLAGS='-g -O2' cmake .",
            "./configure",
            "make",
            "make VERBOSE=1",
            "make -j4 all",
            "npm run build",
            "cargo build",
        ];
        for line in builds {
            assert_eq!(purpose(line), Purpose::Build, "{line}");
        }
        for line in [
            "echo pytest",
            "cargo fmt --check",
            "npm run lint",
            "echo test",
            "ruff check",
            "cat tests.txt",
            "cd tests",
            "git diff",
            "npm publish",
            "latest",
        ] {
            assert_eq!(purpose(line), Purpose::Other, "{line}");
        }
    }

    #[test]
    fn script_is_split_if_its_lines_are_independent() {
        let script = split_script(
            "# first\npip install \\\n  -e .\nsudo -E apt-get update && sudo apt-get install x\npytest -q\n",
        );
        assert_eq!(
            script.installs,
            ["pip install -e ."],
            "nobody in a sandbox may install packages of the system"
        );
        assert_eq!(script.test.as_deref(), Some("pytest -q"));
        let whole = split_script("cd sub\npytest\n");
        assert_eq!(whole, Script { test: Some("set -e\ncd sub\npytest".into()), ..Script::default() });
        let built = split_script("cmake .\nmake\n");
        assert_eq!(built, Script { builds: vec!["cmake .".into(), "make".into()], ..Script::default() });
        let bash = split_script("if [ a == b ]; then x; fi\nmake test\n").test.unwrap();
        assert_eq!(bash, "bash -ec 'if [ a == b ]; then x; fi\nmake test'");
        assert_eq!(split_script("echo hello\n"), Script::default());
    }

    proptest::proptest! {
        #[test]
        fn any_script_is_split_without_panic(text in "(.{0,20}\n){0,6}") {
            let _ = split_script(&text);
        }
    }
}
