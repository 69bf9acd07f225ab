//! Sandboxes that end, are lost, lie, or cannot be started.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use mendwright::domain::SandboxKind;
use mendwright::sandbox::protocol::ReadFile;
use mendwright::sandbox::{
    CallError, CommandSpec, Root, Sandbox, SandboxError, SandboxSpec, connect_default,
};

use super::{Backend, DEADLINE, eventually, in_default_sandbox, processes_with, spec, unique};

on_every_backend! {
    dropped_toolbox_kills_everything_inside,
    toolbox_killed_from_outside_is_gone,
}

async fn toolbox_killed_from_outside_is_gone(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let marker = super::unique_seconds();
        let command = CommandSpec::shell(&format!("echo started; sleep {marker}; true"), DEADLINE);
        let lost = toolbox.run_live(&command, |_, _| {
            let sleeper = processes_with(&format!("sleep\0{marker}\0")).into_iter().next();
            let toolbox =
                sleeper.or_else(|| processes_with(&format!("sleep {marker}; true")).into_iter().next());
            let first = first_process_above(toolbox.unwrap());
            let first = nix::unistd::Pid::from_raw(first);
            nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGKILL).unwrap();
        });
        let lost = lost.await.unwrap_err();
        assert!(matches!(&lost, CallError::Fatal(SandboxError::Gone(_))), "{lost:?}");
        let read = ReadFile { path: "x".to_owned(), first_line: 1, lines_max: 1 };
        assert!(matches!(toolbox.read_file(&read).await, Err(CallError::Fatal(SandboxError::Gone(_)))));
        assert_eq!(processes_with(&format!("sleep\0{marker}\0")), HashSet::new());
        toolbox
    })
    .await;
}

/// The outermost process above `pid` that runs the toolbox.
pub(super) fn first_process_above(mut pid: i32) -> i32 {
    let mut first = None;
    while pid > 1 {
        let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        if arguments.contains("toolbox\0init") && !arguments.contains("--info-fd") {
            first = Some(pid);
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        pid = stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(1).unwrap().parse().unwrap();
    }
    first.unwrap()
}

async fn dropped_toolbox_kills_everything_inside(backend: Backend) {
    let toolbox = backend.sandbox().start(&spec(backend, &unique("dropped"))).await.unwrap();
    let marker = super::unique_seconds();
    let started = Arc::new(tokio::sync::Notify::new());
    let command = CommandSpec::shell(&format!("echo started; exec sleep {marker}"), DEADLINE);
    tokio::select! {
        ended = toolbox.run_live(&command, |_, _| started.notify_one()) => panic!("{ended:?}"),
        () = started.notified() => {}
    }
    drop(toolbox);
    eventually("the end of the process", || processes_with(&marker).is_empty()).await;
}

#[tokio::test]
async fn peer_that_does_not_speak_the_protocol_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    // A fake bwrap: it reports a start, and then sends anything but the protocol.
    let script = "#!/bin/sh\n[ \"$1\" = --info-fd ] || exit 0\n\
        echo '{\"child-pid\": '$$'}' > /proc/self/fd/$2\nhead -c 100000 /dev/zero | tr '\\0' x\nexec cat > /dev/null\n";
    let directory = tempfile::tempdir().unwrap();
    let liar = directory.path().join("liar");
    fs::write(&liar, script).unwrap();
    fs::set_permissions(&liar, fs::Permissions::from_mode(0o755)).unwrap();
    let sandbox = mendwright::sandbox::Bubblewrap::with_program(liar).unwrap();
    let outcome = sandbox.start(&SandboxSpec::named(unique("liar"))).await;
    let error = outcome.err().unwrap();
    assert!(matches!(error, SandboxError::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn peer_that_floods_the_pipe_instead_of_answering_is_ended() {
    use std::os::unix::fs::PermissionsExt;
    // Pings of the multiplexer: each is valid, and wants an answer that nobody reads.
    let script = "#!/bin/sh\n[ \"$1\" = --info-fd ] || exit 0\n\
        echo '{\"child-pid\": '$$'}' > /proc/self/fd/$2\n\
        while printf '\\000\\002\\000\\001\\000\\000\\000\\000\\000\\000\\000\\007'; do :; done\n";
    let directory = tempfile::tempdir().unwrap();
    let flood = directory.path().join("flood");
    fs::write(&flood, script).unwrap();
    fs::set_permissions(&flood, fs::Permissions::from_mode(0o755)).unwrap();
    let sandbox = mendwright::sandbox::Bubblewrap::with_program(flood).unwrap();
    let outcome = sandbox.start(&SandboxSpec::named(unique("flood"))).await;
    let error = outcome.err().unwrap().to_string();
    assert!(error.contains("bytes before it answered the first call"), "{error}");
}

#[tokio::test]
async fn toolchain_that_would_show_the_host_is_refused() {
    let sandbox = connect_default(SandboxKind::Bubblewrap).unwrap();
    let spec = SandboxSpec {
        root: Root::Host { toolchains: vec!["/root".into()] },
        ..SandboxSpec::named("toolchain")
    };
    let error = sandbox.start(&spec).await.err().unwrap().to_string();
    assert!(
        error.starts_with("the bubblewrap sandbox cannot be used: the toolchain directory /root "),
        "{error}"
    );
}

/// Sandboxes of root work differently from those of an ordinary user: all tests run again as an ordinary user.
#[test]
fn contract_holds_for_an_ordinary_user() {
    if nix::unistd::geteuid().is_root() {
        run_all_as(65_534, 65_534);
    } // Otherwise this process already runs as an ordinary user, so the other tests cover it.
}

/// Sandboxes of a user with subordinate users work differently again.
#[test]
#[ignore = "needs an account with subordinate ids"]
fn contract_holds_for_a_user_with_subordinate_ids() {
    if !nix::unistd::geteuid().is_root() {
        return; // As above.
    }
    let ranges = fs::read_to_string("/etc/subuid").unwrap();
    let accounts =
        ranges.lines().filter_map(|line| nix::unistd::User::from_name(line.split(':').next()?).ok()?);
    let account = accounts.into_iter().find(|account| !account.uid.is_root());
    let account = account.expect("nobody in /etc/subuid: make an account with useradd");
    run_all_as(account.uid.as_raw(), account.gid.as_raw());
}

fn run_all_as(user: u32, group: u32) {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let directory = tempfile::tempdir().unwrap();
    let tests = directory.path().join("tests");
    // In a new process: if a process of another test inherited a writable descriptor of ours, the file
    // would be too busy to run.
    let copied =
        std::process::Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&tests).status().unwrap();
    assert!(copied.success());
    for path in [directory.path(), &tests] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = std::process::Command::new(&tests)
        // The engine's socket is not accessible to every user.
        .args(["sandbox_contract::", "--skip", "::docker::"])
        .args(std::env::args().filter(|argument| argument == "--include-ignored"))
        .env("HOME", "/nonexistent")
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .uid(user)
        .gid(group)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    // From the first test that failed on: the list of all tests before it is long.
    let failures = printed.split_once("\nfailures:\n").map_or(&*printed, |(_, failures)| failures);
    assert!(output.status.success(), "{failures}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        printed.contains("test sandbox_contract::isolation::bubblewrap::there_is_no_network ... ok"),
        "{printed}"
    );
}
