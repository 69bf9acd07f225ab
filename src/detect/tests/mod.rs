//! Small example trees for each kind of project, and misleading ones.

mod plans;
mod projects;
mod settings;
mod subprojects;

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

/// What is detected, in a few lines.
fn detected(files: &[(&str, &str)]) -> String {
    match detect(&listing(files)) {
        Ok(environment) => {
            // The generated repository file must mean the same.
            let file = RepositoryFile::parse(&repository_file_for(&environment)).unwrap();
            assert_eq!(file.test_command.as_ref(), Some(&environment.test.value));
            assert_eq!(file.image.as_ref(), environment.image.as_ref().map(|image| &image.value));
            let setup = environment.setup.iter().map(|command| &command.value);
            assert!(file.setup_commands.unwrap_or_default().iter().eq(setup));
            let mut lines = vec![format!("{} | {}", environment.test.value, environment.test.source)];
            lines.extend(
                environment
                    .setup
                    .iter()
                    .map(|command| format!("  after {} | {}", command.value, command.source)),
            );
            lines.extend(
                environment.image.iter().map(|image| format!("  in {} | {}", image.value, image.source)),
            );
            lines.extend(environment.alternatives.iter().map(|plan| {
                let commands = plan.setup.iter().chain([&plan.test]).map(|command| command.value.as_str());
                format!("  or {} | {}", commands.collect::<Vec<_>>().join(" ▸ "), plan.test.source)
            }));
            lines
                .extend(environment.passed_over.iter().map(|one| format!("  not {}: {}", one.what, one.why)));
            lines.extend(environment.notes.iter().map(|note| format!("  note: {note}")));
            lines.join("\n")
        }
        Err(nothing) => {
            let recognised = nothing
                .recognised
                .iter()
                .map(|one| format!("{}: {} (e.g. {})", one.language, one.why, one.example));
            let passed = nothing.passed_over.iter().map(|one| format!("not {}: {}", one.what, one.why));
            let lines: Vec<String> = recognised.chain(passed).collect();
            format!("nothing{}", lines.iter().map(|line| format!("\n  {line}")).collect::<String>())
        }
    }
}
fn table(trees: &[&[(&str, &str)]]) -> String {
    trees.iter().map(|files| detected(files)).collect::<Vec<_>>().join("\n")
}

#[test]
fn misleading_file_is_not_a_test_command_and_the_missing_part_is_explained() {
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
    ]), @r#"
    nothing
    nothing
    nothing
      JavaScript: its test script is a placeholder that tests nothing (e.g. node --test)
    nothing
      JavaScript: its test script is a placeholder that tests nothing (e.g. node --test)
    nothing
      JavaScript: its test script waits for changes and never ends (e.g. npm test -- --watch=false)
    nothing
      JavaScript: package.json cannot be read as JSON (e.g. npm test)
    nothing
      make: it has no target named test or check (e.g. make all && ./run-tests)
    nothing
    nothing
    nothing
      Python: there are no test files in the usual places, and nothing mentions pytest, tox or nox (e.g. PATH="$PWD/.venv/bin:$PATH" python3 -m pytest)
    nothing
      Python: there are no test files in the usual places, and nothing mentions pytest, tox or nox (e.g. PATH="$PWD/.venv/bin:$PATH" python3 -m pytest)
    nothing
      Ruby: there are no specs, no task named test in a Rakefile and no test/*_test.rb (e.g. bundle exec rake test)
    nothing
      Ruby: there are no specs, no task named test in a Rakefile and no test/*_test.rb (e.g. rake test)
    nothing
      C or C++: CMakeLists.txt does not enable or add tests (e.g. cmake -S . -B build && cmake --build build && cd build && ctest --output-on-failure)
    nothing
      PHP: it has no test script, and there is no phpunit.xml (e.g. vendor/bin/phpunit tests)
    nothing
      .NET: there are several solutions or projects at the root, and dotnet takes one (e.g. dotnet test A.csproj)
    nothing
      Go: go.work uses no module (e.g. go test ./MODULE/...)
    nothing
      Python: there are no test files in the usual places, and nothing mentions pytest, tox or nox (e.g. python3 -m pytest)
    "#);
}

#[test]
fn one_of_several_projects_is_used_and_the_others_are_listed() {
    let ci =
        "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n    - run: python -m pytest\n";
    insta::assert_snapshot!(table(&[
        &[("pyproject.toml", "[tool.pytest.ini_options]"), ("Cargo.toml", "[package]"), ("Cargo.lock", ""), ("Makefile", "test:\n")],
        &[("pyproject.toml", "[tool.pytest.ini_options]"), ("Cargo.toml", "[package]"), ("Cargo.lock", ""), (".github/workflows/ci.yml", ci)],
        &[("package.json", r#"{"devDependencies": {"prettier": "3"}}"#), ("go.mod", "")],
        &[("composer.json", "{}"), ("phpunit.xml", ""), ("package.json", r#"{"scripts": {"test": "jest"}}"#)],
    ]), @r#"
    cargo test --no-fail-fast | Cargo.toml
      after cargo fetch --locked | Cargo.lock
      or python3 -m venv .venv ▸ .venv/bin/python -m pip install pytest ▸ PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its section in pyproject.toml
      or make test | the target test in Makefile
      or cargo test --no-fail-fast | Cargo.toml
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its section in pyproject.toml; the CI workflow tests this one of several kinds of project
      after python3 -m venv .venv | a virtual environment, so that no package of the system counts
      after .venv/bin/python -m pip install pytest | pytest, which no file requires
      or python -m pytest | the job test in .github/workflows/ci.yml, which runs on changes
      or cargo fetch --locked ▸ cargo test --no-fail-fast | Cargo.toml
      or PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its section in pyproject.toml; the CI workflow tests this one of several kinds of project
    go test ./... | go.mod
      after go mod download | go.mod
      or go test ./... | go.mod
    vendor/bin/phpunit | phpunit.xml
      after composer install --no-interaction --no-progress | composer.json
      or npm test | the test script in package.json
      or vendor/bin/phpunit | phpunit.xml
    "#);
}

#[test]
fn devcontainer_provides_image_and_setup() {
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
    ]), @r#"
    go test ./... | go.mod
      after go mod download | go.mod
      in registry.example/dev:1 | image in .devcontainer/devcontainer.json
      or echo 'a b' ▸ make a ▸ make b ▸ make deps ▸ go test ./... | go.mod
      or go test ./... | go.mod
      not features in .devcontainer/devcontainer.json: features are not installed; use an image that contains what they install
      not initializeCommand in .devcontainer/devcontainer.json: it is for a developer's own machine, and is never run
      not postStartCommand in .devcontainer/devcontainer.json: nothing runs besides the tests
    go test ./... | go.mod
      after go mod download | go.mod
      or go test ./... | go.mod
      not Dockerfile of .devcontainer.json: images are not built; its base image `registry.example/b:2` may be set as `image:`
    go test ./... | go.mod
      after go mod download | go.mod
      or go test ./... | go.mod
      not ../Dockerfile of .devcontainer/devcontainer.json: images are not built; set `image:` to one that contains what it installs
    go test ./... | go.mod
      after go mod download | go.mod
      or go test ./... | go.mod
      not image "${localEnv:X}" in .devcontainer/py/devcontainer.json: it is not an image reference
      not `cd ${containerWorkspaceFolder}` (.devcontainer/py/devcontainer.json): it needs a variable of the devcontainer
    go test ./... | go.mod
      after go mod download | go.mod
      or go test ./... | go.mod
      not .devcontainer.json: it cannot be read as JSON with comments
    go test ./... | go.mod
      after go mod download | go.mod
      or go test ./... | go.mod
      not ../../../etc/passwd of .devcontainer.json: images are not built; set `image:` to one that contains what it installs
      not dockerComposeFile in .devcontainer.json: only one container is started
    "#);
}

#[test]
fn ci_workflow_is_used_last_and_only_if_it_can_run_elsewhere() {
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
    let all: Vec<String> = cases.iter().map(|text| detected(&[(ci, text)])).collect();
    insta::assert_snapshot!(all.join("\n"), @r"
    export A=1; cd 'sub dir' && busted | the job test in .github/workflows/ci.yml, which runs on changes
      after luarocks install busted | a step of the job test in .github/workflows/ci.yml
      in registry.example/ci:3 | the container of the job test in .github/workflows/ci.yml
      or export A=1; cd 'sub dir' && busted | the job test in .github/workflows/ci.yml, which runs on changes
      note: .github/workflows/ci.yml installs its toolchain with actions/setup-lua; the image or the host must have it
    ./run-tests.sh 3 | the job test in .github/workflows/ci.yml, which runs on changes
    nothing
      not the job test of .github/workflows/ci.yml: its test step needs a secret
    nothing
      not the job test of .github/workflows/ci.yml: its test step has expressions that only GitHub can evaluate
    nothing
      not the job test of .github/workflows/ci.yml: its test step runs only under a condition
    nothing
      not the job test of .github/workflows/ci.yml: it needs services (for example a database)
    nothing
      not .github/workflows/ci.yml: it does not run on pushes and pull requests
    nothing
      not .github/workflows/ci.yml: it does not run on pushes and pull requests
    nothing
      not the job test of .github/workflows/ci.yml: none of its steps is a known test command
    nothing
      not the job a of .github/workflows/ci.yml: it calls another workflow, which is not followed
    nothing
      not the job a of .github/workflows/ci.yml: it is not known to run on Ubuntu
    nothing
      not .github/workflows/ci.yml: it cannot be read as a workflow
    set -e
    cd x
    make test | the job unit-tests in .github/workflows/ci.yml, which runs on changes
    nothing
      not .github/workflows/ci.yml: it cannot be read as a workflow
    ");
}

#[test]
fn suggestion_is_shown_but_not_used() {
    insta::assert_snapshot!(table(&[
        &[("scripts/run_tests.sh", ""), ("back end/go.mod", ""), ("web/package.json", ""), ("x/go.mod", "")],
        &[("test", ""), ("docs/test.sh", ""), ("a/b/Cargo.toml", "")],
    ]), @r"
    ./scripts/run_tests.sh | scripts/run_tests.sh, by its name
    nothing
    ");
}

#[test]
fn nothing_detected_is_explained_with_what_to_write() {
    let words = |files: &[(&str, &str)]| detect(&listing(files)).unwrap_err().to_string();
    insta::assert_snapshot!(words(&[]), @r##"
    no test command was detected for this repository.

    Detection looks at the root of the repository for Cargo.toml, go.mod, pom.xml and Gradle files, .NET solutions, mix.exs, composer.json, Gemfile and spec/, Python's pyproject.toml, tox.ini and test files, package.json with a test script, Perl's t/, CMake, Meson and autotools, a Makefile or justfile with a target test or check; and for a job that tests in .github/workflows.

    Write the test command into .github/agent-fix.yml on the default branch, and what it needs installed, for example:

    test: ./run-tests.sh
    "##);
    insta::assert_snapshot!(words(&[
        ("package.json", r#"{"scripts": {"test": "echo no"}, "dependencies": {"a": "1"}}"#),
        ("package-lock.json", "{}"),
        (".github/workflows/ci.yml", "on: push\njobs: {t: {runs-on: ubuntu-latest, steps: [{run: npm test, env: {A: '${{ secrets.A }}'}}]}}\n"),
    ]), @r##"
    no test command was detected for this repository.

    JavaScript is here (package.json), but its test script is a placeholder that tests nothing.

    Detection looks at the root of the repository for Cargo.toml, go.mod, pom.xml and Gradle files, .NET solutions, mix.exs, composer.json, Gemfile and spec/, Python's pyproject.toml, tox.ini and test files, package.json with a test script, Perl's t/, CMake, Meson and autotools, a Makefile or justfile with a target test or check; and for a job that tests in .github/workflows.
    Not used: the job t of .github/workflows/ci.yml, because its test step needs a secret.

    Write the test command into .github/agent-fix.yml on the default branch, and what it needs installed, for example:

    test: node --test
    setup:
      - npm ci
    "##);
}

#[test]
fn explanation_contains_everything_that_was_detected() {
    let files: &[(&str, &str)] = &[
        ("package.json", r#"{"scripts": {"test": "jest"}, "devDependencies": {"jest": "1"}}"#),
        ("package-lock.json", "{}"),
        ("Makefile", "test:\n"),
    ];
    let found = detect(&listing(files)).unwrap();
    let lock = HostSource {
        path: "package-lock.json".into(),
        text: "\"resolved\": \"https://registry.example.org/a.tgz\"".into(),
    };
    let hosts = propose_hosts(&found.setup, &[lock], &[], []);
    let explanation = Explanation {
        repository: "/srv/web at 0123456 (main)",
        found: Ok(&found),
        hosts: &hosts,
        agent_hosts: &["api.example.org".to_owned()],
        commands: &["make lint".parse().unwrap(), "cargo check **".parse().unwrap()],
    };
    insta::assert_snapshot!(explanation, @r#"
    /srv/web at 0123456 (main)

    Test command
      npm test
        from the test script in package.json

    Image
      none named; the operator's image is used

    Setup (runs once, with network to allowed hosts only)
      npm ci
        from package-lock.json

    Tried next, if these show no passing tests
      - `npm install --no-audit --no-fund --legacy-peer-deps --ignore-scripts`, then `npm test`
      - `make test`
      - `npm test`

    Hosts that setup needs
      - registry.example.org, named by package-lock.json

    For the operator to allow, in mendwright.toml

      [sandbox]
      allowed_hosts = ["registry.example.org"]

    Hosts that the repository asks for while the agent works and the tests run
      - api.example.org

    Commands that the agent may run, if the operator allows it
      - `make lint`
      - `cargo check **`

    The same as a .github/agent-fix.yml

      test: npm test
      setup:
        - npm ci
    "#);
}

#[test]
fn repository_file_takes_precedence_over_detected_values() {
    let file = RepositoryFile::parse("test: make ci\nimage: registry.example/a\n").unwrap();
    let over = apply_file(&file, detect(&listing(&[("go.mod", "")]))).unwrap();
    assert_eq!((over.test.value.as_str(), over.test.source.as_str()), ("make ci", "`.github/agent-fix.yml`"));
    assert_eq!(over.setup[0].value, "go mod download");
    assert_eq!(over.passed_over[0].what, "`go test ./...` (from go.mod)");
    assert_eq!(over.passed_over[0].why, format!("{REPOSITORY_FILE} says otherwise"));
    let none = RepositoryFile::parse("setup: []\n").unwrap();
    assert_eq!(apply_file(&none, detect(&listing(&[("go.mod", "")]))).unwrap().setup, []);
    assert!(apply_file(&none, detect(&listing(&[]))).is_err());
    let alone = apply_file(&RepositoryFile::parse("test: sh x\n").unwrap(), detect(&listing(&[])));
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
    "Cargo.toml",
    "pyproject.toml",
    "setup.cfg",
    "tox.ini",
    "package.json",
    "go.work",
    "Makefile",
    "justfile",
    "CMakeLists.txt",
    "meson.build",
    "Rakefile",
    "Gemfile",
    "composer.json",
    "phpunit.xml",
    "deno.jsonc",
    ".devcontainer.json",
    ".devcontainer/devcontainer.json",
    "Dockerfile",
    ".github/workflows/ci.yml",
    "rust-toolchain",
    "yarn.lock",
    "requirements.txt",
    "tests/test_a.py",
    "build.zig",
    "noxfile.py",
    "t/a.t",
];

proptest::proptest! {
    #[test]
    fn any_content_is_detected_without_panic_and_generates_a_readable_file(
        contents in proptest::collection::vec((0..NAMES.len(), "([a-z]{1,8}|[:=\\[\\]{}\"'#\\-\\\\$ \n\t*&.]|test|on: push|jobs:|run: |é){0,40}"), 0..5)
    ) {
        let files: Vec<(&str, &str)> = contents.iter().map(|(name, text)| (NAMES[*name], text.as_str())).collect();
        let _ = detected(&files);
    }

    #[test]
    fn any_command_can_be_written_to_the_repository_file_and_read_back(command in "[ -~é]{0,40}[!-~]") {
        let environment = DetectedEnvironment {
            image: None, setup: vec![Detected::new(command.trim(), "x")], test: Detected::new(command.trim(), "x"), alternatives: vec![], passed_over: vec![], notes: vec![],
        };
        let file = RepositoryFile::parse(&repository_file_for(&environment)).unwrap();
        proptest::prop_assert_eq!(file.test_command.as_deref(), Some(command.trim()));
    }
}
