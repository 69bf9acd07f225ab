//! Commands that are believed, and commands that are not.

use super::*;

#[test]
fn commands_of_real_repositories_are_not_refused() {
    for command in [
        "pytest",
        ".venv/bin/python -m pytest -q",
        "python3.12 -m pytest tests",
        ". .venv/bin/activate && pytest -p no:cacheprovider",
        "PYTHONPATH=src python -m unittest discover -v",
        "coverage run -m pytest",
        "poetry run pytest",
        "uv run --no-sync --group test pytest",
        "tox run -e py311",
        "nox -k tests",
        "cd packages/core && CI=1 npm test",
        "npx jest",
        "node --test",
        "node -r ts-node/register node_modules/.bin/tape test/a.ts",
        "deno test -A",
        "sh -c 'cargo test --locked'",
        "cargo nextest run --workspace",
        "set -e && make -k check",
        "make check 2>&1",
        "cmake -S . -B build && cmake --build build && ctest --test-dir build",
        "PATH=${HOME}/bin:$PATH ./run-tests.sh",
        "go test -x ./...",
        "./gradlew test -x spotlessCheck",
        "mvn -q test",
        "bundle exec rspec",
        "vendor/bin/phpunit",
        "prove -lr t",
        "bazel test //...",
        "bash -x tests/run.sh",
        "make && ./sds-test",
        "timeout 60 make test",
    ] {
        assert_eq!(why_not_the_whole_suite(command), None, "{command}");
    }
}

#[test]
fn commands_that_hide_failures_or_leave_tests_out_are_refused() {
    let commands = [
        "pytest || true",
        "pytest; true",
        "pytest | tee log",
        "sh tests/run.sh & sleep 60 & wait",
        "! pytest",
        "sh -c 'pytest || :'",
        "bash -lc './t.sh || true'",
        "echo '5 passed'",
        "env printf 'ok 1\\n'",
        "head -n 9 tests/ok.tap",
        "make build && echo ok 1",
        "python3.11 -c 'print(1)'",
        "perl -le 'print 1'",
        "node -p 1",
        "deno eval '1'",
        "pytest -k fast",
        "pytest -keasy",
        "python -m pytest -m 'not slow'",
        "pytest --deselect=tests/a.py",
        "PYTEST_ADDOPTS='-k x' pytest",
        "env PYTEST_ADDOPTS='-k x' pytest",
        "GOFLAGS=-skip=TestBroken go test ./...",
        "A='-k fast' && pytest $A",
        "R='sh' && $R x",
        "export A=b && pytest",
        "cargo test -- --skip slow",
        "cargo nextest run -E 'not test(x)'",
        "npx jest --testPathIgnorePatterns=x",
        "npx jest -t easy",
        "npx mocha -g easy",
        "ctest --test-dir build -E broken",
        "pytest -x",
        "make -i check",
        "make check TESTS=easy.sh",
        "mvn -fn test",
        "mvn test -Dmaven.test.failure.ignore=true",
        "go test --run=One ./...",
        "phpunit --testsuite easy",
        "true",
        "pytest $(cat list)",
        "make check # all",
        "frobnicate",
        "cd tests",
        "'",
        "",
    ];
    let lines = commands.map(|command| {
        let why = why_not_the_whole_suite(command).unwrap_or_else(|| "accepted".to_owned());
        format!("{command}: {why}")
    });
    insta::assert_snapshot!(lines.join("\n"), @r"
    pytest || true: it has `||` outside quotes, so its exit code may not be that of the tests; only `&&` joins commands
    pytest; true: it has `;` outside quotes, so its exit code may not be that of the tests; only `&&` joins commands
    pytest | tee log: it has `|` outside quotes, so its exit code may not be that of the tests; only `&&` joins commands
    sh tests/run.sh & sleep 60 & wait: it has `&` outside quotes, so its exit code may not be that of the tests; only `&&` joins commands
    ! pytest: it has `!` outside quotes, so its exit code may not be that of the tests; only `&&` joins commands
    sh -c 'pytest || :': it has `||` outside quotes, so its exit code may not be that of the tests; only `&&` joins commands
    bash -lc './t.sh || true': it has `||` outside quotes, so its exit code may not be that of the tests; only `&&` joins commands
    echo '5 passed': `echo` runs no test
    env printf 'ok 1\n': `printf` runs no test
    head -n 9 tests/ok.tap: `head` runs no test
    make build && echo ok 1: `echo` runs no test
    python3.11 -c 'print(1)': `python -c` runs code of its own
    perl -le 'print 1': `perl -le` runs code of its own
    node -p 1: `node -p` runs code of its own
    deno eval '1': `deno eval` runs code of its own
    pytest -k fast: `-k` leaves tests out, hides failures, or ends the run at the first one
    pytest -keasy: `-keasy` leaves tests out, hides failures, or ends the run at the first one
    python -m pytest -m 'not slow': `-m` leaves tests out, hides failures, or ends the run at the first one
    pytest --deselect=tests/a.py: `--deselect=tests/a.py` leaves tests out or hides failures
    PYTEST_ADDOPTS='-k x' pytest: `PYTEST_ADDOPTS=-k x` gives options that nobody sees
    env PYTEST_ADDOPTS='-k x' pytest: `PYTEST_ADDOPTS=-k x` gives options that nobody sees
    GOFLAGS=-skip=TestBroken go test ./...: `GOFLAGS=-skip=TestBroken` gives options that nobody sees
    A='-k fast' && pytest $A: `A=-k fast` gives options that nobody sees
    R='sh' && $R x: it sets variables and runs nothing
    export A=b && pytest: `export` runs no test
    cargo test -- --skip slow: `--skip` leaves tests out or hides failures
    cargo nextest run -E 'not test(x)': `-E` leaves tests out, hides failures, or ends the run at the first one
    npx jest --testPathIgnorePatterns=x: `--testPathIgnorePatterns=x` leaves tests out or hides failures
    npx jest -t easy: `-t` leaves tests out, hides failures, or ends the run at the first one
    npx mocha -g easy: `-g` leaves tests out, hides failures, or ends the run at the first one
    ctest --test-dir build -E broken: `-E` leaves tests out, hides failures, or ends the run at the first one
    pytest -x: `-x` leaves tests out, hides failures, or ends the run at the first one
    make -i check: `-i` leaves tests out, hides failures, or ends the run at the first one
    make check TESTS=easy.sh: `TESTS=easy.sh` chooses among the tests
    mvn -fn test: `-fn` leaves tests out or hides failures
    mvn test -Dmaven.test.failure.ignore=true: `-Dmaven.test.failure.ignore=true` leaves tests out or hides failures
    go test --run=One ./...: `--run=One` leaves tests out or hides failures
    phpunit --testsuite easy: `--testsuite` leaves tests out or hides failures
    true: `true` runs no test
    pytest $(cat list): it has `(` outside quotes, so its exit code may not be that of the tests; only `&&` joins commands
    make check # all: it has `#` outside quotes, so its exit code may not be that of the tests; only `&&` joins commands
    frobnicate: `frobnicate` is no test runner that is known, and no script of the repository
    cd tests: `cd` runs no test
    ': it is too long, or a quotation does not end
    : it is empty
    ");
}

#[test]
fn files_that_decide_the_result_are_named() {
    let files = |command: &str| files_of(command).join(" ");
    assert_eq!(files("make && ./run"), "run run.py");
    assert_eq!(files("cd sub && sh made.sh"), "made.sh sub/made.sh sub/made.sh.py");
    assert_eq!(files("python -m made"), "made made.py");
    assert!(files("sh -c 'sh made.sh'").contains("made.sh"));
    assert!(files("make -f made.mk check").contains("made.mk"));
    assert_eq!(files(".venv/bin/pytest"), "");
}
