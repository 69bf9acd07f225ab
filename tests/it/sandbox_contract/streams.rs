//! A command's output: every byte, in order, with constant memory, regardless of its size.

use std::time::Duration;

use mendwright::domain::ExitStatus;
use mendwright::sandbox::{CommandSpec, OutputStream, Toolbox};

use super::measure::{alone, resident_kib};
use super::{Backend, DEADLINE, in_default_sandbox, ok, sh};

on_every_backend! {
    streams_are_separate_and_in_order,
    output_bytes_arrive_unchanged,
    bounded_output_of_a_gigabyte_takes_no_memory,
    live_output_of_a_gigabyte_takes_no_memory,
    line_without_an_end_is_cut,
    closed_stream_does_not_end_the_command,
    flood_of_output_does_not_delay_the_deadline,
    flood_of_one_stream_does_not_block_the_other,
}

/// The two streams of a command, as they arrive.
async fn live(toolbox: &Toolbox, command: &str) -> (ExitStatus, Vec<u8>, Vec<u8>) {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let command = CommandSpec::shell(command, DEADLINE);
    let ending = toolbox.run_live(&command, |stream, bytes| match stream {
        OutputStream::Output => output.extend_from_slice(bytes),
        OutputStream::Error => errors.extend_from_slice(bytes),
    });
    let ending = ending.await.unwrap();
    (ending, output, errors)
}

async fn streams_are_separate_and_in_order(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let script = "n=0; while [ $n -lt 20000 ]; do echo o$n; echo e$n >&2; n=$((n + 1)); done";
        let lines = |letter: char| (0..20_000).map(|n| format!("{letter}{n}\n")).collect::<String>();
        let (ending, output, errors) = live(&toolbox, script).await;
        assert!(ending.is_success());
        assert!(output == lines('o').into_bytes() && errors == lines('e').into_bytes());
        // As one stream, they are in the order of writing.
        let both: String = (0..20_000).map(|n| format!("o{n}\ne{n}\n")).collect();
        let kept = sh(&toolbox, script).await.output;
        assert!(kept.head == both && !kept.is_truncated());
        toolbox
    })
    .await;
}

async fn output_bytes_arrive_unchanged(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let octal: String = (0..=255).map(|byte| format!(r"\{byte:03o}")).collect();
        let all: Vec<u8> = (0..=255).collect();
        let (_, output, errors) = live(&toolbox, &format!("printf '{octal}'; printf '{octal}' >&2")).await;
        assert!(output == all && errors == all);
        let text = ok(&toolbox, &format!("printf '{octal}'")).await;
        assert_eq!(text, String::from_utf8_lossy(&all));
        // A character that is cut off by the end of the output is replaced, not lost.
        assert_eq!(ok(&toolbox, r"printf 'a\360\237\231'").await, "a\u{fffd}");
        toolbox
    })
    .await;
}

const GIGABYTE: u64 = 1 << 30;
/// By how much we may grow over it: the pipe's and the streams' windows, and what an allocator keeps.
const GROWTH_KIB_MAX: u64 = 24 << 10;
/// All that the toolbox may take, its own program included.
const TOOLBOX_KIB_MAX: u64 = 32 << 10;

async fn bounded_output_of_a_gigabyte_takes_no_memory(backend: Backend) {
    alone(module_path!(), backend, "bounded_output_of_a_gigabyte_takes_no_memory", async || {
        in_default_sandbox(backend, async |toolbox| {
            sh(&toolbox, "head -c 20M /dev/zero").await;
            let before = resident_kib("VmHWM:");
            let flood = format!("echo first; head -c {GIGABYTE} /dev/zero; echo; echo last");
            let mut command = CommandSpec::shell(&flood, 2 * DEADLINE);
            command.output_bytes_max = 100_000;
            let result = toolbox.run(&command).await.unwrap();
            assert_eq!(result.ending, ExitStatus::Exited { code: 0 });
            assert!(result.output.head.starts_with("first\n") && result.output.tail.ends_with("\nlast\n"));
            assert_eq!(result.output.omitted_bytes, GIGABYTE + 12 - 100_000);
            assert_flat(&toolbox, before).await;
            toolbox
        })
        .await;
    })
    .await;
}

async fn live_output_of_a_gigabyte_takes_no_memory(backend: Backend) {
    alone(module_path!(), backend, "live_output_of_a_gigabyte_takes_no_memory", async || {
        in_default_sandbox(backend, async |toolbox| {
            live(&toolbox, "head -c 20M /dev/zero").await;
            let before = resident_kib("VmHWM:");
            let flood = format!("head -c {} /dev/zero; head -c {} /dev/zero >&2", GIGABYTE / 2, GIGABYTE / 2);
            let command = CommandSpec::shell(&flood, 5 * DEADLINE);
            let (mut output, mut errors) = (0, 0);
            let ending = toolbox.run_live(&command, |stream, bytes| match stream {
                OutputStream::Output => output += bytes.len() as u64,
                OutputStream::Error => errors += bytes.len() as u64,
            });
            assert_eq!(ending.await.unwrap(), ExitStatus::Exited { code: 0 });
            assert_eq!((output, errors), (GIGABYTE / 2, GIGABYTE / 2));
            assert_flat(&toolbox, before).await;
            toolbox
        })
        .await;
    })
    .await;
}

/// Neither side has ever taken more than a little.
async fn assert_flat(toolbox: &Toolbox, before: u64) {
    let after = resident_kib("VmHWM:");
    assert!(after < before + GROWTH_KIB_MAX, "the host grew from {before} to {after} KiB");
    let inside = ok(toolbox, "grep VmHWM: /proc/1/status | tr -dc 0-9").await.parse::<u64>().unwrap();
    assert!(inside < TOOLBOX_KIB_MAX, "the toolbox took {inside} KiB");
}

async fn line_without_an_end_is_cut(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let mut command = CommandSpec::shell("head -c 50000000 /dev/zero | tr '\\0' x", DEADLINE);
        command.output_bytes_max = 1_001;
        let result = toolbox.run(&command).await.unwrap();
        assert_eq!((result.output.head.len(), result.output.tail.len()), (501, 500));
        assert_eq!(result.output.omitted_bytes, 50_000_000 - 1_001);
        command.output_bytes_max = 0;
        let result = toolbox.run(&command).await.unwrap();
        assert_eq!(
            (result.output.to_text().as_str(), result.ending),
            ("\n[… 50000000 bytes left out …]\n", ExitStatus::Exited { code: 0 })
        );
        toolbox
    })
    .await;
}

async fn closed_stream_does_not_end_the_command(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let (ending, output, errors) =
            live(&toolbox, "echo a; exec >&-; echo b >&2; sleep 0.1; echo c >&2; exit 6").await;
        assert_eq!(
            (ending, output, errors),
            (ExitStatus::Exited { code: 6 }, b"a\n".into(), b"b\nc\n".into())
        );
        let both =
            "echo a; exec >&- 2>&-; echo gone; n=0; while [ $n -lt 1000 ]; do n=$((n + 1)); done; exit 7";
        let (ending, output, errors) = live(&toolbox, both).await;
        assert_eq!((ending, output, errors), (ExitStatus::Exited { code: 7 }, b"a\n".into(), Vec::new()));
        toolbox
    })
    .await;
}

async fn flood_of_output_does_not_delay_the_deadline(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let command = CommandSpec::shell("cat /dev/zero & cat /dev/zero >&2", Duration::from_millis(300));
        assert_eq!(toolbox.run(&command).await.unwrap().ending, ExitStatus::TimedOut);
        assert_eq!(toolbox.run_live(&command, |_, _| {}).await.unwrap(), ExitStatus::TimedOut);
        toolbox
    })
    .await;
}

async fn flood_of_one_stream_does_not_block_the_other(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        for (flooded, other) in [("1", "2"), ("2", "1")] {
            // Ends only when what it says on the other stream has been heard: then we write the file.
            let script = format!(
                "rm -f heard; cat /dev/zero >&{flooded} & echo hello >&{other}; while [ ! -e heard ]; do :; done"
            );
            let heard = tokio::sync::Notify::new();
            let command = CommandSpec::shell(&script, DEADLINE);
            let flood = toolbox.run_live(&command, |_, bytes| {
                if bytes.starts_with(b"hello") {
                    heard.notify_one();
                }
            });
            let answer = async {
                heard.notified().await;
                ok(&toolbox, ": > heard").await
            };
            let (ending, _) = tokio::join!(flood, answer);
            assert_eq!(ending.unwrap(), ExitStatus::Exited { code: 0 }, "{flooded}");
        }
        toolbox
    })
    .await;
}
