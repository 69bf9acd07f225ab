//! What is specific to bubblewrap: its seccomp filter, its cgroups, its mounts.

use mendwright::domain::{ExitStatus, Guarantee};
use mendwright::sandbox::protocol::WriteFile;
use mendwright::sandbox::{CommandSpec, Root, SandboxSpec};

use super::{
    Backend, DEADLINE, assert_nothing_left, fails, in_default_sandbox, in_sandbox, ok, processes_with, sh,
    spec, unique,
};

async fn write(toolbox: &mendwright::sandbox::Toolbox, path: &str, content: &str) {
    let request = WriteFile { path: path.to_owned(), content: content.to_owned(), executable: None };
    toolbox.write_file(&request).await.unwrap();
}

/// What test suites of these languages do: threads, processes, pipes, sockets, timers, file watches,
/// anonymous memory. Each entry: the required program, a file, its content, the command, and the end of its
/// output.
const SUITES: &[(&str, &str, &str, &str, &str)] = &[
    (
        "python3",
        "test_it.py",
        r#"
import asyncio, ctypes, mmap, multiprocessing, os, select, socket, subprocess, tempfile, threading, unittest
libc = ctypes.CDLL(None, use_errno=True)
class T(unittest.TestCase):
    def test_processes(self):
        with multiprocessing.Pool(2) as pool: self.assertEqual(pool.map(abs, [-1, 2]), [1, 2])
        self.assertEqual(subprocess.run(["sh", "-c", "echo a | cat"], capture_output=True).stdout, b"a\n")
        os.sched_setaffinity(0, os.sched_getaffinity(0)); os.nice(1)
    def test_asynchronous(self):
        async def both():
            server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            self.assertEqual(await reader.read(), b""); writer.close(); server.close()
            child = await asyncio.create_subprocess_exec("true"); self.assertEqual(await child.wait(), 0)
        asyncio.run(both())
    def test_files_and_memory(self):
        fd = os.memfd_create("m"); os.ftruncate(fd, 4096); mmap.mmap(fd, 4096)[0:1] = b"x"
        with tempfile.NamedTemporaryFile() as a, tempfile.NamedTemporaryFile() as b:
            a.write(b"abc"); a.flush(); self.assertEqual(os.copy_file_range(a.fileno(), b.fileno(), 3, 0), 3)
            os.posix_fallocate(b.fileno(), 0, 10); os.sendfile(b.fileno(), a.fileno(), 0, 3); os.fsync(b.fileno())
        from multiprocessing.shared_memory import SharedMemory
        shared = SharedMemory(create=True, size=10); shared.close(); shared.unlink()
    def test_calls_by_number(self):
        x86 = os.uname().machine == "x86_64"
        calls = {"epoll_create1": (291, 20, 0), "eventfd2": (290, 19, 0, 0), "timerfd": (283, 85, 1, 0),
            "inotify": (294, 26, 0), "membarrier": (324, 283, 0, 0), "landlock": (444, 444, 0, 0, 1),
            "pidfd_open": (434, 434, os.getpid(), 0), "personality": (135, 92, 0xffffffff), "getrandom": (318, 278, 0, 0, 0)}
        for name, (a, b, *rest) in calls.items():
            ctypes.set_errno(0); libc.syscall(ctypes.c_long(a if x86 else b), *[ctypes.c_long(v) for v in rest])
            self.assertNotIn(ctypes.get_errno(), (1, 38), name)
    def test_sockets(self):
        for family in (socket.AF_INET, socket.AF_INET6):
            s = socket.socket(family); s.bind(("localhost" if family == socket.AF_INET else "::1", 0)); s.listen(); s.close()
        a, b = socket.socketpair(); a.send(b"x"); select.select([b], [], [], 5); self.assertEqual(b.recv(1), b"x")
        self.assertTrue(socket.if_nameindex())
"#,
        "python3 -m unittest -q test_it 2>&1",
        "OK\n",
    ),
    (
        "node",
        "it.test.js",
        r#"
const test = require('node:test'), assert = require('node:assert'), fs = require('fs'), net = require('net');
const { Worker } = require('worker_threads'), { execFileSync } = require('child_process');
test('worker', () => new Promise(done => new Worker('require("worker_threads").parentPort.postMessage(1)', { eval: true }).on('message', done)));
test('process', () => assert.equal(execFileSync('echo', ['a']).toString(), 'a\n'));
test('socket', () => new Promise(done => { const s = net.createServer(c => c.end()).listen(0, () => net.connect(s.address().port).on('close', () => s.close(done)).resume()); }));
test('watch', () => new Promise(done => { const w = fs.watch('.', () => { w.close(); done(); }); fs.writeFileSync('touched', ''); }));
"#,
        "node --test it.test.js > out 2>&1; grep -E '(# |ℹ )fail' out || cat out",
        " fail 0\n",
    ),
    (
        "java",
        "It.java",
        r#"
import java.util.stream.*;
public class It { public static void main(String[] a) throws Exception {
  var t = new Thread(() -> {}); t.start(); t.join();
  var f = java.nio.file.Files.createTempFile("a", "b"); java.nio.file.Files.writeString(f, "x");
  try (var s = new java.net.ServerSocket(0); var c = new java.net.Socket("localhost", s.getLocalPort())) {}
  if (new ProcessBuilder("true").start().waitFor() != 0) throw new Exception();
  System.out.println(IntStream.range(0, 1000).parallel().sum()); } }
"#,
        "java It.java 2>&1",
        "499500\n",
    ),
    (
        "mvn",
        "pom.xml",
        "",
        "mvn -version > out 2>&1 && ! test -e /etc/maven/settings.xml && echo well || cat out",
        "well\n",
    ),
    (
        "go",
        "it_test.go",
        "package a\nimport (\"os/exec\"; \"net\"; \"testing\")\nfunc TestIt(t *testing.T) {\n c := make(chan int)\n \
         go func() { c <- 1 }()\n <-c\n if exec.Command(\"true\").Run() != nil { t.Fatal() }\n \
         l, e := net.Listen(\"tcp\", \"127.0.0.1:0\")\n if e != nil { t.Fatal(e) }\n l.Close()\n}\n",
        "go mod init a 2>/dev/null; go test ./... 2>&1 | cut -c1-4",
        "ok  \n",
    ),
    (
        "cc",
        "it.c",
        "#include <pthread.h>\n#include <stdio.h>\n#include <time.h>\n#include <mqueue.h>\n#include <sys/shm.h>\n\
         static void *go(void *a) { struct timespec t = {0, 1}; clock_nanosleep(CLOCK_MONOTONIC, 0, &t, 0); return a; }\n\
         int main(void) { pthread_t t; if (pthread_create(&t, 0, go, 0) || pthread_join(t, 0)) return 1;\n\
         int s = shmget(IPC_PRIVATE, 4096, 0600); if (s < 0 || shmctl(s, IPC_RMID, 0)) return 2;\n puts(\"well\"); }\n",
        "cc -pthread it.c -o it && ./it",
        "well\n",
    ),
    (
        "cargo",
        "lib.rs",
        "#[test] fn threads() { assert_eq!(std::thread::scope(|s| s.spawn(|| 2).join().unwrap()), 2); }\n\
         #[test] fn sockets() { std::net::TcpListener::bind(\"127.0.0.1:0\").unwrap(); }\n\
         #[test] fn processes() { assert!(std::process::Command::new(\"true\").status().unwrap().success()); }\n\
         #[test] fn copies() { std::fs::write(\"from\", \"x\").unwrap(); assert_eq!(std::fs::copy(\"from\", \"to\").unwrap(), 1); }\n",
        "printf '[package]\\nname = \"a\"\\nedition = \"2021\"\\n[lib]\\npath = \"lib.rs\"\\n' > Cargo.toml; \
         cargo test -q --lib 2>&1 | grep -o 'ok. 4 passed'",
        "ok. 4 passed\n",
    ),
];

/// The languages that this machine has. Python is required, as for other tests.
#[tokio::test]
#[ignore = "needs Python"]
async fn test_suites_of_every_language_run_under_the_filter() {
    let toolchains = |spec: &mut SandboxSpec| {
        spec.root = Root::Host { toolchains: mendwright::sandbox::detect_toolchains() };
    };
    in_sandbox(Backend::Bubblewrap, toolchains, async |toolbox| {
        let mut run = Vec::new();
        for (program, file, content, command, end) in SUITES {
            if sh(&toolbox, &format!("command -v {program}")).await.ending != (ExitStatus::Exited { code: 0 })
            {
                continue;
            }
            write(&toolbox, file, content).await;
            let output = sh(&toolbox, command).await.output.to_text();
            assert!(output.ends_with(end), "{program}: {output}");
            run.push(*program);
        }
        assert!(run.contains(&"python3"), "only {run:?} are here");
        toolbox
    })
    .await;
}

/// In addition to the contract: calls and arguments that only this backend's filter handles.
const MORE_CALLS: &str = r#"
import ctypes, errno, mmap, os, platform, signal
libc = ctypes.CDLL(None, use_errno=True)
x86 = platform.machine() == "x86_64"
def call(number, *args):
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])
    return errno.errorcode.get(ctypes.get_errno(), "ok")
def say(name, wanted, got): print("" if wanted == got else f"{name}: {got} instead of {wanted}", end="")
for name, a, b in [("move_pages", 279, 239), ("mbind", 237, 235), ("kcmp", 312, 272), ("fanotify_init", 300, 262),
        ("process_madvise", 440, 440), ("clock_settime", 227, 112), ("statmount", 457, 457), ("quotactl", 179, 60)]:
    say(name, "EPERM", call(a if x86 else b, 0, 0, 0, 0, 0))
for number in (425, 426, 427, 435, 500, 1000, 0x40000000 + 39):
    say(f"number {number}", "ENOSYS", call(number, 0, 0, 0))
for persona, wanted in ((0, "ok"), (0x20000, "ok"), (0xffffffff, "ok"), (0x40000, "EPERM"), (0x400000, "EPERM")):
    say(f"personality {persona:x}", wanted, call(135 if x86 else 92, persona))
say("tioclinux", "EPERM", call(16 if x86 else 29, 0, 0x541c, 0))
for family in list(range(3, 10)) + list(range(11, 16)) + list(range(17, 46)):
    say(f"family {family}", "EPERM", call(41 if x86 else 198, family, 3, 0))
for protocol in range(1, 23):
    say(f"netlink {protocol}", "EPERM", call(41 if x86 else 198, 16, 3, protocol))
if x86:
    child = os.fork()
    if child == 0:  # getpid as a program for i386 would ask for it
        code = mmap.mmap(-1, 4096, prot=7)
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
        os._exit(0)
    say("i386", signal.SIGSYS, os.WTERMSIG(os.waitpid(child, 0)[1]))
print("done")
"#;

#[tokio::test]
#[ignore = "needs Python"]
async fn unlisted_calls_do_not_exist_and_dangerous_ones_are_refused() {
    in_default_sandbox(Backend::Bubblewrap, async |toolbox| {
        write(&toolbox, "calls.py", MORE_CALLS).await;
        assert_eq!(ok(&toolbox, "python3 calls.py").await, "done\n");
        toolbox
    })
    .await;
}

#[tokio::test]
async fn process_limits_are_the_requested_ones_and_a_users_defaults() {
    in_sandbox(
        Backend::Bubblewrap,
        |spec| spec.limits.open_files_max = 512,
        async |toolbox| {
            let limits = ok(&toolbox, "cat /proc/self/limits").await;
            let of = |name: &str| {
                let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.split_whitespace().take(2).map(|number| number.parse().unwrap()).collect::<Vec<u64>>()
            };
            assert_eq!(of("Max open files"), [512, 512]);
            for (name, most) in [
                ("Max core file size", 0),
                ("Max locked memory", 8 << 20),
                ("Max msgqueue size", 819_200),
                ("Max pending signals", 65_536),
                ("Max realtime priority", 0),
                ("Max nice priority", 0),
            ] {
                assert!(of(name).iter().all(|limit| *limit <= most), "{name}: {limits}");
            }
            toolbox
        },
    )
    .await;
}

#[tokio::test]
async fn processor_time_is_limited_or_the_description_says_so() {
    let fifth = |spec: &mut SandboxSpec| spec.limits.cpu_millis_max = Some(200);
    in_sandbox(Backend::Bubblewrap, fifth, async |toolbox| {
        let description = toolbox.description().to_owned();
        if description.contains("0.2 processors (cgroup)") {
            let busy = "for n in 1 2 3; do timeout 1 sh -c 'while :; do :; done' & done; wait; times";
            let used = ok(&toolbox, busy).await;
            let seconds: f64 = used
                .split_whitespace()
                .map(|time| {
                    let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
                    minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
                })
                .sum();
            assert!((0.05..0.8).contains(&seconds), "{seconds} seconds of processor time: {used}");
        } else {
            assert!(description.contains("not limited to 0.2 processors"), "{description}");
        }
        toolbox
    })
    .await;
}

/// Each guarantee is either enforced, or the error names it.
#[tokio::test]
async fn required_guarantee_is_enforced_or_the_start_fails() {
    let sandbox = Backend::Bubblewrap.sandbox();
    for required in Guarantee::ALL {
        let mut spec = spec(Backend::Bubblewrap, &unique("required"));
        spec.limits.cpu_millis_max = Some(500);
        spec.required = vec![required];
        let refused = match sandbox.start(&spec).await {
            Ok(toolbox) => {
                toolbox.shut_down().await;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        assert_nothing_left(&spec.label);
        let (is_root, quoted) =
            (nix::unistd::geteuid().is_root(), format!("'{}' is required", required.name()));
        match (required, &refused) {
            (Guarantee::Processes | Guarantee::Disk, refused) => assert_eq!(*refused, None),
            (_, None) => {}
            (_, Some(why)) => assert!(!is_root && why.contains(&quoted), "{why}"),
        }
    }
}

/// Files that the host process has open are not visible inside, even without the close-on-exec flag.
#[tokio::test]
async fn no_descriptor_of_the_host_is_inherited() {
    use std::os::fd::AsRawFd;
    let secret = tempfile::tempfile().unwrap();
    // As a C library would leave it.
    nix::fcntl::fcntl(&secret, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let high = nix::fcntl::fcntl(&secret, nix::fcntl::FcntlArg::F_DUPFD(700)).unwrap();
    in_default_sandbox(Backend::Bubblewrap, async |toolbox| {
        let open = ok(&toolbox, "for fd in /proc/self/fd/*; do echo ${fd##*/}; done").await;
        // The three standard descriptors, and the listed directory.
        assert_eq!(open.lines().collect::<Vec<_>>(), ["0", "1", "2", "3"], "{}", secret.as_raw_fd());
        toolbox
    })
    .await;
    nix::unistd::close(high).unwrap();
}

#[tokio::test]
async fn proc_files_about_the_host_are_covered() {
    in_default_sandbox(Backend::Bubblewrap, async |toolbox| {
        let files =
            "kcore keys key-users latency_stats timer_list sched_debug cmdline interrupts sysrq-trigger";
        for file in files.split(' ') {
            assert_eq!(
                ok(&toolbox, &format!("head -c 10 /proc/{file} 2>/dev/null; true")).await,
                "",
                "{file}"
            );
        }
        for directory in ["acpi", "asound", "scsi", "fs"] {
            assert_eq!(ok(&toolbox, &format!("ls -A /proc/{directory} 2>/dev/null; true")).await, "");
        }
        for path in
            ["sys/kernel/core_pattern", "sys/vm/swappiness", "irq/default_smp_affinity", "sysrq-trigger"]
        {
            fails(&toolbox, &format!("echo h > /proc/{path}")).await;
        }
        assert_eq!(ok(&toolbox, "ls -A /sys 2>/dev/null; true").await, "");
        let devices = ok(&toolbox, "find /dev -type b; find /dev -type c | sort | tr '\\n' ' '").await;
        let known = ["console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"];
        for device in devices.split_whitespace() {
            let name = device.trim_start_matches("/dev/");
            assert!(known.contains(&name) || name.starts_with("pts/"), "{devices}");
        }
        toolbox
    })
    .await;
}

/// Seen from the host, nothing inside has the user that this process has, where that can be had: as
/// root, and for an account with subordinate ids. Elsewhere to require it is refused.
#[tokio::test]
async fn the_inside_is_another_user_of_the_host_wherever_it_can_be() {
    let us = nix::unistd::geteuid();
    let name = nix::unistd::User::from_uid(us).unwrap().map_or_else(String::new, |user| user.name);
    let has_range = |file| {
        let ranges = std::fs::read_to_string(file).unwrap_or_default();
        ranges
            .lines()
            .any(|line| line.split(':').next().is_some_and(|who| who == name || who == us.to_string()))
    };
    let can_be = us.is_root() || (has_range("/etc/subuid") && has_range("/etc/subgid"));
    let sandbox = Backend::Bubblewrap.sandbox();
    let mut spec = spec(Backend::Bubblewrap, &unique("other-user"));
    spec.required = vec![Guarantee::OtherUser];
    let toolbox = match (sandbox.start(&spec).await, can_be) {
        (Ok(toolbox), true) => toolbox,
        (Err(error), false) => {
            assert!(error.to_string().contains("/etc/subuid"), "{error}");
            return;
        }
        (outcome, _) => panic!("it can be: {can_be}, and came to {:?}", outcome.map(drop)),
    };
    let marker = super::unique_seconds();
    let command = CommandSpec::shell(&format!("echo started; sleep {marker}"), DEADLINE);
    let started = tokio::sync::Notify::new();
    tokio::select! {
        ended = toolbox.run_live(&command, |_, _| started.notify_one()) => panic!("{ended:?}"),
        () = started.notified() => {
            for process in processes_with(&format!("sleep {marker}")) {
                let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
                let of = |field: &str| {
                    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
                    line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
                };
                assert!(of("Uid:").iter().all(|user| *user != us.to_string()), "{status}");
                assert!(of("Gid:").iter().all(|group| *group != nix::unistd::getegid().to_string()), "{status}");
                assert_eq!(of("Groups:"), Vec::<String>::new());
            }
        }
    }
    toolbox.shut_down().await;
    assert_nothing_left(&spec.label);
}
