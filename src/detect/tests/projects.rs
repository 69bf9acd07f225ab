//! Each kind of project, recognised by its own files.

use super::table;

#[test]
fn rust_project_is_tested_by_cargo() {
    insta::assert_snapshot!(table(&[
        &[("Cargo.toml", "[package]\nname='a'"), ("Cargo.lock", ""), ("src/lib.rs", "")],
        &[("Cargo.toml", "[workspace]\nmembers=['a']"), (".cargo/config.toml", "[source.vendored]\ndirectory='vendor'")],
        &[("Cargo.toml", "[package]\n[workspace]"), (".config/nextest.toml", ""), ("rust-toolchain.toml", "[toolchain]\nchannel = '1.80'")],
        &[("Cargo.toml", "[package]\n[workspace]\ndefault-members=['.']"), ("rust-toolchain", "nightly-2025-01-01\n")],
    ]), @r##"
    cargo test --no-fail-fast | Cargo.toml
      after cargo fetch --locked | Cargo.lock
    cargo test --no-fail-fast | Cargo.toml; a workspace
    cargo test --workspace --no-fail-fast | Cargo.toml; a package with a workspace
      after cargo fetch | Cargo.toml; there is no Cargo.lock, so versions may differ
      not `cargo nextest run`: .config/nextest.toml configures it, but `cargo test` needs no further program, and runs documentation tests
      note: rust-toolchain.toml requires the toolchain 1.80: with rustup it must be installed already, because the tests have no network
    cargo test --no-fail-fast | Cargo.toml; the workspace's default members
      after cargo fetch | Cargo.toml; there is no Cargo.lock, so versions may differ
      note: rust-toolchain requires the toolchain nightly-2025-01-01: with rustup it must be installed already, because the tests have no network
    "##);
}

#[test]
fn python_project_is_tested_by_the_runner_that_its_files_name() {
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
        &[("tox.ini", "[testenv]\ncommands = {envpython} -m unittest -v\n"), ("tests/__init__.py", ""), ("tests/test_a.py", "")],
        &[("noxfile.py", "import nox\n@nox.session\ndef tests(session):\n    session.run('x')\n")],
        &[("manage.py", ""), ("requirements.txt", "web\n")],
        &[("pyproject.toml", "[build-system]\nrequires=['maturin>=1']\n[project]\n[tool.pytest.ini_options]"), ("Cargo.toml", "[package]"), ("Cargo.lock", "")],
    ]), @r##"
    PYTHONPATH=src python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml; the package is in src/, and PYTHONPATH makes it importable
      after PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -e '.[test]' | pyproject.toml
    python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
      after PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -e . 'pytest>=8' attrs | pyproject.toml, the group dev in pyproject.toml
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
      after uv sync --frozen --group test | uv.lock: uv creates .venv from it
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
      after POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction --with dev | poetry.lock: Poetry creates .venv from it
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | Pipfile; pytest because of its mention in Pipfile
      after PIPENV_VENV_IN_PROJECT=1 pipenv sync --dev | Pipfile.lock: Pipenv creates .venv from it
    python3 -m pytest -q | setup.py; pytest because of its mention in requirements-dev.txt
      after PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -e . -r requirements.txt -r requirements-dev.txt | setup.py, requirements.txt, requirements-dev.txt
    python3 -m unittest discover -s tests | setup.py; unittest because nothing mentions pytest
      after PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -e . | setup.py
    python3 -m unittest discover | tests/test_a.py; unittest because nothing mentions pytest
    python3 -m pytest -q | a/tests/test_a.py; pytest because of its import in a/tests/test_a.py
      after PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install pytest | pytest, which no file requires
    python3 -m pytest -q | calc_test.py; pytest because of its import in calc_test.py
      after PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install pytest | pytest, which no file requires
    python3 -m pytest -q | setup.cfg; pytest because of its mention in tox.ini
      after PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -e . pytest -r requirements/test.txt | setup.cfg, tox.ini
      not tox (tox.ini): it creates its environments from the network; the tests run directly instead
    python3 -m tox | tox.ini; its commands are not pytest
      after PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install tox | tox.ini
      after python3 -m tox --notest | tox.ini: creates the environments, and runs nothing
    python3 -m unittest discover | tox.ini; unittest because nothing mentions pytest
      not tox (tox.ini): it creates its environments from the network; the tests run directly instead
    python3 -m nox -R -s tests | noxfile.py: the session tests
      after PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install nox | noxfile.py
      after python3 -m nox --install-only -s tests | noxfile.py: the session tests
    python3 manage.py test | manage.py; Django's test command, because nothing mentions pytest
      after PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -r requirements.txt | requirements.txt
    python3 -m pytest -q | pyproject.toml; pytest because of its section in pyproject.toml
      after PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -e . pytest | pyproject.toml, pytest, which no file requires
      not `cargo test --no-fail-fast`: Rust is also here (Cargo.toml)
    "##);
}

#[test]
fn javascript_project_is_tested_by_its_script_and_package_manager() {
    let script = r#"{"scripts": {"test": "jest"}, "devDependencies": {"jest": "1"}}"#;
    let named = |manager: &str| {
        format!(
            r#"{{"packageManager": "{manager}", "scripts": {{"test": "x"}}, "dependencies": {{"a": "1"}}}}"#
        )
    };
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
    ]), @r##"
    npm test | the test script in package.json
      after npm ci | package-lock.json
    npm test | the test script in package.json
      after npm install | package.json; there is no lock file, so versions may differ
    yarn test | the test script in package.json
      after yarn install --frozen-lockfile | yarn.lock
    yarn test | the test script in package.json
      after yarn install --immutable | yarn.lock
    pnpm test | the test script in package.json
      after pnpm install --frozen-lockfile | pnpm-lock.yaml
    bun run test | the test script in package.json
      after bun install --frozen-lockfile | bun.lock
    yarn test | the test script in package.json
      after yarn install --frozen-lockfile | packageManager in package.json
    pnpm test | the test script in package.json
      after pnpm install | packageManager in package.json
    npm test | the test script in package.json
    npm run test:ci | the script test:ci in package.json, because the script test waits for changes
    npx vitest run | package.json depends on vitest and has no test script
      after pnpm install --frozen-lockfile | pnpm-lock.yaml
    deno task test | the task test in deno.jsonc
      after deno install | deno.jsonc
    "##);
}

#[test]
fn other_kinds_of_project_are_recognised() {
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
    ]), @r##"
    go test ./... | go.mod
      after go mod download | go.mod
    go test ./a/... ./b/c/... | go.work; every module that it uses
    sh mvnw -B test | pom.xml, with its wrapper mvnw
      after sh mvnw -B -Dmaven.test.failure.ignore=true test | pom.xml: only a run shows what Maven downloads; its failures do not count here
    mvn -B test | pom.xml
      after mvn -B -Dmaven.test.failure.ignore=true test | pom.xml: only a run shows what Maven downloads; its failures do not count here
      not `sh gradlew --no-daemon --console=plain --continue test`: build.gradle.kts is also here
    bundle exec rspec | Gemfile; RSpec because of .rspec
      after bundle install | Gemfile.lock
    bundle exec rake test | the task test in Rakefile
      after bundle install | Gemfile
    ruby -Ilib -Itest -e 'Dir["test/**/{test_*,*_test}.rb"].sort.each { |f| require "./#{f}" }' | test/x_test.rb; all test files in test, in one run
    composer test | the test script in composer.json
      after composer install --no-interaction --no-progress | composer.lock
    vendor/bin/phpunit | phpunit.xml.dist
      after composer install --no-interaction --no-progress | composer.json
    prove -lr t | t/a.t
      after cpanm --notest --installdeps . | Makefile.PL
    perl Makefile.PL && make && prove -br t | Makefile.PL; it has compiled parts (*.xs), so it is built first
      after cpanm --notest --installdeps . | Makefile.PL
    mix test | mix.exs
      after mix local.hex --force && mix local.rebar --force && mix deps.get | mix.exs
    dotnet test | A.sln
      after dotnet restore | A.sln
    swift test | Package.swift
      after swift package resolve | Package.swift
    zig build test | the step test in build.zig
    cmake -S . -B build && cmake --build build && cd build && ctest --output-on-failure | CMakeLists.txt; CTest because of enable_testing
    cmake -S . -B _mendwright_build && cmake --build _mendwright_build && cd _mendwright_build && ctest --output-on-failure | CMakeLists.txt; CTest because of include(ctest)
    (test -d build || meson setup build) && meson test -C build --print-errorlogs | meson.build
    (test -f Makefile || { autoreconf -fi && sh configure; }) && make check | configure.ac, and the target check of its Makefile
    make check | the target check in Makefile
    make test | the target test in Makefile
      not `just test`: justfile is also here
    just test | the recipe test in Justfile
    "##);
}
