//! Submodules: what the service fetches, with which token, what it names as missing, and what a proposal can do.

use std::path::Path;

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Oid, Repository, Signature};
use mendwright::domain::{Flag, JobOutcome, TestOutcome, TranscriptEvent};
use mendwright_emulator::github::RepositorySource;
use serde_json::json;

use crate::support::{LocalFix, World, conversation, fix};

/// A test of the suite that needs the submodule.
const NEEDS_SUBMODULE: &str = "the_word_is_known() {\n    . ./vendor/words/words.sh && assert_equal \"$(word)\" \
                               'hello'\n}\n";
const WORDS: &str = "word() {\n    echo hello\n}\n";

/// A submodule in `.gitmodules`: name, path and URL.
type Named<'a> = (&'a str, &'a str, &'a str);

/// Commits `.gitmodules` and the submodules' commits on top of the branch.
fn add_submodules(repository: &Repository, named: &[Named<'_>], pinned: &[(&str, Oid)]) -> Oid {
    let parent = repository.head().unwrap().peel_to_commit().unwrap();
    let text: String = named
        .iter()
        .map(|(name, path, url)| format!("[submodule \"{name}\"]\n\tpath = {path}\n\turl = {url}\n"))
        .collect();
    let mut update = TreeUpdateBuilder::new();
    update.upsert(".gitmodules", repository.blob(text.as_bytes()).unwrap(), FileMode::Blob);
    for (path, commit) in pinned {
        update.upsert(*path, *commit, FileMode::Commit);
    }
    let tree = update.create_updated(repository, &parent.tree().unwrap()).unwrap();
    let tree = repository.find_tree(tree).unwrap();
    let by = Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_100, 0)).unwrap();
    repository.commit(Some("HEAD"), &by, &by, "add submodules", &tree, &[&parent]).unwrap()
}

/// Adds a repository to the emulated GitHub, and returns its newest commit.
fn add_repository(world: &World, name: &str, files: &[(&str, &str)]) -> Oid {
    let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), text.as_bytes().to_vec());
    let files: Vec<(String, Vec<u8>)> = files.iter().map(owned).collect();
    world.github.add_repository(name, RepositorySource::Files(&files)).unwrap();
    let state = world.github.state();
    let repositories = state["repositories"].as_array().unwrap();
    let git_dir = repositories.last().unwrap()["git_dir"].as_str().unwrap().to_owned();
    Repository::open(git_dir).unwrap().head().unwrap().target().unwrap()
}

/// The reasons for which submodules are missing, by path.
async fn missing(world: &World) -> Vec<String> {
    let transcript = world.transcript().await;
    let recorded = transcript.iter().find_map(|recorded| match &recorded.event {
        TranscriptEvent::SubmodulesFetched { missing, .. } => Some(missing.clone()),
        _ => None,
    });
    let recorded = recorded.unwrap_or_else(|| panic!("no submodules were looked at: {}", world.log()));
    recorded.iter().map(|one| format!("{}: {}", one.path, one.why)).collect()
}

#[tokio::test]
async fn private_submodule_of_the_same_server_is_in_every_sandbox_and_in_no_proposal() {
    let script = conversation()
        .turn("I change the word.")
        .write("vendor/words/words.sh", "word() { echo bye; }\n")
        .edit("vendor/words/words.sh", "hello", "bye")
        .call("delete_file", json!({"path": "vendor/words/words.sh"}))
        .call("move_file", json!({"from": "README.md", "to": "vendor/words/README.md"}))
        .then(fix())
        .expect_at(1, json!({"contains": ["vendor/words/words.sh is in the submodule vendor/words. Its files belong to another repository"]}));
    let mut world = World::builder().script(script).file("tests/words.sh", NEEDS_SUBMODULE).start().await;
    let inner = add_repository(&world, "octo-org/letters", &[("a", "b")]);
    let words = add_repository(&world, "octo-org/words", &[("words.sh", WORDS)]);
    let state = world.github.state();
    let git_dir = state["repositories"].as_array().unwrap().last().unwrap()["git_dir"].as_str().unwrap();
    let words_repository = Repository::open(git_dir).unwrap();
    assert_eq!(words_repository.head().unwrap().target(), Some(words));
    let words =
        add_submodules(&words_repository, &[("letters", "letters", "../letters.git")], &[("letters", inner)]);
    let base = add_submodules(
        &world.git(),
        &[("words", "vendor/words", "git@127.0.0.1:octo-org/words.git")],
        &[("vendor/words", words)],
    );
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.model_asked(2).await;
    world.kill_service().await;
    world.start_service().await;
    world.jobs_ended(1).await;
    assert!(matches!(world.outcome().await, JobOutcome::Proposed { .. }), "{}", world.log());

    let transcript = world.transcript().await;
    let fetched: Vec<String> = transcript
        .iter()
        .filter_map(|recorded| match &recorded.event {
            TranscriptEvent::SubmodulesFetched { fetched, missing, .. } if missing.is_empty() => {
                Some(fetched)
            }
            _ => None,
        })
        .flatten()
        .map(|one| format!("{} {} {}", one.path, one.commit, one.source))
        .collect();
    // A restarted worker asks nothing again.
    assert_eq!(
        fetched,
        [
            format!("vendor/words {words} octo-org/words"),
            format!("vendor/words/letters {inner} octo-org/letters")
        ]
    );
    assert!(!transcript.iter().any(|one| matches!(one.event, TranscriptEvent::CheckoutIncomplete { .. })));
    for recorded in &transcript {
        let (TranscriptEvent::BaselineRun { run } | TranscriptEvent::VerdictReached { run: Some(run), .. }) =
            &recorded.event
        else {
            continue;
        };
        let case = run.report.cases.iter().find(|case| case.name.contains("the_word_is_known"));
        assert_eq!(case.map(|case| case.outcome), Some(TestOutcome::Passed), "{run:?}");
    }
    let git = world.git();
    let head = git.find_branch("agent-fix/issue-1", git2::BranchType::Local).unwrap();
    let tree = head.get().peel_to_tree().unwrap();
    let base = git.find_commit(base).unwrap().tree().unwrap();
    let [before, after] = [base, tree].map(|tree| {
        let entry = tree.get_path(Path::new("vendor/words")).unwrap();
        (entry.id(), entry.filemode())
    });
    assert_eq!((before, after), ((words, 0o160_000), (words, 0o160_000)));
    world.end().await;
}

#[tokio::test]
async fn submodules_that_the_job_may_not_have_are_named_with_their_reasons() {
    let mut world = World::new().await;
    let words = add_repository(&world, "octo-org/words", &[("words.sh", WORDS)]);
    let hidden = add_repository(&world, "octo-org/hidden", &[("s", "secret")]);
    world.github.hide_from("octo-org/hidden", "octo-maintainer");
    let uncovered = add_repository(&world, "octo-org/uncovered", &[("s", "secret")]);
    world.github.take_out("octo-org/uncovered");
    let unknown = Oid::from_str(&"1".repeat(40)).unwrap();
    let own = world.git().head().unwrap().target().unwrap();
    let named: &[Named<'_>] = &[
        ("a", "there", "../words"),
        ("b", "hidden", "../hidden.git"),
        ("c", "uncovered", "../uncovered.git"),
        ("d", "nowhere", "../no-such-repository"),
        ("e", "other-host", "https://evil.example/octo-org/words.git"),
        ("f", "other-port", "http://127.0.0.1:1/octo-org/words.git"),
        ("g", "metadata", "http://169.254.169.254/latest/meta-data"),
        ("h", "local", "/etc"),
        ("i", "shell", "ext::sh -c id"),
        ("../../../hooks", "traversal", "../../../../words.git"),
        ("k", "unreachable", "../words.git"),
        ("l", "itself", "./"),
        ("m", "itself-by-name", "../example.git"),
    ];
    let pinned: Vec<(&str, Oid)> = named
        .iter()
        .map(|(_, path, _)| *path)
        .chain(["without-url"])
        .map(|path| match path {
            "hidden" => (path, hidden),
            "uncovered" => (path, uncovered),
            "unreachable" => (path, unknown),
            "itself-by-name" => (path, own),
            _ => (path, words),
        })
        .collect();
    add_submodules(&world.git(), named, &pinned);
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    assert!(matches!(world.outcome().await, JobOutcome::Proposed { .. }), "{}", world.log());
    let reasons = missing(&world).await.join("\n").replace(&words.to_string()[..10], "WORDS");
    insta::assert_snapshot!(reasons, @r"
    hidden: octo-maintainer may not read `octo-org/hidden`
    itself: its repository does not have the commit `WORDS`
    local: its URL cannot be read
    metadata: it is on another host, `169.254.169.254`
    nowhere: the App may not read `octo-org/no-such-repository`, or it does not exist
    other-host: it is on another host, `evil.example`
    other-port: its URL is on another port of this server
    shell: its URL cannot be read
    traversal: its URL leads above the root of this server
    uncovered: the App may not read `octo-org/uncovered`, or it does not exist
    unreachable: its repository does not have the commit `1111111111`
    without-url: `.gitmodules` has no URL for it
    ");
    let transcript = world.transcript().await;
    let fetched = transcript.iter().find_map(|recorded| match &recorded.event {
        TranscriptEvent::SubmodulesFetched { fetched, .. } => Some(fetched.clone()),
        _ => None,
    });
    let paths: Vec<String> = fetched.unwrap().iter().map(|one| one.path.to_string()).collect();
    assert_eq!(paths, ["itself-by-name", "there"]);
    let is_shown = transcript.iter().any(|recorded| match &recorded.event {
        TranscriptEvent::VerdictReached { flags, .. } => {
            flags.iter().any(|flag| matches!(flag, Flag::IncompleteCheckout { .. }))
        }
        _ => false,
    });
    assert!(is_shown);
    assert!(
        world.pull()["body"].as_str().unwrap().contains("octo-maintainer may not read"),
        "{}",
        world.pull()
    );
    world.end().await;
}

#[tokio::test]
async fn public_repository_does_not_get_a_private_submodule() {
    let mut world = World::new().await;
    let words = add_repository(&world, "octo-org/words", &[("words.sh", WORDS)]);
    let public = add_repository(&world, "octo-org/public", &[("a", "b")]);
    world.github.make_public("octo-org/public");
    world.github.make_public("octo-org/example");
    let named = [("w", "words", "../words.git"), ("p", "public", "../public.git")];
    add_submodules(&world.git(), &named, &[("words", words), ("public", public)]);
    world.start_service().await;
    world.label("octo-maintainer").await;
    world.jobs_ended(1).await;
    let expected = "words: `octo-org/words` is private, and this repository is public";
    assert_eq!(missing(&world).await, [expected]);
    world.end().await;
}

#[tokio::test]
async fn local_fix_uses_the_submodules_of_the_clone() {
    let fix = LocalFix::run(|repository| {
        let module = repository.join(".git/modules/words");
        let bare = Repository::init_bare(&module).unwrap();
        let mut tree = bare.treebuilder(None).unwrap();
        tree.insert("words.sh", bare.blob(WORDS.as_bytes()).unwrap(), 0o100_644).unwrap();
        let tree = bare.find_tree(tree.write().unwrap()).unwrap();
        let by = Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
        let words = bare.commit(Some("refs/heads/main"), &by, &by, "words", &tree, &[]).unwrap();
        let outer = Repository::open(repository).unwrap();
        let named = [("words", "vendor/words", "https://forge.example/octo-org/words.git")];
        add_submodules(&outer, &named, &[("vendor/words", words)]);
    })
    .await;
    let transcript = std::fs::read_to_string(fix.file("transcript")).unwrap();
    assert!(transcript.contains("\"event\":\"submodules_fetched\""), "{transcript}");
    assert!(transcript.contains("\"source\":\"this clone\""), "{transcript}");
    assert!(!transcript.contains("checkout_incomplete"), "{transcript}");
    fix.end();
}
