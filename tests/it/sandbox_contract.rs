//! What every sandbox must do, and must not let anything inside do; each test runs against each
//! backend. A backend that cannot be had here fails them: none is skipped.

use std::collections::HashSet;
use std::fs;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mendwright::domain::{ChangedContent, CommandResult, Ending, FileMode, RepoPath};
use mendwright::sandbox::protocol::{Edit, EditFile, ListFiles, ReadFile, Search, WriteFile};
use mendwright::sandbox::{
    CallError, CommandSpec, OutputStream, Sandbox, SandboxError, SandboxSpec, Toolbox, sandbox_by_name,
};

/// Far above what any of these commands takes, far below what a person would wait.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a story against every backend, each in a sandbox of its own, and sees that nothing is left.
async fn in_each<F: Future<Output = Toolbox>>(
    change: impl Fn(&mut SandboxSpec),
    story: impl Fn(Toolbox) -> F,
) {
    for kind in ["bubblewrap"] {
        let sandbox: Arc<dyn Sandbox> = sandbox_by_name(kind).unwrap();
        assert_eq!(sandbox.kind(), kind);
        let mut spec = SandboxSpec::named(unique("story"));
        change(&mut spec);
        let toolbox = story(sandbox.start(&spec).await.unwrap()).await;
        toolbox.shut_down().await;
        assert_nothing_left(&spec.label);
    }
}

async fn in_each_plain<F: Future<Output = Toolbox>>(story: impl Fn(Toolbox) -> F) {
    in_each(|_| {}, story).await;
}

fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst))
}

/// No control group of that label, anywhere.
fn assert_nothing_left(label: &str) {
    let mut pending = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(!name.ends_with(&format!("-{label}")), "{} is left", entry.path().display());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
    }
}

/// Processes on the host whose arguments hold `marker`.
fn processes_with(marker: &str) -> HashSet<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(marker)
    })
    .collect()
}

async fn sh(toolbox: &Toolbox, command: &str) -> CommandResult {
    toolbox.run(&CommandSpec::shell(command, DEADLINE)).await.unwrap()
}

/// The output of a command that must succeed.
async fn ok(toolbox: &Toolbox, command: &str) -> String {
    let result = sh(toolbox, command).await;
    assert_eq!(result.ending, Ending::Exited { code: 0 }, "{command}: {}", result.output.to_text());
    result.output.to_text()
}

/// Sees that a command fails by itself.
async fn fails(toolbox: &Toolbox, command: &str) {
    let result = sh(toolbox, command).await;
    let failed = matches!(result.ending, Ending::Exited { code } if code != 0);
    assert!(failed, "{command}: {:?} {}", result.ending, result.output.to_text());
}

fn told<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> String {
    match outcome {
        Err(CallError::Told(why)) => why,
        other => panic!("not told: {other:?}"),
    }
}

fn tar_of(files: impl IntoIterator<Item = (String, Vec<u8>)>, links: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(if path.ends_with(".sh") { 0o755 } else { 0o644 });
        tar.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    for (path, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, path, target).unwrap();
    }
    tar.into_inner().unwrap()
}

#[tokio::test]
async fn exit_codes_signals_and_both_streams_come_back() {
    in_each_plain(async |toolbox| {
        let result = sh(&toolbox, "echo out; echo err >&2; echo more; exit 3").await;
        assert_eq!(result.ending, Ending::Exited { code: 3 });
        assert_eq!(result.output.to_text(), "out\nerr\nmore\n");
        assert_eq!(sh(&toolbox, "kill -9 $$").await.ending, Ending::Signalled { signal: 9 });
        let mut seen = (String::new(), String::new());
        let command = CommandSpec::shell("echo out; echo err >&2; exit 4", DEADLINE);
        let live = toolbox.run_live(&command, |stream, bytes| {
            let text = String::from_utf8_lossy(bytes);
            match stream {
                OutputStream::Output => seen.0.push_str(&text),
                OutputStream::Error => seen.1.push_str(&text),
            }
        });
        assert_eq!(live.await.unwrap(), Ending::Exited { code: 4 });
        assert_eq!(seen, ("out\n".to_owned(), "err\n".to_owned()));
        let mut command = CommandSpec::shell("", DEADLINE);
        command.argv = vec!["/no/such/program".to_owned()];
        assert!(told(toolbox.run(&command).await).contains("cannot run '/no/such/program'"));
        toolbox
    })
    .await;
}

#[tokio::test]
async fn binary_output_and_input_at_its_end_are_no_trouble() {
    in_each_plain(async |toolbox| {
        let got = ok(&toolbox, r"printf 'a\377\000b\n'; cat; echo closed").await;
        assert_eq!(got, "a\u{fffd}\0b\nclosed\n");
        // A command may close its output and go on; its end is what counts.
        assert_eq!(sh(&toolbox, "exec >&- 2>&-; sleep 0.2; exit 5").await.ending, Ending::Exited { code: 5 });
        toolbox
    })
    .await;
}

fn resident_kib(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

#[tokio::test]
async fn two_hundred_megabytes_of_output_are_cut_in_flat_memory() {
    in_each_plain(async |toolbox| {
        let before = resident_kib(&fs::read_to_string("/proc/self/status").unwrap(), "VmRSS:");
        let mut command = CommandSpec::shell("echo first; head -c 200000000 /dev/zero; echo; echo last", DEADLINE);
        command.output_bytes_max = 100_000;
        let result = toolbox.run(&command).await.unwrap();
        let after = resident_kib(&fs::read_to_string("/proc/self/status").unwrap(), "VmRSS:");
        assert_eq!(result.ending, Ending::Exited { code: 0 });
        assert!(result.output.head.starts_with("first\n") && result.output.tail.ends_with("\nlast\n"));
        assert_eq!(result.output.head.len() + result.output.tail.len(), 100_000);
        assert_eq!(result.output.omitted_bytes, 200_000_012 - 100_000);
        assert!(after < before + 100_000, "the host grew from {before} to {after} KiB");
        let inside = resident_kib(&ok(&toolbox, "cat /proc/1/status").await, "VmHWM:");
        assert!(inside < 64 << 10, "the toolbox took {inside} KiB");
        toolbox
    })
    .await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_gone_when_it_returns() {
    in_each_plain(async |toolbox| {
        let daemons = "\
            sleep 4242 & \
            setsid sleep 4242 & \
            (setsid sh -c 'trap \"\" TERM HUP; sleep 4242; sleep 4242' &) & \
            python3 -c 'import os\n\
if os.fork() == 0:\n os.setsid()\n if os.fork() == 0: os.execlp(\"sleep\", \"sleep\", \"4242\")'\n\
            echo done";
        let started = Instant::now();
        assert_eq!(ok(&toolbox, daemons).await, "done\n");
        assert!(started.elapsed() < Duration::from_secs(20), "their hold on the output hung the call");
        fails(&toolbox, "grep -l 42[4]2 /proc/[0-9]*/cmdline").await;
        toolbox
    })
    .await;
}

#[tokio::test]
async fn a_command_that_kills_its_own_supervisor_gains_nothing() {
    in_each_plain(async |toolbox| {
        let marker = format!("77{}", std::process::id());
        let result = sh(&toolbox, &format!("setsid sleep {marker} & kill -9 $PPID; sleep {marker}")).await;
        assert_eq!(result.ending, Ending::Signalled { signal: 9 });
        assert_eq!(processes_with(&format!("sleep\0{marker}\0")), HashSet::new());
        // Stopping it only delays the end.
        let command = CommandSpec::shell(&format!("kill -STOP $PPID; sleep {marker}"), Duration::from_millis(200));
        assert!(!toolbox.run(&command).await.unwrap().ending.is_success());
        assert_eq!(processes_with(&format!("sleep\0{marker}\0")), HashSet::new());
        assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
        toolbox
    })
    .await;
}

#[tokio::test]
async fn the_deadline_ends_what_ignores_every_polite_signal() {
    in_each_plain(async |toolbox| {
        let script = "trap '' TERM INT HUP; echo started; setsid sleep 4343 & while :; do sleep 4343; done";
        let result = toolbox.run(&CommandSpec::shell(script, Duration::from_millis(300))).await.unwrap();
        assert_eq!(result.ending, Ending::TimedOut);
        assert_eq!(result.output.to_text(), "started\n");
        assert!(result.duration < Duration::from_secs(20));
        // One that says goodbye with 0 has timed out all the same.
        let script = "trap 'exit 0' TERM; while :; do sleep 0.01; done";
        let result = toolbox.run(&CommandSpec::shell(script, Duration::from_millis(300))).await.unwrap();
        assert_eq!(result.ending, Ending::TimedOut);
        fails(&toolbox, "grep -l 43[4]3 /proc/[0-9]*/cmdline").await;
        toolbox
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_its_command() {
    in_each_plain(async |toolbox| {
        let started = Arc::new(tokio::sync::Notify::new());
        let command = CommandSpec::shell("echo started; setsid sleep 4444 & sleep 4444", DEADLINE);
        tokio::select! {
            ended = toolbox.run_live(&command, |_, _| started.notify_one()) => panic!("{ended:?}"),
            () = started.notified() => {}
        }
        ok(&toolbox, "while grep -qs 44[4]4 /proc/[0-9]*/cmdline; do sleep 0.01; done").await;
        toolbox
    })
    .await;
}

#[tokio::test]
async fn commands_at_the_same_time_do_not_end_each_other() {
    in_each_plain(async |toolbox| {
        // Each waits for the next one's end: the last has to end first.
        let chain = (0..8).map(|n| {
            let wait = format!("while [ ! -e done-{} ]; do sleep 0.01; done;", n + 1);
            let wait = if n == 7 { "" } else { &wait };
            format!("sleep 4545 & {wait} echo {n} > done-{n}; cat done-{n}")
        });
        let chain: Vec<String> = chain.collect();
        let outputs = futures_util::future::join_all(chain.iter().map(|command| ok(&toolbox, command))).await;
        assert_eq!(outputs, (0..8).map(|n| format!("{n}\n")).collect::<Vec<_>>());
        fails(&toolbox, "grep -l 45[4]5 /proc/[0-9]*/cmdline").await;
        toolbox
    })
    .await;
}

#[tokio::test]
async fn a_tree_of_two_thousand_files_arrives_and_is_found() {
    in_each_plain(async |toolbox| {
        let files = (0..2_000).map(|n| (format!("dir-{}/file-{n:04}.txt", n % 50), format!("needle {n}\n").into_bytes()));
        let tar = tar_of(files.chain([("run.sh".to_owned(), b"#!/bin/sh\necho ran\n".to_vec())]), &[]);
        toolbox.unpack(tar.as_slice()).await.unwrap();
        assert_eq!(ok(&toolbox, "find . -type f | wc -l; ./run.sh").await, "2001\nran\n");
        let request = ListFiles { path: String::new(), glob: Some("*.txt".to_owned()), entries_max: 1_500 };
        let listing = toolbox.list_files(&request).await.unwrap();
        assert_eq!((listing.entries.len(), listing.omitted), (1_500, 500));
        let request = Search {
            pattern: "needle 7$".to_owned(),
            literal: false,
            path: String::new(),
            glob: None,
            context_lines: 0,
            matches_max: 10,
        };
        let hits = toolbox.search(&request).await.unwrap();
        assert_eq!((hits.matches, hits.lines[0].path.as_str(), hits.files_searched), (1, "dir-7/file-0007.txt", 2_001));
        toolbox
    })
    .await;
}

#[tokio::test]
async fn files_are_read_edited_written_and_collected() {
    in_each_plain(async |toolbox| {
        let tar = tar_of([("src/a.sh".to_owned(), b"one\r\ntwo\r\n".to_vec())], &[]);
        toolbox.unpack(tar.as_slice()).await.unwrap();
        let edits = vec![Edit { old: "one\ntwo".to_owned(), new: "one\nhalf\ntwo".to_owned() }];
        let edited = toolbox.edit_file(&EditFile { path: "src/a.sh".to_owned(), edits }).await.unwrap();
        assert_eq!(edited.excerpt, "1  one\n2  half\n3  two\n");
        let window = ReadFile { path: "src/a.sh".to_owned(), first_line: 2, lines_max: 1 };
        let window = toolbox.read_file(&window).await.unwrap();
        assert_eq!((window.text.as_str(), window.lines_total), ("half\r\n", 3));
        let write = WriteFile { path: "new/b.txt".to_owned(), content: "b".to_owned() };
        assert!(toolbox.write_file(&write).await.unwrap().created);
        ok(&toolbox, r"printf '\000\377' > binary; : > empty; mkdir dir").await;
        let paths = ["src/a.sh", "new/b.txt", "binary", "empty", "dir", "gone", "src/a.sh/x"];
        let paths: Vec<RepoPath> = paths.iter().map(|path| path.parse().unwrap()).collect();
        let changes = toolbox.collect(&paths).await.unwrap();
        let file = |mode, bytes: &[u8]| ChangedContent::File { mode, bytes: bytes.to_vec() };
        let expected = [
            file(FileMode::Executable, b"one\r\nhalf\r\ntwo\r\n"),
            file(FileMode::Regular, b"b"),
            file(FileMode::Regular, b"\0\xff"),
            file(FileMode::Regular, b""),
            ChangedContent::Absent,
            ChangedContent::Absent,
            ChangedContent::Absent,
        ];
        assert_eq!(changes.iter().map(|change| change.path.clone()).collect::<Vec<_>>(), paths);
        assert_eq!(changes.into_iter().map(|change| change.content).collect::<Vec<_>>(), expected);
        toolbox
    })
    .await;
}

#[tokio::test]
async fn no_symlink_leads_a_tool_out_of_the_tree() {
    in_each_plain(async |toolbox| {
        let links =
            [("out", "/"), ("passwd", "/etc/passwd"), ("loop", "loop"), ("self", "."), ("up", "../../../..")];
        toolbox.unpack(tar_of([("real".to_owned(), b"x".to_vec())], &links).as_slice()).await.unwrap();
        assert_eq!(ok(&toolbox, "readlink passwd loop").await, "/etc/passwd\nloop\n");
        ok(&toolbox, "mkdir /tmp/outside").await;
        for path in ["out/tmp/outside/x", "passwd", "loop", "loop/x", "self/real", "up/tmp/outside/x"] {
            let write = WriteFile { path: path.to_owned(), content: "owned".to_owned() };
            assert!(told(toolbox.write_file(&write).await).contains("symlink"), "{path}");
            let read = ReadFile { path: path.to_owned(), first_line: 1, lines_max: 1 };
            assert!(told(toolbox.read_file(&read).await).contains("symlink"), "{path}");
            let collected = toolbox.collect(&[path.parse().unwrap()]).await;
            assert!(told(collected).contains("symlink"), "{path}");
        }
        for path in ["../tmp/outside/x", "/tmp/outside/x", "a/../../tmp/outside/x", "\0", ""] {
            let write = WriteFile { path: path.to_owned(), content: "owned".to_owned() };
            assert!(told(toolbox.write_file(&write).await).contains("cannot be used"), "{path:?}");
        }
        assert_eq!(ok(&toolbox, "ls /tmp/outside").await, "");
        let listing = ListFiles { path: String::new(), glob: None, entries_max: 100 };
        let listing = toolbox.list_files(&listing).await.unwrap();
        assert_eq!(listing.entries.iter().filter(|entry| entry.symlink).count(), 5);
        assert_eq!(listing.entries.len(), 6);
        toolbox
    })
    .await;
}

#[tokio::test]
async fn what_is_no_file_is_not_collected() {
    in_each_plain(async |toolbox| {
        ok(&toolbox, "mkfifo fifo; truncate -s 6M big; for n in 1 2 3 4 5; do truncate -s 4500K b$n; done").await;
        for (paths, why) in [
            (&["fifo"][..], "not a regular file"),
            (&["big"], "allowed for a file"),
            (&["b1", "b2", "b3", "b4", "b5"], "allowed in all"),
        ] {
            let paths: Vec<RepoPath> = paths.iter().map(|path| path.parse().unwrap()).collect();
            let said = told(toolbox.collect(&paths).await);
            assert!(said.contains(why), "{said}");
        }
        let many = vec!["x".parse::<RepoPath>().unwrap(); 2_001];
        assert!(told(toolbox.collect(&many).await).contains("2000 allowed"));
        toolbox
    })
    .await;
}

#[tokio::test]
async fn a_toolbox_killed_from_outside_is_gone_and_said_so() {
    in_each_plain(async |toolbox| {
        let marker = format!("88{}", std::process::id());
        let command = CommandSpec::shell(&format!("echo started; sleep {marker}; true"), DEADLINE);
        let lost = toolbox.run_live(&command, |_, _| {
            let sleeper = processes_with(&format!("sleep\0{marker}\0")).into_iter().next();
            let toolbox = sleeper.or_else(|| processes_with(&format!("sleep {marker}; true")).into_iter().next());
            let first = first_process_above(toolbox.unwrap());
            let first = nix::unistd::Pid::from_raw(first);
            nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGKILL).unwrap();
        });
        let lost = lost.await.unwrap_err();
        assert!(matches!(&lost, CallError::Lost(SandboxError::Gone(_))), "{lost:?}");
        let read = ReadFile { path: "x".to_owned(), first_line: 1, lines_max: 1 };
        assert!(matches!(toolbox.read_file(&read).await, Err(CallError::Lost(SandboxError::Gone(_)))));
        assert_eq!(processes_with(&format!("sleep\0{marker}\0")), HashSet::new());
        toolbox
    })
    .await;
}

/// The outermost process above `pid` that runs the toolbox.
fn first_process_above(mut pid: i32) -> i32 {
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

#[tokio::test]
async fn dropping_a_toolbox_ends_everything_inside() {
    for kind in ["bubblewrap"] {
        let sandbox = sandbox_by_name(kind).unwrap();
        let toolbox = sandbox.start(&SandboxSpec::named(unique("dropped"))).await.unwrap();
        let marker = format!("99{}", std::process::id());
        let started = Arc::new(tokio::sync::Notify::new());
        let command = CommandSpec::shell(&format!("echo started; exec sleep {marker}"), DEADLINE);
        tokio::select! {
            ended = toolbox.run_live(&command, |_, _| started.notify_one()) => panic!("{ended:?}"),
            () = started.notified() => {}
        }
        drop(toolbox);
        let until = Instant::now() + DEADLINE;
        while !processes_with(&marker).is_empty() {
            assert!(Instant::now() < until, "it still runs");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn running_out_of_memory_is_told_apart() {
    let small = |spec: &mut SandboxSpec| spec.memory_bytes_max = 256 << 20;
    in_each(small, async |toolbox| {
        let result = sh(&toolbox, "echo before; head -c 2G /dev/zero | tail; echo after").await;
        if toolbox.description().contains("of memory (cgroup)") {
            assert_eq!(result.ending, Ending::OutOfMemory, "{}", result.output.to_text());
        } else {
            // Without a control group the process is refused memory and fails by itself.
            assert!(toolbox.description().contains("no cgroup may be made here"), "{}", toolbox.description());
            assert!(result.output.to_text().contains("memory exhausted"), "{}", result.output.to_text());
        }
        assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
        toolbox
    })
    .await;
}

#[tokio::test]
async fn a_fork_bomb_is_contained_and_ended() {
    in_each(|spec| spec.pids_max = 64, async |toolbox| {
        let script = "import subprocess\nstarted = 0\ntry:\n while started < 200:\n  \
                      subprocess.Popen(['sleep', '4646']); started += 1\nexcept OSError: pass\nprint(started)";
        let started = ok(&toolbox, &format!("python3 -c \"{script}\"")).await;
        assert!((16..=80).contains(&started.trim().parse().unwrap()), "{started} processes");
        let bomb = "bomb() { bomb | bomb & }; bomb; while :; do :; done";
        let result = toolbox.run(&CommandSpec::shell(bomb, Duration::from_millis(500))).await.unwrap();
        assert!(!result.ending.is_success(), "{:?}", result.ending);
        assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
        fails(&toolbox, "grep -l bo[m]b /proc/[0-9]*/cmdline").await;
        toolbox
    })
    .await;
}

#[tokio::test]
async fn there_is_no_network() {
    in_each_plain(async |toolbox| {
        let devices = ok(&toolbox, "tail -n +3 /proc/net/dev | cut -d: -f1").await;
        assert_eq!(devices.trim(), "lo");
        for address in ["('1.1.1.1', 443)", "('169.254.169.254', 80)", "('127.0.0.1', 3128)"] {
            fails(&toolbox, &format!("python3 -c \"import socket; socket.create_connection({address}, 5)\"")).await;
        }
        assert_eq!(ok(&toolbox, "env | grep -i proxy; true").await, "");
        toolbox
    })
    .await;
}

#[tokio::test]
async fn allowed_hosts_are_reached_through_the_proxy_only() {
    in_each(|spec| spec.allowed_hosts = vec!["localhost".to_owned()], async |toolbox| {
        let fetch = |url: &str| {
            format!(
                "python3 -c \"\nimport os, urllib.request, urllib.error\n\
                 os.environ.pop('no_proxy'); os.environ.pop('NO_PROXY')\n\
                 try: urllib.request.urlopen('{url}', timeout=20)\n\
                 except urllib.error.HTTPError as e: print(e.code, e.read().decode())\n\
                 except OSError as e: print(e)\n\""
            )
        };
        let said = ok(&toolbox, &fetch("http://evil.example/")).await;
        assert!(said.contains("403") && said.contains("'evil.example' is not among the allowed ones"), "{said}");
        let said = ok(&toolbox, &fetch("https://evil.example/")).await;
        assert!(said.contains("403"), "{said}");
        // The name is allowed, but it leads to the host itself.
        let said = ok(&toolbox, &fetch("http://localhost/")).await;
        assert!(said.contains("403") && said.contains("has no public address"), "{said}");
        let direct = "python3 -c \"import socket; socket.create_connection(('1.1.1.1', 443), 5)\"";
        fails(&toolbox, direct).await;
        toolbox
    })
    .await;
}

#[tokio::test]
async fn nothing_of_the_host_is_seen() {
    in_each_plain(async |toolbox| {
        for path in ["/root", "/home", "/run", "/var", "/srv", "/opt", "/mnt", "/sys", "/boot", "/work"] {
            let seen = ok(&toolbox, &format!("ls -A {path} 2>/dev/null; true")).await;
            assert!(seen.is_empty() || (path == "/home" && seen == "agent\n"), "{path}: {seen}");
        }
        fails(&toolbox, "cat /etc/shadow").await;
        fails(&toolbox, "cat /etc/hostname").await;
        assert_eq!(ok(&toolbox, "cat /etc/resolv.conf").await, "");
        assert_eq!(ok(&toolbox, "hostname 2>/dev/null || cat /proc/sys/kernel/hostname").await, "sandbox\n");
        // The commands see themselves, their supervisor and the toolbox.
        let processes = ok(&toolbox, "ls -d /proc/[0-9]* | wc -l").await;
        assert!(processes.trim().parse::<u32>().unwrap() <= 6, "{processes}");
        toolbox
    })
    .await;
}

#[tokio::test]
async fn the_environment_is_the_sandboxs_own() {
    in_each_plain(async |toolbox| {
        let seen = ok(&toolbox, "env | cut -d= -f1 | sort | tr '\\n' ' '").await;
        let expected = "CARGO_HOME CARGO_NET_OFFLINE CI HOME LANG LOGNAME PATH PWD SHELL TERM TMPDIR USER ";
        assert_eq!(seen, expected);
        let mut command = CommandSpec::shell("echo $HOME $MINE $PWD; touch $HOME/x $TMPDIR/x /dev/shm/x", DEADLINE);
        command.env.push(("MINE".to_owned(), "yes".to_owned()));
        let result = toolbox.run(&command).await.unwrap();
        assert_eq!(result.output.to_text(), "/home/agent yes /workspace\n");
        toolbox
    })
    .await;
}

#[tokio::test]
async fn privileged_system_calls_and_writes_are_refused() {
    in_each_plain(async |toolbox| {
        for command in [
            "touch /usr/x",
            "touch /x",
            "touch /etc/x",
            "touch /dev/x",
            "chmod 755 /.mendwright/toolbox",
            "cat /.mendwright/toolbox",
            "unshare -r true",
            "unshare -n true",
            "mount -t tmpfs none /tmp",
            "mount --bind /tmp /workspace",
            "umount /tmp",
            "chroot /tmp true",
            "echo 1 > /proc/sys/vm/drop_caches",
            "cat /proc/kcore",
            "mknod /tmp/disk b 254 0",
        ] {
            fails(&toolbox, command).await;
        }
        let status = ok(&toolbox, "cat /proc/self/status").await;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(field("Seccomp:"), "2");
        assert_eq!(field("CapEff:"), "0000000000000000");
        assert_eq!(field("CapPrm:"), "0000000000000000");
        assert_ne!(ok(&toolbox, "id -u").await, "0\n");
        toolbox
    })
    .await;
}

/// System calls by number, with the error they must end in.
const SYSTEM_CALLS: &str = r#"
import ctypes, errno, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
x86 = platform.machine() == "x86_64"
numbers = {  # name: (x86_64, aarch64)
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "bpf": (321, 280), "keyctl": (250, 219),
    "add_key": (248, 217), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "unshare": (272, 97), "setns": (308, 268),
    "open_tree": (428, 428), "fsopen": (430, 430), "mount_setattr": (442, 442), "reboot": (169, 142),
    "init_module": (175, 105), "kexec_load": (246, 104), "pidfd_getfd": (438, 438),
}
def call(number, *args):
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])
    return errno.errorcode.get(ctypes.get_errno(), "ok")
for name, (a, b) in numbers.items():
    print(name, call(a if x86 else b, 0, 0, 0, 0, 0))
print("clone3", call(435, 0, 0))
print("io_uring_setup", call(425, 1, 0))
print("clone newuser", call(56 if x86 else 220, 0x10000000 | 17, 0, 0, 0, 0))
print("tiocsti", call(16 if x86 else 29, 0, 0x5412, 0))
print("tiocsti, long", call(16 if x86 else 29, 0, 0x100005412, 0))
for family in (socket.AF_PACKET, 40, 38, 2 << 32):
    print("socket", family, call(41 if x86 else 198, family, 3, 0))
print("netlink audit", call(41 if x86 else 198, 16, 3, 9))
if x86:
    print("x32 ptrace", call(0x40000000 + 521, 0, 0, 0, 0))
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
    socket.socket(family).close()
try: open("/proc/1/mem", "r+b"); print("mem open")
except PermissionError: print("mem EPERM")
try: print("fd", __import__("os").listdir("/proc/1/fd"))
except PermissionError: print("fd EPERM")
"#;

#[tokio::test]
async fn dangerous_system_calls_are_answered_with_an_error() {
    in_each_plain(async |toolbox| {
        let write = WriteFile { path: "calls.py".to_owned(), content: SYSTEM_CALLS.to_owned() };
        toolbox.write_file(&write).await.unwrap();
        let said = ok(&toolbox, "python3 calls.py").await;
        for line in said.lines() {
            let expected = match line.rsplit_once(' ').unwrap().0 {
                "clone3" | "io_uring_setup" | "x32 ptrace" => "ENOSYS",
                // Cut to its lower half this is AF_UNSPEC, which nobody may have either.
                _ => "EPERM",
            };
            assert!(line.ends_with(expected), "{line}");
        }
        assert!(said.lines().count() >= 29, "{said}");
        toolbox
    })
    .await;
}

#[tokio::test]
async fn real_test_suites_run_inside() {
    in_each(|spec| spec.toolchains = mendwright::sandbox::detect_toolchains(), async |toolbox| {
        let files = [
            ("test_a.py", "import unittest, multiprocessing\nclass T(unittest.TestCase):\n  def test_a(self):\n    with multiprocessing.Pool(2) as p: self.assertEqual(p.map(abs, [-1]), [1])\n"),
            ("Makefile", "check:\n\tpython3 -m unittest -q test_a\n"),
            ("Cargo.toml", "[package]\nname = \"a\"\nedition = \"2021\"\n[lib]\npath = \"a.rs\"\n"),
            ("a.rs", "#[test] fn adds() { assert_eq!(std::thread::spawn(|| 1 + 1).join().unwrap(), 2); }\n"),
        ];
        let files = files.map(|(path, content)| (path.to_owned(), content.as_bytes().to_vec()));
        toolbox.unpack(tar_of(files, &[]).as_slice()).await.unwrap();
        assert!(ok(&toolbox, "make check").await.ends_with("OK\n"));
        if ok(&toolbox, "command -v cargo || true").await.is_empty() {
            // Rust lives beneath a home that this user may not read.
            assert!(!nix::unistd::geteuid().is_root());
        } else {
            assert!(ok(&toolbox, "cargo test -q").await.contains("1 passed"));
        }
        toolbox
    })
    .await;
}

#[tokio::test]
async fn what_does_not_speak_the_protocol_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    // In the place of bwrap: says that it has started, and then anything but the protocol.
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
async fn what_cannot_be_given_is_refused_by_name() {
    let error = sandbox_by_name("podrunner").err().unwrap().to_string();
    insta::assert_snapshot!(error, @"the wanted sandbox cannot be used: there is no kind of that name ('podrunner'); choose 'bubblewrap', the only kind there is so far");
    let error = sandbox_by_name("docker").err().unwrap().to_string();
    insta::assert_snapshot!(error, @"the docker sandbox cannot be used: it is planned, and not there yet; choose 'bubblewrap', the only kind there is so far");
    let sandbox = sandbox_by_name("bubblewrap").unwrap();
    let spec = SandboxSpec { toolchains: vec!["/root".into()], ..SandboxSpec::named("toolchain") };
    let error = sandbox.start(&spec).await.err().unwrap().to_string();
    assert!(error.starts_with("the bubblewrap sandbox cannot be used: the toolchain directory /root "), "{error}");
}

/// Root's sandboxes are made in another way than an ordinary user's: all of the above once more,
/// as somebody who is nobody.
#[test]
fn an_ordinary_user_gets_the_same() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    if !nix::unistd::geteuid().is_root() {
        return; // This is that run, or one by an ordinary user: the other tests have said it.
    }
    let directory = tempfile::tempdir().unwrap();
    let tests = directory.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    for path in [directory.path(), &tests] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = std::process::Command::new(&tests)
        .arg("sandbox_contract::")
        .env("HOME", "/nonexistent")
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("test sandbox_contract::there_is_no_network ... ok"), "{said}");
}
