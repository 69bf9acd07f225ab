//! Compares a manifest's rules with the base's own, and its verdict with the one that was reached again.

use crate::domain::{FROM_THE_COMMAND_LINE, FailedTest, Flag, JobSettings};
use crate::provenance::{Manifest, Suite};
use crate::verdict::{Verdict, Verified};
use crate::worker::Reverification;

use super::verification::{CheckOutcome, Verification};

/// Most tests of one list in a manifest.
const TESTS_MAX: usize = 100;
/// Longest text of a difference, in characters.
const DIFFERENCE_CHARS_MAX: usize = 600;

/// Checks that the manifest states the rules that the base commit and the command line give.
pub(super) fn check_suite(
    verification: &mut Verification,
    stated: &Suite,
    settings: &JobSettings,
    image_given: bool,
) {
    let list = |items: &[String]| format!("[{}]", items.join(", "));
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "none".to_owned());
    let milliseconds = u64::try_from(settings.test_timeout.as_millis()).unwrap_or(u64::MAX);
    let rules = [
        ("test command", stated.test_command.clone(), settings.test_command.clone()),
        ("setup", list(&stated.setup_commands), list(&settings.setup_commands)),
        ("setup files", list(&stated.setup_files), list(&settings.setup_files)),
        ("hosts", list(&stated.hosts), list(&settings.agent_hosts)),
        ("time limit", stated.timeout_milliseconds.to_string(), milliseconds.to_string()),
        ("protected paths", list(&stated.protected_paths), list(&settings.protected_paths)),
        ("test paths", list(&stated.test_paths), list(&settings.test_paths)),
        ("proof required", stated.proof_required.to_string(), settings.proof_required.to_string()),
        ("image", word(&stated.image), word(&settings.image)),
    ];
    let different: Vec<String> = rules
        .iter()
        .filter(|(name, claimed, found)| claimed != found && !(*name == "image" && image_given))
        .map(|(name, claimed, found)| {
            cut(&format!("{name}: the manifest says {claimed}, the base commit {found}"))
        })
        .collect();
    if different.is_empty() {
        let whose = match settings.test_command_source == FROM_THE_COMMAND_LINE {
            true => "as given with --test",
            false => "as the base commit has it",
        };
        let words = format!("{whose}: `{}`", settings.test_command);
        return verification.add("suite", CheckOutcome::Holds, words);
    }
    let hint = match stated.test_command_source == FROM_THE_COMMAND_LINE {
        true => ". If the job was given --test or --setup, give them here, too",
        false => "",
    };
    verification.add("suite", CheckOutcome::Differs, format!("{}{hint}", different.join("; ")));
}

/// Checks the verdict that was reached again against the manifest's.
pub(super) fn check_verdict(
    verification: &mut Verification,
    manifest: &Manifest,
    reverification: Reverification,
) {
    if manifest.sandbox.root.as_ref().is_some_and(|root| *root != reverification.root.digest) {
        let words =
            format!("the verdict was given again in another one: {}", reverification.root.description);
        verification.add("root file system", CheckOutcome::Noted, words);
    }
    for note in reverification.notes {
        verification.add("environment", CheckOutcome::Noted, note);
    }
    let verified = match reverification.verdict {
        Verdict::Verified(verified) => verified,
        Verdict::Rejected(red) => return verification.add("verdict", CheckOutcome::Differs, red.explanation),
    };
    verification.add_equal("verified tree", manifest.head.tree.as_str(), verified.tree().as_str());
    check_results(verification, manifest, &verified);
    verification.add("verdict", CheckOutcome::Holds, verified.explanation());
}

fn check_results(verification: &mut Verification, manifest: &Manifest, verified: &Verified) {
    let stated = &manifest.verdict;
    let shown = |proof: &Option<Vec<String>>| match proof {
        None => "none asked for".to_owned(),
        Some(tests) if tests.is_empty() => "given, without names".to_owned(),
        Some(tests) => tests.join(", "),
    };
    let names = |tests: &[FailedTest]| -> Vec<String> {
        tests.iter().take(TESTS_MAX).map(|test| test.0.clone()).collect()
    };
    let proof = verified.proof().map(names);
    compare(verification, "proof", &shown(&sorted(&stated.proof)), &shown(&sorted(&proof)));
    let failing = |names: &[String]| match sorted(&Some(names.to_vec())).unwrap_or_default() {
        names if names.is_empty() => "none".to_owned(),
        names => names.join(", "),
    };
    let failed = names(&verified.run().failed());
    compare(verification, "failing tests", &failing(&stated.failed_after), &failing(&failed));
    let code = verified.run().result.ending.shell_code();
    compare(verification, "exit code", &stated.exit_code.to_string(), &code.to_string());
    check_flags(verification, &stated.flags, verified.flags());
}

/// Chance decides whether a test is flaky; everything else that is flagged must be the same.
fn check_flags(verification: &mut Verification, stated: &[Flag], found: &[Flag]) {
    let lasting = |flags: &[Flag]| -> Vec<String> {
        // Flaky tests are chance. Who found the commands is not seen here: they are given.
        let is_left_out = |flag: &&Flag| matches!(flag, Flag::Flaky { .. } | Flag::SetupFoundByAgent { .. });
        let mut texts: Vec<String> =
            flags.iter().filter(|flag| !is_left_out(flag)).map(Flag::describe).collect();
        texts.sort();
        texts
    };
    let shown = |flags: Vec<String>| if flags.is_empty() { "none".to_owned() } else { flags.join("; ") };
    compare(verification, "flags", &shown(lasting(stated)), &shown(lasting(found)));
}

fn compare(verification: &mut Verification, what: &'static str, stated: &str, found: &str) {
    match stated == found {
        true => verification.add(what, CheckOutcome::Holds, cut(found)),
        false => {
            let words = format!("the manifest says: {}. Now it is: {}", cut(stated), cut(found));
            verification.add(what, CheckOutcome::Differs, words);
        }
    }
}

fn sorted(names: &Option<Vec<String>>) -> Option<Vec<String>> {
    names.clone().map(|mut names| {
        names.sort();
        names
    })
}

fn cut(words: &str) -> String {
    crate::publish::escape::cut(words, DIFFERENCE_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provenance::tests::manifest;

    fn outcomes(verification: &Verification) -> Vec<(&'static str, CheckOutcome)> {
        verification.checks.iter().map(|check| (check.what, check.outcome.clone())).collect()
    }

    fn settings() -> JobSettings {
        let suite = manifest().suite;
        JobSettings {
            test_timeout: std::time::Duration::from_millis(suite.timeout_milliseconds),
            ..JobSettings::of_test_command(suite.test_command)
        }
    }

    #[test]
    fn every_rule_of_a_manifest_must_be_the_base_commits() {
        type ChangeOfRule = fn(&mut Suite);
        let changes: [(&str, ChangeOfRule); 9] = [
            ("test command", |suite| suite.test_command = "true".into()),
            ("setup", |suite| suite.setup_commands = vec!["make deps".into()]),
            ("setup files", |suite| suite.setup_files = vec!["a".into()]),
            ("hosts", |suite| suite.hosts = vec!["evil.example".into()]),
            ("time limit", |suite| suite.timeout_milliseconds = 1),
            ("protected paths", |suite| suite.protected_paths = vec!["x/**".into()]),
            ("test paths", |suite| suite.test_paths = vec!["**".into()]),
            ("proof required", |suite| suite.proof_required = false),
            ("image", |suite| suite.image = Some("evil.example/x:1".into())),
        ];
        for (name, change) in changes {
            let mut suite = manifest().suite;
            change(&mut suite);
            let mut verification = Verification::default();
            check_suite(&mut verification, &suite, &settings(), false);
            let [check] = &verification.checks[..] else { panic!("{name}: {verification:?}") };
            assert_eq!(check.outcome, CheckOutcome::Differs, "{name}");
            assert!(check.words.starts_with(&format!("{name}: the manifest says ")), "{}", check.words);
        }
        let mut verification = Verification::default();
        check_suite(&mut verification, &manifest().suite, &settings(), false);
        assert_eq!(outcomes(&verification), [("suite", CheckOutcome::Holds)]);
        let with_image = Suite { image: Some("x.example/y:1".into()), ..manifest().suite };
        let mut verification = Verification::default();
        check_suite(&mut verification, &with_image, &settings(), true);
        assert_eq!(outcomes(&verification), [("suite", CheckOutcome::Holds)]);
    }

    #[test]
    fn flag_that_a_manifest_lacks_or_invents_is_a_difference() {
        let fewer = Flag::FewerTests { before: 9, after: 3 };
        let doubtful = Flag::ReportDoubtful { why: "it is empty".into() };
        let flaky = Flag::Flaky { names: vec!["a".into()] };
        let check = |stated: &[Flag], found: &[Flag]| {
            let mut verification = Verification::default();
            check_flags(&mut verification, stated, found);
            verification.exit_code()
        };
        assert_eq!(check(&[], std::slice::from_ref(&fewer)), 3);
        assert_eq!(check(std::slice::from_ref(&fewer), &[]), 3);
        assert_eq!(check(std::slice::from_ref(&fewer), &[Flag::FewerTests { before: 9, after: 4 }]), 3);
        assert_eq!(check(&[fewer.clone(), doubtful.clone()], &[doubtful, fewer, flaky.clone()]), 0);
        assert_eq!(check(&[flaky], &[]), 0);
    }
}
