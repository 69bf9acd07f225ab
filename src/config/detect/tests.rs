//! Small example trees for each kind of project, and traps.

use super::*;
use crate::config::{REPOSITORY_FILE, RepositoryFile};

/// A listing of files, read as a repository is.
fn listing(files: &[(&str, &str)]) -> RootListing {
    let names = |directory: &str| -> Result<Vec<String>, ()> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let mut names: Vec<String> = files
            .iter()
            .filter_map(|(path, _)| path.strip_prefix(prefix.as_str()))
            .map(|rest| rest.split_once('/').map_or(rest.to_owned(), |(name, _)| format!("{name}/")))
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    };
    let content = |path: &str, bytes_max: u64| -> Result<Option<Vec<u8>>, ()> {
        let found = files.iter().find(|(name, _)| *name == path);
        Ok(found.map(|(_, text)| text.as_bytes().to_vec()).filter(|bytes| bytes.len() as u64 <= bytes_max))
    };
    RootListing::read(names, content).unwrap()
}

/// What is found, in a few lines.
fn found(files: &[(&str, &str)]) -> String {
    match detect(&listing(files)) {
        Ok(environment) => {
            // What was found must be what a file that says it means.
            let file = RepositoryFile::parse(&repository_file_for(&environment)).unwrap();
            assert_eq!(file.test_command.as_ref(), Some(&environment.test.value));
            assert_eq!(file.image.as_ref(), environment.image.as_ref().map(|image| &image.value));
            let setup = environment.setup.iter().map(|command| &command.value);
            assert!(file.setup_commands.unwrap_or_default().iter().eq(setup));
            let mut lines = vec![format!("{} | {}", environment.test.value, environment.test.source)];
            lines.extend(environment.setup.iter().map(|command| format!("  after {} | {}", command.value, command.source)));
            lines.extend(environment.image.iter().map(|image| format!("  in {} | {}", image.value, image.source)));
            lines.extend(environment.passed_over.iter().map(|one| format!("  not {}: {}", one.what, one.why)));
            lines.extend(environment.notes.iter().map(|note| format!("  note: {note}")));
            lines.join("\n")
        }
        Err(nothing) => {
            let recognised = nothing.recognised.iter().map(|one| format!("{}: {} (e.g. {})", one.language, one.why, one.example));
            let passed = nothing.passed_over.iter().map(|one| format!("not {}: {}", one.what, one.why));
            let lines: Vec<String> = recognised.chain(passed).collect();
            format!("nothing{}", lines.iter().map(|line| format!("\n  {line}")).collect::<String>())
        }
    }
}
fn table(trees: &[&[(&str, &str)]]) -> String {
    trees.iter().map(|files| found(files)).collect::<Vec<_>>().join("\n")
}

#[test]
fn rust_is_tested_by_cargo_as_its_manifest_says() {
    insta::assert_snapshot!(table(&[
        &[("Cargo.toml", "[package]\nname='a'"), ("Cargo.lock", ""), ("src/lib.rs", "")],
        &[("Cargo.toml", "[workspace]\nmembers=['a']"), (".cargo/config.toml", "[source.vendored]\ndirectory='vendor'")],
        &[("Cargo.toml", "[package]\n[workspace]"), (".config/nextest.toml", ""), ("rust-toolchain.toml", "[toolchain]\nchannel = '1.80'")],
        &[("Cargo.toml", "[package]\n[workspace]\ndefault-members=['.']"), ("rust-toolchain", "nightly-2025-01-01\n")],
    ]), @"");
}

#[test]
fn python_is_tested_by_what_its_files_name() {
    insta::assert_snapshot!(table(&[
        &[("pyproject.toml", "[project]\nname='a'\n[project.optional-dependencies]\ntest=['pytest']"), ("src/a/__init__.py", ""), ("tests/test_a.py", "")],
        &[("pyproject.toml", "[project]\n[dependency-groups]\ndev=['pytest>=8', {include-group='x'}]\nx=['attrs']"), ("a/__init__.py", "")],
        &[("pyproject.toml", "[project]\n[dependency-groups]\ntest=['pytest']"), ("uv.lock", "")],
        &[("pyproject.toml", "[tool.poetry]\n[tool.poetry.group.dev.dependencies]\npytest='*'"), ("poetry.lock", "")],
        &[("Pipfile", "[dev-packages]\npytest = '*'\n"), ("Pipfile.lock", "{}")],
        &[("setup.py", ""), ("requirements-dev.txt", "pytest>=8\n"), ("requirements.txt", "x\n")],
        &[("setup.py", "# pytest\n"), ("tests/test_a.py", "import unittest\n# pytest is not used\n")],
        &[("tests/__init__.py", ""), ("tests/test_a.py", "import unittest\n")],
        &[("a/__init__.py", ""), ("a/tests/__init__.py", ""), ("a/tests/test_a.py", "import pytest\n")],
        &[("calc.py", ""), ("calc_test.py", "from pytest import raises")],
        &[("tox.ini", "[testenv]\ndeps =\n  pytest\n  -r requirements/test.txt\n  py38: old\ncommands = pytest {posargs}\n"), ("setup.cfg", "[metadata]\nname=a\n")],
        &[("tox.ini", "[testenv]\ncommands = python run.py\n"), ("setup.py", "")],
        &[("noxfile.py", "import nox\n@nox.session\ndef tests(session):\n    session.run('x')\n")],
        &[("manage.py", ""), ("requirements.txt", "web\n")],
        &[("pyproject.toml", "[build-system]\nrequires=['maturin>=1']\n[project]\n[tool.pytest.ini_options]"), ("Cargo.toml", "[package]"), ("Cargo.lock", "")],
    ]), @"");
}

#[test]
fn javascript_is_tested_by_its_script_and_its_package_manager() {
    let script = r#"{"scripts": {"test": "jest"}, "devDependencies": {"jest": "1"}}"#;
    let named = |manager: &str| format!(r#"{{"packageManager": "{manager}", "scripts": {{"test": "x"}}, "dependencies": {{"a": "1"}}}}"#);
    insta::assert_snapshot!(table(&[
        &[("package.json", script), ("package-lock.json", "{}")],
        &[("package.json", script)],
        &[("package.json", script), ("yarn.lock", "# yarn lockfile v1\n")],
        &[("package.json", script), ("yarn.lock", "# x\n\n__metadata:\n  version: 8\n")],
        &[("package.json", script), ("pnpm-lock.yaml", "")],
        &[("package.json", script), ("bun.lock", "")],
        &[("package.json", &named("yarn@1.22.0")), ("yarn.lock", "")],
        &[("package.json", &named("pnpm@9.0.0")), ("package-lock.json", "")],
        &[("package.json", r#"{"scripts": {"test": "node test.js"}}"#)],
        &[("package.json", r#"{"scripts": {"test": "jest --watch", "test:ci": "jest"}}"#)],
        &[("package.json", r#"{"devDependencies": {"vitest": "1"}}"#), ("pnpm-lock.yaml", "")],
        &[("deno.jsonc", "{\"tasks\": {\"test\": \"deno test\"}, /* x */}")],
    ]), @"");
}

#[test]
fn other_kinds_of_project_are_known_by_their_own_signs() {
    insta::assert_snapshot!(table(&[
        &[("go.mod", "module x")],
        &[("go.work", "go 1.22\nuse (\n\t./a // x\n\t./b/c\n\t../out\n)\n"), ("vendor/modules.txt", "")],
        &[("pom.xml", ""), ("mvnw", "")],
        &[("build.gradle.kts", ""), ("gradlew", ""), ("pom.xml", "")],
        &[("Gemfile", ""), ("Gemfile.lock", ""), (".rspec", "")],
        &[("Gemfile", ""), ("Rakefile", "task default: :test\nRake::TestTask.new(:test) do |t|\n")],
        &[("x.gemspec", ""), ("test/x_test.rb", "")],
        &[("composer.json", r#"{"scripts": {"test": ["phpunit"]}}"#), ("composer.lock", "")],
        &[("composer.json", "{}"), ("phpunit.xml.dist", "")],
        &[("Makefile.PL", ""), ("t/a.t", "")],
        &[("Makefile.PL", ""), ("A.xs", ""), ("t/a.t", "")],
        &[("mix.exs", "")],
        &[("A.sln", "")],
        &[("Package.swift", "")],
        &[("build.zig", "const t = b.step(\"test\", \"x\");")],
        &[("CMakeLists.txt", "# add_test(x)\nEnable_Testing ()\n")],
        &[("CMakeLists.txt", "include(CTest)\n"), ("build/x", "")],
        &[("meson.build", "project('a')\nsubdir('test')\n"), ("test/meson.build", "")],
        &[("configure.ac", ""), ("Makefile.am", "")],
        &[("Makefile", "all: x\n\tcc\ncheck: all\n\t./check\n")],
        &[("Makefile", ".PHONY: all test\nall test:: x\n"), ("justfile", "test *ARGS:\n")],
        &[("Justfile", "check:=1\n@test arg='x': build\n\tx\n")],
    ]), @"");
}

#[test]
fn what_only_looks_like_a_test_command_is_none_and_what_is_missing_is_told() {
    insta::assert_snapshot!(table(&[
        &[],
        &[("README.md", "")],
        &[("package.json", r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#)],
        &[("package.json", r#"{"scripts": {"test": "echo ok; exit 0", "build": "x"}, "dependencies": {"a": "1"}}"#)],
        &[("package.json", r#"{"scripts": {"test": "jest --watch"}}"#)],
        &[("package.json", "{not json")],
        &[("Makefile", "test := x\n# test: no\n\ttest: recipe\nlatest: x\ntest: FLAGS += -x\nX = a \\\ntest: b\ndefine Y\ntest: z\nendef\n")],
        &[("tests/run.sh", "")],
        &[("pyproject.toml", "[tool.black]\nline-length=100")],
        &[("pyproject.toml", "[project]\nname='a'"), ("a/__init__.py", "")],
        &[("requirements.txt", "sphinx\n"), ("docs/conf.py", "")],
        &[("Gemfile", "gem 'jekyll'"), ("Gemfile.lock", "")],
        &[("Rakefile", "# task :test\ntask :tests_later\ntask \"test:unit\"\n")],
        &[("CMakeLists.txt", "project(x)\n#enable_testing()\n")],
        &[("composer.json", "{}")],
        &[("A.csproj", ""), ("B.csproj", "")],
        &[("go.work", "go 1.22\n")],
        &[("setup.cfg", "[flake8]\n")],
    ]), @"");
}

#[test]
fn of_several_projects_one_counts_and_the_others_are_named() {
    let ci = "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n    - run: python -m pytest\n";
    insta::assert_snapshot!(table(&[
        &[("pyproject.toml", "[tool.pytest.ini_options]"), ("Cargo.toml", "[package]"), ("Cargo.lock", ""), ("Makefile", "test:\n")],
        &[("pyproject.toml", "[tool.pytest.ini_options]"), ("Cargo.toml", "[package]"), ("Cargo.lock", ""), (".github/workflows/ci.yml", ci)],
        &[("package.json", r#"{"devDependencies": {"prettier": "3"}}"#), ("go.mod", "")],
        &[("composer.json", "{}"), ("phpunit.xml", ""), ("package.json", r#"{"scripts": {"test": "jest"}}"#)],
    ]), @"");
}

#[test]
fn a_devcontainer_gives_image_and_set_up() {
    let full = "// x\n{\"image\": \"registry.example/dev:1\", \"features\": {\"a\": {}}, \"initializeCommand\": \"rm -rf ~\",\n\
        \"onCreateCommand\": [\"echo\", \"a b\"], \"updateContentCommand\": {\"a\": \"make a\", \"b\": [\"make\", \"b\"]},\n\
        \"postCreateCommand\": \"make deps\", \"postStartCommand\": \"db\", }";
    insta::assert_snapshot!(table(&[
        &[(".devcontainer/devcontainer.json", full), ("go.mod", "")],
        &[(".devcontainer.json", "{\"build\": {\"dockerfile\": \"Dockerfile\"}}"), ("Dockerfile", "FROM debian:13 AS a\nFROM --platform=x registry.example/b:2\n"), ("go.mod", "")],
        &[(".devcontainer/devcontainer.json", "{\"dockerFile\": \"../Dockerfile\"}"), ("Dockerfile", "FROM a AS b\nfrom b\n"), ("go.mod", "")],
        &[(".devcontainer/py/devcontainer.json", "{\"image\": \"${localEnv:X}\", \"postCreateCommand\": \"cd ${containerWorkspaceFolder}\"}"), ("go.mod", "")],
        &[(".devcontainer.json", "{"), ("go.mod", "")],
        &[(".devcontainer.json", "{\"dockerComposeFile\": \"c.yml\", \"build\": {\"dockerfile\": \"../../../etc/passwd\"}}"), ("go.mod", "")],
    ]), @"");
}

#[test]
fn a_ci_workflow_is_asked_last_and_only_for_what_can_be_run_elsewhere() {
    let job = |on: &str, job: &str| format!("on: {on}\njobs:\n  test:\n    runs-on: ubuntu-latest\n{job}");
    let steps = |text: &str| format!("    steps:\n{text}");
    let ci = ".github/workflows/ci.yml";
    let cases = [
        job("[push, pull_request]", &format!("    container: registry.example/ci:3\n{}", steps("    - uses: actions/checkout@v4\n    - uses: actions/setup-lua@v1\n    - run: |\n        sudo apt-get install -y lua\n        luarocks install busted\n    - run: busted\n      working-directory: sub dir\n      env: {A: 1, FORCE_COLOR: x}\n"))),
        job("push", "    strategy:\n      matrix:\n        v: [3, 4]\n    steps:\n    - run: ./run-tests.sh ${{ matrix.v }}\n"),
        job("push", &steps("    - run: ./run-tests.sh\n      env:\n        KEY: ${{ secrets.KEY }}\n")),
        job("push", &steps("    - run: ./run-tests.sh ${{ github.sha }}\n")),
        job("push", &steps("    - run: ./run-tests.sh\n      if: github.event_name == 'push'\n")),
        job("push", "    services: {db: {image: postgres}}\n    steps:\n    - run: ./run-tests.sh\n"),
        job("workflow_dispatch", &steps("    - run: ./run-tests.sh\n")),
        job("{push: {tags: ['v*']}}", &steps("    - run: ./run-tests.sh\n")),
        job("push", &steps("    - run: echo make test\n")),
        "on: push\njobs:\n  a:\n    uses: ./.github/workflows/x.yml\n".to_owned(),
        "on: push\njobs:\n  a:\n    runs-on: windows-latest\n    steps: [{run: make test}]\n".to_owned(),
        "on: push\njobs:\n  lint: {runs-on: ubuntu-latest, steps: [{run: make check}]}\n  unit-tests: {runs-on: ubuntu-latest, steps: [{run: |\n    cd x\n    make test}]}\n".to_owned(),
        "on: push\njobs:\n  lint: {runs-on: ubuntu-latest, steps: [{run: make check}]}\n  unit-tests:\n    runs-on: ubuntu-latest\n    steps:\n    - run: |\n        cd x\n        make test\n".to_owned(),
        "a: &a [x]\nb: [*a, *a, {".to_owned(),
    ];
    let all: Vec<String> = cases.iter().map(|text| found(&[(ci, text)])).collect();
    insta::assert_snapshot!(all.join("\n"), @"");
}

#[test]
fn where_nothing_fits_the_words_say_what_to_write() {
    let words = |files: &[(&str, &str)]| detect(&listing(files)).unwrap_err().to_string();
    insta::assert_snapshot!(words(&[]), @"");
    insta::assert_snapshot!(words(&[
        ("package.json", r#"{"scripts": {"test": "echo no"}, "dependencies": {"a": "1"}}"#),
        ("package-lock.json", "{}"),
        (".github/workflows/ci.yml", "on: push\njobs: {t: {runs-on: ubuntu-latest, steps: [{run: npm test, env: {A: '${{ secrets.A }}'}}]}}\n"),
    ]), @"");
}

#[test]
fn everything_is_explained_in_words() {
    let files: &[(&str, &str)] = &[
        ("package.json", r#"{"scripts": {"test": "jest"}, "devDependencies": {"jest": "1"}}"#),
        ("package-lock.json", "{}"),
        ("Makefile", "test:\n"),
    ];
    let found = detect(&listing(files)).unwrap();
    let lock = HostSource { path: "package-lock.json".into(), text: "\"resolved\": \"https://registry.example.org/a.tgz\"".into() };
    let hosts = propose_hosts(&found.setup, &[lock], &[], []);
    let explanation = Explanation { repository: "/srv/web at 0123456 (main)", found: Ok(&found), hosts: &hosts, agent_hosts: &["api.example.org".to_owned()] };
    insta::assert_snapshot!(explanation, @"");
}

#[test]
fn a_file_that_the_repository_wrote_goes_before_everything_found() {
    let file = RepositoryFile::parse("test: make ci\nimage: registry.example/a\n").unwrap();
    let over = file.over(detect(&listing(&[("go.mod", "")]))).unwrap();
    assert_eq!((over.test.value.as_str(), over.test.source.as_str()), ("make ci", "`.github/agent-fix.yml`"));
    assert_eq!(over.setup[0].value, "go mod download");
    assert_eq!(over.passed_over[0].what, "`go test ./...` (from go.mod)");
    assert_eq!(over.passed_over[0].why, format!("{REPOSITORY_FILE} says otherwise"));
    let none = RepositoryFile::parse("setup: []\n").unwrap();
    assert_eq!(none.over(detect(&listing(&[("go.mod", "")]))).unwrap().setup, []);
    assert!(none.over(detect(&listing(&[]))).is_err());
    let alone = RepositoryFile::parse("test: sh x\n").unwrap().over(detect(&listing(&[])));
    assert_eq!(alone.unwrap().test.value, "sh x");
}

#[test]
fn large_files_and_crowded_directories_are_bounded() {
    let long = format!("[project]\n# {}\n[tool.pytest]\n", "x".repeat(300 * 1024));
    assert_eq!(listing(&[("pyproject.toml", &long)]).text("pyproject.toml"), None);
    let names: Vec<String> = (0..5_000).map(|number| format!("tests/test_{number}.py")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "import pytest")).collect();
    let crowded = listing(&files);
    assert!(crowded.entries.len() <= 2_001);
    assert_eq!(crowded.files().filter(|path| crowded.text(path).is_some()).count(), 30);
}

const NAMES: &[&str] = &[
    "Cargo.toml", "pyproject.toml", "setup.cfg", "tox.ini", "package.json", "go.work", "Makefile", "justfile",
    "CMakeLists.txt", "meson.build", "Rakefile", "Gemfile", "composer.json", "phpunit.xml", "deno.jsonc",
    ".devcontainer.json", ".devcontainer/devcontainer.json", "Dockerfile", ".github/workflows/ci.yml",
    "rust-toolchain", "yarn.lock", "requirements.txt", "tests/test_a.py", "build.zig", "noxfile.py", "t/a.t",
];

proptest::proptest! {
    #[test]
    fn no_content_makes_detection_panic_or_propose_a_file_that_cannot_be_read(
        contents in proptest::collection::vec((0..NAMES.len(), "([a-z]{1,8}|[:=\\[\\]{}\"'#\\-\\\\$ \n\t*&.]|test|on: push|jobs:|run: |é){0,40}"), 0..5)
    ) {
        let files: Vec<(&str, &str)> = contents.iter().map(|(name, text)| (NAMES[*name], text.as_str())).collect();
        let _ = found(&files);
    }

    #[test]
    fn any_command_survives_being_written_into_the_file(command in "[ -~é]{0,40}[!-~]") {
        let environment = Environment {
            image: None, setup: vec![Found::new(command.trim(), "x")], test: Found::new(command.trim(), "x"), passed_over: vec![], notes: vec![],
        };
        let file = RepositoryFile::parse(&repository_file_for(&environment)).unwrap();
        proptest::prop_assert_eq!(file.test_command.as_deref(), Some(command.trim()));
    }
}
