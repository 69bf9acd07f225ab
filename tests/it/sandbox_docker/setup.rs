//! Setups in containers: what they may do, what is stored of them, and for how long.

use super::*;

fn key() -> SetupKey {
    let half = uuid::Uuid::new_v4().simple().to_string();
    SetupKey::from_hex(format!("{half}{half}")).unwrap()
}

fn setup() -> SandboxSpec {
    SandboxSpec { purpose: SandboxPurpose::Setup, ..spec(IMAGE) }
}

fn tree() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    tar.append_data(&mut header, "src.txt", &b"old"[..]).unwrap();
    tar.into_inner().unwrap()
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn snapshot_is_in_later_sandboxes_with_our_own_toolbox() {
    let owner = unique("owner");
    let sandbox = connect(&options(&owner)).unwrap();
    let key = key();
    assert_eq!(sandbox.find_snapshot(&key).await.unwrap(), None);
    let toolbox = sandbox.start(&setup()).await.unwrap();
    toolbox.unpack(tree().as_slice()).await.unwrap();
    let commands = "mkdir -p venv/bin $HOME/.cache && echo made > venv/bin/tool && chmod 700 venv/bin/tool && \
        echo cached > $HOME/.cache/x && echo installed > /usr/local/lib/library && chown 33:33 /usr/local/lib/library";
    ok(&toolbox, commands).await;
    // Root inside may do this, but it is never run.
    ok(&toolbox, "rm -rf /.mendwright/toolbox; cp /bin/true /.mendwright/toolbox; : > /.mendwright/filters")
        .await;
    let snapshot = sandbox.save_snapshot(toolbox, &key, 1 << 30).await.unwrap();
    assert_eq!(sandbox.find_snapshot(&key).await.unwrap(), Some(snapshot.clone()));

    let spec = SandboxSpec { snapshot: Some(snapshot), ..spec(IMAGE) };
    let toolbox = sandbox.start(&spec).await.unwrap();
    let seen =
        "cat venv/bin/tool $HOME/.cache/x /usr/local/lib/library; ls; stat -c '%u %a' venv/bin/tool; id -u";
    assert_eq!(ok(&toolbox, seen).await, "made\ncached\ninstalled\nvenv\n1000 700\n1000\n");
    fails(&toolbox, "touch /usr/local/lib/other").await;
    fails(&toolbox, "unshare -r true").await;
    ok(&toolbox, "echo more > venv/bin/other").await;
    toolbox.shut_down().await;
    // The next sandbox does not see the changes.
    let toolbox = sandbox.start(&SandboxSpec { label: unique("again"), ..spec }).await.unwrap();
    fails(&toolbox, "cat venv/bin/other").await;
    toolbox.shut_down().await;

    let none = CacheLimits { count_max: 0, ..CacheLimits::default() };
    assert_eq!(connect(&options(&unique("owner"))).unwrap().evict(&none).await.unwrap(), []);
    assert_eq!(sandbox.evict(&none).await.unwrap(), std::slice::from_ref(&key));
    assert_eq!(sandbox.find_snapshot(&key).await.unwrap(), None);
    let left = docker(&["images", "--quiet", "--filter", &format!("label=mendwright.setup={key}")]);
    assert_eq!(left, "");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn setup_runs_as_root_with_only_the_needed_capabilities() {
    let sandbox = connect(&options("setup")).unwrap();
    let spec = setup();
    let toolbox = sandbox.start(&spec).await.unwrap();
    assert_eq!(ok(&toolbox, "id -u; echo $HOME; pwd").await, "0\n/home/agent\n/workspace\n");
    ok(&toolbox, "touch /etc/x /usr/bin/x && chown 33:33 /etc/x && chmod 4755 /usr/bin/x && rm /etc/x").await;
    for refused in [
        "mount -t tmpfs none /mnt",
        "chroot / true",
        "mknod /tmp/disk b 254 0",
        "unshare -n true",
        "cat /proc/1/environ",
        "for file in /proc/1/fd/*; do readlink $file && exit 0; done; exit 1",
        "echo 1 > /proc/sys/vm/drop_caches",
        "ip link set lo down",
    ] {
        fails(&toolbox, refused).await;
    }
    let status = ok(&toolbox, "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status").await;
    insta::assert_snapshot!(status, @r"
    CapEff:	00000000000000fb
    NoNewPrivs:	1
    Seccomp:	2
    ");
    // Processes of another user end with the command.
    let started = "python3 -c \"import os; os.fork() or (os.setsid(), os.setuid(33), os.execlp('sleep', 'sleep', '4747'))\"";
    ok(&toolbox, started).await;
    fails(&toolbox, "grep -l 47[4]7 /proc/[0-9]*/cmdline").await;
    toolbox.shut_down().await;
    assert_eq!(
        docker(&["ps", "--all", "--quiet", "--filter", &format!("label=mendwright.job={}", spec.label)]),
        ""
    );
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn setup_that_fills_the_disk_is_killed_with_a_reason() {
    let sandbox = connect(&options("setup")).unwrap();
    let mut spec = setup();
    spec.limits.disk_bytes_max = 64 << 20;
    let toolbox = sandbox.start(&spec).await.unwrap();
    assert!(toolbox.description().contains("64 MiB of writable space"), "{}", toolbox.description());
    let fill = CommandSpec::shell("dd if=/dev/zero of=/full bs=1M count=200 && sleep 4848", DEADLINE);
    if toolbox.description().contains("by the storage driver") {
        assert!(!toolbox.run(&fill).await.unwrap().ending.is_success());
    } else {
        let why = gone(toolbox.run(&fill).await);
        let written =
            why.strip_prefix("it was killed because it wrote ").and_then(|why| why.split(' ').next());
        assert!(written.is_some_and(|mib| mib.parse::<u64>().unwrap() > 64), "{why}");
        assert!(why.ends_with("; 64 MiB are allowed"), "{why}");
    }
    toolbox.shut_down().await;
    assert_eq!(
        docker(&["ps", "--all", "--quiet", "--filter", &format!("label=mendwright.job={}", spec.label)]),
        ""
    );
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn snapshot_over_the_limit_is_refused() {
    let owner = unique("owner");
    let sandbox = connect(&options(&owner)).unwrap();
    let toolbox = sandbox.start(&setup()).await.unwrap();
    ok(&toolbox, "head -c 3000000 /dev/zero > large").await;
    let error = sandbox.save_snapshot(toolbox, &key(), 1 << 20).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the setup snapshot could not be saved: it is 2 MiB, larger than the 1 MiB that are allowed"
    );
    assert_eq!(
        docker(&["ps", "--all", "--quiet", "--filter", &format!("label=mendwright.owner={owner}")]),
        ""
    );
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn snapshot_that_no_longer_exists_is_refused() {
    let sandbox = connect(&options("setup")).unwrap();
    let (key, location) = (key(), docker(&["images", "--quiet", "--no-trunc", IMAGE]));
    let snapshot = mendwright::sandbox::SetupSnapshot {
        key: key.clone(),
        location,
        bytes: 0,
        created: jiff::Timestamp::UNIX_EPOCH,
    };
    let error = sandbox.start(&SandboxSpec { snapshot: Some(snapshot), ..spec(IMAGE) }).await.err().unwrap();
    let expected = format!("the setup snapshot {key} no longer exists; run the setup again");
    assert!(error.to_string().ends_with(&expected), "{error}");
}
