//! Projects in a directory of their own.

use super::*;

fn test_of(files: &[(&str, &str)]) -> String {
    detect(&listing(files)).unwrap_or_else(|nothing| panic!("{nothing}")).test.value
}

fn setup_of(files: &[(&str, &str)]) -> Vec<String> {
    let found = detect(&listing(files)).unwrap();
    found.setup.into_iter().map(|command| command.value).collect()
}

const BACKEND: [(&str, &str); 3] = [
    ("backend/requirements.txt", "pytest\n"),
    ("backend/app/__init__.py", ""),
    ("backend/tests/test_one.py", "def test_one(): pass\n"),
];

#[test]
fn only_project_below_the_root_is_tested_there() {
    assert_eq!(test_of(&BACKEND), "cd backend && PATH=\"$PWD/.venv/bin:$PATH\" python3 -m pytest -q");
    let setup = setup_of(&BACKEND);
    assert!(setup.iter().all(|command| command.starts_with("cd backend && ")), "{setup:?}");
    assert!(setup[1].contains("-r requirements.txt"), "{setup:?}");
    let vitest = r#"{"scripts": {"test": "vitest run"}}"#;
    for (files, expected) in [
        (&[("srv/go.mod", "module x\n"), ("README.md", "")][..], "cd srv && go test ./..."),
        (&[("core/Cargo.toml", "[package]\nname = \"x\"\n")], "cd core && cargo test --no-fail-fast"),
        (&[("web app/package.json", vitest)], "cd 'web app' && npm test"),
        // A root that has tools only, and no tests.
        (
            &[("package.json", "{\"devDependencies\": {\"husky\": \"1\"}}"), ("web/package.json", vitest)],
            "cd web && npm test",
        ),
        (&[("api/go.mod", "module x\n"), ("docs/package.json", "{}")], "cd api && go test ./..."),
    ] {
        assert_eq!(test_of(files), expected);
    }
}

#[test]
fn several_projects_below_the_root_are_suggested_and_none_is_chosen() {
    let files = [("a/go.mod", "module a\n"), ("b/Cargo.toml", "[package]\nname = \"b\"\n")];
    let nothing = detect(&listing(&files)).unwrap_err();
    let examples: Vec<&str> = nothing.recognised.iter().map(|one| one.example.as_str()).collect();
    assert_eq!(examples, ["cd a && go test ./...", "cd b && cargo test --no-fail-fast"]);
}

#[test]
fn project_at_the_root_counts_more_than_one_below() {
    let files = [("go.mod", "module x\n"), ("tools/go.mod", "module y\n")];
    assert!(test_of(&files).starts_with("go test ./..."));
}

#[test]
fn workflow_says_where_the_tests_of_a_directory_are_run() {
    let job = |steps: &str| {
        format!("on: [push, pull_request]\njobs:\n  backend:\n    runs-on: ubuntu-latest\n{steps}")
    };
    let default = "    defaults: {run: {working-directory: backend}}\n    steps:\n    - run: pip install -r requirements.txt\n    - run: pytest\n";
    let own = "    steps:\n    - run: pip install -r requirements.txt\n      working-directory: ./backend\n    - run: pytest\n      working-directory: ./backend\n";
    let shell = "    steps:\n    - run: cd backend && pip install -r requirements.txt && pytest\n";
    for (steps, test) in [
        (default, "export PATH=\"$PWD/.venv/bin:$PATH\"; cd backend && pytest"),
        (own, "export PATH=\"$PWD/.venv/bin:$PATH\"; cd ./backend && pytest"),
        (shell, "cd backend && pip install -r requirements.txt && pytest"),
    ] {
        let workflow = job(steps);
        let mut files = BACKEND.to_vec();
        files.push(("frontend/package.json", r#"{"scripts": {"test": "vitest run"}}"#));
        files.push((".github/workflows/ci.yml", &workflow));
        assert_eq!(test_of(&files), test);
    }
    let mut files = BACKEND.to_vec();
    let workflow = job(default);
    files.push((".github/workflows/ci.yml", &workflow));
    let install = "export PATH=\"$PWD/.venv/bin:$PATH\"; cd backend && pip install -r requirements.txt";
    assert_eq!(setup_of(&files), ["python3 -m venv .venv", install]);
}

/// Test files alone do not say which runner they are for.
#[test]
fn workflow_counts_more_than_the_names_of_test_files() {
    let workflow =
        "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n    - run: cd backend && pytest\n";
    let test = ("backend/tests/test_one.py", "def test_one(): pass\n");
    assert_eq!(test_of(&[test]), "python3 -m unittest discover -s backend/tests");
    assert_eq!(test_of(&[test, (".github/workflows/ci.yml", workflow)]), "cd backend && pytest");
}
