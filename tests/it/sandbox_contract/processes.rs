//! Processes: how they start, what they may not do to other processes, and that none survives.

use std::time::Duration;

use mendwright::domain::ExitStatus;
use mendwright::sandbox::protocol::ReadFile;
use mendwright::sandbox::{CommandSpec, SandboxSpec, Toolbox};

use super::measure::{alone, descriptors, resident_kib, threads};
use super::{Backend, DEADLINE, eventually, fails, in_default_sandbox, in_sandbox, ok, refusal, sh, tar_of};

on_every_backend! {
    command_that_cannot_start_is_refused_with_the_reason,
    too_large_arguments_and_environment_are_refused,
    standard_input_is_empty,
    #[ignore = "needs Python"]
    daemon_is_killed_with_its_command,
    first_process_cannot_be_killed_stopped_or_read,
    orphans_are_reaped,
    clock_runs_and_cannot_be_set,
    sixty_four_concurrent_commands_and_calls_succeed,
    thousand_commands_leak_nothing_on_either_side,
    dropped_calls_leak_nothing,
}

async fn command_that_cannot_start_is_refused_with_the_reason(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        ok(
            &toolbox,
            "echo text > plain; printf '#!/no/such/interpreter\\n' > script; chmod +x script; mkdir dir",
        )
        .await;
        for (program, why) in [
            ("./plain", "Permission denied"),
            ("./dir", "Permission denied"),
            ("./script", "No such file or directory"),
            ("no-such-program", "No such file or directory"),
            ("", "No such file or directory"),
        ] {
            let mut command = CommandSpec::shell("", DEADLINE);
            command.argv = vec![program.to_owned()];
            let message = refusal(toolbox.run(&command).await);
            assert!(
                message.contains(&format!("cannot run '{program}'")) && message.contains(why),
                "{program}: {message}"
            );
        }
        let mut command = CommandSpec::shell("", DEADLINE);
        command.argv = Vec::new();
        assert!(refusal(toolbox.run(&command).await).contains("no command"), "an empty command was run");
        // The shell's exit codes are those of the command.
        assert_eq!(sh(&toolbox, "no-such-program").await.ending, ExitStatus::Exited { code: 127 });
        assert_eq!(sh(&toolbox, "./plain").await.ending, ExitStatus::Exited { code: 126 });
        toolbox
    })
    .await;
}

async fn too_large_arguments_and_environment_are_refused(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let with = |argv: Vec<String>, env: Vec<(String, String)>| {
            let command = CommandSpec { env, ..CommandSpec::shell("echo ${#BIG} $#", DEADLINE) };
            CommandSpec { argv: [command.argv.clone(), argv].concat(), ..command }
        };
        // The kernel's limit for one string is 128 KiB.
        let fits = with(vec!["a".repeat(100_000); 5], vec![("BIG".to_owned(), "b".repeat(100_000))]);
        let result = toolbox.run(&fits).await.unwrap();
        assert_eq!(result.output.to_text(), "100000 4\n");
        for (argv, env) in [
            (vec!["a".repeat(200_000)], vec![]),
            (vec!["a".repeat(100_000); 60], vec![]),
            (vec![], vec![("BIG".to_owned(), "b".repeat(200_000))]),
        ] {
            let message = refusal(toolbox.run(&with(argv, env)).await);
            assert!(
                message.contains("Argument list too long"),
                "{}",
                message.chars().take(300).collect::<String>()
            );
            assert!(message.len() < 1_000, "the words hold the arguments");
        }
        // A request over the message limit is not sent.
        let message = refusal(toolbox.run(&with(vec!["a".repeat(13 << 20)], vec![])).await);
        assert!(message.contains("too large"), "{message}");
        for argument in ["a\0b", "\0"] {
            assert!(!refusal(toolbox.run(&with(vec![argument.to_owned()], vec![])).await).is_empty());
        }
        for name in ["", "A=B", "A\0"] {
            let outcome = toolbox.run(&with(vec![], vec![(name.to_owned(), "x".to_owned())])).await;
            assert!(!refusal(outcome).is_empty(), "{name:?}");
        }
        assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
        toolbox
    })
    .await;
}

async fn standard_input_is_empty(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let output =
            ok(&toolbox, "read line; echo \"$? [$line]\"; wc -c; [ -t 0 ] || echo no terminal").await;
        assert_eq!(output, "1 []\n0\nno terminal\n");
        fails(&toolbox, "sh -c ': < /dev/tty'").await;
        toolbox
    })
    .await;
}

async fn daemon_is_killed_with_its_command(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let daemon = "import os, signal, time\n\
            for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(s, signal.SIG_IGN)\n\
            if os.fork(): os._exit(0)\n\
            os.setsid()\n\
            if os.fork(): os._exit(0)\n\
            os.chdir('/')\n\
            for n in range(64):\n  try: os.close(n)\n  except OSError: pass\n\
            open('/tmp/daemon', 'w').write('up')\n\
            while True: time.sleep(4949)";
        let wait = "while [ ! -e /tmp/daemon ]; do sleep 0.01; done; rm /tmp/daemon; echo started";
        assert_eq!(ok(&toolbox, &format!("python3 -c \"{daemon}\"; {wait}")).await, "started\n");
        fails(&toolbox, "grep -l 49[4]9 /proc/[0-9]*/cmdline").await;
        toolbox
    })
    .await;
}

async fn first_process_cannot_be_killed_stopped_or_read(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        for signal in ["KILL", "STOP", "TERM", "SEGV", "QUIT", "USR1"] {
            // Whatever the result of kill is, the toolbox still responds.
            sh(&toolbox, &format!("kill -{signal} 1")).await;
            assert_eq!(ok(&toolbox, "echo alive").await, "alive\n", "after {signal}");
        }
        let every = sh(&toolbox, "kill -KILL -1; echo not reached").await;
        assert!(!every.ending.is_success());
        for secret in ["environ", "mem", "fd/3", "maps"] {
            fails(&toolbox, &format!("head -c 1 /proc/1/{secret}")).await;
        }
        assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
        toolbox
    })
    .await;
}

async fn orphans_are_reaped(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let orphans = "n=0; while [ $n -lt 100 ]; do (sh -c 'exit 3' & exec setsid true) & n=$((n + 1)); done; echo done";
        assert_eq!(ok(&toolbox, orphans).await, "done\n");
        let zombies = "for stat in /proc/[0-9]*/stat; do read -r line < $stat || continue; \
                       case ${line##*)} in ' Z'*) echo \"$line\";; esac; done 2> /dev/null; true";
        assert_eq!(ok(&toolbox, zombies).await, "");
        toolbox
    })
    .await;
}

async fn clock_runs_and_cannot_be_set(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let before = now();
        let inside: u64 = ok(&toolbox, "date +%s").await.trim().parse().unwrap();
        assert!((before..=now()).contains(&inside), "{inside} is not between {before} and {}", now());
        fails(&toolbox, "date -s @1000000000").await;
        assert!(now() >= before);
        toolbox
    })
    .await;
}

async fn sixty_four_concurrent_commands_and_calls_succeed(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let files = (0..64).map(|n| (format!("file-{n}"), format!("content {n}\n").into_bytes()));
        toolbox.unpack(tar_of(files, &[]).as_slice()).await.unwrap();
        // All 64 must run concurrently: each waits until it sees all others.
        let commands = (0..64).map(|n| {
            let toolbox = &toolbox;
            async move {
                let meet = format!(
                    ": > here-{n}; while set -- here-*; [ $# -lt 64 ]; do sleep 0.05; done; cat file-{n}"
                );
                assert_eq!(ok(toolbox, &meet).await, format!("content {n}\n"));
            }
        });
        let calls = (0..64).map(|n| {
            let toolbox = &toolbox;
            async move {
                let request = ReadFile { path: format!("file-{n}"), first_line: 1, lines_max: 1 };
                assert_eq!(toolbox.read_file(&request).await.unwrap().text, format!("content {n}\n"));
            }
        });
        let (commands, calls) =
            (futures_util::future::join_all(commands), futures_util::future::join_all(calls));
        tokio::join!(commands, calls);
        toolbox
    })
    .await;
}

/// The toolbox's memory in KiB, descriptor slots and threads.
async fn inside(toolbox: &Toolbox) -> [u64; 3] {
    let output = ok(toolbox, "grep -E '^(VmRSS|FDSize|Threads):' /proc/1/status | tr -dc '0-9\\n'").await;
    let mut numbers = output.lines().map(|line| line.parse().unwrap());
    // In the kernel's order: FDSize, VmRSS, Threads.
    let [slots, resident, threads] = std::array::from_fn(|_| numbers.next().unwrap());
    [resident, slots, threads]
}

async fn thousand_commands_leak_nothing_on_either_side(backend: Backend) {
    alone(module_path!(), backend, "thousand_commands_leak_nothing_on_either_side", async || {
        in_sandbox(
            backend,
            |spec: &mut SandboxSpec| spec.limits.pids_max = 128,
            async |toolbox| {
                let some = async |count: usize| {
                    for _ in 0..count {
                        let result = sh(&toolbox, "echo out; echo err >&2; sleep 5050 & true").await;
                        assert_eq!(
                            (result.ending, result.output.head.len()),
                            (ExitStatus::Exited { code: 0 }, 8)
                        );
                    }
                };
                some(50).await;
                let (open, run, resident) = (descriptors(), threads(), resident_kib("VmRSS:"));
                let before = inside(&toolbox).await;
                some(1_000).await;
                assert_eq!(descriptors(), open);
                assert!(threads() <= run + 2, "{} threads, {run} before", threads());
                let grown = resident_kib("VmRSS:").saturating_sub(resident);
                assert!(grown < 8 << 10, "we grew by {grown} KiB");
                let after = inside(&toolbox).await;
                assert!(after[0] < before[0] + (4 << 10), "inside, from {before:?} to {after:?}");
                assert_eq!(after[1], before[1], "slots for descriptors inside");
                assert!(after[2] <= before[2] + 8, "threads inside");
                let processes = ok(&toolbox, "ls -d /proc/[0-9]* | wc -l").await;
                assert!(processes.trim().parse::<u32>().unwrap() < 10, "{processes} processes inside");
                toolbox
            },
        )
        .await;
    })
    .await;
}

async fn dropped_calls_leak_nothing(backend: Backend) {
    alone(module_path!(), backend, "dropped_calls_leak_nothing", async || {
        in_default_sandbox(backend, async |toolbox| {
            let tree = tar_of((0..50).map(|n| (format!("f{n}"), vec![b'x'; 100_000])), &[]);
            toolbox.unpack(tree.as_slice()).await.unwrap();
            let drop_all = async |count: u64| {
                for n in 0..count {
                    let soon = Duration::from_micros(n * 97 % 9_000);
                    let command = CommandSpec::shell("cat f*; sleep 5151 & cat /dev/zero", DEADLINE);
                    let run = tokio::time::timeout(soon, toolbox.run_live(&command, |_, _| {})).await;
                    assert!(run.is_err(), "it ended");
                    let paths: Vec<_> = (0..50).map(|n| format!("f{n}").parse().unwrap()).collect();
                    // This call may finish in time.
                    let _ = tokio::time::timeout(soon, toolbox.collect(&paths)).await;
                }
                let gone = "while grep -qs 51[5]1 /proc/[0-9]*/cmdline; do sleep 0.01; done";
                ok(&toolbox, gone).await;
            };
            drop_all(30).await;
            let (open, before) = (descriptors(), inside(&toolbox).await);
            drop_all(200).await;
            // The last calls that were dropped may still be on their way.
            eventually("the descriptors are closed", || descriptors() <= open).await;
            // Two responses of 5 MB may still be in memory; two hundred would be a gigabyte.
            let is_freed = async || inside(&toolbox).await[0] < before[0] + (24 << 10);
            let state = async || format!("inside, from {before:?} to {:?}", inside(&toolbox).await);
            crate::support::eventually("the responses are freed", is_freed, state).await;
            let after = inside(&toolbox).await;
            assert!(after[1] <= before[1].max(256), "slots inside, from {before:?} to {after:?}");
            assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
            toolbox
        })
        .await;
    })
    .await;
}
