//! What a process inside must not see, connect to or do.

use mendwright::domain::AllowedHost;
use mendwright::sandbox::CommandSpec;
use mendwright::sandbox::protocol::WriteFile;

use super::{Backend, DEADLINE, fails, in_default_sandbox, in_sandbox, ok};

on_every_backend! {
    there_is_no_network,
    #[ignore = "needs Python"]
    no_address_can_be_connected_to,
    #[ignore = "needs Python"]
    allowed_hosts_are_reached_through_the_proxy_only,
    host_is_not_visible,
    environment_is_the_sandboxs_own,
    privileged_system_calls_and_writes_are_refused,
    #[ignore = "needs Python"]
    dangerous_system_calls_fail,
}

async fn there_is_no_network(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let devices = ok(&toolbox, "tail -n +3 /proc/net/dev | cut -d: -f1").await;
        assert_eq!(devices.trim(), "lo");
        assert_eq!(ok(&toolbox, "env | grep -i proxy; true").await, "");
        toolbox
    })
    .await;
}

async fn no_address_can_be_connected_to(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        ok(&toolbox, "python3 -c \"import socket; socket.socket().close()\"").await;
        for address in ["('1.1.1.1', 443)", "('169.254.169.254', 80)", "('127.0.0.1', 3128)"] {
            fails(&toolbox, &format!("python3 -c \"import socket; socket.create_connection({address}, 5)\""))
                .await;
        }
        toolbox
    })
    .await;
}

async fn allowed_hosts_are_reached_through_the_proxy_only(backend: Backend) {
    in_sandbox(
        backend,
        |spec| spec.allowed_hosts = vec![AllowedHost::public("localhost")],
        async |toolbox| {
            let fetch = |url: &str| {
                format!(
                    "python3 -c \"\nimport os, urllib.request, urllib.error\n\
                 os.environ.pop('no_proxy'); os.environ.pop('NO_PROXY')\n\
                 try: urllib.request.urlopen('{url}', timeout=20)\n\
                 except urllib.error.HTTPError as e: print(e.code, e.read().decode())\n\
                 except OSError as e: print(e)\n\""
                )
            };
            let output = ok(&toolbox, &fetch("http://evil.example/")).await;
            assert!(
                output.contains("403") && output.contains("'evil.example' is not among the allowed ones"),
                "{output}"
            );
            let output = ok(&toolbox, &fetch("https://evil.example/")).await;
            assert!(output.contains("403"), "{output}");
            // The name is allowed, but it resolves to the host itself.
            let output = ok(&toolbox, &fetch("http://localhost/")).await;
            assert!(output.contains("403") && output.contains("has no public address"), "{output}");
            let direct = "python3 -c \"import socket; socket.create_connection(('1.1.1.1', 443), 5)\"";
            fails(&toolbox, direct).await;
            toolbox
        },
    )
    .await;
}

async fn host_is_not_visible(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        // An image has its own directories, and an engine a /sys with the container's cgroups.
        let of_the_image: &[&str] = match backend {
            Backend::Bubblewrap => &[],
            Backend::Docker => &["/run", "/var", "/sys"],
        };
        for path in ["/root", "/home", "/run", "/var", "/srv", "/opt", "/mnt", "/sys", "/boot", "/work"] {
            let seen = ok(&toolbox, &format!("ls -A {path} 2>/dev/null; true")).await;
            let may_be_seen = (path == "/home" && seen == "agent\n") || of_the_image.contains(&path);
            assert!(seen.is_empty() || may_be_seen, "{path}: {seen}");
        }
        // The list of the kernel's file systems is not secret.
        let find_in_sys = "find /sys \\( -path /sys/fs/cgroup -o -path '/sys/fs/*/features' \\) -prune \
                           -o -type f -print 2>/dev/null; true";
        assert_eq!(ok(&toolbox, find_in_sys).await, "");
        for place in ["/tmp", "/var/tmp", "/run", "/dev/shm"] {
            let Ok(planted) = tempfile::Builder::new().tempfile_in(place) else { continue };
            fails(&toolbox, &format!("ls {}", planted.path().display())).await;
        }
        fails(&toolbox, "cat /etc/shadow").await;
        match backend {
            Backend::Bubblewrap => fails(&toolbox, "cat /etc/hostname").await,
            Backend::Docker => assert_eq!(ok(&toolbox, "cat /etc/hostname").await, "sandbox\n"),
        }
        assert_eq!(ok(&toolbox, "cat /etc/resolv.conf").await, "");
        assert_eq!(ok(&toolbox, "hostname 2>/dev/null || cat /proc/sys/kernel/hostname").await, "sandbox\n");
        // The visible processes are the commands, their supervisor and the toolbox.
        let processes = ok(&toolbox, "ls -d /proc/[0-9]* | wc -l").await;
        assert!(processes.trim().parse::<u32>().unwrap() <= 6, "{processes}");
        toolbox
    })
    .await;
}

async fn environment_is_the_sandboxs_own(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let seen = ok(&toolbox, "env | cut -d= -f1 | sort | tr '\\n' ' '").await;
        let expected = "CARGO_HOME CARGO_NET_OFFLINE CI HOME LANG LOGNAME PATH PIP_RETRIES PWD SHELL TERM TMPDIR USER npm_config_offline ";
        // Every engine sets the container's name.
        let seen = if backend == Backend::Docker { seen.replace(" HOSTNAME ", " ") } else { seen };
        assert_eq!(seen, expected);
        let mut command =
            CommandSpec::shell("echo $HOME $MINE $PWD; touch $HOME/x $TMPDIR/x /dev/shm/x", DEADLINE);
        command.env.push(("MINE".to_owned(), "yes".to_owned()));
        let result = toolbox.run(&command).await.unwrap();
        assert_eq!(result.output.to_text(), "/home/agent yes /workspace\n");
        toolbox
    })
    .await;
}

async fn privileged_system_calls_and_writes_are_refused(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
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
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(field("Seccomp:"), "2");
        assert_eq!(field("CapEff:"), "0000000000000000");
        assert_eq!(field("CapPrm:"), "0000000000000000");
        assert_ne!(ok(&toolbox, "id -u").await, "0\n");
        toolbox
    })
    .await;
}

/// System calls by number, with the expected error.
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
print("prlimit of another", call(302 if x86 else 261, 1, 0, 0, 0))
print("socketpair vsock", call(53 if x86 else 199, 40, 1, 0, 0))
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

async fn dangerous_system_calls_fail(backend: Backend) {
    in_default_sandbox(backend, async |toolbox| {
        let write =
            WriteFile { path: "calls.py".to_owned(), content: SYSTEM_CALLS.to_owned(), executable: None };
        toolbox.write_file(&write).await.unwrap();
        let output = ok(&toolbox, "python3 calls.py").await;
        for line in output.lines() {
            let expected = match line.rsplit_once(' ').unwrap().0 {
                "clone3" | "io_uring_setup" | "x32 ptrace" => "ENOSYS",
                // The lower half of this number is AF_UNSPEC, which is also forbidden.
                _ => "EPERM",
            };
            assert!(line.ends_with(expected), "{line}");
        }
        assert!(output.lines().count() >= 29, "{output}");
        toolbox
    })
    .await;
}
