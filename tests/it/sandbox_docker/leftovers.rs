//! What a dead process leaves, and how the end of a container is reported.

use super::*;

/// A container that another process of that owner left.
fn leftover(owner: &str, action: &str) -> String {
    let (owner, instance) = (format!("mendwright.owner={owner}"), "mendwright.instance=another");
    let mut arguments = vec![action, "--network", "none", "--label", &owner, "--label", instance];
    if action == "run" {
        arguments.push("--detach");
    }
    arguments.extend([IMAGE, "sleep", "600"]);
    docker(&arguments)
}

fn exists(container: &str) -> bool {
    !docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &format!("id={container}")]).is_empty()
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn sweep_removes_only_leftovers_of_the_same_owner() {
    let (owner, other) = (unique("owner"), unique("owner"));
    let (running, created) = (leftover(&owner, "run"), leftover(&owner, "create"));
    let (theirs, by_hand) = (leftover(&other, "run"), leftover("by-hand", "run"));
    let sandbox = connect(&options(&owner)).unwrap();
    let toolbox = sandbox.start(&spec(IMAGE)).await.unwrap();
    assert_eq!(sandbox.sweep().await.unwrap(), 2);
    assert!(!exists(&running) && !exists(&created));
    assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
    // Several processes may run without a service.
    connect(&options("by-hand")).unwrap().sweep().await.unwrap();
    assert!(exists(&theirs) && exists(&by_hand));
    toolbox.shut_down().await;
    docker(&["rm", "--force", &theirs, &by_hand]);
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn image_created_from_an_image_without_a_name_is_swept() {
    let fresh = FreshImage::with(&[]);
    let owner = unique("owner");
    let sandbox = connect(&options(&owner)).unwrap();
    let toolbox = sandbox.start(&spec(&fresh.name)).await.unwrap();
    assert_eq!(sandbox.sweep().await.unwrap(), 0, "it has a name, and is in use");
    docker(&["rmi", &fresh.name]);
    assert_eq!(sandbox.sweep().await.unwrap(), 0, "it is in use");
    toolbox.shut_down().await;
    assert_eq!(sandbox.sweep().await.unwrap(), 1);
    assert_eq!(fresh.derived(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn abandoned_start_leaves_nothing() {
    let owner = unique("owner");
    let sandbox = connect(&options(&owner)).unwrap();
    sandbox.start(&spec(IMAGE)).await.unwrap().shut_down().await;
    for steps in [1, 3, 10, 30, 100] {
        let spec = spec(IMAGE);
        let mut start = sandbox.start(&spec);
        for _ in 0..steps {
            tokio::select! {
                biased;
                _ = &mut start => break,
                () = tokio::task::yield_now() => {}
            }
        }
    }
    let filter = format!("label=mendwright.owner={owner}");
    let is_empty = || docker(&["ps", "--all", "--quiet", "--filter", &filter]).is_empty();
    eventually("the removal of the containers", is_empty).await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn container_that_the_kernel_killed_for_memory_says_so() {
    let sandbox = connect(&options("memory")).unwrap();
    let mut spec = spec(IMAGE);
    spec.limits.memory_bytes_max = 24 << 20;
    let toolbox = sandbox.start(&spec).await.unwrap();
    // Files in memory belong to no process, so the kernel kills all processes one after the other.
    let fill = CommandSpec::shell("dd if=/dev/zero of=/workspace/full bs=1M count=100; true", DEADLINE);
    let lost = loop {
        match toolbox.run(&fill).await {
            Ok(_) | Err(CallError::RespondToModel(_)) => {}
            Err(CallError::Fatal(lost)) => break lost,
        }
    };
    assert_eq!(lost.to_string(), "the sandbox is gone: the kernel killed it because memory ran out");
    toolbox.shut_down().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn container_removed_from_outside_is_gone() {
    let sandbox = connect(&options("removed")).unwrap();
    let spec = spec(IMAGE);
    let toolbox = sandbox.start(&spec).await.unwrap();
    let container = docker(&["ps", "--quiet", "--filter", &format!("label=mendwright.job={}", spec.label)]);
    docker(&["rm", "--force", &container]);
    let read = ReadFile { path: "x".to_owned(), first_line: 1, lines_max: 1 };
    assert_eq!(gone(toolbox.read_file(&read).await), "its first process was killed from outside");
    toolbox.shut_down().await;
}
