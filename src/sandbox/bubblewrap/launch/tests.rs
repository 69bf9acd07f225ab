//! Machines that allow less than this one: each way of making a sandbox is tried for real.

use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::*;
use crate::sandbox::{CommandSpec, Sandbox};

/// An image with nothing but a program that needs nothing: the toolbox, under another name.
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

fn is_within(less: Abilities, found: Abilities) -> bool {
    (found.stage || !less.stage)
        && (found.overlay || !less.overlay)
        && (found.disables_user_namespaces || !less.disables_user_namespaces)
}

#[tokio::test]
async fn a_machine_that_allows_less_still_gets_a_sandbox_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path());
    let mut ways = vec![Bubblewrap::new().unwrap()];
    if ways[0].as_root {
        // As an ordinary user would.
        let mut ordinary = Bubblewrap::new().unwrap();
        ordinary.as_root = false;
        ordinary.find_a_way().unwrap();
        ways.push(ordinary);
    }
    for way in ways {
        let (state, found) = (directory.path().join(format!("state-{}", way.as_root)), way.abilities);
        let mut way = way.keeping_in(&state);
        for abilities in ABILITIES.into_iter().filter(|less| is_within(*less, found)) {
            way.abilities = abilities;
            for root in [Root::Host { toolchains: Vec::new() }, image.clone()] {
                let is_image = root == image;
                let spec = SandboxSpec { root, ..SandboxSpec::named("less") };
                let toolbox = way.start(&spec).await.unwrap_or_else(|e| panic!("{abilities:?}: {e}"));
                let told = toolbox.description().to_owned();
                let expected = match (is_image, abilities.overlay) {
                    (false, _) => "the host's /usr read-only",
                    (true, true) => "changes in a layer of its own",
                    (true, false) => "read-only (no overlay can be mounted here)",
                };
                assert!(told.contains(expected), "{told}");
                assert_eq!(told.contains("in fixed shares"), !abilities.stage && way.bounds_disk, "{told}");
                let program = if is_image { "/program" } else { "/bin/true" };
                let command = CommandSpec {
                    argv: vec![program.to_owned()],
                    ..CommandSpec::shell("", Duration::from_secs(60))
                };
                let result = toolbox.run(&command).await.unwrap();
                let said = result.output.to_text();
                assert_eq!(said.contains("started by Mendwright"), is_image, "{told}: {said}");
                toolbox.shut_down().await;
            }
        }
    }
}

#[test]
fn a_full_disk_leaves_memory_to_tell_of_it() {
    let limits = Limits { memory_bytes_max: 4 << 30, disk_bytes_max: 8 << 30, ..Limits::default() };
    assert_eq!(writable_bytes(&limits, true), 3 << 30);
    assert_eq!(writable_bytes(&limits, false), 8 << 30);
    assert_eq!(writable_bytes(&Limits { disk_bytes_max: 1 << 30, ..limits }, true), 1 << 30);
}
