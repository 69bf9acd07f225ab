//! An image as the root of bubblewrap's sandboxes: its own files, changes that stay in one sandbox, and one
//! limit for all of them together.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mendwright::domain::{ExitStatus, Guarantee};
use mendwright::sandbox::{Bubblewrap, CacheLimits, Root, Sandbox, SandboxError, SandboxSpec};
use sha2::{Digest, Sha256};

use super::{assert_nothing_left, fails, ok, sh, unique};

/// The programs of this machine that are in the image.
const PROGRAMS: [&str; 12] =
    ["sh", "cat", "ls", "id", "touch", "rm", "mkdir", "head", "env", "chmod", "stat", "cp"];

/// A root file system with a shell, in the format of `docker save`.
fn image(directory: &Path) -> Root {
    let mut layer = tar::Builder::new(Vec::new());
    layer.follow_symlinks(true);
    let mut files = BTreeSet::new();
    for program in PROGRAMS {
        let program = PathBuf::from(format!("/bin/{program}"));
        let libraries = Command::new("ldd").arg(&program).output().unwrap();
        let libraries = String::from_utf8(libraries.stdout).unwrap();
        files.extend(libraries.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
        files.insert(program);
    }
    for file in files {
        let mut content = fs::File::open(&file).unwrap();
        layer.append_file(file.strip_prefix("/").unwrap(), &mut content).unwrap();
    }
    for (path, mode, content) in [
        ("marker", 0o644, "from the image\n"),
        ("usr/share/gone", 0o600, "not for long\n"),
        ("opt/tool/bin/hello", 0o4755, "#!/bin/sh\necho hello from $WHO\n"),
        ("etc/passwd", 0o644, "root:x:0:0:root:/:/bin/sh\nservice:x:7:7::/:/bin/sh"),
        ("etc/resolv.conf", 0o644, "nameserver 192.0.2.1\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        layer.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    // A trap: a mount at this path must not follow the symlink.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    layer.append_link(&mut header, "workspace", "/oldroot/tmp").unwrap();
    let layer = layer.into_inner().unwrap();
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" },
        "os": "linux",
        "config": { "Env": ["PATH=/opt/tool/bin:/usr/bin:/bin", "WHO=the image"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex::encode(Sha256::digest(&layer)))] },
    });
    let saved =
        serde_json::json!([{ "Config": "config.json", "Layers": ["layer.tar"], "RepoTags": ["small:1"] }]);
    let mut archive = tar::Builder::new(Vec::new());
    let files = [
        ("manifest.json", saved.to_string().into_bytes()),
        ("config.json", config.to_string().into_bytes()),
        ("layer.tar", layer),
    ];
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    let path = directory.join("image.tar");
    fs::write(&path, archive.into_inner().unwrap()).unwrap();
    Root::Image(format!("oci-archive:{}", path.display()))
}

#[tokio::test]
async fn images_are_evicted_by_the_cache_limits_and_unpacked_again() {
    let (directory, sandbox) = state();
    let named = image(directory.path());
    let resolved = sandbox.resolve(&named).await.unwrap();
    let spec = SandboxSpec { root: resolved.root, ..SandboxSpec::named(unique("image")) };
    let unpacked = || fs::read_dir(directory.path().join("state/images")).unwrap().count();
    let nothing = CacheLimits { count_max: 0, ..CacheLimits::default() };
    let toolbox = sandbox.start(&spec).await.unwrap();
    sandbox.evict(&nothing).await.unwrap();
    assert_eq!(ok(&toolbox, "cat /marker").await, "from the image\n", "it is in use");
    toolbox.shut_down().await;
    sandbox.evict(&CacheLimits::default()).await.unwrap();
    assert!(unpacked() > 0, "there is room for it");
    // The supervisor of the ended sandbox may hold its image for a moment.
    let evicting = async {
        while unpacked() > 0 {
            sandbox.evict(&nothing).await.unwrap();
        }
    };
    tokio::time::timeout(super::DEADLINE, evicting).await.expect("the image is evicted");
    let toolbox = sandbox.start(&spec).await.unwrap();
    assert_eq!(ok(&toolbox, "cat /marker").await, "from the image\n");
    toolbox.shut_down().await;
    assert_nothing_left(&spec.label);
}

#[test]
fn images_without_a_service_stay_in_the_users_cache() {
    if !nix::unistd::geteuid().is_root() {
        return; // An ordinary user may have no access to the program's directory.
    }
    let directory = tempfile::tempdir().unwrap();
    let Root::Image(named) = image(directory.path()) else { panic!("it is no image") };
    let cache = directory.path().join("cache");
    let made = || {
        let output = Command::new(crate::support::BINARY)
            .args(["sandbox", "run", "--image", &named, "--", "cat", "/marker"])
            .env("XDG_CACHE_HOME", &cache)
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"from the image\n", "{}", String::from_utf8_lossy(&output.stderr));
        let images = fs::read_dir(cache.join("mendwright/images")).unwrap().flatten();
        let root = images.map(|entry| entry.path().join("rootfs")).find(|root| root.is_dir());
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(root.unwrap()).unwrap())
    };
    assert_eq!(made(), made(), "it was unpacked twice");
    assert_eq!(fs::metadata(cache.join("mendwright")).unwrap().permissions().mode() & 0o777, 0o700);
}

fn state() -> (tempfile::TempDir, Bubblewrap) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let sandbox = Bubblewrap::new().unwrap().with_state_dir(&directory.path().join("state"));
    (directory, sandbox)
}

#[tokio::test]
async fn image_changes_stay_in_one_sandbox() {
    let (directory, sandbox) = state();
    let named = image(directory.path());
    let resolved = sandbox.resolve(&named).await.unwrap();
    assert!(resolved.digest.starts_with("sha256:"), "{resolved:?}");
    let spec = SandboxSpec { root: resolved.root, ..SandboxSpec::named(unique("image")) };
    let toolbox = sandbox.start(&spec).await.unwrap();
    let description = toolbox.description();
    assert!(description.contains("changes in a separate layer"), "{description}");
    assert_eq!(ok(&toolbox, "cat /marker; hello").await, "from the image\nhello from the image\n");
    assert_eq!(ok(&toolbox, "id -un; id -gn").await, "agent\nagent\n");
    assert!(ok(&toolbox, "cat /etc/passwd").await.contains("service:x:7:7::/:/bin/sh\nagent:x:"));
    assert_eq!(
        ok(&toolbox, "cat /etc/resolv.conf; ls -A /sys /work /root 2>/dev/null; true").await,
        "/sys:\n"
    );
    ok(&toolbox, "echo changed > /marker; echo more >> /usr/share/gone; mkdir -p /opt/new/er; touch /top")
        .await;
    ok(&toolbox, "rm -r /usr/share/gone /opt/tool; mkdir /opt/tool; touch /opt/tool/x; cp /bin/cat /bin/new")
        .await;
    assert_eq!(ok(&toolbox, "new /marker; ls /opt/tool; ls /usr/share").await, "changed\nx\n");
    for command in [
        "touch /.mendwright/x",
        "chmod 755 /.mendwright/toolbox",
        "rm -f /.mendwright/toolbox",
        "echo nameserver 1.1.1.1 > /etc/resolv.conf",
        "touch /sys/x",
        "touch /dev/x",
        "touch /proc/fs/x",
    ] {
        fails(&toolbox, command).await;
    }
    let mounts = ok(&toolbox, "cat /proc/mounts").await;
    let of_root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(of_root.contains("nosuid") && of_root.contains("nodev"), "{of_root}");
    toolbox.shut_down().await;
    assert_nothing_left(&spec.label);

    let toolbox = sandbox.start(&spec).await.unwrap();
    assert_eq!(
        ok(&toolbox, "cat /marker /usr/share/gone; hello").await,
        "from the image\nnot for long\nhello from the image\n"
    );
    fails(&toolbox, "ls /top /opt/new /bin/new").await;
    toolbox.shut_down().await;
    assert_eq!(
        fs::read_dir("/tmp").unwrap().flatten().filter(|entry| entry.file_name() == "home").count(),
        0
    );
}

#[tokio::test]
async fn all_writable_directories_share_one_limit() {
    let (directory, sandbox) = state();
    let mut spec = SandboxSpec { root: image(directory.path()), ..SandboxSpec::named(unique("bound")) };
    spec.limits.disk_bytes_max = 32 << 20;
    spec.required = vec![Guarantee::Disk];
    let toolbox = sandbox.start(&spec).await.unwrap();
    // Most of the space fits into any one directory, but not into all of them.
    ok(&toolbox, "head -c 28M /dev/zero > /workspace/a && rm /workspace/a").await;
    ok(&toolbox, "head -c 28M /dev/zero > /opt/a").await;
    for place in ["/workspace", "/tmp", "$HOME", "/dev/shm", "/opt"] {
        let result = sh(&toolbox, &format!("head -c 8M /dev/zero > {place}/b")).await;
        assert!(!result.ending.is_success(), "{place}");
        // The disk is full until then.
        sh(&toolbox, &format!("rm {place}/b")).await;
    }
    toolbox.shut_down().await;
    assert_nothing_left(&spec.label);
}

#[tokio::test]
async fn another_user_can_be_required_for_an_image() {
    let (directory, sandbox) = state();
    let mut spec = SandboxSpec { root: image(directory.path()), ..SandboxSpec::named(unique("other")) };
    spec.required = vec![Guarantee::OtherUser];
    match sandbox.start(&spec).await {
        Ok(toolbox) => {
            // The namespace's map contains the host user.
            let map = ok(&toolbox, "cat /proc/self/uid_map; id -u").await;
            let words: Vec<u32> = map.split_whitespace().map(|word| word.parse().unwrap()).collect();
            let (user, map) = words.split_last().unwrap();
            let ours = nix::unistd::geteuid().as_raw();
            let on_host = map.chunks(3).find_map(|range| {
                (range[0]..range[0].saturating_add(range[2]))
                    .contains(user)
                    .then(|| range[1] + (user - range[0]))
            });
            assert_ne!(on_host, Some(ours), "{map:?}");
            ok(&toolbox, "touch /workspace/x /tmp/x ~/x; cat /marker").await;
            toolbox.shut_down().await;
        }
        Err(error @ SandboxError::Unavailable { .. }) => {
            assert!(
                !nix::unistd::geteuid().is_root() && error.to_string().contains("subordinate ids"),
                "{error}"
            );
        }
        Err(error) => panic!("{error}"),
    }
    assert_nothing_left(&spec.label);
}

#[tokio::test]
async fn missing_image_is_named() {
    let (directory, sandbox) = state();
    let reference = format!("oci-archive:{}", directory.path().join("none.tar").display());
    let spec = SandboxSpec { root: Root::Image(reference.clone()), ..SandboxSpec::named(unique("none")) };
    let error = sandbox.start(&spec).await.err().unwrap().to_string();
    assert!(error.contains(&reference), "{error}");
}

#[tokio::test]
async fn host_resolves_to_the_same_digest_twice() {
    let (_directory, sandbox) = state();
    let host = Root::Host { toolchains: Vec::new() };
    let (first, second) = (sandbox.resolve(&host).await.unwrap(), sandbox.resolve(&host).await.unwrap());
    assert_eq!(first, second);
    assert!(first.digest.starts_with("sha256:"), "{first:?}");
    let toolbox =
        sandbox.start(&SandboxSpec { root: first.root, ..SandboxSpec::named(unique("host")) }).await.unwrap();
    assert_eq!(sh(&toolbox, "true").await.ending, ExitStatus::Exited { code: 0 });
    toolbox.shut_down().await;
}
