//! What is left when a process dies, and what is said of a container that ends.

use super::*;

/// A container as another process of that owner would have left it.
fn left(owner: &str, action: &str) -> String {
    let (owner, instance) = (format!("mendwright.owner={owner}"), "mendwright.instance=another");
    let mut arguments = vec![action, "--network", "none", "--label", &owner, "--label", instance];
    if action == "run" {
        arguments.push("--detach");
    }
    arguments.extend([IMAGE, "sleep", "600"]);
    docker(&arguments)
}

fn is_there(container: &str) -> bool {
    !docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &format!("id={container}")]).is_empty()
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn leftovers_of_the_same_owner_are_swept_and_nothing_else() {
    let (owner, stranger) = (unique("owner"), unique("owner"));
    let (running, created) = (left(&owner, "run"), left(&owner, "create"));
    let (theirs, by_hand) = (left(&stranger, "run"), left("by-hand", "run"));
    let sandbox = connect(&options(&owner)).unwrap();
    let toolbox = sandbox.start(&spec(IMAGE)).await.unwrap();
    assert_eq!(sandbox.sweep().await.unwrap(), 2);
    assert!(!is_there(&running) && !is_there(&created));
    assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
    // By hand there may be several at a time.
    connect(&options("by-hand")).unwrap().sweep().await.unwrap();
    assert!(is_there(&theirs) && is_there(&by_hand));
    toolbox.shut_down().await;
    docker(&["rm", "--force", &theirs, &by_hand]);
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn an_image_that_was_made_of_a_nameless_one_is_swept() {
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
async fn a_start_that_is_given_up_leaves_nothing() {
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
    let until = std::time::Instant::now() + DEADLINE;
    while !docker(&["ps", "--all", "--quiet", "--filter", &filter]).is_empty() {
        assert!(std::time::Instant::now() < until, "containers are left");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_container_that_the_kernel_ended_for_memory_is_said_to_be() {
    let sandbox = connect(&options("memory")).unwrap();
    let mut spec = spec(IMAGE);
    spec.limits.memory_bytes_max = 24 << 20;
    let toolbox = sandbox.start(&spec).await.unwrap();
    // What is in memory as a file is nobody's, so that all processes go one after the other.
    let fill = CommandSpec::shell("dd if=/dev/zero of=/workspace/full bs=1M count=100; true", DEADLINE);
    let lost = loop {
        match toolbox.run(&fill).await {
            Ok(_) | Err(CallError::RespondToModel(_)) => {}
            Err(CallError::Fatal(lost)) => break lost,
        }
    };
    assert_eq!(lost.to_string(), "the sandbox is gone: the kernel ended it for memory");
    toolbox.shut_down().await;
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn a_container_that_is_removed_from_outside_is_gone() {
    let sandbox = connect(&options("removed")).unwrap();
    let spec = spec(IMAGE);
    let toolbox = sandbox.start(&spec).await.unwrap();
    let container = docker(&["ps", "--quiet", "--filter", &format!("label=mendwright.job={}", spec.label)]);
    docker(&["rm", "--force", &container]);
    let read = ReadFile { path: "x".to_owned(), first_line: 1, lines_max: 1 };
    assert_eq!(gone(toolbox.read_file(&read).await), "its first process was ended from outside");
    toolbox.shut_down().await;
}
