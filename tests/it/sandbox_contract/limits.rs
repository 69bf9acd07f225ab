//! Limits: each limit that is hit has its own result, and never counts as a success.

use mendwright::domain::{ExitStatus, WritableMount};
use mendwright::sandbox::{CallError, SandboxError, SandboxSpec, Toolbox};

use super::{Backend, DEADLINE, in_sandbox, ok, sh, tar_of};
use mendwright::sandbox::CommandSpec;

on_every_backend! {
    full_disk_is_reported_for_each_writable_directory,
    temporarily_full_disk_is_reported,
    tree_that_does_not_fit_is_reported_as_a_full_disk,
    running_out_of_inodes_is_reported,
    refused_process_is_reported,
    running_out_of_memory_in_a_grandchild_is_reported,
    full_disk_at_the_deadline_is_a_timeout,
}

/// A disk that is filled quickly.
fn small_disk(spec: &mut SandboxSpec) {
    spec.limits.disk_bytes_max = 128 << 20;
}

/// A file system that is mounted at several paths is named after the first.
fn reported_mount(toolbox: &Toolbox, backend: Backend, place: WritableMount) -> WritableMount {
    match backend {
        Backend::Bubblewrap if !toolbox.description().contains("in fixed shares") => WritableMount::Workspace,
        Backend::Bubblewrap | Backend::Docker => place,
    }
}

async fn full_disk_is_reported_for_each_writable_directory(backend: Backend) {
    in_sandbox(backend, small_disk, async |toolbox| {
        let places = [
            ("/workspace", WritableMount::Workspace),
            ("$HOME", WritableMount::Home),
            ("/tmp", WritableMount::Tmp),
            ("/dev/shm", WritableMount::SharedMemory),
        ];
        for (directory, place) in places {
            // A command that ignores write errors must not count as a success.
            let fill = format!("echo before; head -c 1G /dev/zero > {directory}/big 2> /dev/null; exit 0");
            let result = sh(&toolbox, &fill).await;
            let place = reported_mount(&toolbox, backend, place);
            assert_eq!(result.ending, ExitStatus::DiskFull { place }, "{directory}");
            assert_eq!(result.output.to_text(), "before\n");
            sh(&toolbox, &format!("rm {directory}/big")).await;
            assert_eq!(ok(&toolbox, "echo room again").await, "room again\n");
        }
        toolbox
    })
    .await;
}

async fn tree_that_does_not_fit_is_reported_as_a_full_disk(backend: Backend) {
    in_sandbox(backend, small_disk, async |toolbox| {
        let tar = tar_of([("small".to_owned(), vec![1]), ("large".to_owned(), vec![0; 200 << 20])], &[]);
        match toolbox.unpack(tar.as_slice()).await {
            Err(SandboxError::DiskFull(why)) => {
                assert!(why.starts_with("the tree does not fit: 'large': No space left"), "{why}");
            }
            other => panic!("{other:?}"),
        }
        toolbox
    })
    .await;
}

async fn temporarily_full_disk_is_reported(backend: Backend) {
    in_sandbox(backend, small_disk, async |toolbox| {
        let fill = "head -c 1G /dev/zero > /tmp/big; n=0; while [ $n -lt 50000 ]; do n=$((n + 1)); done; \
                    rm /tmp/big; echo cleaned up";
        let result = sh(&toolbox, fill).await;
        let place = reported_mount(&toolbox, backend, WritableMount::Tmp);
        assert_eq!(result.ending, ExitStatus::DiskFull { place });
        assert!(result.output.to_text().ends_with("cleaned up\n"));
        ok(&toolbox, "true").await;
        toolbox
    })
    .await;
}

async fn running_out_of_inodes_is_reported(backend: Backend) {
    // Inodes take memory if the file system is in memory, and may have no other limit.
    let small = |spec: &mut SandboxSpec| spec.limits.memory_bytes_max = 128 << 20;
    in_sandbox(backend, small, async |toolbox| {
        if !bounds(&toolbox, "of memory") {
            return toolbox;
        }
        let make = "mkdir /tmp/many && cd /tmp/many && seq 1 300000 | xargs touch 2> /dev/null; exit 0";
        let ran = toolbox.run(&CommandSpec::shell(make, DEADLINE)).await;
        let is_reported = match (&ran, backend) {
            (Ok(result), _) => matches!(result.ending, ExitStatus::DiskFull { .. } | ExitStatus::OutOfMemory),
            // There the toolbox shares the memory limit, and may itself be killed.
            (Err(CallError::Fatal(lost)), Backend::Docker) => lost.to_string().contains("memory ran out"),
            (Err(_), _) => false,
        };
        assert!(is_reported, "{ran:?}");
        toolbox
    })
    .await;
}

/// Whether a cgroup enforces a limit. If cgroups are not available, the description says so.
fn bounds(toolbox: &Toolbox, what: &str) -> bool {
    let description = toolbox.description();
    assert!(description.contains(what), "{description}");
    !description.contains("no cgroup may be made here")
}

async fn refused_process_is_reported(backend: Backend) {
    in_sandbox(
        backend,
        |spec| spec.limits.pids_max = 64,
        async |toolbox| {
            let fork = "(n=0; while [ $n -lt 300 ]; do sleep 4747 & n=$((n + 1)); done) 2> /dev/null; exit 0";
            assert_eq!(sh(&toolbox, fork).await.ending, ExitStatus::ProcessLimit);
            assert_eq!(ok(&toolbox, "echo alive").await, "alive\n");
            toolbox
        },
    )
    .await;
}

async fn running_out_of_memory_in_a_grandchild_is_reported(backend: Backend) {
    let small = |spec: &mut SandboxSpec| spec.limits.memory_bytes_max = 256 << 20;
    in_sandbox(backend, small, async |toolbox| {
        let hog = "sh -c 'sh -c \"head -c 2G /dev/zero | tail > /dev/null\"; true'; echo went on; exit 0";
        let result = sh(&toolbox, hog).await;
        if bounds(&toolbox, "of memory") {
            assert_eq!(result.ending, ExitStatus::OutOfMemory, "{}", result.output.to_text());
        }
        ok(&toolbox, "true").await;
        toolbox
    })
    .await;
}

async fn full_disk_at_the_deadline_is_a_timeout(backend: Backend) {
    in_sandbox(backend, small_disk, async |toolbox| {
        let fill = "head -c 1G /dev/zero > /tmp/big 2> /dev/null; sleep 4848";
        let command = CommandSpec { deadline: DEADLINE / 60, ..CommandSpec::shell(fill, DEADLINE) };
        assert_eq!(toolbox.run(&command).await.unwrap().ending, ExitStatus::TimedOut);
        toolbox
    })
    .await;
}
