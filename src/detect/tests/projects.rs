//! Each kind of project, recognised by its own files.

use super::table;

#[test]
fn rust_project_is_tested_by_cargo() {
    insta::assert_snapshot!(table(&[
        &[("Cargo.toml", "[package]\nname='a'"), ("Cargo.lock", ""), ("src/lib.rs", "")],
        &[("Cargo.toml", "[workspace]\nmembers=['a']"), (".cargo/config.toml", "[source.vendored]\ndirectory='vendor'")],
        &[("Cargo.toml", "[package]\n[workspace]"), (".config/nextest.toml", ""), ("rust-toolchain.toml", "[toolchain]\nchannel = '1.80'")],
        &[("Cargo.toml", "[package]\n[workspace]\ndefault-members=['.']"), ("rust-toolchain", "nightly-2025-01-01\n")],
    ]), @r"
    cargo test --no-fail-fast | Cargo.toml
      after cargo fetch --locked | Cargo.lock
      or cargo test --no-fail-fast | Cargo.toml
    cargo test --no-fail-fast | Cargo.toml; a workspace
    cargo test --workspace --no-fail-fast | Cargo.toml; a package with a workspace
      after cargo fetch | Cargo.toml; there is no Cargo.lock, so versions may differ
      or cargo fetch ▸ cargo test --no-fail-fast | Cargo.toml; only the root's package
      or cargo test --workspace --no-fail-fast | Cargo.toml; a package with a workspace
      not `cargo nextest run`: .config/nextest.toml configures it, but `cargo test` needs no further program, and runs documentation tests
      note: rust-toolchain.toml requires the toolchain 1.80: with rustup it must be installed already, because the tests have no network
    cargo test --no-fail-fast | Cargo.toml; the workspace's default members
      after cargo fetch | Cargo.toml; there is no Cargo.lock, so versions may differ
      or cargo test --no-fail-fast | Cargo.toml; the workspace's default members
      note: rust-toolchain requires the toolchain nightly-2025-01-01: with rustup it must be installed already, because the tests have no network
    ");
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
    ]), @r#"
    PATH="$PWD/.venv/bin:$PATH" PYTHONPATH=src python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml; the package is in src/, and PYTHONPATH makes it importable
      after python3 -m venv .venv | a virtual environment, so that no package of the system counts
      after .venv/bin/python -m pip install -e '.[test]' | pyproject.toml
      or python3 -m venv .venv ▸ .venv/bin/python -m pip install pytest ▸ PATH="$PWD/.venv/bin:$PATH" PYTHONPATH=src python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml; the package is in src/, and PYTHONPATH makes it importable
      or PATH="$PWD/.venv/bin:$PATH" PYTHONPATH=src python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml; the package is in src/, and PYTHONPATH makes it importable
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
      after python3 -m venv .venv | a virtual environment, so that no package of the system counts
      after .venv/bin/python -m pip install -e . 'pytest>=8' attrs | pyproject.toml, the group dev in pyproject.toml
      or python3 -m venv .venv ▸ .venv/bin/python -m pip install 'pytest>=8' attrs ▸ PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
      or PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
      after command -v uv >/dev/null || { python3 -m venv ~/.tools/uv && ~/.tools/uv/bin/python -m pip install uv && mkdir -p ~/.local/bin && ln -sf ~/.tools/uv/bin/uv ~/.local/bin/; } | uv.lock: uv creates .venv from it
      after uv sync --frozen --group test || uv sync --frozen --group test --python python3 | uv.lock: uv creates .venv from it
      or python3 -m venv .venv ▸ .venv/bin/python -m pip install -e . pytest ▸ PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
      or python3 -m venv .venv ▸ .venv/bin/python -m pip install pytest ▸ PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
      or PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
      after command -v poetry >/dev/null || { python3 -m venv ~/.tools/poetry && ~/.tools/poetry/bin/python -m pip install poetry && mkdir -p ~/.local/bin && ln -sf ~/.tools/poetry/bin/poetry ~/.local/bin/; } | poetry.lock: poetry creates .venv from it
      after POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction --with dev | poetry.lock: poetry creates .venv from it
      or python3 -m venv .venv ▸ .venv/bin/python -m pip install -e . pytest ▸ PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
      or python3 -m venv .venv ▸ .venv/bin/python -m pip install pytest ▸ PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
      or PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its mention in pyproject.toml
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | Pipfile; pytest because of its mention in Pipfile
      after command -v pipenv >/dev/null || { python3 -m venv ~/.tools/pipenv && ~/.tools/pipenv/bin/python -m pip install pipenv && mkdir -p ~/.local/bin && ln -sf ~/.tools/pipenv/bin/pipenv ~/.local/bin/; } | Pipfile.lock: pipenv creates .venv from it
      after PIPENV_VENV_IN_PROJECT=1 pipenv sync --dev | Pipfile.lock: pipenv creates .venv from it
      after .venv/bin/python -m pip install pytest | pytest, which Pipfile.lock does not have
      or python3 -m venv .venv ▸ .venv/bin/python -m pip install pytest ▸ PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | Pipfile; pytest because of its mention in Pipfile
      or PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | Pipfile; pytest because of its mention in Pipfile
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | setup.py; pytest because of its mention in requirements-dev.txt
      after python3 -m venv .venv | a virtual environment, so that no package of the system counts
      after .venv/bin/python -m pip install -e . -r requirements.txt -r requirements-dev.txt | setup.py, requirements.txt, requirements-dev.txt
      or python3 -m venv .venv ▸ .venv/bin/python -m pip install -r requirements.txt -r requirements-dev.txt ▸ PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | setup.py; pytest because of its mention in requirements-dev.txt
      or PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | setup.py; pytest because of its mention in requirements-dev.txt
    PATH="$PWD/.venv/bin:$PATH" python3 -m unittest discover -s tests | setup.py; unittest because nothing mentions pytest
      after python3 -m venv .venv | a virtual environment, so that no package of the system counts
      after .venv/bin/python -m pip install -e . | setup.py
      or PATH="$PWD/.venv/bin:$PATH" python3 -m unittest discover -s tests | setup.py; unittest because nothing mentions pytest
    python3 -m unittest discover | tests/test_a.py; unittest because nothing mentions pytest
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | a/tests/test_a.py; pytest because of its import in a/tests/test_a.py
      after python3 -m venv .venv | a virtual environment, so that no package of the system counts
      after .venv/bin/python -m pip install pytest | pytest, which no file requires
      or PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | a/tests/test_a.py; pytest because of its import in a/tests/test_a.py
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | calc_test.py; pytest because of its import in calc_test.py
      after python3 -m venv .venv | a virtual environment, so that no package of the system counts
      after .venv/bin/python -m pip install pytest | pytest, which no file requires
      or PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | calc_test.py; pytest because of its import in calc_test.py
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | setup.cfg; pytest because of its mention in tox.ini
      after python3 -m venv .venv | a virtual environment, so that no package of the system counts
      after .venv/bin/python -m pip install -e . pytest -r requirements/test.txt | setup.cfg, tox.ini
      or python3 -m venv .venv ▸ .venv/bin/python -m pip install pytest -r requirements/test.txt ▸ PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | setup.cfg; pytest because of its mention in tox.ini
      or command -v tox >/dev/null || { python3 -m venv ~/.tools/tox && ~/.tools/tox/bin/python -m pip install tox && mkdir -p ~/.local/bin && ln -sf ~/.tools/tox/bin/tox ~/.local/bin/; } ▸ tox run -e py --notest ▸ tox run -e py | tox.ini
      or PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | setup.cfg; pytest because of its mention in tox.ini
    tox run -e py | tox.ini
      after command -v tox >/dev/null || { python3 -m venv ~/.tools/tox && ~/.tools/tox/bin/python -m pip install tox && mkdir -p ~/.local/bin && ln -sf ~/.tools/tox/bin/tox ~/.local/bin/; } | tox.ini
      after tox run -e py --notest | tox.ini: creates the environment, and runs nothing
      or tox run -e py | tox.ini
    python3 -m unittest discover | tox.ini; unittest because nothing mentions pytest
    nox -R -s tests | noxfile.py: the session tests
      after command -v nox >/dev/null || { python3 -m venv ~/.tools/nox && ~/.tools/nox/bin/python -m pip install nox && mkdir -p ~/.local/bin && ln -sf ~/.tools/nox/bin/nox ~/.local/bin/; } | noxfile.py
      after nox --install-only -s tests | noxfile.py: the session tests
      or nox -R -s tests | noxfile.py: the session tests
    PATH="$PWD/.venv/bin:$PATH" python3 manage.py test | manage.py; Django's test command, because nothing mentions pytest
      after python3 -m venv .venv | a virtual environment, so that no package of the system counts
      after .venv/bin/python -m pip install -r requirements.txt | requirements.txt
      or PATH="$PWD/.venv/bin:$PATH" python3 manage.py test | manage.py; Django's test command, because nothing mentions pytest
    PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its section in pyproject.toml
      after python3 -m venv .venv | a virtual environment, so that no package of the system counts
      after .venv/bin/python -m pip install -e . pytest | pyproject.toml, pytest, which no file requires
      or python3 -m venv .venv ▸ .venv/bin/python -m pip install pytest ▸ PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its section in pyproject.toml
      or cargo fetch --locked ▸ cargo test --no-fail-fast | Cargo.toml
      or PATH="$PWD/.venv/bin:$PATH" python3 -m pytest -q | pyproject.toml; pytest because of its section in pyproject.toml
    "#);
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
    ]), @r#"
    npm test | the test script in package.json
      after npm ci | package-lock.json
      or npm install --no-audit --no-fund --legacy-peer-deps --ignore-scripts ▸ npm test | the test script in package.json
      or npm test | the test script in package.json
    npm test | the test script in package.json
      after npm install | package.json; there is no lock file, so versions may differ
      or npm install --no-audit --no-fund --legacy-peer-deps --ignore-scripts ▸ npm test | the test script in package.json
      or npm test | the test script in package.json
    yarn test | the test script in package.json
      after command -v yarn >/dev/null || npm install --global --prefix ~/.local yarn | package.json is for yarn
      after yarn install --frozen-lockfile | yarn.lock
      or yarn test | the test script in package.json
    yarn test | the test script in package.json
      after command -v yarn >/dev/null || npm install --global --prefix ~/.local @yarnpkg/cli-dist | package.json is for yarn
      after yarn install --immutable | yarn.lock
      or yarn test | the test script in package.json
    pnpm test | the test script in package.json
      after command -v pnpm >/dev/null || npm install --global --prefix ~/.local pnpm | package.json is for pnpm
      after pnpm install --frozen-lockfile | pnpm-lock.yaml
      or node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 22)' || npm install --global --prefix ~/.local node@22 ▸ command -v pnpm >/dev/null || npm install --global --prefix ~/.local pnpm ▸ pnpm install --frozen-lockfile ▸ pnpm test | the test script in package.json
      or pnpm test | the test script in package.json
    bun run test | the test script in package.json
      after command -v bun >/dev/null || npm install --global --prefix ~/.local bun | package.json is for bun
      after bun install --frozen-lockfile | bun.lock
      or bun run test | the test script in package.json
    yarn test | the test script in package.json
      after npm install --global --prefix ~/.local yarn@1.22.0 | package.json is for yarn
      after yarn install --frozen-lockfile | packageManager in package.json
      or yarn test | the test script in package.json
    pnpm test | the test script in package.json
      after npm install --global --prefix ~/.local pnpm@9.0.0 | package.json is for pnpm
      after pnpm install | packageManager in package.json
      or pnpm test | the test script in package.json
    npm test | the test script in package.json
    npm run test:ci | the script test:ci in package.json, because the script test waits for changes
    npx --no-install vitest run | package.json depends on vitest and has no test script
      after command -v pnpm >/dev/null || npm install --global --prefix ~/.local pnpm | package.json is for pnpm
      after pnpm install --frozen-lockfile | pnpm-lock.yaml
      or node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 22)' || npm install --global --prefix ~/.local node@22 ▸ command -v pnpm >/dev/null || npm install --global --prefix ~/.local pnpm ▸ pnpm install --frozen-lockfile ▸ npx --no-install vitest run | package.json depends on vitest and has no test script
      or npx --no-install vitest run | package.json depends on vitest and has no test script
    deno task test | the task test in deno.jsonc
      after deno install | deno.jsonc
      or deno task test | the task test in deno.jsonc
    "#);
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
    ]), @r#"
    go test ./... | go.mod
      after go mod download | go.mod
      or go test ./... | go.mod
    go test ./a/... ./b/c/... | go.work; every module that it uses
    sh mvnw -B test | pom.xml, with its wrapper mvnw
      after sh mvnw -B -Dmaven.test.failure.ignore=true test | pom.xml: only a run shows what Maven downloads; its failures do not count here
      or sh mvnw -B test | pom.xml, with its wrapper mvnw
    mvn -B test | pom.xml
      after mvn -B -Dmaven.test.failure.ignore=true test | pom.xml: only a run shows what Maven downloads; its failures do not count here
      or mvn -B test | pom.xml
      not `sh gradlew --no-daemon --console=plain --continue test`: build.gradle.kts is also here
    bundle exec rspec | Gemfile; RSpec because of .rspec
      after command -v bundle >/dev/null || gem install --user-install --bindir ~/.local/bin bundler | Gemfile
      after bundle config set --global path ~/.gems && bundle install | Gemfile.lock
      or bundle exec rspec | Gemfile; RSpec because of .rspec
    bundle exec rake test | the task test in Rakefile
      after command -v bundle >/dev/null || gem install --user-install --bindir ~/.local/bin bundler | Gemfile
      after bundle config set --global path ~/.gems && bundle install | Gemfile
      or bundle exec rake test | the task test in Rakefile
    ruby -Ilib -Itest -e 'Dir["test/**/{test_*,*_test}.rb"].sort.each { |f| require "./#{f}" }' | test/x_test.rb; all test files in test, in one run
    composer test | the test script in composer.json
      after composer install --no-interaction --no-progress | composer.lock
      or composer test | the test script in composer.json
    vendor/bin/phpunit | phpunit.xml.dist
      after composer install --no-interaction --no-progress | composer.json
      or vendor/bin/phpunit | phpunit.xml.dist
    PERL5LIB=~/perl5/lib/perl5 prove -lr t | t/a.t
      after command -v cpanm >/dev/null || { mkdir -p ~/.local/bin && PERL_MM_USE_DEFAULT=1 PERL_MM_OPT="INSTALL_BASE=$HOME/perl5" cpan -T App::cpanminus && ln -sf ~/perl5/bin/cpanm ~/.local/bin/ && command -v cpanm >/dev/null; } | Makefile.PL
      after cpanm --notest --local-lib ~/perl5 --installdeps . | Makefile.PL
      or PERL5LIB=~/perl5/lib/perl5 prove -lr t | t/a.t
    PERL5LIB=~/perl5/lib/perl5 perl Makefile.PL && make && PERL5LIB=~/perl5/lib/perl5 prove -br t | Makefile.PL; it has compiled parts (*.xs), so it is built first
      after command -v cpanm >/dev/null || { mkdir -p ~/.local/bin && PERL_MM_USE_DEFAULT=1 PERL_MM_OPT="INSTALL_BASE=$HOME/perl5" cpan -T App::cpanminus && ln -sf ~/perl5/bin/cpanm ~/.local/bin/ && command -v cpanm >/dev/null; } | Makefile.PL
      after cpanm --notest --local-lib ~/perl5 --installdeps . | Makefile.PL
      or PERL5LIB=~/perl5/lib/perl5 perl Makefile.PL && make && PERL5LIB=~/perl5/lib/perl5 prove -br t | Makefile.PL; it has compiled parts (*.xs), so it is built first
    mix test | mix.exs
      after mix local.hex --force && mix local.rebar --force && mix deps.get | mix.exs
      or mix test | mix.exs
    dotnet test | A.sln
      after dotnet restore | A.sln
      or dotnet test | A.sln
    swift test | Package.swift
      after swift package resolve | Package.swift
      or swift test | Package.swift
    zig build test | the step test in build.zig
    cmake -S . -B build && cmake --build build && cd build && ctest --output-on-failure | CMakeLists.txt; CTest because of enable_testing
    cmake -S . -B _mendwright_build && cmake --build _mendwright_build && cd _mendwright_build && ctest --output-on-failure | CMakeLists.txt; CTest because of include(ctest)
    (test -d build || meson setup build) && meson test -C build --print-errorlogs | meson.build
    (test -f Makefile || { autoreconf -fi && sh configure; }) && make check | configure.ac, and the target check of its Makefile
    make check | the target check in Makefile
    make test | the target test in Makefile
      not `just test`: justfile is also here
    just test | the recipe test in Justfile
    "#);
}
