//! The order of plans, and what each of them adds.

use super::*;

/// The setup and test commands of every plan, one line each.
fn plans(files: &[(&str, &str)], committed_at: Option<&str>) -> Vec<String> {
    let committed_at = committed_at.map(|at| at.parse().unwrap());
    let found = detect(&RootListing { committed_at, ..listing(files) }).unwrap();
    let first = Plan { setup: found.setup, test: found.test };
    let in_words = |plan: &Plan| {
        let commands = plan.setup.iter().chain([&plan.test]).map(|command| command.value.as_str());
        commands.collect::<Vec<_>>().join(" ▸ ")
    };
    std::iter::once(&first).chain(&found.alternatives).map(in_words).collect()
}

const COMMITTED: Option<&str> = Some("2025-08-25T10:00:00Z");

#[test]
fn manifest_comes_before_devcontainer_and_workflow_and_no_setup_comes_last() {
    let workflow = "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n    - run: pnpm install\n    - run: pnpm test\n";
    let found = plans(
        &[
            ("go.mod", "module x\n"),
            (".devcontainer/devcontainer.json", r#"{"postCreateCommand": "make old"}"#),
            (".github/workflows/ci.yml", workflow),
            ("Makefile", "test:\n\ttrue\n"),
            ("run-tests.sh", ""),
        ],
        None,
    );
    let brought = tools::npm_tool("pnpm", "pnpm");
    assert_eq!(
        found,
        [
            "go mod download ▸ go test ./...".to_owned(),
            "make old ▸ go test ./...".to_owned(),
            format!("{brought} ▸ pnpm install ▸ pnpm test"),
            "make test".to_owned(),
            "./run-tests.sh".to_owned(),
            "go test ./...".to_owned(),
        ]
    );
}

#[test]
fn workflow_builds_with_the_tests_and_installs_no_package_of_the_system() {
    let workflow = "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n    - run: sudo apt-get install -y x\n    \
                    - run: cmake .\n    - run: make VERBOSE=1\n    - run: python3 ./scripts/run-tests.py\n";
    let found = plans(&[("CMakeLists.txt", "project(x)\n"), (".github/workflows/ci.yml", workflow)], None);
    assert_eq!(found, ["cmake . && make VERBOSE=1 && python3 ./scripts/run-tests.py"]);
}

#[test]
fn what_is_not_pinned_is_also_tried_as_it_was_at_the_commit() {
    let python =
        plans(&[("pyproject.toml", "[project]\nname='a'\ndependencies=['b', 'pytest']\n")], COMMITTED);
    assert!(python[0].contains("pip install -e .") && !python[0].contains("exclude-newer"), "{python:?}");
    assert!(python[1].contains("uv pip install --exclude-newer 2025-08-25T10:00:00Z -e ."), "{python:?}");
    assert!(python[2].contains("pip install b pytest") && !python[2].contains("-e"), "{python:?}");
    let package = r#"{"scripts": {"test": "jest"}, "dependencies": {"a": "1"}}"#;
    let npm = plans(&[("package.json", package)], COMMITTED);
    assert_eq!(npm[0], "npm install ▸ npm test");
    assert!(npm.iter().any(|plan| plan.contains("--before 2025-08-25T10:00:00Z")), "{npm:?}");
    let locked = plans(&[("package.json", package), ("package-lock.json", "{}")], COMMITTED);
    assert!(!locked.iter().any(|plan| plan.contains("--before")), "{locked:?}");
}

#[test]
fn options_and_versions_that_tests_need_are_tried_next() {
    let cmake = "enable_testing()\noption(BUILD_DEMO \"\" OFF)\noption(ENABLE_X_TEST \"tests\" OFF)\noption(Y_TESTS \"on\" ON)\n";
    let found = plans(&[("CMakeLists.txt", cmake)], None);
    assert!(found[0].starts_with("cmake -S . -B build && "), "{found:?}");
    assert!(found[1].starts_with("cmake -S . -B build -DENABLE_X_TEST=ON && "), "{found:?}");
    let package = r#"{"engines": {"node": ">=22"}, "scripts": {"test": "xo && ava", "build": "tsc"}}"#;
    let found = plans(&[("package.json", package)], None);
    let node = tools::node(22);
    assert_eq!(
        found,
        [
            "npm test".to_owned(),
            format!("{node} ▸ npm test"),
            "npm run build && npm test".to_owned(),
            "npx --no-install ava".to_owned(),
        ]
    );
}

#[test]
fn node_is_as_new_as_the_package_manager_and_the_repository_want() {
    let with = |package: &str, files: &[(&str, &str)]| {
        let files: Vec<(&str, &str)> = files.iter().copied().chain([("package.json", package)]).collect();
        plans(&files, None)
    };
    let has = |found: &[String], major: u32| found.iter().any(|plan| plan.contains(&tools::node(major)));
    let pnpm = |version: &str| {
        let package = format!(
            r#"{{"packageManager": "pnpm@{version}", "engines": {{"node": ">=20"}}, "scripts": {{"test": "vitest"}}}}"#
        );
        with(&package, &[("pnpm-lock.yaml", "")])
    };
    assert!(has(&pnpm("11.19.0"), 22) && !has(&pnpm("11.19.0"), 20));
    assert!(has(&pnpm("9.1.0"), 20) && !has(&pnpm("9.1.0"), 22));
    let plain = r#"{"scripts": {"test": "vitest"}}"#;
    assert!(has(&with(plain, &[("pnpm-lock.yaml", "")]), 22));
    assert!(!has(&with(plain, &[]), 22));
    assert!(has(&with(plain, &[(".nvmrc", "v24.1.0\n")]), 24));
    assert!(!with(plain, &[(".nvmrc", "lts/*\n")]).iter().any(|plan| plan.contains("node@")));
}
