//! Commands: their output, their endings, and that nothing of them stays.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use mendwright::domain::ExitStatus;
use mendwright::sandbox::{CommandSpec, OutputStream, Root, SandboxSpec};

use super::{
    Backend, DEADLINE, fails, in_default_sandbox, in_sandbox, ok, processes_with, refusal, sh, tar_of,
};

on_every_backend! {
    exit_codes_signals_and_both_streams_come_back,
    binary_output_and_input_at_its_end_are_no_trouble,
    two_hundred_megabytes_of_output_are_cut_in_flat_memory,
    background_processes_are_killed_when_a_command_returns,
    a_command_that_kills_its_own_supervisor_gains_nothing,
    the_deadline_ends_what_ignores_every_polite_signal,
    a_call_that_is_dropped_ends_its_command,
    commands_at_the_same_time_do_not_end_each_other,
    running_out_of_memory_is_reported_as_such,
    #[ignore = "needs Python"]
    the_bound_on_processes_holds,
    a_fork_bomb_is_contained_and_ended,
    #[ignore = "needs Python and make"]
    real_test_suites_run_inside,
}

async fn exit_codes_signals_and_both_streams_come_back(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let result = sh(&toolbox, "echo out; echo err >&2; echo more; exit 3").await;
        assert_eq!(result.ending, ExitStatus::Exited { code: 3 });
        assert_eq!(result.output.to_text(), "out\nerr\nmore\n");
        assert_eq!(sh(&toolbox, "kill -9 $$").await.ending, ExitStatus::Signalled { signal: 9 });
        let mut seen = (String::new(), String::new());
        let command = CommandSpec::shell("echo out; echo err >&2; exit 4", DEADLINE);
        let live = toolbox.run_live(&command, |stream, bytes| {
            let text = String::from_utf8_lossy(bytes);
            match stream {
                OutputStream::Output => seen.0.push_str(&text),
                OutputStream::Error => seen.1.push_str(&text),
            }
        });
        assert_eq!(live.await.unwrap(), ExitStatus::Exited { code: 4 });
        assert_eq!(seen, ("out\n".to_owned(), "err\n".to_owned()));
        let mut command = CommandSpec::shell("", DEADLINE);
        command.argv = vec!["/no/such/program".to_owned()];
        assert!(refusal(toolbox.run(&command).await).contains("cannot run '/no/such/program'"));
        toolbox
    })
    .await;
}

async fn binary_output_and_input_at_its_end_are_no_trouble(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let got = ok(&toolbox, r"printf 'a\377\000b\n'; cat; echo closed").await;
        assert_eq!(got, "a\u{fffd}\0b\nclosed\n");
        // A command may close its output and go on; its end is what counts.
        assert_eq!(
            sh(&toolbox, "exec >&- 2>&-; sleep 0.2; exit 5").await.ending,
            ExitStatus::Exited { code: 5 }
        );
        toolbox
    })
    .await;
}

fn resident_kib(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

async fn two_hundred_megabytes_of_output_are_cut_in_flat_memory(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let before = resident_kib(&fs::read_to_string("/proc/self/status").unwrap(), "VmRSS:");
        let mut command =
            CommandSpec::shell("echo first; head -c 200000000 /dev/zero; echo; echo last", DEADLINE);
        command.output_bytes_max = 100_000;
        let result = toolbox.run(&command).await.unwrap();
        let after = resident_kib(&fs::read_to_string("/proc/self/status").unwrap(), "VmRSS:");
        assert_eq!(result.ending, ExitStatus::Exited { code: 0 });
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

async fn background_processes_are_killed_when_a_command_returns(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let daemons = "\
            sleep 4242 & \
            setsid sleep 4242 & \
            (setsid sh -c 'trap \"\" TERM HUP; sleep 4242; sleep 4242' &) & \
            echo done";
        // The daemons hold the output open. The call must not wait for them until its deadline.
        assert_eq!(ok(&toolbox, daemons).await, "done\n");
        fails(&toolbox, "grep -l 42[4]2 /proc/[0-9]*/cmdline").await;
        toolbox
    })
    .await;
}

async fn a_command_that_kills_its_own_supervisor_gains_nothing(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let marker = super::unique_seconds();
        let result = sh(&toolbox, &format!("setsid sleep {marker} & kill -9 $PPID; sleep {marker}")).await;
        assert_eq!(result.ending, ExitStatus::Signalled { signal: 9 });
        assert_eq!(processes_with(&format!("sleep\0{marker}\0")), HashSet::new());
        // Stopping it only delays the end.
        let command =
            CommandSpec::shell(&format!("kill -STOP $PPID; sleep {marker}"), Duration::from_millis(200));
        assert!(!toolbox.run(&command).await.unwrap().ending.is_success());
        assert_eq!(processes_with(&format!("sleep\0{marker}\0")), HashSet::new());
        assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
        toolbox
    })
    .await;
}

async fn the_deadline_ends_what_ignores_every_polite_signal(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let script = "trap '' TERM INT HUP; echo started; setsid sleep 4343 & while :; do sleep 4343; done";
        let result = toolbox.run(&CommandSpec::shell(script, Duration::from_millis(300))).await.unwrap();
        assert_eq!(result.ending, ExitStatus::TimedOut);
        assert_eq!(result.output.to_text(), "started\n");
        assert!(result.duration < Duration::from_secs(20));
        // One that says goodbye with 0 has timed out all the same.
        let script = "trap 'exit 0' TERM; while :; do sleep 0.01; done";
        let result = toolbox.run(&CommandSpec::shell(script, Duration::from_millis(300))).await.unwrap();
        assert_eq!(result.ending, ExitStatus::TimedOut);
        fails(&toolbox, "grep -l 43[4]3 /proc/[0-9]*/cmdline").await;
        toolbox
    })
    .await;
}

async fn a_call_that_is_dropped_ends_its_command(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
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

async fn commands_at_the_same_time_do_not_end_each_other(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
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

async fn running_out_of_memory_is_reported_as_such(backend: Backend) {
    let small = |spec: &mut SandboxSpec| spec.limits.memory_bytes_max = 256 << 20;
    in_sandbox(backend, small, async |toolbox| {
        let result = sh(&toolbox, "echo before; head -c 2G /dev/zero | tail; echo after").await;
        if toolbox.description().contains("of memory (cgroup)") {
            assert_eq!(result.ending, ExitStatus::OutOfMemory, "{}", result.output.to_text());
        } else {
            // Without a control group the process is refused memory and fails by itself.
            assert!(
                toolbox.description().contains("no cgroup may be made here"),
                "{}",
                toolbox.description()
            );
            assert!(result.output.to_text().contains("memory exhausted"), "{}", result.output.to_text());
        }
        assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
        toolbox
    })
    .await;
}

async fn the_bound_on_processes_holds(backend: Backend) {
    in_sandbox(backend, |spec| spec.limits.pids_max = 64, async |toolbox| {
        let script = "import subprocess\nstarted = 0\ntry:\n while started < 200:\n  \
                      subprocess.Popen(['sleep', '4646']); started += 1\nexcept OSError: pass\nprint(started)";
        let result = sh(&toolbox, &format!("python3 -c \"{script}\"")).await;
        assert_eq!(result.ending, ExitStatus::ProcessLimit);
        let started = result.output.to_text();
        assert!((16..=80).contains(&started.trim().parse().unwrap()), "{started} processes");
        toolbox
    })
    .await;
}

async fn a_fork_bomb_is_contained_and_ended(backend: Backend) {
    in_sandbox(
        backend,
        |spec| spec.limits.pids_max = 64,
        async |toolbox| {
            let bomb = "bomb() { bomb | bomb & }; bomb; while :; do :; done";
            let result = toolbox.run(&CommandSpec::shell(bomb, Duration::from_millis(500))).await.unwrap();
            assert!(!result.ending.is_success(), "{:?}", result.ending);
            assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
            fails(&toolbox, "grep -l bo[m]b /proc/[0-9]*/cmdline").await;
            toolbox
        },
    )
    .await;
}

async fn real_test_suites_run_inside(backend: Backend) {
    let with_toolchains = |spec: &mut SandboxSpec| {
        if let Root::Host { toolchains } = &mut spec.root {
            *toolchains = mendwright::sandbox::detect_toolchains();
        }
    };
    in_sandbox(backend, with_toolchains, async |toolbox| {
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
            // The image has none, or Rust lives beneath a home that this user may not read.
            assert!(backend == Backend::Docker || !nix::unistd::geteuid().is_root());
        } else {
            assert!(ok(&toolbox, "cargo test -q").await.contains("1 passed"));
        }
        toolbox
    })
    .await;
}
