//! What a repository file means, and the error for each mistake.

use super::*;
use crate::config::repository_file_example;

fn error(text: &str) -> String {
    RepositoryFile::parse(text).unwrap_err().to_string()
}

#[test]
fn error_names_the_place_and_the_nearest_known_word() {
    insta::assert_snapshot!(error("test: x\ntimeout_minute: 3\n"), @".github/agent-fix.yml line 2 column 1: unknown key `timeout_minute`; did you mean `timeout_minutes`?");
    insta::assert_snapshot!(error("budget:\n  turn: 3\n"), @".github/agent-fix.yml line 2 column 3: unknown key `turn`; did you mean `turns`?");
    insta::assert_snapshot!(error("budget: {tokens_and_more: 3}\n"), @".github/agent-fix.yml line 1 column 10: unknown key `tokens_and_more`; known here: turns, usd, minutes");
    insta::assert_snapshot!(error("test: x\nproof: maybe\n"), @".github/agent-fix.yml line 2 column 8: unknown variant `maybe`, expected one of required, waived");
    insta::assert_snapshot!(error("test: [a, b]\n"), @".github/agent-fix.yml line 1 column 7: text is expected here");
    insta::assert_snapshot!(error("setup: npm ci\n"), @".github/agent-fix.yml line 1 column 8: a list is expected here; write each entry after `- `, on a line of its own");
    insta::assert_snapshot!(error("timeout_minutes: soon\n"), @".github/agent-fix.yml line 1 column 18: a whole number is expected here");
    insta::assert_snapshot!(error("test: 'x\n"), @".github/agent-fix.yml line 1 column 7: unclosed quote");
    insta::assert_snapshot!(error("test: a\ntest: b\n"), @".github/agent-fix.yml line 2 column 1: duplicate mapping key `test` is not allowed here");
    insta::assert_snapshot!(error("- test: x\n"), @".github/agent-fix.yml line 1 column 1: `key: value` is expected here, as in `test: ./run-tests.sh`");
    insta::assert_snapshot!(error("test: '  '\n"), @".github/agent-fix.yml line 1 column 7: this is not a shell command; write one of 1 to 4096 bytes");
    insta::assert_snapshot!(error("timeout_minutes: 121\n"), @".github/agent-fix.yml line 1 column 18: 121 is not from 1 to 120 minutes");
    insta::assert_snapshot!(error("protected_paths:\n  - ok/**\n  - 'a[b'\n"), @r#".github/agent-fix.yml line 3 column 5: "a[b" is not a glob (unclosed character class; missing ']'); write for example "src/**/*.sql""#);
    insta::assert_snapshot!(error("budget: {usd: .nan}\n"), @".github/agent-fix.yml line 1 column 15: NaN is not an amount; write dollars above 0");
    insta::assert_snapshot!(error("budget: {turns: 0}\n"), @".github/agent-fix.yml line 1 column 17: a job needs turns; write 1 or more");
}

#[test]
fn file_that_is_too_long_or_grows_when_expanded_is_refused() {
    let long = format!("test: x # {}", "x".repeat(REPOSITORY_FILE_BYTES_MAX));
    assert!(matches!(RepositoryFile::parse(&long), Err(RepositoryFileError::TooLong { .. })));

    // Lists of lists have no key to stand under, so only repeated text can grow.
    let wide = format!("test: &a {}\nsetup: [{}]\n", "x".repeat(3000), "*a, ".repeat(51));
    insta::assert_snapshot!(error(&wide), @".github/agent-fix.yml line 2 column 177: YAML document too large or too complex: limits breached: ScalarBytes { total_scalar_bytes: 132009 } (defined at line 1, column 10) (used at line 2, column 177)");
    let nested = "setup: &a [x]\ntest_paths: [*a, *a]\n";
    insta::assert_snapshot!(error(nested), @".github/agent-fix.yml line 2 column 14: expected string scalar (defined at line 1, column 11) (used at line 2, column 14)");
    let deep = format!("setup: {}", "[".repeat(30_000));
    insta::assert_snapshot!(error(&deep), @".github/agent-fix.yml line 1 column 263: recursion limit exceeded");
    let anchors: String = (0..51).map(|number| format!("&a{number} x, ")).collect();
    insta::assert_snapshot!(error(&format!("setup: [{anchors}]\n")), @".github/agent-fix.yml line 1 column 404: YAML document too large or too complex: limits breached: Anchors { anchors: 51 }");
    let many = format!("test_paths: [{}]", "a, ".repeat(201));
    insta::assert_snapshot!(error(&many), @".github/agent-fix.yml line 1 column 614: more than 200 globs");
}

#[test]
fn image_and_hosts_are_checked() {
    insta::assert_snapshot!(error("image: 'a b'\n"), @r#".github/agent-fix.yml line 1 column 8: "a b" is not an image reference; write one as "registry.example/team/image:tag""#);
    insta::assert_snapshot!(error("network: {hosts: ['*.example.org']}\n"), @r#".github/agent-fix.yml line 1 column 19: "*.example.org" holds a wildcard; write each host name out"#);
    insta::assert_snapshot!(error("network:\n  hosts:\n    - 10.0.0.1\n"), @r#".github/agent-fix.yml line 3 column 7: "10.0.0.1" is an IP address; write a host name"#);
    insta::assert_snapshot!(error("network: {hosts: ['a.example:8080']}\n"), @r#".github/agent-fix.yml line 1 column 19: "a.example:8080" names a port; only the host name counts, and 80 and 443 are the ports"#);
    insta::assert_snapshot!(error("network: {host: x}\n"), @".github/agent-fix.yml line 1 column 11: unknown key `host`; did you mean `hosts`?");
    let many = format!("network: {{hosts: [{}]}}", "a.example, ".repeat(21));
    insta::assert_snapshot!(error(&many), @".github/agent-fix.yml line 1 column 239: more than 20 hosts");
}

#[test]
fn allowed_command_is_a_pattern_of_whole_arguments() {
    insta::assert_snapshot!(error("commands:\n  - make lint\n  - make lint && make docs\n"), @r#".github/agent-fix.yml line 3 column 5: "make lint && make docs" is not a command pattern: `&` is for a shell, and none takes part: each word is one argument as it stands; put what needs a shell into a script of the repository and allow that"#);
    insta::assert_snapshot!(error("commands: make lint\n"), @".github/agent-fix.yml line 1 column 11: a list is expected here; write each entry after `- `, on a line of its own");
    insta::assert_snapshot!(error("commands: ['**']\n"), @r#".github/agent-fix.yml line 1 column 12: "**" is not a command pattern: it does not say which program; begin with its name, as in "cargo check **""#);
    let many = format!("commands: [{}]", "a, ".repeat(51));
    insta::assert_snapshot!(error(&many), @".github/agent-fix.yml line 1 column 162: more than 50 commands");
}

#[test]
fn publish_key_decides_about_approval() {
    let held = |text| RepositoryFile::parse(text).unwrap().requires_approval;
    assert!(held("publish: hold\n"));
    assert!(!held("publish: push\n") && !held("test: make check\n"));
    insta::assert_snapshot!(error("publish: never\n"), @r"
    .github/agent-fix.yml line 1 column 10: unknown variant `never`, expected one of push, hold
    ");
}

#[test]
fn table_of_keys_is_what_the_reader_knows() {
    let known = |text: &str| {
        let error = error(text);
        let (_, known) = error.split_once("known here: ").unwrap_or_else(|| panic!("{error}"));
        known.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let mut names = Vec::new();
    for name in known("zzzzzzzz: 1\n") {
        match ["network", "rounds", "budget"].contains(&name.as_str()) {
            true => names.extend(
                known(&format!("{name}: {{zzzzzzzz: 1}}\n"))
                    .into_iter()
                    .map(|inner| format!("{name}.{inner}")),
            ),
            false => names.push(name),
        }
    }
    let mut table: Vec<&str> = REPOSITORY_KEYS.iter().map(|key| key.name).collect();
    names.sort();
    table.sort();
    assert_eq!(names, table);
}

#[test]
fn example_file_sets_every_key_if_its_comments_are_removed() {
    let example = repository_file_example();
    assert_eq!(RepositoryFile::parse(&example).unwrap().test_command.as_deref(), Some("make check"));
    let is_key = |line: &&str| {
        let text = line.trim_start_matches("# ").trim_start();
        let word = text.split(':').next().unwrap_or_default();
        text.contains(':') && REPOSITORY_KEYS.iter().any(|key| key.name.split('.').any(|part| part == word))
    };
    let keys: Vec<&str> = example.lines().filter(is_key).collect();
    let text: String =
        keys.iter().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect();
    let file = RepositoryFile::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let expected = RepositoryFile {
        test_command: Some("make check".to_owned()),
        setup_commands: Some(vec!["make deps".to_owned()]),
        setup_files: vec!["package.json".to_owned(), "package-lock.json".to_owned()],
        image: Some("registry.example/ci:1".to_owned()),
        commands: vec!["make lint".parse().unwrap(), "cargo check **".parse().unwrap()],
        agent_hosts: vec!["api.example.org".to_owned()],
        test_timeout: Some(Duration::from_secs(20 * 60)),
        protected_paths: vec!["deploy/**".to_owned()],
        test_paths: vec!["checks/**".to_owned()],
        turns_max: Some(30),
        usd_max: Some(2.0),
        time_max: Some(Duration::from_secs(30 * 60)),
        instructions: Some("Keep public functions documented.".to_owned()),
        ..RepositoryFile::default()
    };
    assert_eq!(file, expected);
}
