//! Machines with fewer features than this one: a sandbox is started with each set of features.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::*;
use crate::sandbox::Bubblewrap;
use crate::sandbox::CommandSpec;
use crate::sandbox::Sandbox;
use crate::sandbox::TOOLBOX;

/// An image with only one static program: the toolbox, under another name.
fn image(directory: &Path) -> Root {
    let tar = |files: &[(&str, &[u8])]| {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            tar.append_data(&mut header, path, *content).unwrap();
        }
        tar.into_inner().unwrap()
    };
    let layer = tar(&[("program", TOOLBOX)]);
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(&layer)));
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest] },
    });
    let saved = serde_json::json!([{ "Config": "config.json", "Layers": ["layer.tar"], "RepoTags": [] }]);
    let path = directory.join("image.tar");
    let (saved, config) = (saved.to_string(), config.to_string());
    let archive = tar(&[
        ("manifest.json", saved.as_bytes()),
        ("config.json", config.as_bytes()),
        ("layer.tar", &layer),
    ]);
    std::fs::write(&path, archive).unwrap();
    Root::Image(format!("oci-archive:{}", path.display()))
}

fn is_subset(subset: HostFeatures, features: HostFeatures) -> bool {
    (features.mount_plan || !subset.mount_plan)
        && (features.overlay || !subset.overlay)
        && (features.disables_user_namespaces || !subset.disables_user_namespaces)
}

#[tokio::test]
async fn machine_with_fewer_features_starts_a_sandbox_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path());
    let mut backends = vec![Bubblewrap::new().unwrap()];
    if backends[0].launcher.as_root {
        // As an ordinary user would.
        let mut ordinary = Bubblewrap::new().unwrap();
        ordinary.launcher.as_root = false;
        ordinary.launcher.detect_features().unwrap();
        backends.push(ordinary);
    }
    for backend in backends {
        let (as_root, features) = (backend.launcher.as_root, backend.launcher.features);
        let state = directory.path().join(format!("state-{as_root}"));
        let mut backend = backend.with_state_dir(&state);
        for subset in FEATURE_SETS.into_iter().filter(|subset| is_subset(*subset, features)) {
            backend.launcher.features = subset;
            for root in [Root::Host { toolchains: Vec::new() }, image.clone()] {
                let is_image = root == image;
                let spec = SandboxSpec { root, ..SandboxSpec::named("less") };
                let toolbox = backend.start(&spec).await.unwrap_or_else(|e| panic!("{subset:?}: {e}"));
                let description = toolbox.description().to_owned();
                let expected = match (is_image, subset.overlay) {
                    (false, _) => "the host's /usr read-only",
                    (true, true) => "changes in a separate layer",
                    (true, false) => "read-only (no overlay can be mounted here)",
                };
                assert!(description.contains(expected), "{description}");
                let in_shares = !subset.mount_plan && backend.launcher.limits_disk;
                assert_eq!(description.contains("in fixed shares"), in_shares, "{description}");
                let program = if is_image { "/program" } else { "/bin/true" };
                let command = CommandSpec {
                    argv: vec![program.to_owned()],
                    ..CommandSpec::shell("", Duration::from_secs(60))
                };
                let result = toolbox.run(&command).await.unwrap();
                let output = result.output.to_text();
                assert_eq!(output.contains("started by Mendwright"), is_image, "{description}: {output}");
                toolbox.shut_down().await;
            }
        }
    }
}

#[tokio::test]
async fn sandboxes_in_one_image_are_different_users_of_the_host_as_root() {
    let directory = tempfile::tempdir().unwrap();
    let root = image(directory.path());
    let backend = Bubblewrap::new().unwrap();
    if !(backend.launcher.as_root && backend.launcher.features.maps_owners) {
        eprintln!("skipped: this machine cannot map the owners of files");
        return;
    }
    let backend = backend.with_state_dir(directory.path());
    let spec = SandboxSpec { root, ..SandboxSpec::named("mapped") };
    let (one, other) = (backend.start(&spec).await.unwrap(), backend.start(&spec).await.unwrap());
    let user = |toolbox: &Toolbox| {
        let text = toolbox.description().to_owned();
        text.split("as user ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    let users = [user(&one), user(&other)];
    assert_ne!(users[0], users[1]);
    assert!(!users.contains(&SNAPSHOT_OWNER.to_string()), "{users:?}");
    // Each can change the image's files in its own layer.
    let program =
        CommandSpec { argv: vec!["/program".to_owned()], ..CommandSpec::shell("", Duration::from_secs(60)) };
    for toolbox in [&one, &other] {
        let output = toolbox.run(&program).await.unwrap().output.to_text();
        assert!(output.contains("started by Mendwright"), "{output}");
    }
    one.shut_down().await;
    other.shut_down().await;
}

#[test]
fn writable_bytes_leave_a_quarter_of_limited_memory() {
    let limits = Limits { memory_bytes_max: 4 << 30, disk_bytes_max: 8 << 30, ..Limits::default() };
    assert_eq!(writable_bytes(&limits, true), 3 << 30);
    assert_eq!(writable_bytes(&limits, false), 8 << 30);
    assert_eq!(writable_bytes(&Limits { disk_bytes_max: 1 << 30, ..limits }, true), 1 << 30);
}
