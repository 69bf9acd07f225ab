//! The setup snapshots that a backend stores, and for how long.

use mendwright::domain::SandboxKind;
use mendwright::sandbox::{CacheLimits, SandboxError, SandboxPurpose, SandboxSpec, SetupKey};

use super::{backend, ok, spec};

on_every_backend! {
    snapshot_is_found_used_and_evicted,
    snapshot_that_is_too_large_is_refused_and_leaves_nothing,
    snapshot_in_use_is_not_evicted,
}

fn key(digit: &str) -> SetupKey {
    SetupKey::from_hex(digit.repeat(64)).unwrap()
}

fn nothing() -> CacheLimits {
    CacheLimits { count_max: 0, ..CacheLimits::default() }
}

async fn snapshot_is_found_used_and_evicted(kind: SandboxKind) {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = backend(kind, directory.path());
    assert!(sandbox.find_snapshot(&key("a")).await.unwrap().is_none());
    let setup = SandboxSpec { purpose: SandboxPurpose::Setup, ..spec(kind, "make") };
    let toolbox = sandbox.start(&setup).await.unwrap();
    let awkward = "mkdir -p 'a b/ü' && printf x > \"a b/ü/$(printf '\\351')\" && ln -s ../nowhere link && \
                   ln 'a b/ü/'* hard && mkfifo pipe && umask 077 && echo secret > $HOME/.token && \
                   touch -d @1000000000 'a b' && for n in $(seq 300); do echo $n > n$n; done";
    ok(&toolbox, awkward).await;
    sandbox.save_snapshot(toolbox, &key("a"), 1 << 30).await.unwrap();
    let snapshot = sandbox.find_snapshot(&key("a")).await.unwrap().unwrap();
    assert_eq!(snapshot.key, key("a"));
    // Another process with the same state directory finds it, too.
    let other = backend(kind, directory.path());
    assert_eq!(other.find_snapshot(&key("a")).await.unwrap(), Some(snapshot.clone()));
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
    assert!(sandbox.find_snapshot(&key("a")).await.unwrap().is_none());
}

async fn snapshot_that_is_too_large_is_refused_and_leaves_nothing(kind: SandboxKind) {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = backend(kind, directory.path());
    let setup = SandboxSpec { purpose: SandboxPurpose::Setup, ..spec(kind, "large") };
    let toolbox = sandbox.start(&setup).await.unwrap();
    ok(&toolbox, "head -c 3000000 /dev/zero > $HOME/large").await;
    let refused = sandbox.save_snapshot(toolbox, &key("b"), 2 << 20).await.unwrap_err();
    assert!(matches!(&refused, SandboxError::SnapshotFailed(why) if why.contains("2 MiB")), "{refused}");
    assert!(sandbox.find_snapshot(&key("b")).await.unwrap().is_none());
    if kind == SandboxKind::Bubblewrap {
        let left = std::fs::read_dir(directory.path().join("state/setups")).unwrap().count();
        assert_eq!(left, 0);
    }
}

async fn snapshot_in_use_is_not_evicted(kind: SandboxKind) {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = backend(kind, directory.path());
    let setup = SandboxSpec { purpose: SandboxPurpose::Setup, ..spec(kind, "busy") };
    let toolbox = sandbox.start(&setup).await.unwrap();
    ok(&toolbox, "echo x > made").await;
    let snapshot = sandbox.save_snapshot(toolbox, &key("c"), 1 << 20).await.unwrap();
    let work = SandboxSpec { snapshot: Some(snapshot), ..spec(kind, "user") };
    let toolbox = sandbox.start(&work).await.unwrap();
    sandbox.evict(&nothing()).await.unwrap();
    assert_eq!(ok(&toolbox, "cat made").await, "x\n");
    if kind == SandboxKind::Bubblewrap {
        assert!(sandbox.find_snapshot(&key("c")).await.unwrap().is_some());
    }
    toolbox.shut_down().await;
    sandbox.evict(&nothing()).await.unwrap();
    assert!(sandbox.find_snapshot(&key("c")).await.unwrap().is_none());
}
