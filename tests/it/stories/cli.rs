//! `mendwright fix`, and what the commands print if something is missing.

use crate::support::{LocalFix, mendwright};

#[tokio::test]
async fn local_issue_is_fixed_on_a_branch_and_the_work_tree_is_untouched() {
    let notes =
        |repository: &std::path::Path| std::fs::write(repository.join("notes.txt"), "mine\n").unwrap();
    let fix = LocalFix::run(notes).await;
    // The title is cut for the name of the branch, so a digest of the whole title follows.
    let branch = "agent-fix/slugs-of-titles-with-several-separators-a48e824c";
    assert_eq!(fix.end["pull_request"]["head"], branch);
    assert!(fix.end["pull_request"]["number"].is_null());
    assert!(fix.output.out.contains("exit code 0"), "no text of a pull request: {}", fix.output.out);

    let repository = git2::Repository::open(&fix.repository).unwrap();
    let commit =
        repository.find_branch(branch, git2::BranchType::Local).unwrap().get().peel_to_commit().unwrap();
    assert_eq!(commit.id().to_string(), fix.end["pull_request"]["head_sha"]);
    assert_eq!(commit.parent_id(0).unwrap(), fix.base);
    assert_eq!(repository.head().unwrap().target(), Some(fix.base));
    let source = std::fs::read_to_string(fix.repository.join("src/slug.sh")).unwrap();
    assert!(!source.contains("sed -E"), "{source}");
    assert_eq!(std::fs::read_to_string(fix.repository.join("notes.txt")).unwrap(), "mine\n");
    fix.end();
}

#[tokio::test]
async fn mistakes_are_reported_with_the_value_and_what_to_do() {
    for (arguments, text) in [
        (&["demo", "--scenario", "fox"][..], "the scenarios are fix, proof"),
        (&["serve", "--config", "/nonexistent/m.toml"], "/nonexistent/m.toml"),
        (&["fix", "--repo", "/nonexistent", "--issue", "/nonexistent/i.md"], "--issue /nonexistent/i.md"),
    ] {
        let output = mendwright(arguments).await;
        assert_eq!(output.code, Some(1), "{arguments:?}");
        assert!(output.err.contains(text), "{text}: {}", output.err);
    }
}

#[tokio::test]
async fn help_of_every_command_has_an_example() {
    for command in [
        &["demo"][..],
        &["fix"],
        &["serve"],
        &["emulate"],
        &["detect"],
        &["sandbox", "run"],
        &["transcript"],
        &["verify"],
        &["replay"],
        &["evaluate"],
    ] {
        let output = mendwright(&[command, &["--help"]].concat()).await;
        output.assert_success();
        assert!(output.out.contains("Example"), "{command:?}: {}", output.out);
    }
}
