//! What a backend keeps, and for how long.

use mendwright::sandbox::{CacheLimits, SandboxError, SandboxPurpose, SandboxSpec, SetupKey};

use super::{backend, of_every_backend, ok, spec};

of_every_backend! {
    what_is_kept_is_found_used_and_evicted,
    what_is_too_large_is_not_kept_and_leaves_nothing,
    what_is_in_use_is_not_evicted,
}

fn key(digit: &str) -> SetupKey {
    SetupKey::from_hex(digit.repeat(64)).unwrap()
}

fn nothing() -> CacheLimits {
    CacheLimits { count_max: 0, ..CacheLimits::default() }
}

async fn what_is_kept_is_found_used_and_evicted(kind: &'static str) {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = backend(kind, directory.path());
    assert!(sandbox.kept(&key("a")).await.unwrap().is_none());
    let set_up = SandboxSpec { phase: SandboxPurpose::SetUp, ..spec(kind, "make") };
    let toolbox = sandbox.start(&set_up).await.unwrap();
    let awkward = "mkdir -p 'a b/ü' && printf x > \"a b/ü/$(printf '\\351')\" && ln -s ../nowhere link && \
                   ln 'a b/ü/'* hard && mkfifo pipe && umask 077 && echo secret > $HOME/.token && \
                   touch -d @1000000000 'a b' && for n in $(seq 300); do echo $n > n$n; done";
    ok(&toolbox, awkward).await;
    sandbox.keep(toolbox, &key("a"), 1 << 30).await.unwrap();
    let snapshot = sandbox.kept(&key("a")).await.unwrap().unwrap();
    assert_eq!(snapshot.key, key("a"));
    // Another process with the same state finds it, too.
    let other = backend(kind, directory.path());
    assert_eq!(other.kept(&key("a")).await.unwrap(), Some(snapshot.clone()));
    let work = SandboxSpec { snapshot: Some(snapshot), ..spec(kind, "use") };
    let toolbox = other.start(&work).await.unwrap();
    let seen = ok(
        &toolbox,
        "ls | wc -l; readlink link; stat -c '%a %h' hard; stat -c '%a' $HOME/.token; stat -c %Y 'a b'; \
         cat 'a b/ü/'* && echo && : > 'a b/new' && echo more >> hard && echo y > $HOME/.token && test ! -e pipe && echo fine",
    )
    .await;
    assert_eq!(seen, "303\n../nowhere\n644 2\n600\n1000000000\nx\nfine\n");
    toolbox.shut_down().await;
    assert_eq!(sandbox.evict(&nothing()).await.unwrap(), [key("a")]);
    assert!(sandbox.kept(&key("a")).await.unwrap().is_none());
}

async fn what_is_too_large_is_not_kept_and_leaves_nothing(kind: &'static str) {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = backend(kind, directory.path());
    let set_up = SandboxSpec { phase: SandboxPurpose::SetUp, ..spec(kind, "large") };
    let toolbox = sandbox.start(&set_up).await.unwrap();
    ok(&toolbox, "head -c 3000000 /dev/zero > $HOME/large").await;
    let refused = sandbox.keep(toolbox, &key("b"), 2 << 20).await.unwrap_err();
    assert!(matches!(&refused, SandboxError::SnapshotFailed(why) if why.contains("2 MiB")), "{refused}");
    assert!(sandbox.kept(&key("b")).await.unwrap().is_none());
    if kind == "bubblewrap" {
        let left = std::fs::read_dir(directory.path().join("state/setups")).unwrap().count();
        assert_eq!(left, 0);
    }
}

async fn what_is_in_use_is_not_evicted(kind: &'static str) {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = backend(kind, directory.path());
    let set_up = SandboxSpec { phase: SandboxPurpose::SetUp, ..spec(kind, "busy") };
    let toolbox = sandbox.start(&set_up).await.unwrap();
    ok(&toolbox, "echo x > made").await;
    let snapshot = sandbox.keep(toolbox, &key("c"), 1 << 20).await.unwrap();
    let work = SandboxSpec { snapshot: Some(snapshot), ..spec(kind, "user") };
    let toolbox = sandbox.start(&work).await.unwrap();
    sandbox.evict(&nothing()).await.unwrap();
    assert_eq!(ok(&toolbox, "cat made").await, "x\n");
    if kind == "bubblewrap" {
        assert!(sandbox.kept(&key("c")).await.unwrap().is_some());
    }
    toolbox.shut_down().await;
    sandbox.evict(&nothing()).await.unwrap();
    assert!(sandbox.kept(&key("c")).await.unwrap().is_none());
}
