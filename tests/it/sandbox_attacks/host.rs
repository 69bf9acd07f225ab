//! The host of an attacked sandbox, with the targets of an attacker: secrets in files, in the environment,
//! arguments and memory of another process, and listeners that count their connections.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Set by a test that runs this one as another user: the path of the built program, which that user cannot
/// build.
pub const PROBER_VARIABLE: &str = "MENDWRIGHT_TEST_PROBER";
/// A secret in the service's own environment, if the test could plant one.
pub const PLANTED_VARIABLE: &str = "MENDWRIGHT_TEST_PLANTED";

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The attacking program, built once. It is static, so that it runs in every image.
pub fn prober() -> &'static Path {
    static PROBER: OnceLock<PathBuf> = OnceLock::new();
    PROBER.get_or_init(|| match std::env::var_os(PROBER_VARIABLE) {
        Some(built) => built.into(),
        None => build_prober(),
    })
}

fn build_prober() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sandbox_attacks/prober/main.rs");
    // The compiler that compiled this test.
    let cargo = PathBuf::from(std::env::var_os("CARGO").unwrap_or_default());
    let beside = cargo.with_file_name("rustc");
    let rustc = if beside.is_file() { beside } else { "rustc".into() };
    let directory =
        tempfile::Builder::new().prefix("prober-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let made = directory.path().join("prober");
    let output = Command::new(&rustc)
        .args([
            "--edition",
            "2024",
            "--crate-name",
            "prober",
            "-Copt-level=1",
            "-Cpanic=abort",
            "-Cstrip=symbols",
        ])
        .args(["-Ctarget-feature=+crt-static", "--cap-lints=allow", "-o"])
        .args([&made, &source])
        .output()
        .unwrap_or_else(|e| panic!("{} cannot be started: {e}", rustc.display()));
    assert!(
        output.status.success(),
        "the prober cannot be built: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The same name for every run: a complete file replaces the previous one.
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prober-{}", std::process::id() % 8));
    fs::rename(&made, &kept).unwrap();
    kept
}

/// The planted secrets, and the process that watches them. End it with [`Host::leave`].
pub struct Host {
    directory: tempfile::TempDir,
    /// Shown to sandboxes as a toolchain: programs with more privileges than their caller.
    rights: tempfile::TempDir,
    planted: BTreeMap<PathBuf, String>,
    canary: Child,
    answers: BufReader<ChildStdout>,
    /// The values of a probe's words in braces.
    names: BTreeMap<&'static str, String>,
    secrets: Vec<String>,
}

impl Host {
    pub fn plant() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let key = (std::process::id() << 8) + NEXT.fetch_add(1, Ordering::SeqCst);
        let open = |directory: &Path| {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let directory = tempfile::Builder::new().prefix("mendwright-host-").tempdir_in("/tmp").unwrap();
        let rights = tempfile::Builder::new().prefix("mendwright-rights-").tempdir_in("/var/tmp").unwrap();
        open(directory.path());
        open(rights.path());
        let in_files = format!("planted-{key}-in-a-file");
        let in_process = format!("planted-{key}-in-a-process");
        let mut planted = BTreeMap::new();
        for path in ["data/github-app.pem", "data/mendwright.sqlite", "home/.ssh/id_ed25519", "notes"] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            planted.insert(path, in_files.clone());
        }
        planted.insert(format!("/dev/shm/mendwright-planted-{key}").into(), in_files.clone());
        for (path, content) in &planted {
            fs::write(path, content).unwrap();
        }
        plant_rights(rights.path());
        let mut canary = Command::new(prober())
            .args(["canary", &in_process])
            .arg(directory.path())
            .arg(key.to_string())
            .env("MENDWRIGHT_GITHUB_TOKEN", &in_process)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(canary.stdout.take().unwrap());
        let mut places = String::new();
        answers.read_line(&mut places).unwrap();
        let place = |name: &str| {
            let word = places.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")));
            word.unwrap_or_else(|| panic!("the canary says: {places:?}")).to_owned()
        };
        let mut names: BTreeMap<&'static str, String> =
            ["abstract", "tcp4", "tcp6", "any", "udp4"].map(|name| (name, place(name))).into();
        names.extend([
            ("planted", directory.path().display().to_string()),
            ("rights", rights.path().display().to_string()),
            ("key", key.to_string()),
            ("canary", canary.id().to_string()),
            ("address", address_of_this_machine()),
        ]);
        let mut secrets = vec![in_files, in_process];
        secrets.extend(std::env::var(PLANTED_VARIABLE));
        // The variables that cargo sets must not be visible inside either.
        secrets.extend(std::env::var("CARGO_MANIFEST_DIR"));
        Self { directory, rights, planted, canary, answers, names, secrets }
    }

    /// The directory with privileged programs.
    pub fn rights(&self) -> &Path {
        self.rights.path()
    }

    /// A command with its words in braces replaced, and `prober` as a shell function.
    pub fn script(&self, command: &str, prober: &str) -> String {
        let mut command = command.replace("prober_path", prober);
        for (name, value) in &self.names {
            command = command.replace(&format!("{{{name}}}"), value);
        }
        format!("prober() {{ {prober} \"$@\"; }}; {command}")
    }

    /// The planted secrets that a text contains.
    pub fn secrets_in(&self, text: &str) -> Vec<&str> {
        self.secrets.iter().map(String::as_str).filter(|secret| text.contains(secret)).collect()
    }

    /// What has happened to the host since the last call. Nothing should have.
    pub fn what_happened(&mut self) -> Vec<String> {
        let mut happened = Vec::new();
        let mut answer = String::new();
        let asked = self.canary.stdin.as_mut().unwrap().write_all(b"\n");
        let answered = asked.and_then(|()| self.answers.read_line(&mut answer));
        match (answered, answer.trim().strip_prefix("came:")) {
            (Ok(_), Some("")) => {}
            (Ok(_), Some(came)) => happened.push(format!("on the host, it reached:{came}")),
            (Ok(_), None) => happened.push(format!("on the host, the canary process is ill: {answer:?}")),
            (Err(error), _) => happened.push(format!("on the host, the canary process is gone: {error}")),
        }
        for (path, content) in &self.planted {
            if fs::read_to_string(path).ok().as_ref() != Some(content) {
                happened.push(format!("on the host, {} was changed", path.display()));
            }
        }
        let expected = ["agent.sock", "bus.sock", "data", "docker.sock", "home", "notes"];
        let mut there: Vec<String> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        there.sort();
        if there != expected {
            happened.push(format!("on the host, {} holds {there:?}", self.directory.path().display()));
        }
        happened
    }

    /// Checks that nothing happened, and removes everything.
    pub fn leave(mut self) {
        assert_eq!(self.what_happened(), Vec::<String>::new());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The canary ends with its input, and removes what it created in the kernel.
        drop(self.canary.stdin.take());
        let _ = self.canary.wait();
        for path in self.planted.keys().filter(|path| path.starts_with("/dev/shm")) {
            let _ = fs::remove_file(path);
        }
    }
}

/// `setuid` runs as its owner, `capable` has a capability, `plain` has neither.
fn plant_rights(directory: &Path) {
    for name in ["plain", "setuid", "capable"] {
        // In a new process: if a process of another test inherited a descriptor of ours, the file would be
        // too busy to run.
        let copied = Command::new("cp").arg(prober()).arg(directory.join(name)).status().unwrap();
        assert!(copied.success());
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(directory.join("setuid"), fs::Permissions::from_mode(0o6755)).unwrap();
    if is_root() {
        let mut setcap = Command::new("setcap");
        let given = setcap.arg("cap_net_raw,cap_dac_override=ep").arg(directory.join("capable")).status();
        assert!(given.is_ok_and(|status| status.success()), "setcap (package libcap2-bin) is needed");
    }
}

/// An address of this machine that other machines use: the source address of a packet. No packet is sent.
fn address_of_this_machine() -> String {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // A documentation network (RFC 5737). Without a route to it, only the loopback interface exists.
    match socket.connect("198.51.100.1:9").and_then(|()| socket.local_addr()) {
        Ok(address) => address.ip().to_string(),
        Err(_) => "127.0.0.2".to_owned(),
    }
}
