//! The `.git` directory of a sandbox belongs to what runs there. Nobody outside reads it, and no other sandbox has it.

use crate::support::World;

const RUN_TESTS: &str = include_str!("../../../fixtures/stories/slugs/run-tests.sh");

/// A suite that leaves a hostile `.git` directory behind, and that fails if another sandbox left one.
const POISON: &str = r#"
if [ ! -e "$HOME/has-run" ]; then
    # The first run in this sandbox.
    if [ ! -e .git/HEAD ] || [ -e .git/hooks/post-checkout ] || grep -q fsmonitor .git/config; then
        echo "this .git is not the base's"
        exit 9
    fi
    echo > "$HOME/has-run"
    mkdir -p .git/hooks .git/info .git/objects/info
    printf '#!/bin/sh\necho hook > %s/../hook-ran\n' "$PWD" > .git/hooks/post-checkout
    chmod +x .git/hooks/post-checkout
    printf '[core]\n\tfsmonitor = "echo monitor > hook-ran; false"\n\tworktree = /etc\n[filter "all"]\n\tclean = echo hacked\n' >> .git/config
    echo '* filter=all' > .git/info/attributes
    echo /etc > .git/objects/info/alternates
    echo 'ref: refs/heads/../../../../etc/passwd' > .git/HEAD
    rm -rf .git/refs
    ln -s /etc .git/refs
fi
"#;

async fn hostile_git_directory_reaches_nobody(configuration: &str) {
    let suite = RUN_TESTS.replacen("#!/bin/sh\n", &format!("#!/bin/sh\n{POISON}"), 1);
    assert!(suite.contains("has-run"));
    let mut world = World::builder().file("run-tests.sh", &suite).start().await;
    let base = world.git().head().unwrap().target().unwrap();
    world.start_service_with(configuration).await;
    world.label("octo-maintainer").await;
    world.until("a draft pull request", |world| world.pulls().len() == 1).await;
    let body = world.pulls()[0]["body"].as_str().unwrap_or_default().to_owned();
    assert!(!body.contains("hacked"), "{body}");
    // The commit has the base as its parent, and the files that the tools wrote.
    let git = world.git();
    let commit = git.find_reference("refs/heads/agent-fix/issue-1").unwrap().peel_to_commit().unwrap();
    assert_eq!(commit.parent_ids().collect::<Vec<_>>(), [base]);
    let tree = commit.tree().unwrap();
    let source = tree.get_path(std::path::Path::new("src/slug.sh")).unwrap().to_object(&git).unwrap();
    assert!(!String::from_utf8_lossy(source.as_blob().unwrap().content()).contains("hacked"));
    // The host's own repositories are as they were.
    let mirrors = world.directory.path().join("data");
    let configurations = walk(&mirrors).into_iter().filter(|path| path.ends_with("config"));
    let mut seen = 0;
    for path in configurations {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("fsmonitor"), "{}: {text}", path.display());
        seen += 1;
    }
    assert!(seen > 0, "no repository in {}", mirrors.display());
    assert!(!walk(world.directory.path()).iter().any(|path| path.ends_with("hook-ran")), "a hook ran");
    world.end().await;
}

/// All files below a directory.
fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(walk(&entry.path())),
            _ => files.push(entry.path()),
        }
    }
    files
}

#[tokio::test]
async fn hostile_git_directory_reaches_nobody_in_bubblewrap() {
    hostile_git_directory_reaches_nobody("").await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn hostile_git_directory_reaches_nobody_in_docker() {
    hostile_git_directory_reaches_nobody("[sandbox]\nkind = \"docker\"\nimage = \"mendwright-test:2\"\n")
        .await;
}
