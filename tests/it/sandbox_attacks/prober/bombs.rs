//! Takes as much of a resource as there is to be had, up to a bound of its own beyond which it says
//! `no bound`; gives it all back.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::sync::mpsc;
use std::thread;

use super::calls::{Errno, call};

const MEBIBYTE: usize = 1 << 20;
/// Twice and more what the sandbox for such probes allows of each.
const PROCESSES_MAX: usize = 400;
const MEMORY_MIB_MAX: usize = 512;
const DESCRIPTORS_MAX: usize = 70_000;
const PIPES_MAX: usize = 4_000;
const DISK_MIB_MAX: usize = 256;
const FILES_MAX: usize = 400_000;
const TERMINALS_MAX: usize = 10_000;

pub fn explode(kind: &str, place: &[&str]) -> String {
    match (kind, place) {
        ("processes", []) => processes(false),
        ("zombies", []) => processes(true),
        ("threads", []) => threads(),
        ("memory", []) => memory(),
        ("memory-file", []) => memory_file(),
        ("shared-memory", []) => shared_memory(),
        ("descriptors", []) => count(DESCRIPTORS_MAX, || Ok(File::open("/dev/null")?)),
        ("pipes", []) => count(PIPES_MAX, full_pipe),
        ("terminals", []) => {
            count(TERMINALS_MAX, || Ok(File::options().read(true).write(true).open("/dev/ptmx")?))
        }
        ("disk", [directory]) => disk(Path::new(directory)),
        ("files", [directory]) => files(Path::new(directory)),
        ("depth", [directory]) => depth(Path::new(directory)),
        unknown => panic!("{unknown:?} is no bomb"),
    }
}

/// Takes until an error or the bound.
fn count<T>(most: usize, mut take: impl FnMut() -> Result<T, Errno>) -> String {
    let mut taken = Vec::new();
    while taken.len() < most {
        match take() {
            Ok(one) => taken.push(one),
            Err(errno) => return format!("stopped by {errno}"),
        }
    }
    "no bound".to_owned()
}

fn processes(zombies: bool) -> String {
    struct Ended(Child);
    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let program = std::env::current_exe().expect("our own file");
    count(PROCESSES_MAX, || {
        let mut command = std::process::Command::new(&program);
        let words: &[&str] = if zombies { &["who"] } else { &["hold-abstract", ""] };
        let mut child = command.args(words).stdout(std::process::Stdio::piped()).spawn()?;
        let mut word = [0];
        // It runs, or it is over, when it has said something.
        let _ = std::io::Read::read(child.stdout.as_mut().expect("a pipe"), &mut word);
        child.stdout = None;
        Ok(Ended(child))
    })
}

fn threads() -> String {
    const STACK_BYTES: usize = 64 << 10;
    let mut held = Vec::new();
    let outcome = count(PROCESSES_MAX, || {
        let (sender, receiver) = mpsc::channel::<()>();
        let wait = move || {
            let _ = receiver.recv();
        };
        let handle = thread::Builder::new().stack_size(STACK_BYTES).spawn(wait)?;
        held.push((sender, handle));
        Ok(())
    });
    for (sender, handle) in held {
        drop(sender);
        let _ = handle.join();
    }
    outcome
}

fn memory() -> String {
    count(MEMORY_MIB_MAX, || {
        let mut piece: Vec<u8> = Vec::new();
        piece.try_reserve_exact(MEBIBYTE).map_err(|_| Errno(12))?;
        piece.resize(MEBIBYTE, 1);
        Ok(std::hint::black_box(piece))
    })
}

fn memory_file() -> String {
    use std::os::fd::FromRawFd;
    let name = c"bomb";
    let number = match call("memfd_create", &[name.as_ptr() as usize, 0]) {
        Ok(number) => number,
        Err(errno) => return format!("stopped by {errno}"),
    };
    // SAFETY: the kernel has just made it, and nobody else knows it.
    let mut file = unsafe { File::from_raw_fd(number as i32) };
    let piece = vec![1; MEBIBYTE];
    count(MEMORY_MIB_MAX, || Ok(file.write_all(&piece)?))
}

fn shared_memory() -> String {
    const REMOVE: usize = 0;
    struct Segment(usize);
    impl Drop for Segment {
        fn drop(&mut self) {
            let _ = call("shmctl", &[self.0, REMOVE, 0]);
        }
    }
    count(MEMORY_MIB_MAX / 8, || {
        let segment = Segment(call("shmget", &[0, 8 * MEBIBYTE, 0o1600])?);
        let address = call("shmat", &[segment.0, 0, 0])?;
        // SAFETY: the kernel has just put eight mebibytes of shared memory there, which nobody else
        // uses and which stay until this process ends.
        let bytes = unsafe { std::slice::from_raw_parts_mut(address as *mut u8, 8 * MEBIBYTE) };
        bytes.fill(1);
        Ok(segment)
    })
}

fn full_pipe() -> Result<(File, File), Errno> {
    use std::os::fd::FromRawFd;
    const DO_NOT_WAIT: usize = 0o4000;
    let ends = [0i32; 2];
    call("pipe2", &[ends.as_ptr() as usize, DO_NOT_WAIT])?;
    // Written by the kernel meanwhile.
    let [read, write] = std::hint::black_box(ends);
    // SAFETY: the kernel has just made both, and nobody else knows them.
    let (read, mut write) = unsafe { (File::from_raw_fd(read), File::from_raw_fd(write)) };
    // As much as it takes.
    let _ = write.write_all(&[1; 64 << 10]);
    Ok((read, write))
}

fn disk(directory: &Path) -> String {
    let path = directory.join("bomb");
    let piece = vec![1; MEBIBYTE];
    let outcome = match File::create(&path) {
        Ok(mut file) => count(DISK_MIB_MAX, || Ok(file.write_all(&piece)?)),
        Err(error) => format!("stopped by {}", Errno::from(error)),
    };
    let _ = fs::remove_file(&path);
    outcome
}

fn files(directory: &Path) -> String {
    let place = directory.join("bomb-files");
    let outcome = match fs::create_dir(&place) {
        Ok(()) => {
            let mut number = 0;
            count(FILES_MAX, || {
                number += 1;
                File::create(place.join(format!("{number}"))).map(drop).map_err(Errno::from)
            })
        }
        Err(error) => format!("stopped by {}", Errno::from(error)),
    };
    let _ = fs::remove_dir_all(&place);
    outcome
}

/// Directories in one another, far deeper than a path can say; they stay.
fn depth(directory: &Path) -> String {
    const DEPTH: usize = 3_000;
    let enter = |path: &Path| std::env::set_current_dir(path);
    if let Err(error) = enter(directory) {
        return Errno::from(error).to_string();
    }
    let dug = (0..DEPTH).take_while(|_| fs::create_dir("d").and_then(|()| enter(Path::new("d"))).is_ok());
    format!("dug {}", dug.count())
}
