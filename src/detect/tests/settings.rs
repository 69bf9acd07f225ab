//! A job's settings from the operator's limits, the repository file, and what is detected.

use std::time::Duration;

use crate::config::RepositoryFile;
use crate::detect::{RootEntry, RootListing, SettingsError, job_settings};
use crate::domain::{Budget, JobSettings};

fn operator() -> Budget {
    Budget { turns_max: 50, usd_max: 4.0, time_max: Duration::from_secs(30 * 60), ..Budget::default() }
}
/// The settings of the first plan.
fn first(
    file: Option<&str>,
    root: &RootListing,
    given_test_command: Option<&str>,
) -> Result<JobSettings, SettingsError> {
    let plans = job_settings(&operator(), file, root, given_test_command)?;
    Ok(plans.into_iter().next().expect("there is at least one plan"))
}
fn rust_root() -> RootListing {
    let file = RootEntry::File { content: None };
    RootListing { entries: [("Cargo.toml".to_owned(), file)].into(), ..RootListing::default() }
}

#[test]
fn file_with_every_key_decides_every_setting() {
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
setup_files: [package-lock.json]
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
    let settings = first(Some(text), &RootListing::default(), None).unwrap();
    assert_eq!(
        settings,
        JobSettings {
            setup_commands: vec!["npm ci --offline".into(), "./configure".into()],
            setup_source: "`.github/agent-fix.yml`".into(),
            setup_detected: false,
            setup_left_out: None,
            setup_files: vec!["package-lock.json".into()],
            image: Some("registry.example/ci:7".into()),
            image_source: "`.github/agent-fix.yml`".into(),
            agent_hosts: vec!["api.example.org".into()],
            test_command: "make check".into(),
            test_command_source: "`.github/agent-fix.yml`".into(),
            test_command_detected: false,
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
            mutants: true,
            instructions: Some("Tabs, please.\n".into()),
        }
    );
    assert_eq!(RepositoryFile::parse(text).unwrap().instructions.as_deref(), Some("Tabs, please.\n"));
}

#[test]
fn missing_or_empty_file_gets_defaults_and_the_detected_command() {
    for file in [None, Some(""), Some("# nothing yet\n"), Some("---\n"), Some("{}")] {
        let settings = first(file, &rust_root(), None).unwrap();
        assert_eq!(settings.test_command_source, "Cargo.toml", "{file:?}");
        assert_eq!(settings.budget, operator());
        assert_eq!(settings.test_timeout, Duration::from_secs(20 * 60));
        assert!(settings.proof_required);
    }
    let nothing = first(None, &RootListing::default(), None).unwrap_err();
    assert!(matches!(nothing, SettingsError::NoTestCommand(_)));
}

#[test]
fn repository_file_can_lower_the_operators_limits_but_not_raise_them() {
    let greedy = "test: x\nbudget: {turns: 9999, usd: 500, minutes: 9999}";
    let settings = first(Some(greedy), &RootListing::default(), None).unwrap();
    assert_eq!(settings.budget, operator());
}

#[test]
fn detected_commands_are_marked_as_detected() {
    let resolved = |file: &str| first(Some(file), &rust_root(), None).unwrap();
    let detected = resolved("test: make\n");
    assert_eq!(detected.setup_commands, ["cargo fetch"]);
    assert!(detected.setup_detected && detected.setup_source.starts_with("Cargo.toml"), "{detected:?}");
    assert_eq!(detected.test_command_source, "`.github/agent-fix.yml`");
    let none = resolved("setup: []\n");
    assert!(!none.setup_detected && none.setup_commands.is_empty() && none.setup_source.is_empty());
    let given = first(None, &RootListing::default(), Some("sh x")).unwrap();
    assert_eq!(
        (given.test_command.as_str(), given.test_command_source.as_str()),
        ("sh x", "the command line")
    );
}

#[test]
fn alternatives_keep_what_somebody_wrote() {
    let files =
        [("pyproject.toml", "[project]\nname='a'\n[dependency-groups]\ntest=['pytest']\n"), ("uv.lock", "")];
    let entries =
        files.map(|(name, text)| (name.to_owned(), RootEntry::File { content: Some(text.to_owned()) }));
    let root = RootListing { entries: entries.into(), ..RootListing::default() };
    let plans = |file: Option<&str>, given: Option<&str>| {
        let plans = job_settings(&operator(), file, &root, given).unwrap();
        let commands = |plan: &JobSettings| {
            (plan.setup_commands.len(), plan.test_command.clone(), plan.test_command_detected)
        };
        plans.iter().map(commands).collect::<Vec<_>>()
    };
    let detected = plans(None, None);
    assert!(detected.len() >= 3 && detected.iter().all(|(_, _, detected)| *detected), "{detected:?}");
    assert_eq!(detected.last().map(|(setup, ..)| *setup), Some(0), "the last plan has no setup");
    let own_test = plans(Some("test: make check\n"), None);
    assert!(
        own_test.len() >= 3 && own_test.iter().all(|(_, test, detected)| test == "make check" && !detected)
    );
    assert_eq!(plans(Some("test: make check\nsetup: [a]\n"), None), [(1, "make check".to_owned(), false)]);
    assert!(plans(None, Some("sh x")).iter().all(|(_, test, detected)| test == "sh x" && !detected));
}

#[test]
fn settings_recorded_by_an_older_version_are_read() {
    let settings = first(Some("test: x"), &RootListing::default(), None).unwrap();
    let mut recorded = serde_json::to_value(&settings).unwrap();
    for later in ["setup_source", "setup_detected", "image", "image_source", "agent_hosts", "commands"] {
        assert!(recorded.as_object_mut().unwrap().remove(later).is_some(), "{later}");
    }
    assert_eq!(serde_json::from_value::<JobSettings>(recorded).unwrap(), settings);
}
