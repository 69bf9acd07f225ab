//! What a repository's file means, and what it is told when it means nothing.

use super::*;

fn operator() -> Budget {
    Budget { turns_max: 50, usd_max: 4.0, time_max: Duration::from_secs(30 * 60), ..Budget::default() }
}
fn told(text: &str) -> String {
    RepositoryFile::parse(text).unwrap_err().to_string()
}
fn rust_root() -> RootListing {
    let file = crate::detect::RootEntry::File { content: None };
    RootListing { entries: [("Cargo.toml".to_owned(), file)].into() }
}

#[test]
fn a_file_with_every_key_is_resolved() {
    let text = "\
# how to work here
test: make check
setup:
  - npm ci --offline
  - ./configure
image: registry.example/ci:7
commands: [make lint, 'cargo  check *']
network:
  hosts: [API.example.org]
timeout_minutes: 7
protected_paths: ['migrations/**']
test_paths: ['spec/**/*.rb']
proof: waived
budget:
  turns: 10
  usd: 1.5
  minutes: 12
instructions: |
  Tabs, please.
";
    let settings = resolve(&operator(), Some(text), &RootListing::default(), None).unwrap();
    assert_eq!(
        settings,
        JobSettings {
            setup_commands: vec!["npm ci --offline".into(), "./configure".into()],
            setup_source: "`.github/agent-fix.yml`".into(),
            setup_detected: false,
            image: Some("registry.example/ci:7".into()),
            image_source: "`.github/agent-fix.yml`".into(),
            agent_hosts: vec!["api.example.org".into()],
            test_command: "make check".into(),
            test_command_source: "`.github/agent-fix.yml`".into(),
            test_timeout: Duration::from_secs(7 * 60),
            commands: vec!["make lint".parse().unwrap(), "cargo check *".parse().unwrap()],
            budget: Budget {
                turns_max: 10,
                usd_max: 1.5,
                time_max: Duration::from_secs(12 * 60),
                ..operator()
            },
            protected_paths: vec!["migrations/**".into()],
            test_paths: vec!["spec/**/*.rb".into()],
            proof_required: false,
            instructions: Some("Tabs, please.\n".into()),
        }
    );
    assert_eq!(RepositoryFile::parse(text).unwrap().instructions.as_deref(), Some("Tabs, please.\n"));
}

#[test]
fn without_a_file_or_with_an_empty_one_the_defaults_hold_and_the_command_is_detected() {
    for file in [None, Some(""), Some("# nothing yet\n"), Some("---\n"), Some("{}")] {
        let settings = resolve(&operator(), file, &rust_root(), None).unwrap();
        assert_eq!(settings.test_command_source, "Cargo.toml", "{file:?}");
        assert_eq!(settings.budget, operator());
        assert_eq!(settings.test_timeout, Duration::from_secs(20 * 60));
        assert!(settings.proof_required);
    }
    let nothing = resolve(&operator(), None, &RootListing::default(), None).unwrap_err();
    assert!(matches!(nothing, RepositoryConfigError::NoTestCommand(_)));
}

#[test]
fn a_repository_may_lower_the_operators_limits_and_never_raise_them() {
    let greedy = "test: x\nbudget: {turns: 9999, usd: 500, minutes: 9999}";
    let settings = resolve(&operator(), Some(greedy), &RootListing::default(), None).unwrap();
    assert_eq!(settings.budget, operator());
}

#[test]
fn mistakes_are_told_with_their_place_and_what_was_probably_meant() {
    insta::assert_snapshot!(told("test: x\ntimeout_minute: 3\n"), @".github/agent-fix.yml line 2 column 1: unknown key `timeout_minute`; did you mean `timeout_minutes`?");
    insta::assert_snapshot!(told("budget:\n  turn: 3\n"), @".github/agent-fix.yml line 2 column 3: unknown key `turn`; did you mean `turns`?");
    insta::assert_snapshot!(told("budget: {tokens_and_more: 3}\n"), @".github/agent-fix.yml line 1 column 10: unknown key `tokens_and_more`; known here: turns, usd, minutes");
    insta::assert_snapshot!(told("test: x\nproof: maybe\n"), @".github/agent-fix.yml line 2 column 8: unknown variant `maybe`, expected one of required, waived");
    insta::assert_snapshot!(told("test: [a, b]\n"), @".github/agent-fix.yml line 1 column 7: text is expected here");
    insta::assert_snapshot!(told("setup: npm ci\n"), @".github/agent-fix.yml line 1 column 8: a list is expected here; write each entry after `- `, on a line of its own");
    insta::assert_snapshot!(told("timeout_minutes: soon\n"), @".github/agent-fix.yml line 1 column 18: a whole number is expected here");
    insta::assert_snapshot!(told("test: 'x\n"), @".github/agent-fix.yml line 1 column 7: unclosed quote");
    insta::assert_snapshot!(told("test: a\ntest: b\n"), @".github/agent-fix.yml line 2 column 1: duplicate mapping key `test` is not allowed here");
    insta::assert_snapshot!(told("- test: x\n"), @".github/agent-fix.yml line 1 column 1: `key: value` is expected here, as in `test: ./run-tests.sh`");
    insta::assert_snapshot!(told("test: '  '\n"), @".github/agent-fix.yml line 1 column 7: this is no shell command; write one of 1 to 4096 bytes");
    insta::assert_snapshot!(told("timeout_minutes: 121\n"), @".github/agent-fix.yml line 1 column 18: 121 is not from 1 to 120 minutes");
    insta::assert_snapshot!(told("protected_paths:\n  - ok/**\n  - 'a[b'\n"), @r#".github/agent-fix.yml line 3 column 5: "a[b" is no glob (unclosed character class; missing ']'); write for example "src/**/*.sql""#);
    insta::assert_snapshot!(told("budget: {usd: .nan}\n"), @".github/agent-fix.yml line 1 column 15: NaN is no amount; write dollars above 0");
    insta::assert_snapshot!(told("budget: {turns: 0}\n"), @".github/agent-fix.yml line 1 column 17: a job without turns can do nothing; write 1 or more");
}

#[test]
fn a_file_that_is_too_long_or_that_grows_when_expanded_is_refused() {
    let long = format!("test: x # {}", "x".repeat(REPOSITORY_FILE_BYTES_MAX));
    assert!(matches!(RepositoryFile::parse(&long), Err(RepositoryConfigError::TooLong { .. })));

    // Lists of lists have no key to stand under, so only repeated text can grow.
    let wide = format!("test: &a {}\nsetup: [{}]\n", "x".repeat(3000), "*a, ".repeat(51));
    insta::assert_snapshot!(told(&wide), @".github/agent-fix.yml line 2 column 177: YAML document too large or too complex: limits breached: ScalarBytes { total_scalar_bytes: 132009 } (defined at line 1, column 10) (used at line 2, column 177)");
    let nested = "setup: &a [x]\ntest_paths: [*a, *a]\n";
    insta::assert_snapshot!(told(nested), @".github/agent-fix.yml line 2 column 14: expected string scalar (defined at line 1, column 11) (used at line 2, column 14)");
    let deep = format!("setup: {}", "[".repeat(30_000));
    insta::assert_snapshot!(told(&deep), @".github/agent-fix.yml line 1 column 263: recursion limit exceeded");
    let anchors: String = (0..51).map(|number| format!("&a{number} x, ")).collect();
    insta::assert_snapshot!(told(&format!("setup: [{anchors}]\n")), @".github/agent-fix.yml line 1 column 404: YAML document too large or too complex: limits breached: Anchors { anchors: 51 }");
    let many = format!("test_paths: [{}]", "a, ".repeat(201));
    insta::assert_snapshot!(told(&many), @".github/agent-fix.yml line 1 column 614: more than 200 globs");
}

#[test]
fn an_image_and_hosts_are_checked_and_told_with_their_place() {
    insta::assert_snapshot!(told("image: 'a b'\n"), @r#".github/agent-fix.yml line 1 column 8: "a b" is no image reference; write one as "registry.example/team/image:tag""#);
    insta::assert_snapshot!(told("network: {hosts: ['*.example.org']}\n"), @r#".github/agent-fix.yml line 1 column 19: "*.example.org" holds a wildcard; write each host name out"#);
    insta::assert_snapshot!(told("network:\n  hosts:\n    - 10.0.0.1\n"), @r#".github/agent-fix.yml line 3 column 7: "10.0.0.1" is an IP address; write a host name"#);
    insta::assert_snapshot!(told("network: {hosts: ['a.example:8080']}\n"), @r#".github/agent-fix.yml line 1 column 19: "a.example:8080" names a port; only the host name counts, and 80 and 443 are the ports"#);
    insta::assert_snapshot!(told("network: {host: x}\n"), @".github/agent-fix.yml line 1 column 11: unknown key `host`; did you mean `hosts`?");
    let many = format!("network: {{hosts: [{}]}}", "a.example, ".repeat(21));
    insta::assert_snapshot!(told(&many), @".github/agent-fix.yml line 1 column 239: more than 20 hosts");
}

#[test]
fn a_command_that_the_agent_may_run_is_a_pattern_over_whole_arguments() {
    insta::assert_snapshot!(told("commands:\n  - make lint\n  - make lint && make docs\n"), @r#".github/agent-fix.yml line 3 column 5: "make lint && make docs" is no pattern of a command: `&` is for a shell, and none takes part: each word is one argument as it stands; put what needs a shell into a script of the repository and allow that"#);
    insta::assert_snapshot!(told("commands: make lint\n"), @".github/agent-fix.yml line 1 column 11: a list is expected here; write each entry after `- `, on a line of its own");
    insta::assert_snapshot!(told("commands: ['**']\n"), @r#".github/agent-fix.yml line 1 column 12: "**" is no pattern of a command: it does not say which program; begin with its name, as in "cargo check **""#);
    let many = format!("commands: [{}]", "a, ".repeat(51));
    insta::assert_snapshot!(told(&many), @".github/agent-fix.yml line 1 column 162: more than 50 commands");
}

#[test]
fn what_was_detected_is_kept_apart_from_what_was_written() {
    let resolved = |file: &str| resolve(&operator(), Some(file), &rust_root(), None).unwrap();
    let detected = resolved("test: make\n");
    assert_eq!(detected.setup_commands, ["cargo fetch"]);
    assert!(detected.setup_detected && detected.setup_source.starts_with("Cargo.toml"), "{detected:?}");
    assert_eq!(detected.test_command_source, "`.github/agent-fix.yml`");
    let none = resolved("setup: []\n");
    assert!(!none.setup_detected && none.setup_commands.is_empty() && none.setup_source.is_empty());
    let given = resolve(&operator(), None, &RootListing::default(), Some("sh x")).unwrap();
    assert_eq!(
        (given.test_command.as_str(), given.test_command_source.as_str()),
        ("sh x", "the command line")
    );
}

#[test]
fn settings_recorded_before_there_were_images_still_read() {
    let settings = resolve(&operator(), Some("test: x"), &RootListing::default(), None).unwrap();
    let mut recorded = serde_json::to_value(&settings).unwrap();
    for later in ["setup_source", "setup_detected", "image", "image_source", "agent_hosts", "commands"] {
        assert!(recorded.as_object_mut().unwrap().remove(later).is_some(), "{later}");
    }
    assert_eq!(serde_json::from_value::<JobSettings>(recorded).unwrap(), settings);
}

#[test]
fn a_file_can_have_what_is_verified_held_back() {
    let held = |text| RepositoryFile::parse(text).unwrap().requires_approval;
    assert!(held("publish: hold\n"));
    assert!(!held("publish: push\n") && !held("test: make check\n"));
    insta::assert_snapshot!(told("publish: never\n"), @r"
    .github/agent-fix.yml line 1 column 10: unknown variant `never`, expected one of push, hold
    ");
}
