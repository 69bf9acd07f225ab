//! Podman, through its socket with the same API.

use std::process::{Child, Command, Stdio};

use super::*;

/// Podman's service, until it is dropped.
struct Service {
    process: Child,
    directory: tempfile::TempDir,
}

impl Service {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = format!("unix://{}", directory.path().join("podman.sock").display());
        // Its own environment must not be visible inside.
        let process = Command::new("podman")
            .args(["system", "service", "--time=0", &address])
            .env("HTTP_PROXY", "http://user:secret@proxy")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let socket = directory.path().join("podman.sock");
        eventually("podman listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok()).await;
        Self { process, directory }
    }

    fn options(&self, owner: &str) -> SandboxOptions {
        let socket = Path::new(self.directory.path()).join("podman.sock");
        let socket = Some(format!("unix://{}", socket.display()));
        SandboxOptions { engine: EngineConfig { socket, ..EngineConfig::default() }, ..options(owner) }
    }

    fn containers(&self, label: &str) -> String {
        let arguments = ["ps", "--all", "--quiet", "--filter", &format!("label=mendwright.job={label}")];
        let output = Command::new("podman").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
#[ignore = "needs Podman"]
async fn podman_runs_the_same_sandbox() {
    let service = Service::start().await;
    let owner = unique("owner");
    let sandbox = connect(&service.options(&owner)).unwrap();
    let spec = spec(&format!("localhost/{IMAGE}"));
    let toolbox = sandbox.start(&spec).await.unwrap();
    assert!(toolbox.description().starts_with("Podman "), "{}", toolbox.description());
    let output =
        ok(&toolbox, "id -u; echo $HOME; pwd; touch x $HOME/x /tmp/x && stat -c %u x; cat /etc/resolv.conf")
            .await;
    assert_eq!(output, "1000\n/home/agent\n/workspace\n1000\n");
    assert_eq!(ok(&toolbox, "env | grep secret; env | grep -i proxy=.; true").await, "");
    assert_eq!(ok(&toolbox, "tail -n +3 /proc/net/dev | cut -d: -f1").await.trim(), "lo");
    for refused in
        ["touch /usr/x", "cat /.mendwright/toolbox", "unshare -r true", "cat /proc/kcore", "ls /proc/1/fd"]
    {
        fails(&toolbox, refused).await;
    }
    let status = ok(&toolbox, "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status").await;
    insta::assert_snapshot!(status, @r"
    CapEff:	0000000000000000
    NoNewPrivs:	1
    Seccomp:	2
    ");
    let find_in_sys = "find /sys \\( -path /sys/fs/cgroup -o -path '/sys/fs/*/features' \\) -prune \
                       -o -type f -print 2>/dev/null; true";
    assert_eq!(ok(&toolbox, find_in_sys).await, "");
    let result = toolbox.run(&CommandSpec::shell("head -c 3000000 /dev/zero", DEADLINE)).await.unwrap();
    assert_eq!(result.ending, ExitStatus::Exited { code: 0 });
    toolbox.shut_down().await;
    assert_eq!(service.containers(&spec.label), "");
}

#[tokio::test]
#[ignore = "needs Podman"]
async fn podman_stores_a_setup_snapshot() {
    let service = Service::start().await;
    let owner = unique("owner");
    let sandbox = connect(&service.options(&owner)).unwrap();
    let key = SetupKey::from_hex("ab".repeat(32)).unwrap();
    let image = format!("localhost/{IMAGE}");
    let toolbox =
        sandbox.start(&SandboxSpec { purpose: SandboxPurpose::Setup, ..spec(&image) }).await.unwrap();
    ok(&toolbox, "id -u; echo made > tool; echo installed > /usr/local/lib/library").await;
    ok(&toolbox, "rm -rf /.mendwright/toolbox; cp /bin/true /.mendwright/toolbox").await;
    let snapshot = sandbox.save_snapshot(toolbox, &key, 1 << 30).await.unwrap();
    assert_eq!(sandbox.find_snapshot(&key).await.unwrap(), Some(snapshot.clone()));
    let spec = SandboxSpec { snapshot: Some(snapshot), ..spec(&image) };
    let toolbox = sandbox.start(&spec).await.unwrap();
    assert_eq!(ok(&toolbox, "cat tool /usr/local/lib/library").await, "made\ninstalled\n");
    toolbox.shut_down().await;
    let none = CacheLimits { count_max: 0, ..CacheLimits::default() };
    assert_eq!(sandbox.evict(&none).await.unwrap(), [key]);
    assert_eq!(service.containers(&spec.label), "");
}

#[tokio::test]
#[ignore = "needs Podman"]
async fn podman_removes_a_container_with_its_toolbox() {
    let service = Service::start().await;
    let sandbox = connect(&service.options(&unique("owner"))).unwrap();
    let spec = spec(&format!("localhost/{IMAGE}"));
    let toolbox = sandbox.start(&spec).await.unwrap();
    drop(toolbox);
    eventually("the removal of the container", || service.containers(&spec.label).is_empty()).await;
}
